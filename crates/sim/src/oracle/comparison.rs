//! What a departure says of its findings at the end is what happened in the models.

use std::time::Duration;

use super::Oracle;
use super::stops::{Counts, really};
use crate::event::AllocationNumber;
use crate::nomad::{AllocationState, Nomad};
use crate::world::Subject;
use decamp_core::decide::{Compared, Finding, Loss, Match, Outcome};
use decamp_core::time::Time;

/// Which registrations of the instance outlived their allocations.
#[derive(Debug, Clone, Default)]
pub(super) struct Registrations {
    /// Allocations of which a service left discovery.
    left: Vec<AllocationNumber>,
    /// The task groups of those that were over before that.
    outlived: Vec<String>,
}

impl Registrations {
    pub(super) fn left(&mut self, allocation: AllocationNumber) {
        self.left.push(allocation);
    }

    pub(super) fn over(&mut self, number: AllocationNumber, nomad: &Nomad) {
        if !self.left.contains(&number) {
            self.outlived.push(nomad.group_of(nomad.allocation(number)).title());
        }
    }

    fn outlived(&self, title: &str) -> bool {
        self.outlived.iter().any(|outlived| outlived == title)
    }
}

impl Oracle {
    /// S21: what is said to be seen happened; what is said to be foreseen was reported; and each task that was cut is compared.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub fn check_compared(
        &mut self,
        at: Time,
        compared: &[Compared],
        findings: &[Finding],
        stopped: &[Finding],
        outcome: &Outcome,
        nomad: &Nomad,
        subject: &Subject,
        lists_change: bool,
    ) {
        let cuts = really(nomad, subject, self.bounds.entry_is_wrong);
        for one in compared {
            // Once a node's row is purged, its allocations are replaced without a trace. And a slow answer does not show the copy that landed
            // after it.
            let landed = self.landed.is_some_and(|landed| one.at.is_none_or(|at| at < landed + self.slowness * 2 + ANSWER));
            let untraced = (lists_change || landed) && one.loss == Some(Loss::NoCopyLeft);
            if one.result.is_seen() && !untraced && !self.happened(one, &cuts, nomad, subject) {
                self.broke(at, "S21", format!("it did not happen: {one}"));
            }
            let reported = || findings.iter().any(|finding| Some(finding.loss) == one.loss && finding.object == one.object);
            // A later worker cannot tell what an agent brought back after the drain, or an operator stopped before it, from what the drain
            // stopped.
            if one.result.is_foreseen() && !lists_change && one.loss.is_some_and(|loss| STOPS.contains(&loss)) && !reported() {
                self.broke(at, "S21", format!("nobody reported it: {one}"));
            }
        }
        for finding in stopped {
            let said = compared.iter().any(|one| {
                let is_it = one.object == finding.object || finding.object.starts_with(&format!("{}/", one.object));
                is_it && one.result.is_seen()
            });
            let explained = compared.iter().any(|one| matches!(one.loss, Some(Loss::DoesNotFit | Loss::Interrupted)));
            if !said && !explained && self.verdict.is_some() && outcome.is_compared() {
                self.broke(at, "S21", format!("nothing is said of {}: {}", finding.object, finding.value));
            }
        }
    }

    /// S21: what is said not to be seen cost nothing that could have been seen.
    pub fn check_not_seen(&mut self, at: Time, compared: &[Compared], costly: &[&Finding], nomad: &Nomad, subject: &Subject) {
        let cuts = really(nomad, subject, self.bounds.entry_is_wrong);
        for one in compared.iter().filter(|one| one.result == Match::ForeseenNotSeen) {
            let cost = costly.iter().any(|finding| Some(finding.loss) == one.loss && finding.object == one.object);
            // A process that ends before it has answered every request leaves no trace.
            // Nor does a copy of a disk from a machine that dies, or whose agent does.
            let unseen = self.machine_died || self.agent_died.is_some() || self.operator_drained.is_some();
            let lost = one.loss == Some(Loss::DiskCut) && unseen;
            let leaves_a_trace = !lost && (one.loss != Some(Loss::KilledWithRequests) || was_cut(&cuts, &one.object));
            if cost && leaves_a_trace {
                self.broke(at, "S21", format!("it happened: {one}"));
            }
        }
    }

    /// Whether the models show what a comparison says to have been seen.
    fn happened(&self, one: &Compared, cuts: &Counts, nomad: &Nomad, subject: &Subject) -> bool {
        let of_group = || nomad.allocations().iter().filter(|a| nomad.group_of(a).is_titled(&one.object));
        let here = || of_group().filter(|a| subject.has_node(a.node, nomad));
        // The simulator has no counts of load balancers.
        let Some(loss) = one.loss else { return false };
        match loss {
            Loss::KilledWithRequests | Loss::DeafTask | Loss::AbruptTask | Loss::SlowStop => was_cut(cuts, &one.object),
            Loss::LeavesBeforeForgotten => was_cut(cuts, &one.object) || self.registrations.outlived(&one.object),
            // A copy beyond the count of its job, as in a deployment, is none of those that it wants.
            Loss::NoCopyLeft => one.at.is_some_and(|at| {
                let replaces =
                    |a: &AllocationState| a.previous.is_some_and(|of| subject.has_node(nomad.allocation(of).node, nomad));
                here().next().is_some() && !of_group().any(|a| (replaces(a) || subject.has_node(a.node, nomad)) && serves(a, at))
            }),
            Loss::CutAtDeadline | Loss::NeverMigrates => here().any(|a| !a.wanted),
            // The look was asked for at that time, and answered a little later.
            Loss::DiskCut => {
                // Nobody copies the disk of an allocation that is still stopping. Nomad hears of the end of a copy later, and a look may be
                // answered by a server that is behind.
                let later = |ended: Time| one.at.is_some_and(|at| at < ended + ANSWER);
                let stops = |a: &AllocationState| !a.wanted && a.ended.is_none_or(later);
                let copied = |at| self.copies_of(nomad, &one.object).any(|(from, to)| from <= at + ANSWER && at < to + ANSWER);
                here().any(stops) || one.at.is_some_and(copied)
            }
            Loss::RegisteredByHand => subject.by_hand.as_deref() == Some(&*one.object),
            // What a look at the load balancer, or the outcome, shows. Other rules of the judge check both.
            Loss::LastHealthyTarget | Loss::LocalData | Loss::DoesNotFit | Loss::Interrupted => true,
            Loss::DelayTooShort
            | Loss::KeptConnections
            | Loss::NoTargetGroup
            | Loss::UnhandledSource
            | Loss::UnknownTarget
            | Loss::NotATarget
            | Loss::NotInConsul => false,
        }
    }
}

/// How long a look may take to be answered.
const ANSWER: Duration = Duration::from_secs(10);

/// The findings that each worker makes of what it stops.
const STOPS: [Loss; 8] = [
    Loss::KilledWithRequests,
    Loss::LeavesBeforeForgotten,
    Loss::NoCopyLeft,
    Loss::CutAtDeadline,
    Loss::NeverMigrates,
    Loss::DiskCut,
    Loss::DeafTask,
    Loss::AbruptTask,
];

/// Whether a task of this group, or this task, was killed or died of its signal.
fn was_cut(cuts: &Counts, object: &str) -> bool {
    cuts.keys().any(|(task, _)| *task == *object || task.rsplit_once('/').is_some_and(|(group, _)| group == object))
}

/// Whether an allocation served at this time, as far as discovery knows.
fn serves(allocation: &AllocationState, at: Time) -> bool {
    let began = allocation.started.is_some_and(|started| started <= at);
    let stopping = allocation.stopping.is_some_and(|stopping| stopping.requested <= at);
    let ended = allocation.ended.is_some_and(|ended| ended <= at);
    began && !stopping && !ended
}
