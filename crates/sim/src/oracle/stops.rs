//! How tasks stopped: what a departure says of it is what happened in the model.

use std::collections::BTreeMap;

use super::Oracle;
use crate::nomad::Nomad;
use crate::scenario::BEGIN;
use crate::world::Subject;
use decamp_core::decide::{Outcome, StopKind, TaskStops};
use decamp_core::time::Time;

/// What killed a task, or what its signal did to it: the number of stops by `job/group/task`.
pub(super) type Counts = BTreeMap<(String, StopKind), usize>;

impl Oracle {
    /// S19: a departure names no task as killed or dead of its signal that was not. `whole`: nothing hid a stop from its last worker, so that
    /// it also names every one that was.
    pub fn check_stops(
        &mut self,
        at: Time,
        outcome: Option<&Outcome>,
        said: &[TaskStops],
        nomad: &Nomad,
        subject: &Subject,
        whole: bool,
    ) {
        // An event of an earlier action may say that the departure began hours ago.
        let really = really(nomad, subject, self.bounds.entry_is_wrong);
        for task in said {
            for kind in [StopKind::Deaf, StopKind::Abrupt] {
                let happened = really.get(&(task.task.to_string(), kind)).copied().unwrap_or(0);
                if happened < task.count(kind) {
                    let what = format!(
                        "{} is said to be {} {} times, and was {happened} times",
                        task.task,
                        kind.word(),
                        task.count(kind)
                    );
                    self.broke(at, "S19", what);
                }
            }
        }
        if !(whole && matches!(outcome, Some(Outcome::Departed { .. }))) {
            return;
        }
        for ((task, kind), happened) in really {
            let named: usize = said.iter().filter(|one| *one.task == *task).map(|one| one.count(kind)).sum();
            if named < happened {
                self.broke(at, "S19", format!("{task} was {} {happened} times, and is said to be {named} times", kind.word()));
            }
        }
    }
}

/// The stops on the instance's nodes that ended by SIGKILL, or by the signal that the task has no handler for. Those before the departure
/// are no stops of it.
pub(super) fn really(nomad: &Nomad, subject: &Subject, earlier_ones: bool) -> Counts {
    let mut counts = Counts::new();
    let numbers = (0_u32..).map(crate::event::AllocationNumber).zip(nomad.allocations());
    let is_new = |ended: Option<Time>| earlier_ones || ended.is_none_or(|ended| BEGIN <= ended);
    for (number, allocation) in
        numbers.filter(|(_, allocation)| subject.has_node(allocation.node, nomad) && is_new(allocation.ended))
    {
        let spec = &nomad.groups()[allocation.group.index()].spec;
        for stop in nomad.task_stops(number) {
            let killed = stop.exit_code == 137;
            let died = !killed && spec.behaviour.dies_of_signal && stop.exit_code == 143;
            let kind = if killed { StopKind::Deaf } else { StopKind::Abrupt };
            if killed || died {
                *counts.entry((format!("{}/{}", spec.group.title(), stop.task), kind)).or_default() += 1;
            }
        }
    }
    counts
}
