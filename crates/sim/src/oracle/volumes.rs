//! Volumes: no claim of a CSI volume is left without a word, and data in host volumes is held until an operator lets it go (S22).

use std::sync::Arc;
use std::time::Duration;

use super::{LAST_LOOK, Oracle};
use crate::auto_scaling::AutoScaling;
use crate::event::AllocationNumber;
use crate::nomad::{AllocationState, NodeNumber, Nomad};
use crate::world::Subject;
use decamp_core::decide::{Cause, ClientStatus, Departure, Effect, Finding, Loss, Outcome, TaskGroup};
use decamp_core::time::Time;

/// The least time that a hold leaves between its end and the end of its hook.
const LEFT_BY_A_HOLD: Duration = Duration::from_mins(5);
/// An agent shows new metadata within this time, and decamp reads a held node again within this time.
const LEAVE_IS_SEEN: Duration = Duration::from_secs(60);
/// A departure that nothing holds begins within this time.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// What the judge has seen of volumes.
#[derive(Debug, Clone, Default)]
pub(super) struct Volumes {
    /// When decamp first wrote anything that takes the instance out of service.
    first_write: Option<Time>,
}

impl Oracle {
    /// S22: called for each effect that takes the instance out of service. With `DECAMP_LOCAL_DATA=hold`, the first drain stops nothing that
    /// has local data before an operator let it go, as long as the hook allows.
    pub(super) fn see_volumes(
        &mut self,
        at: Time,
        departure: &Departure,
        effect: &Effect,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        subject: &Subject,
    ) {
        if matches!(effect, Effect::MakeIneligible(_) | Effect::Deregister { .. } | Effect::Drain { .. }) {
            self.volumes.first_write.get_or_insert(at);
        }
        // EC2 does not wait for an operator.
        let leaves_by_its_hook = matches!(departure.cause, Cause::Lifecycle(_));
        let drains = matches!(effect, Effect::Drain { .. }) && self.first_drain.is_none() && leaves_by_its_hook;
        let Some(node) = subject.node.filter(|_| drains && self.bounds.holds_local_data) else { return };
        let held = self.may_be_held(at, auto_scaling, subject) && !nomad.node(node).leaves_local_data();
        let landed = self.landed.is_some_and(|landed| at < landed + LAST_LOOK);
        if let Some(group) = uses_local_data(nomad, node).filter(|_| held && !landed && !self.lagged(at, nomad)) {
            self.broke(at, "S22", format!("{} has local data, and is drained before anybody let it go", group.title()));
        }
    }

    /// S22: an outcome that claims that the instance left in order implies that no claim of its ended allocations is left, unless Nomad
    /// denied to show it, and then it says so. It names the local data that a drain of decamp's stopped although nobody let it go. L2:
    /// claims are given up only at the end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other outcome says anything of volumes")]
    pub(super) fn check_volumes_left(&mut self, at: Time, verdict: &Outcome, in_time: bool, nomad: &Nomad, subject: &Subject) {
        let none: &[Arc<str>] = &[];
        let (claims, unread, local) = match verdict {
            Outcome::Departed { .. } | Outcome::Forced => (none, none, none),
            Outcome::Unconfirmed { unread, .. } => (none, &**unread, none),
            Outcome::DataLeft { claims, local, .. } => (&**claims, none, &**local),
            _ => return,
        };
        let Some(node) = subject.node.filter(|_| !self.hides_data()) else { return };
        // A machine that died unmounts nothing, and counts as a dead agent.
        if in_time && !claims.is_empty() && !self.machine_died {
            self.broke(at, "L2", format!("it gave up the claim on {} although there was time", claims[0]));
        }
        let left = claimed(nomad, node);
        let is_left = matches!(verdict, Outcome::DataLeft { .. });
        let unnamed = left.iter().find(|name| match nomad.denies_volumes() {
            true => !is_left && !unread.contains(name),
            false => !claims.contains(name),
        });
        if let Some(name) = unnamed {
            self.broke(at, "S22", format!("{name} was still claimed, and it says {}", verdict.word()));
        }
        // What a look at the end showed may have been released since.
        let recent = |number: AllocationNumber| nomad.allocation(number).released.is_some_and(|at_last| at < at_last + LAST_LOOK);
        let just_released = (0_u32..).map(AllocationNumber).zip(nomad.allocations()).any(|(number, _)| recent(number));
        if let Some(name) = claims.iter().find(|name| !left.contains(name) && !just_released && !self.lagged(at, nomad)) {
            self.broke(at, "S22", format!("it says that {name} is claimed, and it is not"));
        }
        let answered = !self.bounds.holds_local_data || nomad.node(node).leaves_local_data();
        if answered && !local.is_empty() {
            let seen = nomad.node(node).status_since + LAST_LOOK + self.slowness < at;
            if seen && !self.lagged(at, nomad) {
                self.broke(at, "S22", format!("it says that {} was to be held, and nobody wanted that", local[0]));
            }
        }
        let stopped =
            |a: &&AllocationState| a.marked && a.ended.is_some_and(|ended| self.first_drain.is_some_and(|at| at <= ended));
        let here = nomad.allocations().iter().filter(|a| a.node == node && a.listed);
        let took = here.filter(stopped).map(|a| nomad.group_of(a)).find(|group| {
            let is_named = local.iter().any(|name| name.ends_with(&format!(" of {}", group.title())));
            group.holds_local_data() && !answered && !is_named
        });
        if let Some(group) = took {
            self.broke(at, "S22", format!("the local data of {} was left, and it says {}", group.title(), verdict.word()));
        }
    }

    /// L2: called at the end of a departure in which nothing but host volumes is unusual. It begins at once if nothing holds it, soon after an
    /// operator let the data go, and in any case early enough before its hook ends.
    pub fn check_hold(&mut self, started: Time, hook_ends: Time, let_go: Option<Time>, nomad: &Nomad, subject: &Subject) {
        let begins = BEGINS_WITHIN + self.bounds.longest_gap;
        let Some(node) = subject.node else { return };
        let held = self.bounds.holds_local_data
            && nomad.allocations().iter().any(|a| {
                // Everything here was running when the departure began.
                a.node == node && a.previous.is_none() && nomad.group_of(a).holds_local_data()
            });
        let at_last = hook_ends.before(LEFT_BY_A_HOLD);
        let due = match (held, let_go) {
            (false, _) => started + begins,
            (true, Some(let_go)) => (let_go.max(started) + LEAVE_IS_SEEN + begins).min(at_last),
            (true, None) => at_last,
        };
        if self.volumes.first_write.is_none_or(|first| due < first) {
            self.broke(due, "L2", "nothing held it any more, and it did not begin to leave".to_owned());
        }
    }

    /// S22: a finding named all local data that decamp's completion took away.
    pub fn check_local_data_findings(&mut self, findings: &[Finding], nomad: &Nomad, subject: &Subject) {
        let (Some(stopped), Some(node)) = (self.machine_stopped.filter(|_| self.verdict.is_some()), subject.node) else { return };
        if self.hides_data() || self.first_drain.is_none() {
            return;
        }
        let was_told = |a: &AllocationState| a.stopping.is_some_and(|plan| self.first_drain < Some(plan.requested));
        let here = nomad.allocations().iter().filter(|a| a.node == node && a.listed && a.previous.is_none() && was_told(a));
        let unnamed = here.map(|a| nomad.group_of(a)).find(|group| {
            let is_named = |finding: &Finding| finding.loss == Loss::LocalData && group.is_titled(&finding.object);
            group.holds_local_data() && !findings.iter().any(is_named)
        });
        if let Some(group) = unnamed {
            self.broke(stopped, "S22", format!("the local data of {} was lost without a finding", group.title()));
        }
    }

    /// For each ended allocation of the instance, from its end until its claims are released if nothing prevents it, or for ever.
    pub fn releases<'n>(&self, nomad: &'n Nomad, subject: &'n Subject) -> impl Iterator<Item = (Time, Time)> + use<'n> {
        let numbers = (0_u32..).map(AllocationNumber).zip(nomad.allocations());
        let here = numbers.filter(|(_, allocation)| Some(allocation.node) == subject.node && !nomad.denies_volumes());
        here.filter_map(|(number, allocation)| Some((allocation.ended?, nomad.release_due(number)?)))
    }
}

/// Whether something on the node uses or claims a CSI volume: then the first drain leaves system jobs, also when the delay is over.
pub(super) fn uses_csi(nomad: &Nomad, node: NodeNumber) -> bool {
    let numbers = (0_u32..).map(AllocationNumber).zip(nomad.allocations());
    let mut here = numbers.filter(|(_, a)| a.node == node && a.listed);
    here.any(|(number, a)| !a.client.is_over() && nomad.group_of(a).claims_volumes() || !nomad.claims(number).is_empty())
}

/// A group of the node with local data of which Nomad lists an allocation that runs.
fn uses_local_data(nomad: &Nomad, node: NodeNumber) -> Option<&TaskGroup> {
    let runs = |a: &&AllocationState| a.node == node && a.listed && a.is_alive() && a.client != ClientStatus::Lost;
    nomad.allocations().iter().filter(runs).map(|a| &**nomad.group_of(a)).find(|group| group.holds_local_data())
}

/// The volumes that ended allocations of the node claim, as outcomes name them.
fn claimed(nomad: &Nomad, node: NodeNumber) -> Vec<Arc<str>> {
    let numbers = (0_u32..).map(AllocationNumber).zip(nomad.allocations());
    let ended = numbers.filter(|(_, a)| a.node == node && a.listed && a.client.is_over());
    let named = ended.flat_map(|(number, a)| {
        let title = nomad.group_of(a).title();
        nomad.claims(number).into_iter().map(move |volume| format!("{volume} of {title}").into())
    });
    named.collect()
}
