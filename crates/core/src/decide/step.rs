//! What one concern asks for, and how the wishes of all concerns become one decision.

use std::time::Duration;

use super::{Action, Decision, Effect, EffectKind, Part, Reason, Sight, Snapshot, System};
use crate::time::Time;

/// What one concern asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is satisfied.
    Satisfied,
    /// Writes, at once.
    Do(Vec<Effect>, Reason),
    /// Looks, at once.
    Look(Vec<Part>, Reason),
    /// To wait.
    Wait { until: Time, watch: Vec<Part>, reason: Reason },
}

impl Step {
    /// To wait, watching nothing.
    pub(super) fn wait(until: Time, reason: Reason) -> Self {
        Self::Wait { until, watch: Vec::new(), reason }
    }

    /// Both looks together, each part once; else what this one wants before what the other does.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Look(mut parts, reason), Self::Look(more, _)) => {
                join(&mut parts, more);
                Self::Look(parts, reason)
            }
            (Self::Satisfied, other) => other,
            (this, _) => this,
        }
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_satisfied(&self) -> bool {
        *self == Self::Satisfied
    }
}

/// The first pause after a failure; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Often enough to be soon back when a system is back, seldom enough not to hold it down.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// When to try again after this many failures in a row.
pub(super) fn retry_at(last: Time, tries: u32) -> Time {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    last + doubled.min(LONGEST_PAUSE)
}

/// Looks at a part unless it is known; if it cannot be seen, waits before it looks again.
pub(super) fn must_see<T>(sight: &Sight<T>, part: Part, system: System, now: Time) -> Step {
    if sight.now().is_some() {
        return Step::Satisfied;
    }
    look_again(sight, part, system, now, Reason::MustLook)
}

/// Looks at a part once more, even if it is known; if it cannot be seen, waits before it looks again.
pub(super) fn look_again<T>(sight: &Sight<T>, part: Part, system: System, now: Time, reason: Reason) -> Step {
    match sight.blind() {
        Some(blind) if now < retry_at(blind.tried, blind.tries) => {
            Step::wait(retry_at(blind.tried, blind.tries), Reason::CannotSee(system))
        }
        Some(_) => Step::Look(vec![part], Reason::CannotSee(system)),
        None => Step::Look(vec![part], reason),
    }
}

/// Writes, unless the last write of this kind failed a moment ago.
pub(super) fn write(seen: &Snapshot, kind: EffectKind, effects: Vec<Effect>, reason: Reason, now: Time) -> Step {
    match seen.history.failures(kind) {
        Some(row) if now < retry_at(row.last, row.count) => {
            Step::wait(retry_at(row.last, row.count), Reason::WriteFailed(row.why.to_string().into()))
        }
        _ => Step::Do(effects, reason),
    }
}

/// One decision from the wishes of all concerns, in their order: all writes together, else all looks together, else the
/// shortest wait, for the reason of the first that waits. `None` if all are satisfied. What is asked for already, and answered late, is
/// waited for like anything else.
pub(super) fn decide_among(late: &[Part], steps: impl IntoIterator<Item = Step>) -> Option<Decision> {
    let mut effects = Vec::new();
    let mut parts: Vec<Part> = Vec::new();
    let mut watched: Vec<Part> = Vec::new();
    let mut until = Time::NEVER;
    let (mut why_do, mut why_look, mut why_wait) = (None, None, None);
    for step in steps {
        match step {
            Step::Satisfied => {}
            Step::Do(more, reason) => {
                effects.extend(more);
                why_do.get_or_insert(reason);
            }
            Step::Look(mut more, reason) => {
                more.retain(|part| !late.contains(part));
                if more.is_empty() {
                    why_wait.get_or_insert(reason);
                    continue;
                }
                join(&mut parts, more);
                why_look.get_or_insert(reason);
            }
            Step::Wait { until: at, watch, reason } => {
                until = until.min(at);
                join(&mut watched, watch);
                why_wait.get_or_insert(reason);
            }
        }
    }
    if let Some(reason) = why_do {
        return Some(Decision { action: Action::Do(effects), reason });
    }
    if let Some(reason) = why_look {
        return Some(Decision { action: Action::Look(parts), reason });
    }
    why_wait.map(|reason| Decision { action: Action::Wait { until, watch: watched }, reason })
}

/// Adds parts that are not there yet; target groups are joined into one part, so that their looks are one round.
fn join(parts: &mut Vec<Part>, more: Vec<Part>) {
    if parts.is_empty() && more.len() < 2 {
        *parts = more;
        return;
    }
    for part in more {
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
            | Part::NomadSight
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
}
