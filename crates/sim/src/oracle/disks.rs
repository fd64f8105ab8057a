//! Migrating disks: a replacement copies the disk from the leaving machine after the allocation there is over.

use super::{LAST_LOOK, Oracle};
use crate::event::AllocationNumber;
use crate::nomad::Nomad;
use decamp_core::decide::{Finding, JobKind, Loss, TaskGroup};
use decamp_core::time::Time;

impl Oracle {
    /// Called when an allocation on the leaving node is over. If a drain moved it, its replacement begins to copy its disk.
    pub(super) fn begin_copy_of_disk(&mut self, at: Time, number: AllocationNumber, nomad: &Nomad) {
        let allocation = nomad.allocation(number);
        let spec = &nomad.groups()[allocation.group.index()].spec;
        let moved = self.first_drain.is_some() && !allocation.wanted;
        if moved && spec.group.migrates_disk && spec.group.kind == JobKind::Service {
            self.copying.push((number, at + spec.behaviour.copies_disk_in));
        }
    }

    /// S18: a finding named each disk whose copy decamp's completion cut.
    pub fn check_disks(&mut self, findings: &[Finding], nomad: &Nomad) {
        let Some((completed, stopped)) = self.verdict.as_ref().map(|(at, _)| *at).zip(self.machine_stopped) else { return };
        // No list showed decamp an allocation that was purged, that started after the drain began, or that was replaced while its agent
        // was away.
        if self.work_stopped_by_operator || self.landed_unseen() || self.agent_died.is_some() {
            return;
        }
        for group in self.cut_disks(completed.max(stopped), nomad) {
            let named = findings.iter().any(|finding| finding.loss == Loss::DiskCut && group.is_titled(&finding.object));
            if !named {
                self.broke(stopped, "S18", format!("the disk of {} was lost without a finding", group.title()));
            }
        }
    }

    /// Whether an allocation started on the node so late that no look before the completion showed it.
    #[must_use]
    pub fn landed_unseen(&self) -> bool {
        self.landed.zip(self.verdict.as_ref()).is_some_and(|(landed, (verdict, _))| *verdict < landed + LAST_LOOK)
    }

    /// The task groups whose disks were still being copied at that time.
    pub fn cut_disks<'n>(&self, at: Time, nomad: &'n Nomad) -> Vec<&'n TaskGroup> {
        let cut = self.copying.iter().filter(|(_, copied)| at < *copied);
        cut.map(|(number, _)| &*nomad.groups()[nomad.allocation(*number).group.index()].spec.group).collect()
    }
}
