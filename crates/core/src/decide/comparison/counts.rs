//! What the load balancers counted around a departure, from CloudWatch: 5xx of their own and of their targets. CloudWatch publishes
//! minutes late, so this is looked at after the departure, and only if the settings say so.

use std::sync::Arc;
use std::time::Duration;

use super::{Compared, Match, knows_all_that_was_reported, sort};
use crate::decide::budget::Budget;
use crate::decide::findings::Loss;
use crate::decide::snapshot::{Balancer, BalancerKind, Snapshot};
use crate::decide::{Departure, Outcome, Policy};
use crate::ids::TargetGroupArn;
use crate::time::Time;

/// CloudWatch has these metrics by the minute.
const MINUTE: Duration = Duration::from_mins(1);
/// The minutes before the departure that show how many errors are usual.
const BEFORE: Duration = Duration::from_mins(5);

/// What to ask CloudWatch about a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookBack {
    /// The target groups of Application Load Balancers that the instance left.
    pub groups: Vec<TargetGroupArn>,
    /// The beginning of the first minute: some minutes before the departure, which show how many errors are usual.
    pub since: Time,
    /// The beginning of the minute of the first write that could cost a request.
    pub from: Time,
    /// The end of the minute in which the departure ended.
    pub to: Time,
    /// Whether no other load balancer sent to the instance, as far as is known. Only Application Load Balancers have these counts.
    pub has_all: bool,
}

/// What one load balancer counted in one minute. CloudWatch has no row of a minute in which nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Its beginning.
    pub at: Time,
    /// Requests of the target group (`RequestCount`).
    pub requests: u64,
    /// Errors of the load balancer itself (`HTTPCode_ELB_5XX_Count`), of all its target groups.
    pub by_balancer: u64,
    /// Errors that targets of the group answered with (`HTTPCode_Target_5XX_Count`). An ingress answers with one if it cannot reach a
    /// service.
    pub by_targets: u64,
}

/// What was counted for a target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The group.
    pub group: TargetGroupArn,
    /// Each minute in which anything was counted, or why that is unknown.
    pub minutes: Result<Vec<Minute>, Arc<str>>,
}

/// What to ask CloudWatch about a departure that ended like this. `None`: nothing, because nothing of it is compared, or no Application
/// Load Balancer sent to the instance.
#[must_use]
pub fn look_back(departure: &Departure, seen: &Snapshot, policy: &Policy, outcome: &Outcome, ended: Time) -> Option<LookBack> {
    let left = |balancer: &&Balancer| {
        let attached = balancer.sight.last().is_some_and(|group| group.attached);
        attached || balancer.listed_it || !balancer.taken_out.is_empty()
    };
    let counts = |balancer: &&Balancer| balancer.sight.last().is_some_and(|group| group.kind == BalancerKind::Alb);
    let (known, others): (Vec<&Balancer>, Vec<&Balancer>) = seen.balancers.iter().filter(left).partition(counts);
    if known.is_empty() || !outcome.is_compared() {
        return None;
    }
    let drained = seen.history.drains.iter().map(|drain| drain.at);
    let deregistered = seen.balancers.iter().filter_map(|balancer| balancer.deregistered);
    let began = Budget::of(departure, seen, policy).began;
    let from = drained.chain(deregistered).min().unwrap_or(began).min(ended).floor(MINUTE);
    Some(LookBack {
        groups: known.iter().map(|balancer| balancer.arn.clone()).collect(),
        since: from - BEFORE,
        from,
        to: ended.floor(MINUTE) + MINUTE,
        has_all: others.is_empty(),
    })
}

impl LookBack {
    /// Whether CloudWatch has published the last minute of every group that it shows. A minute without a request is never published, so
    /// the caller waits only for a while.
    #[must_use]
    pub fn is_published(&self, counted: &[Counted]) -> bool {
        counted.iter().filter_map(|one| one.minutes.as_ref().ok()).all(|minutes| self.has_last(minutes))
    }

    fn has_last(&self, minutes: &[Minute]) -> bool {
        minutes.iter().any(|minute| self.to <= minute.at + MINUTE && 0 < minute.requests)
    }

    /// The errors in the minutes of the departure above the most that a minute before it had: of the load balancer, and of targets.
    fn errors(&self, minutes: &[Minute]) -> (u64, u64) {
        let above = |count: fn(&Minute) -> u64| {
            let before = minutes.iter().filter(|minute| self.since <= minute.at && minute.at < self.from);
            let usual = before.map(count).max().unwrap_or_default();
            let during = minutes.iter().filter(|minute| self.from <= minute.at && minute.at < self.to);
            during.map(|minute| count(minute).saturating_sub(usual)).fold(0, u64::saturating_add)
        };
        (above(|minute| minute.by_balancer), above(|minute| minute.by_targets))
    }
}

/// Errors that a load balancer counted.
struct Errors {
    group: Arc<str>,
    by_balancer: u64,
    by_targets: u64,
    said: String,
}

/// The comparisons, with what the load balancers counted. Counts belong to all instances of a target group, so they confirm a finding only
/// if no finding about another object explains them as well.
#[must_use]
pub fn with_counts(seen: &Snapshot, compared: &[Compared], asked: &LookBack, counted: &[Counted]) -> Vec<Compared> {
    let mut all = compared.to_vec();
    let errors: Vec<Errors> = counted.iter().filter_map(|one| errors(asked, one)).collect();
    let mut unexplained = Vec::new();
    for one in &errors {
        let explains = |row: &Compared| row.result != Match::ForeseenNotSeen && explains(row, one);
        let mut objects: Vec<Arc<str>> = all.iter().filter(|row| explains(row)).map(|row| Arc::clone(&row.object)).collect();
        objects.sort();
        objects.dedup();
        if objects.is_empty() {
            unexplained.push(not_foreseen(seen, one, asked.from));
        }
        for row in all.iter_mut().filter(|row| row.result == Match::ForeseenCannotBeSeen && explains(row)) {
            if objects.len() == 1 {
                (row.result, row.seen, row.at) = (Match::ForeseenAndSeen, one.said.clone(), Some(asked.from));
            } else {
                row.seen =
                    format!("{}; {} findings explain that, and nothing shows which of them it was", one.said, objects.len());
            }
        }
    }
    let complete = asked.has_all && counted.iter().all(|one| one.minutes.is_ok()) && asked.is_published(counted);
    let why = counted.iter().find_map(|one| one.minutes.as_ref().err());
    for row in all.iter_mut().filter(|row| row.result == Match::ForeseenCannotBeSeen && shows_as_errors(row.loss)) {
        if complete && errors.is_empty() {
            row.result = Match::ForeseenNotSeen;
            row.seen = format!("the load balancers counted no more errors than before, from {} to {}", asked.from, asked.to);
        } else if let Some(why) = why {
            row.seen = format!("{}; the load balancers' errors could not be read: {why}", row.seen);
        }
    }
    all.extend(unexplained);
    sort(&mut all);
    all
}

fn errors(asked: &LookBack, counted: &Counted) -> Option<Errors> {
    let (by_balancer, by_targets) = asked.errors(counted.minutes.as_ref().ok()?);
    let group: Arc<str> = counted.group.name().into();
    let said = format!(
        "the load balancer of {group} counted {by_targets} 5xx of targets and {by_balancer} of its own from {} to {}, above what was usual",
        asked.from, asked.to
    );
    (0 < by_balancer + by_targets).then_some(Errors { group, by_balancer, by_targets, said })
}

fn not_foreseen(seen: &Snapshot, errors: &Errors, at: Time) -> Compared {
    let result = if knows_all_that_was_reported(seen) { Match::SeenNotForeseen } else { Match::SeenBegunByAnother };
    Compared { result, loss: None, object: Arc::clone(&errors.group), seen: errors.said.clone(), at: Some(at) }
}

/// Whether a finding, or what was seen without one, explains errors of this group.
fn explains(row: &Compared, errors: &Errors) -> bool {
    let Some(loss) = row.loss else { return false };
    match loss {
        // A service behind the ingress, which serves every group, or one that a load balancer sends to directly.
        Loss::LeavesBeforeForgotten
        | Loss::KilledWithRequests
        | Loss::DeafTask
        | Loss::AbruptTask
        | Loss::NoCopyLeft
        | Loss::NeverMigrates
        | Loss::RegisteredByHand
        | Loss::Interrupted
        | Loss::DoesNotFit => 0 < errors.by_targets + errors.by_balancer,
        Loss::LastHealthyTarget | Loss::DelayTooShort | Loss::UnknownTarget => {
            0 < errors.by_balancer && row.object == errors.group
        }
        Loss::NoTargetGroup | Loss::UnhandledSource | Loss::NotATarget => 0 < errors.by_balancer,
        // Nothing of these answers with an error.
        Loss::SlowStop | Loss::KeptConnections | Loss::CutAtDeadline | Loss::DiskCut | Loss::LocalData | Loss::NotInConsul => {
            false
        }
    }
}

/// Whether a loss of this kind always shows as an error. A service without a copy may be answered with 404, and what a load balancer cuts
/// at the end of its delay may not be counted.
fn shows_as_errors(loss: Option<Loss>) -> bool {
    loss.is_some_and(|loss| {
        matches!(
            loss,
            Loss::LeavesBeforeForgotten
                | Loss::KilledWithRequests
                | Loss::DeafTask
                | Loss::AbruptTask
                | Loss::LastHealthyTarget
                | Loss::UnknownTarget
        )
    })
}
