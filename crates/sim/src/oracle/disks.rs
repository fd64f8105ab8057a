//! Migrating disks: a replacement copies the disk from the leaving machine after the allocation there is over.

use std::sync::Arc;
use std::time::Duration;

use super::{LAST_LOOK, Oracle};
use crate::event::AllocationNumber;
use crate::nomad::{AllocationState, DiskCopy, Nomad};
use decamp_core::decide::{Finding, JobKind, Loss, Outcome, TaskGroup};
use decamp_core::time::Time;

/// How far the clocks of nodes may differ from decamp's, as the rule allows for.
const CLOCKS: Duration = Duration::from_mins(1);

impl Oracle {
    /// Called when an allocation on the leaving node is over. If a drain moved it, its disk has to leave too.
    pub(super) fn see_disk(&mut self, number: AllocationNumber, nomad: &Nomad) {
        let allocation = nomad.allocation(number);
        let group = nomad.group_of(allocation);
        let drained = self.first_drain.is_some() || self.operator_drained.is_some();
        if drained && allocation.marked && !allocation.wanted && group.migrates_disk && group.kind == JobKind::Service {
            self.disks.push((number, self.first_drain.is_some()));
        }
    }

    /// S20: an outcome that claims that the instance left in order implies that no disk was left on it. L2: `data-left` is for the end, or
    /// for a dead agent.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other outcome says anything of disks")]
    pub(super) fn check_disks_left(&mut self, at: Time, verdict: &Outcome, in_time: bool, nomad: &Nomad) {
        if self.hides_data() {
            return;
        }
        let named: &[Arc<str>] = match verdict {
            Outcome::Departed { .. } | Outcome::Forced | Outcome::Unconfirmed { .. } => &[],
            Outcome::DataLeft { titles, .. } => titles,
            _ => return,
        };
        if in_time && !named.is_empty() {
            self.broke(at, "L2", format!("it gave up the disk of {} although there was time", named[0]));
        }
        let counted = self.disks.iter().filter(|(number, by_us)| *by_us || !self.ended_before_the_hook(*number, nomad));
        let left = counted.map(|(number, _)| number).filter(|number| !nomad.disk_has_left(**number));
        let unnamed = left
            .map(|number| nomad.group_of(nomad.allocation(*number)))
            .find(|group| !named.iter().any(|title| group.is_titled(title)));
        if let Some(group) = unnamed {
            self.broke(at, "S20", format!("the disk of {} was left on the instance", group.title()));
        }
    }

    /// S18: a finding named each disk whose copy decamp's completion cut.
    pub fn check_disk_findings(&mut self, findings: &[Finding], nomad: &Nomad) {
        let Some(stopped) = self.machine_stopped.filter(|_| self.verdict.is_some()) else { return };
        if self.hides_data() {
            return;
        }
        // What ended under an operator's drain was gone before decamp looked for findings.
        for group in self.cut(nomad, |by_us| by_us) {
            let named = findings.iter().any(|finding| finding.loss == Loss::DiskCut && group.is_titled(&finding.object));
            if !named {
                self.broke(stopped, "S18", format!("the disk of {} was lost without a finding", group.title()));
            }
        }
    }

    /// Whether an allocation had ended under an operator's drain long before the instance entered the hook. A disk that nobody copied by
    /// then was its operator's to decide (ADR 0046).
    pub(super) fn ended_before_the_hook(&self, number: AllocationNumber, nomad: &Nomad) -> bool {
        nomad.allocation(number).ended.zip(self.hook_began).is_some_and(|(ended, began)| ended + CLOCKS < began)
    }

    /// Whether no list showed decamp a disk or volume: of an allocation that was purged, that started after the drain began, or that was replaced
    /// while its agent was away. Nobody copies one from a machine that is gone.
    pub(super) fn hides_data(&self) -> bool {
        self.work_stopped_by_operator || self.landed_unseen() || self.agent_died.is_some() || self.machine_died
    }

    /// Whether an allocation started on the node so late that no look before the completion showed it.
    #[must_use]
    pub fn landed_unseen(&self) -> bool {
        self.landed.zip(self.verdict.as_ref()).is_some_and(|(landed, (verdict, _))| *verdict < landed + LAST_LOOK)
    }

    /// The task groups whose disks were lost with the machine.
    pub fn cut_disks<'n>(&self, nomad: &'n Nomad) -> Vec<&'n TaskGroup> {
        self.cut(nomad, |_| true)
    }

    /// For each disk, from the end of its allocation until its last replacement had it, or for ever.
    pub fn copies<'n>(&'n self, nomad: &'n Nomad) -> impl Iterator<Item = (Time, Time)> + 'n {
        self.disks.iter().filter_map(|(number, _)| copy(nomad, *number))
    }

    /// The same for the disks of one group.
    pub(super) fn copies_of<'n>(&'n self, nomad: &'n Nomad, title: &'n str) -> impl Iterator<Item = (Time, Time)> + 'n {
        let of_group = self.disks.iter().filter(|(number, _)| nomad.group_of(nomad.allocation(*number)).is_titled(title));
        // What the end of the machine cut was being copied until then.
        let cut = |number: AllocationNumber| replacements(nomad, number).any(|one| one.copy == DiskCopy::Cut);
        of_group.filter_map(move |(number, _)| {
            let (over, until) = copy(nomad, *number)?;
            Some((over, if cut(*number) { Time::NEVER } else { until }))
        })
    }

    fn cut<'n>(&self, nomad: &'n Nomad, counts: impl Fn(bool) -> bool) -> Vec<&'n TaskGroup> {
        let lost = |number: &&AllocationNumber| !nomad.disk_has_left(**number) || last(nomad, **number).copy == DiskCopy::Cut;
        let counted = self.disks.iter().filter(|(_, by_us)| counts(*by_us)).map(|(number, _)| number);
        counted.filter(lost).map(|number| &**nomad.group_of(nomad.allocation(*number))).collect()
    }
}

/// From the end of an allocation until its last replacement had its disk, or for ever.
fn copy(nomad: &Nomad, number: AllocationNumber) -> Option<(Time, Time)> {
    let over = nomad.allocation(number).ended?;
    let until = match last(nomad, number).copy {
        DiskCopy::Whole(at) => at,
        DiskCopy::None | DiskCopy::Until(_) | DiskCopy::Cut if nomad.disk_has_left(number) => over,
        DiskCopy::None | DiskCopy::Until(_) | DiskCopy::Cut => Time::NEVER,
    };
    Some((over, until))
}

/// The replacement, that one's replacement, and so on.
fn replacements(nomad: &Nomad, number: AllocationNumber) -> impl Iterator<Item = &AllocationState> {
    std::iter::successors(Some(nomad.allocation(number)), |one| Some(nomad.allocation(one.next?))).skip(1)
}

/// The last of the replacements.
fn last(nomad: &Nomad, number: AllocationNumber) -> &AllocationState {
    replacements(nomad, number).last().unwrap_or_else(|| nomad.allocation(number))
}
