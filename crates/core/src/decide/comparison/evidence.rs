//! The evidence for one finding: whether what it foresees was seen to happen.

use super::copies::{Copies, Copy};
use super::{Outcome, Sign};
use crate::decide::Cause;
use crate::decide::by_hand::routable;
use crate::decide::case::Case;
use crate::decide::disks;
use crate::decide::findings::{Finding, Loss};
use crate::decide::last_target;
use crate::decide::snapshot::{Disk, TaskRole};
use crate::decide::stops::StopKind;
use crate::time::{Time, plain};

/// What is known of a finding at the end of a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It came true: what was seen, and when it happened, if that is known.
    Seen(String, Option<Time>),
    /// It did not come true: what was seen instead.
    NotSeen(String),
    /// Nothing shows it: why.
    Unknown(String),
}

/// Nomad no longer lists some of the allocations, or their events cannot be read.
const ENDS_UNKNOWN: &str = "Nomad does not show how each of its copies ended";

/// The evidence for one finding.
pub(super) fn evidence(case: &Case<'_>, copies: &Copies<'_>, finding: &Finding, outcome: &Outcome) -> Evidence {
    match finding.loss.sign() {
        Sign::Requests => of_requests(copies, finding),
        Sign::Kills => of_kills(copies, finding),
        Sign::Stops => of_stops(copies, finding),
        Sign::Copies => of_copies(copies, finding),
        Sign::ToldToStop => of_work(copies, finding),
        Sign::Deadline => of_a_deadline(copies, finding),
        Sign::Disks => of_a_disk(case, copies, finding),
        Sign::Targets => of_targets(case, finding),
        Sign::Registered => of_a_registration(case, finding),
        Sign::Outcome => of_the_outcome(outcome),
        Sign::LocalData => of_local_data(finding, outcome),
        Sign::Nothing(why) => Evidence::Unknown(why.to_owned()),
    }
}

/// The copies were killed, or died of the signal, while they could hold requests.
fn of_cuts(copies: &Copies<'_>, title: &str) -> Option<Evidence> {
    let cuts = || copies.cuts.iter().filter(|cut| cut.group == title);
    let first = cuts().map(|cut| cut.at).min()?;
    Some(Evidence::Seen(cuts().map(|cut| cut.what.as_str()).collect::<Vec<_>>().join("; "), Some(first)))
}

/// Nothing that decamp reads shows what the ingress routes to. A copy that was cut while the ingress could send to it is evidence, and so
/// is a registration that outlived its copy.
fn of_requests(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    if let Some(at) = copies.titled(&finding.object).filter_map(|copy| copy.listed_after).min() {
        return Evidence::Seen(still_listed(at), Some(at));
    }
    let unknown = || Evidence::Unknown("no system that decamp reads shows to what the ingress sends".to_owned());
    of_cuts(copies, &finding.object).unwrap_or_else(unknown)
}

/// That discovery named a copy that was over.
pub(super) fn still_listed(at: Time) -> String {
    format!("service discovery still listed it as routable at {at}, after it had stopped")
}

fn of_kills(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    if let Some(seen) = of_cuts(copies, &finding.object) {
        return seen;
    }
    let mut of_group = copies.titled(&finding.object).peekable();
    if of_group.peek().is_none() || !of_group.all(shows_each_end) {
        return Evidence::Unknown(ENDS_UNKNOWN.to_owned());
    }
    Evidence::NotSeen("each of its tasks ended by itself before its kill_timeout".to_owned())
}

/// Whether Nomad shows how each task of the allocation ended that serves.
fn shows_each_end(copy: &Copy<'_>) -> bool {
    let serves = |role: TaskRole| matches!(role, TaskRole::Leader | TaskRole::Main);
    let mut tasks = copy.group.tasks.iter().filter(|task| serves(task.role));
    copy.times().is_some() && tasks.all(|task| copy.ends.iter().any(|end| *end.task() == task.name))
}

fn of_stops(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    let kinds: &[StopKind] = if finding.loss == Loss::AbruptTask {
        &[StopKind::Abrupt]
    } else if finding.loss == Loss::SlowStop {
        // A slow stop that takes a little longer is killed.
        &[StopKind::Slow, StopKind::Deaf]
    } else {
        &[StopKind::Deaf]
    };
    let of_task = copies.stops.iter().find(|stops| stops.task == finding.object);
    let Some(stops) = of_task.filter(|stops| !stops.stops.is_empty()) else {
        return Evidence::Unknown("Nomad does not show how it stopped".to_owned());
    };
    let count: usize = kinds.iter().map(|kind| stops.count(*kind)).sum();
    let all = stops.stops.len();
    if 0 < count {
        return Evidence::Seen(format!("{count} of {all} stops of this departure were so"), None);
    }
    match &stops.unreadable {
        Some(why) => Evidence::Unknown(format!("Nomad does not show how each copy stopped: {why}")),
        None => Evidence::NotSeen(format!("none of {all} stops of this departure was so")),
    }
}

fn of_copies(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    let group = copies.titled(&finding.object).map(|copy| copy.group).next();
    match group.and_then(|group| Some((group.count, copies.none_left(group)?))) {
        Some((count, (from, to))) => Evidence::Seen(none_left(count, from, to), Some(from)),
        None => Evidence::Unknown(
            "whether a replacement served before the last copy stopped is not among what decamp reads".to_owned(),
        ),
    }
}

/// That every copy that the job wants had stopped at one time. A copy beyond that count, as in a deployment, is not seen.
pub(super) fn none_left(count: u32, from: Time, to: Time) -> String {
    let which =
        if count == 1 { "the only copy that the job wants".to_owned() } else { format!("all {count} copies that the job wants") };
    let at_least = to.since(from);
    let span = if at_least.is_zero() { String::new() } else { format!(", {} later", plain(at_least)) };
    format!("{which} had been told to stop at {from}, and no replacement starts before one of them is over{span}")
}

fn of_work(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    let all: Vec<_> = copies.titled(&finding.object).collect();
    let told = all.iter().filter(|copy| copy.told).count();
    if 0 < told {
        return Evidence::Seen(format!("{told} of {} allocations were told to stop before they had ended", all.len()), None);
    }
    if all.is_empty() || !all.iter().all(|copy| copy.over) {
        return Evidence::Unknown("Nomad does not show how each allocation ended".to_owned());
    }
    Evidence::NotSeen("it ended by itself".to_owned())
}

fn of_a_deadline(copies: &Copies<'_>, finding: &Finding) -> Evidence {
    let all: Vec<_> = copies.titled(&finding.object).collect();
    let cut = all.iter().filter(|copy| copy.cut).count();
    if 0 < cut {
        return Evidence::Seen(cut_by_a_deadline(cut, all.len()), None);
    }
    Evidence::Unknown("no look showed that a deadline stopped it".to_owned())
}

/// That a deadline stopped some of the allocations of a group.
pub(super) fn cut_by_a_deadline(cut: usize, all: usize) -> String {
    format!("a deadline stopped {cut} of {all} allocations")
}

/// That a disk was left.
pub(super) const NO_DISK: &str = "no replacement had its disk when the departure ended";

fn of_a_disk(case: &Case<'_>, copies: &Copies<'_>, finding: &Finding) -> Evidence {
    let Some(at) = case.seen.nomad.fresh_at() else {
        return Evidence::Unknown("Nomad could not be read at the end".to_owned());
    };
    if disks::titles(case).contains(&finding.object) {
        return Evidence::Seen(NO_DISK.to_owned(), Some(at));
    }
    let mut all = copies.titled(&finding.object).peekable();
    let moved = |copy: &Copy<'_>| copy.over && !copy.was_lost && copy.disk == Some(Disk::Moved);
    // The copy from an agent that is lost is cut, and the replacement starts with an empty disk.
    if case.nodes().iter().any(|node| node.status.is_lost()) {
        return Evidence::Unknown("Nomad's agent is lost, and whether the copy had ended by then is not seen".to_owned());
    }
    if all.peek().is_none() || !all.all(moved) {
        return Evidence::Unknown("Nomad does not show where its disk is".to_owned());
    }
    // Without a machine to copy from, a replacement starts with an empty disk.
    let ran_until_then = match case.departure.cause {
        Cause::Lifecycle(_) => case.seen.history.completed.is_some(),
        Cause::Interruption { at: taken } => at < taken,
    };
    if ran_until_then {
        Evidence::NotSeen("each replacement has started its tasks, which it does after the copy".to_owned())
    } else {
        Evidence::Unknown("whether the machine still ran when its disk was copied is not seen".to_owned())
    }
}

fn of_targets(case: &Case<'_>, finding: &Finding) -> Evidence {
    let balancer = case.seen.balancers.iter().find(|balancer| *balancer.arn.name() == *finding.object);
    let Some(balancer) = balancer else {
        return Evidence::Unknown("the target group was not read".to_owned());
    };
    if let Some(at) = balancer.emptied {
        return Evidence::Seen(format!("it had no healthy target at {at}"), Some(at));
    }
    let last = balancer.sight.last().filter(|group| group.targets.is_some());
    match (last.and_then(|group| last_target::has_another(finding, group)), balancer.sight.at()) {
        (Some(false), Some(at)) => Evidence::Seen(format!("there was {} at {at}", finding.value), Some(at)),
        _ => {
            Evidence::Unknown("no look showed it without a healthy target, and what is between two looks is not seen".to_owned())
        }
    }
}

fn of_a_registration(case: &Case<'_>, finding: &Finding) -> Evidence {
    let Some(at) = case.seen.consul.fresh_at() else {
        return Evidence::Unknown("Consul could not be read at the end".to_owned());
    };
    if routable(case).any(|one| one.service == finding.object) {
        return Evidence::Seen(format!("Consul still listed it as routable at {at}, before the instance went"), Some(at));
    }
    Evidence::Unknown(format!("Consul did not list it as routable at {at}, and who had not forgotten it by then is not seen"))
}

fn of_the_outcome(outcome: &Outcome) -> Evidence {
    let what = || format!("the outcome is {outcome}");
    match outcome {
        Outcome::Forced | Outcome::Unconfirmed { cut: true, .. } | Outcome::TimedOut | Outcome::Retained => {
            Evidence::Seen(what(), None)
        }
        Outcome::DataLeft { titles, claims, cut, .. } if *cut || !titles.is_empty() || !claims.is_empty() => {
            Evidence::Seen(what(), None)
        }
        Outcome::Departed { .. } | Outcome::Unconfirmed { cut: false, .. } => Evidence::NotSeen(what()),
        // Nobody let local data go, which is no lack of time.
        Outcome::DataLeft { .. }
        | Outcome::AgentDead
        | Outcome::NoNode
        | Outcome::Interrupted
        | Outcome::Gone
        | Outcome::Expired
        | Outcome::Overtaken
        | Outcome::AlreadyPast
        | Outcome::NotLeaving
        | Outcome::NotOurs
        | Outcome::Refused { .. } => Evidence::Unknown(what()),
    }
}

/// Without `DECAMP_LOCAL_DATA=hold` no outcome names it, and whether anybody copied the data before is not seen.
fn of_local_data(finding: &Finding, outcome: &Outcome) -> Evidence {
    if let Outcome::DataLeft { local, .. } = outcome
        && local.iter().any(|name| name.ends_with(&format!(" of {}", finding.object)))
    {
        return Evidence::Seen(format!("the outcome is {outcome}"), None);
    }
    Evidence::Unknown("whether anything was written there, or was copied before, is not seen".to_owned())
}
