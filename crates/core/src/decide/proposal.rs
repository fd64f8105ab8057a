//! What one concern proposes to do next, and how the proposals of several concerns become one.

use std::time::Duration;

use super::case::Case;
use super::{Action, Decision, Effect, EffectKind, Observed, Part, Reason};
use crate::time::Time;

/// What one concern proposes to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proposal {
    /// Nothing: the concern has reached its goal.
    Done,
    /// Nothing: the concern has not reached its goal, and can do nothing for it now. Another concern's progress, or another wait, brings it
    /// on.
    NotYet,
    /// Nothing: the concern has no part in this departure, or none at this point.
    DoesNotApply,
    /// To write these effects, at once.
    Write(Vec<Effect>, Reasons),
    /// To look at these parts, at once.
    Look(Vec<Part>, Reasons),
    /// To wait until that time, or until one of the watched parts changes.
    Wait { until: Time, watch: Vec<Part>, reasons: Reasons },
}

/// Why something is proposed. A merged proposal has the reasons of all that were merged, each once. The first becomes the decision's
/// reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reasons {
    pub(super) first: Reason,
    pub(super) others: Vec<Reason>,
}

impl From<Reason> for Reasons {
    fn from(first: Reason) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl Reasons {
    fn extend(&mut self, more: Self) {
        for reason in std::iter::once(more.first).chain(more.others) {
            if reason != self.first && !self.others.contains(&reason) {
                self.others.push(reason);
            }
        }
    }
}

/// How merged proposals depend on one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// They are independent: the concerns of a departure, and its target groups.
    Together,
    /// Each comes after those before it. Only looks are made together with earlier looks.
    InTurn,
    /// They are all needed for one conclusion, and are read in one round. With slow answers, separate rounds would make each other's
    /// results outdated without end.
    OneRound,
}

/// Merges proposals into one. Nothing else merges proposals.
///
/// | order | the merged proposal |
/// |---|---|
/// | [`Together`](Order::Together) | all writes; else all looks; else the earliest wait, watching what any of them watches |
/// | [`InTurn`](Order::InTurn) | the first that proposes anything; if that is a look, with all later looks |
/// | [`OneRound`](Order::OneRound) | the first wait; else as `Together` |
///
/// The first proposal that was taken gives the reason. If none proposes anything, the result is `NotYet` if one of them is, else `Done` if
/// one of them is, else `DoesNotApply`.
pub(super) fn merge(order: Order, proposals: impl IntoIterator<Item = Proposal>) -> Proposal {
    let mut merged = Proposal::DoesNotApply;
    for proposal in proposals {
        // In place, because every decision merges a dozen proposals.
        match (&mut merged, proposal) {
            (Proposal::Write(effects, reasons), Proposal::Write(more, why)) if order != Order::InTurn => {
                effects.extend(more);
                reasons.extend(why);
            }
            (Proposal::Look(parts, reasons), Proposal::Look(more, why)) => {
                parts.extend(more);
                reasons.extend(why);
            }
            (Proposal::Wait { until, watch, reasons }, Proposal::Wait { until: other, watch: more, reasons: why })
                if order == Order::Together =>
            {
                *until = (*until).min(other);
                watch.extend(more);
                reasons.extend(why);
            }
            (earlier, later) => {
                if rank(order, earlier) < rank(order, &later) {
                    *earlier = later;
                }
            }
        }
    }
    merged
}

/// If two proposals are not taken together, the one of the higher rank is taken, or the earlier one of the same rank.
fn rank(order: Order, proposal: &Proposal) -> u8 {
    match (order, proposal) {
        (_, Proposal::DoesNotApply) => 0,
        (_, Proposal::Done) => 1,
        (_, Proposal::NotYet) => 2,
        (Order::InTurn, Proposal::Write(..) | Proposal::Look(..) | Proposal::Wait { .. }) => 3,
        (Order::Together, Proposal::Wait { .. }) => 3,
        (Order::Together | Order::OneRound, Proposal::Look(..)) => 4,
        (Order::Together | Order::OneRound, Proposal::Write(..)) => 5,
        (Order::OneRound, Proposal::Wait { .. }) => 6,
    }
}

impl Proposal {
    /// To write these effects.
    pub(super) fn write(effects: Vec<Effect>, reason: Reason) -> Self {
        Self::Write(effects, reason.into())
    }

    /// To look at these parts. `Done` if there are none.
    pub(super) fn look(parts: Vec<Part>, reason: Reason) -> Self {
        if parts.is_empty() { Self::Done } else { Self::Look(parts, reason.into()) }
    }

    /// To wait, watching nothing.
    pub(super) fn wait(until: Time, reason: Reason) -> Self {
        Self::Wait { until, watch: Vec::new(), reasons: reason.into() }
    }

    /// To wait, watching this part.
    pub(super) fn watch(until: Time, part: Part, reason: Reason) -> Self {
        Self::Wait { until, watch: vec![part], reasons: reason.into() }
    }

    /// Whether the concern holds up nothing that comes after it: it is done, or does not apply.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Done | Self::DoesNotApply)
    }

    /// Whether it proposes something: a write, a look or a wait.
    pub(super) fn is_something(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Look(..) | Self::Wait { .. })
    }

    /// Whether it is a look.
    pub(super) fn is_look(&self) -> bool {
        matches!(self, Self::Look(..))
    }

    /// Whether it is a wait.
    pub(super) fn is_wait(&self) -> bool {
        matches!(self, Self::Wait { .. })
    }

    /// The same look, for this reason.
    pub(super) fn look_because(self, reason: Reason) -> Self {
        if let Self::Look(parts, _) = self { Self::look(parts, reason) } else { self }
    }

    /// The same without the looks that are late. Their answers are waited for.
    fn without_late(self, late: &[Part]) -> Self {
        let Self::Look(mut parts, reasons) = self else { return self };
        parts.retain(|part| !late.contains(part));
        if parts.is_empty() {
            return Self::Wait { until: Time::NEVER, watch: Vec::new(), reasons };
        }
        Self::Look(parts, reasons)
    }
}

/// The first pause after a failure; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Short enough to notice soon that a system is back, and long enough not to overload it.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// If no concern proposes anything, the next decision is made after this.
const NOTHING_PROPOSED: Duration = Duration::from_secs(5);

/// When to try again after this many failures in a row.
pub(super) fn retry_at(last: Time, tries: u32) -> Time {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    last + doubled.min(LONGEST_PAUSE)
}

/// Looks at a part unless it is known. If it cannot be read, waits before the next try.
pub(super) fn must_see<T>(case: &Case<'_>, sight: &Observed<T>, part: Part) -> Proposal {
    if sight.now().is_some() {
        return Proposal::Done;
    }
    look_again(case, sight, part, must_be_read(sight))
}

/// Why a part is read that is not known.
pub(super) fn must_be_read<T>(sight: &Observed<T>) -> Reason {
    if sight.at().is_some() { Reason::MayHaveChanged } else { Reason::NotKnownYet }
}

/// Looks at a part, even if it is known. If it cannot be read, waits before the next try.
pub(super) fn look_again<T>(case: &Case<'_>, sight: &Observed<T>, part: Part, reason: Reason) -> Proposal {
    match sight.blind() {
        Some(blind) if case.now < retry_at(blind.tried, blind.tries) => {
            Proposal::wait(retry_at(blind.tried, blind.tries), Reason::CannotSee(part.system()))
        }
        Some(_) => {
            let reason = Reason::CannotSee(part.system());
            Proposal::look(vec![part], reason)
        }
        None => Proposal::look(vec![part], reason),
    }
}

/// Writes, unless a write of this kind has just failed.
pub(super) fn write(case: &Case<'_>, kind: EffectKind, effects: Vec<Effect>, reason: Reason) -> Proposal {
    match case.seen.history.failures(kind) {
        Some(row) if case.now < retry_at(row.last, row.count) => {
            Proposal::wait(retry_at(row.last, row.count), Reason::WriteFailed(row.why.to_string().into()))
        }
        _ => Proposal::write(effects, reason),
    }
}

/// A decision, and the other reasons that were merged in it.
pub(super) struct Merged {
    pub(super) decision: Decision,
    pub(super) others: Vec<Reason>,
}

impl From<Decision> for Merged {
    fn from(decision: Decision) -> Self {
        Self { decision, others: Vec::new() }
    }
}

/// The decision from the proposals of all concerns. A look that is late is waited for. If no concern proposes anything, the world is read
/// again later.
pub(super) fn decide_among(case: &Case<'_>, proposals: impl IntoIterator<Item = Proposal>) -> Merged {
    let proposals = proposals.into_iter().map(|proposal| proposal.without_late(&case.seen.late));
    let (action, reasons) = match merge(Order::Together, proposals) {
        Proposal::Write(effects, reasons) => (Action::Do(effects), reasons),
        Proposal::Look(parts, reasons) => (Action::Look(each_once(parts)), reasons),
        Proposal::Wait { until, watch, reasons } => (Action::Wait { until, watch: each_once(watch) }, reasons),
        Proposal::Done | Proposal::NotYet | Proposal::DoesNotApply => {
            (Action::Wait { until: case.now + NOTHING_PROPOSED, watch: Vec::new() }, Reason::NotKnownYet.into())
        }
    };
    Merged { decision: Decision { action, reason: reasons.first }, others: reasons.others }
}

/// Each part once. All target groups become one part, so that they are read in one round.
fn each_once(all: Vec<Part>) -> Vec<Part> {
    if all.len() < 2 {
        return all;
    }
    let mut parts: Vec<Part> = Vec::with_capacity(all.len());
    for part in all {
        let Part::TargetGroups { groups, attributes_again } = part else {
            if !parts.contains(&part) {
                parts.push(part);
            }
            continue;
        };
        let there = parts.iter_mut().find_map(|p| match p {
            Part::TargetGroups { groups, attributes_again } => Some((groups, attributes_again)),
            Part::Lifecycle
            | Part::Group { .. }
            | Part::Scan
            | Part::Nomad
            | Part::NomadToken
            | Part::Consul
            | Part::NomadServices
            | Part::Addresses(_) => None,
        });
        match there {
            None => parts.push(Part::TargetGroups { groups, attributes_again }),
            Some((there, again)) => {
                *again |= attributes_again;
                let new: Vec<_> = groups.into_iter().filter(|g| !there.contains(g)).collect();
                there.extend(new);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::Order::{InTurn, OneRound, Together};
    use super::Proposal::{DoesNotApply, Done, NotYet};
    use super::*;
    use crate::decide::{ActionRef, Cause, Departure, LifecycleAction, Policy, Snapshot};
    use crate::ids::{InstanceId, NodeId};

    fn heartbeat() -> Proposal {
        let of = ActionRef { hook: "hook".into(), token: None };
        Proposal::write(vec![Effect::Heartbeat(of)], Reason::HeartbeatDue)
    }

    fn ineligible() -> Proposal {
        Proposal::write(vec![Effect::MakeIneligible(NodeId(1))], Reason::TakesNewWork)
    }

    fn look(part: Part) -> Proposal {
        Proposal::look(vec![part], Reason::NotKnownYet)
    }

    fn wait(until: u64) -> Proposal {
        Proposal::watch(Time(until), Part::Nomad, Reason::DrainHangs)
    }

    fn watch_consul(until: u64) -> Proposal {
        Proposal::watch(Time(until), Part::Consul, Reason::TimeIsUp)
    }

    /// What was taken, in one word for each write, look and watched part.
    fn shown(proposal: &Proposal) -> String {
        match proposal {
            Proposal::Write(effects, _) => effects.iter().map(|effect| effect.kind().word()).collect::<Vec<_>>().join(" "),
            Proposal::Look(parts, _) => format!("look {}", parts.iter().map(Part::title).collect::<Vec<_>>().join(" ")),
            Proposal::Wait { until, watch, .. } => {
                format!("until {} {}", until.0, watch.iter().map(Part::title).collect::<Vec<_>>().join(" "))
            }
            Done => "done".to_owned(),
            NotYet => "not yet".to_owned(),
            DoesNotApply => "does not apply".to_owned(),
        }
    }

    fn decided(late: &[Part], proposals: &[Proposal]) -> Merged {
        let instance = InstanceId::from_number(1);
        let departure = Departure { instance, asg: "asg".into(), cause: Cause::Lifecycle(LifecycleAction::default()) };
        let mut seen = Snapshot::begin(instance, Time(0));
        seen.late = late.to_vec();
        decide_among(&Case::new(&departure, &seen, &Policy::default(), Time(0)), proposals.iter().cloned())
    }

    #[test]
    fn proposals_are_merged_by_their_order() {
        let consul = || look(Part::Consul);
        let rows = [
            (Together, vec![], "does not apply"),
            (Together, vec![DoesNotApply, Done], "done"),
            (Together, vec![Done, NotYet, DoesNotApply], "not yet"),
            (Together, vec![NotYet, wait(5)], "until 5 its node"),
            (Together, vec![wait(5), consul(), heartbeat(), ineligible()], "heartbeat make-ineligible"),
            (Together, vec![wait(5), consul(), Done, look(Part::Lifecycle)], "look Consul the instance"),
            (Together, vec![wait(9), watch_consul(5), NotYet], "until 5 its node Consul"),
            (InTurn, vec![DoesNotApply, NotYet, wait(9), consul()], "until 9 its node"),
            (InTurn, vec![wait(9), watch_consul(5)], "until 9 its node"),
            (InTurn, vec![Done, consul(), wait(5), look(Part::Lifecycle)], "look Consul the instance"),
            (InTurn, vec![consul(), heartbeat()], "look Consul"),
            (InTurn, vec![heartbeat(), ineligible()], "heartbeat"),
            (OneRound, vec![consul(), wait(9), watch_consul(5), heartbeat()], "until 9 its node"),
            (OneRound, vec![Done, consul(), look(Part::Lifecycle), NotYet], "look Consul the instance"),
            (OneRound, vec![Done, NotYet], "not yet"),
        ];
        for (order, proposals, expected) in rows {
            assert_eq!(shown(&merge(order, proposals.clone())), expected, "{order:?} {proposals:?}");
        }
    }

    #[test]
    fn only_what_is_done_or_does_not_apply_lets_others_go_on() {
        let settled = [Done, DoesNotApply];
        assert!(settled.iter().all(Proposal::is_settled));
        assert!(![NotYet, heartbeat(), look(Part::Nomad), wait(5)].iter().any(Proposal::is_settled));
    }

    #[test]
    fn a_decision_has_every_reason_that_was_merged_in_it_once() {
        let Merged { decision, others } = decided(&[], &[wait(9), watch_consul(5), wait(7), NotYet]);
        assert_eq!((decision.reason, others), (Reason::DrainHangs, vec![Reason::TimeIsUp]));
        let Merged { decision, others } = decided(&[], &[Done]);
        assert_eq!((decision.reason, others), (Reason::NotKnownYet, vec![]));
    }

    #[test]
    fn a_late_look_is_waited_for_and_others_are_made() {
        let late = decided(&[Part::Consul], &[look(Part::Consul)]).decision;
        assert_eq!(late.action, Action::Wait { until: Time::NEVER, watch: Vec::new() });
        let both = decided(&[Part::Consul], &[look(Part::Consul), look(Part::Lifecycle)]).decision;
        assert_eq!(both.action, Action::Look(vec![Part::Lifecycle]));
    }
}
