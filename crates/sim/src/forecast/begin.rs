//! The state of a forecast at its beginning: deregistrations, stops and drains that are already in progress.

use std::sync::Arc;

use decamp_core::decide::snapshot::{Beginning, Phase, TargetHealth};
use decamp_core::decide::{Departure, UNREADABLE_DELAY};
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

use super::systems::{Due, Systems};
use super::{DeparturePart, PartSpan};

impl Systems {
    /// Removes the instance from the attached groups. Auto Scaling does that, and waits for it, before the hook begins (facts/aws.md 2.4).
    pub(super) fn leave_attached_groups(&mut self) {
        let attached = self.group.as_ref().map(|group| group.attached.clone()).unwrap_or_default();
        let ours = TargetId::Instance(self.instance);
        for (arn, group) in &mut self.balancers {
            if let Ok(group) = group
                && attached.contains(arn)
            {
                group.targets = group.targets.take().map(|all| all.iter().filter(|one| one.id != ours).cloned().collect());
            }
        }
    }

    /// Continues what is in progress. Only a note of the departure says since when a target has been draining, and nothing says since
    /// when an allocation has been stopping. Without that, the forecast assumes that it began now.
    pub(super) fn continue_what_is_in_progress(&mut self, departure: &Departure, now: Time) {
        let mut due = Vec::new();
        let nodes = self.nomad.as_ref().map(|nomad| nomad.nodes.clone()).unwrap_or_default();
        let noted = nodes.iter().flat_map(|node| &node.notes).filter(|note| *note.action == *departure.mark());
        let deregistered = noted.filter(|note| note.what == Beginning::Deregistered).map(|note| note.since).max().unwrap_or(now);
        for (arn, group) in &self.balancers {
            let Ok(group) = group else { continue };
            let gone = (deregistered + group.delay.unwrap_or(UNREADABLE_DELAY)).max(now);
            let draining = group.listed().filter(|target| target.health == TargetHealth::Draining);
            due.extend(draining.map(|target| (gone, Due::Gone(arn.clone(), target.id.clone(), target.port))));
            if group.listed().any(|t| t.health == TargetHealth::Draining && t.id == TargetId::Instance(self.instance)) {
                self.spans.push(PartSpan { part: DeparturePart::Balancer(arn.clone()), from: now, to: Some(gone) });
            }
        }
        self.due.extend(due);
        for node in &nodes {
            for allocation in node.allocations.iter().filter(|a| !a.wanted && !a.client.is_over()) {
                self.begin_stop(allocation, now);
            }
            if let Some(drain) = &node.drain {
                let phase = node.last_drain.as_ref().and_then(|last| last.meta.as_ref()).map_or(Phase::All, |meta| meta.phase);
                self.spans.push(PartSpan { part: DeparturePart::Drain(Arc::clone(&node.name), phase), from: now, to: None });
                self.due.push((now, Due::Mark(node.id)));
                if let Some(deadline) = drain.force_deadline {
                    self.due.push((deadline.max(now), Due::Deadline(node.id)));
                }
            }
        }
    }
}
