//! Observes the workers of one departure: keeps the trace, and the findings that were reported before the writes that they concern.

use std::cell::RefCell;
use std::rc::Rc;

use super::describe;
use crate::scenario::BEGIN;
use decamp_core::decide::{
    Action, Decision, Departure, Effect, Finding, Loss, Outcome, Policy, Reason, Refusal, Snapshot, foreseen_losses,
};
use decamp_core::run::Observer;
use decamp_core::time::Time;

/// What was observed of the workers of one departure.
#[derive(Default)]
pub(super) struct RunRecord {
    pub(super) trace: Option<Vec<String>>,
    first_drain: Option<Box<(Departure, Snapshot, Policy)>>,
    /// Findings about a target group that were reported before the deregistration from it.
    foreseen_later: Vec<Finding>,
    foreseen_at: u8,
    pub(super) overlapped: bool,
    pub(super) mark: u64,
    last_wait: Option<String>,
    /// What each worker reported before its writes.
    reported: Vec<(usize, Vec<Finding>)>,
    /// What the worker that ended the departure had seen.
    pub(super) last: Option<Box<LastWorker>>,
}

/// The worker that ended the departure, as the end found it.
pub(super) struct LastWorker {
    pub(super) departure: Departure,
    pub(super) seen: Snapshot,
    pub(super) policy: Policy,
    /// The findings that it reported.
    pub(super) reported: Vec<Finding>,
    /// The outcome that it reported.
    pub(super) outcome: Outcome,
}

impl RunRecord {
    /// An empty record. With `trace` it keeps a line for each decision.
    pub(super) fn new(trace: bool) -> Self {
        Self { trace: trace.then(Vec::new), ..Self::default() }
    }

    /// Whether these effects are the ones whose findings count: the first drain; without a drain the first deregistration, else the first
    /// write. A worker that got a wrong time may try to complete the action, in vain, before anything was seen.
    fn wants_findings(&mut self, effects: &[Effect]) -> bool {
        let rank = |effect: &Effect| match effect {
            Effect::Heartbeat(_) | Effect::MakeIneligible(_) | Effect::Note { .. } | Effect::Complete { .. } => 1,
            Effect::Deregister { .. } => 2,
            Effect::Drain { .. } => 3,
        };
        let most = effects.iter().map(rank).max().unwrap_or(0);
        let wants = self.foreseen_at < most;
        self.foreseen_at = self.foreseen_at.max(most);
        wants
    }

    /// Keeps the findings about the target groups that these effects deregister from: each is reported before the write that it concerns.
    fn foresee_of_groups(&mut self, effects: &[Effect], departure: &Departure, seen: &Snapshot, policy: &Policy) {
        let left = |finding: &Finding| {
            let name = &*finding.object;
            // Auto Scaling has left an attached group before any worker came.
            finding.loss == Loss::LastHealthyTarget
                || effects.iter().any(|e| matches!(e, Effect::Deregister { group, .. } if group.name() == name))
        };
        if effects.iter().any(|effect| matches!(effect, Effect::Deregister { .. })) {
            let of_groups = foreseen_losses(departure, seen, policy).into_iter().filter(left);
            self.foreseen_later.extend(of_groups);
        }
    }

    /// Keeps the findings about services that were registered by hand, whenever Consul first shows them. The machine's end stops those, so
    /// the completion is the write that they concern.
    fn foresee_by_hand(&mut self, departure: &Departure, seen: &Snapshot, policy: &Policy) {
        let by_hand = |finding: &Finding| finding.loss == Loss::RegisteredByHand;
        let shown = seen.consul.last().is_some_and(|registrations| !registrations.by_hand.is_empty());
        if shown && !self.foreseen_later.iter().any(by_hand) {
            self.foreseen_later.extend(foreseen_losses(departure, seen, policy).into_iter().filter(by_hand));
        }
    }

    /// Keeps what this worker reports before a write, as `decamp run` and the service do.
    fn report(&mut self, worker: usize, findings: Vec<Finding>) {
        if !self.reported.iter().any(|(of, _)| *of == worker) {
            self.reported.push((worker, Vec::new()));
        }
        let reported = self.reported.iter_mut().filter(|(of, _)| *of == worker);
        for (_, reported) in reported {
            for finding in &findings {
                if !reported.iter().any(|known| known.repeats(finding)) {
                    reported.push(finding.clone());
                }
            }
        }
    }

    /// Everything that any worker reported before a write.
    pub(super) fn reported_by_any(&self) -> Vec<Finding> {
        self.reported.iter().flat_map(|(_, findings)| findings.iter().cloned()).collect()
    }

    /// All findings that count; one for each rule and object.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let mut findings = self.first_drain.take().map_or_else(Vec::new, |kept| foreseen_losses(&kept.0, &kept.1, &kept.2));
        for later in self.foreseen_later.drain(..) {
            if !findings.iter().any(|known| known.repeats(&later)) {
                findings.push(later);
            }
        }
        findings
    }
}

/// Records the decisions of a worker and the answers to its writes.
pub(super) struct RunObserver {
    pub(super) record: Rc<RefCell<RunRecord>>,
    pub(super) policy: Policy,
    pub(super) worker: usize,
}

impl Observer for RunObserver {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        let record = &mut *self.record.borrow_mut();
        record.foresee_by_hand(departure, seen, &self.policy);
        record.mark = record.mark.rotate_left(5) ^ now.0 ^ (decision.reason.word().len() as u64) << 40;
        if let Action::Do(effects) = &decision.action {
            if record.wants_findings(effects) {
                record.first_drain = Some(Box::new((departure.clone(), seen.clone(), self.policy.clone())));
            }
            // A worker that drains later may not see the group any more: a group that a scan found has no target of the instance by then.
            record.foresee_of_groups(effects, departure, seen, &self.policy);
        }
        if let Action::Do(effects) = &decision.action
            && effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)))
        {
            record.report(self.worker, foreseen_losses(departure, seen, &self.policy));
        }
        // A later worker that finds the instance gone has seen nothing of it.
        if let Action::End(outcome) = &decision.action
            && (record.last.is_none() || seen.history.completed.is_some())
        {
            let reported = record.reported.iter().find(|(of, _)| *of == self.worker);
            record.last = Some(Box::new(LastWorker {
                departure: departure.clone(),
                seen: seen.clone(),
                policy: self.policy.clone(),
                reported: reported.map(|(_, findings)| findings.clone()).unwrap_or_default(),
                outcome: outcome.clone(),
            }));
        }
        if decision.reason == Reason::SafeBesideTheDelay {
            record.overlapped = true;
        }
        let worker = self.worker;
        if let Some(trace) = &mut record.trace {
            let line = describe::line(decision);
            if record.last_wait.as_ref() != Some(&line) {
                trace.push(format!("{:>8.1}s  [{worker}] {line}", now.since(BEGIN).as_secs_f64()));
            }
            record.last_wait = matches!(decision.action, Action::Wait { .. }).then_some(line);
        }
    }

    fn wrote(&mut self, _: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let record = &mut *self.record.borrow_mut();
        let worker = self.worker;
        if let (Some(trace), Err(refusal)) = (&mut record.trace, answer) {
            trace.push(format!("{:>8.1}s  [{worker}]   {}: {refusal}", now.since(BEGIN).as_secs_f64(), effect.brief()));
        }
    }
}
