//! A spot interruption leaves two minutes. The finding says if that is too short for a drain in order.

use std::time::Duration;

use super::budget;
use super::case::Case;
use super::findings::{Finding, Layer, Loss, one_of_each};
use super::snapshot::{Balancer, JobKind};
use crate::time::{Time, plain};

/// The time that a replacement needs to start and to become healthy, before the next copy may stop: Nomad's `min_healthy_time` and a start.
const REPLACEMENT: Duration = Duration::from_secs(15);

/// Two minutes may be too short for a drain in order. The rest is cut (ADR 0014).
pub(super) fn of_an_interruption(case: &Case<'_>) -> Option<Finding> {
    let super::Cause::Interruption { at } = &case.departure.cause else { return None };
    let most_copies = one_of_each(case)
        .into_iter()
        .filter(|a| a.group.kind == JobKind::Service)
        .map(|a| {
            let copies =
                u32::try_from(case.all_remaining().filter(|other| other.group.is_same(&a.group)).count()).unwrap_or(u32::MAX);
            let rounds = copies.div_ceil(a.group.max_parallel.unwrap_or(1).max(1));
            (case.policy.longest_stop(&a.group) + REPLACEMENT) * rounds
        })
        .max()
        .unwrap_or_default();
    // The time that is left now: a hold, or a load balancer that could not be read, may have used part of the two minutes.
    let from = case.seen.nomad.at().map_or(case.budget.began, |looked| looked.max(case.budget.began));
    let needed = still_sent_for(case, from) + most_copies;
    let there = case.budget.until.since(from);
    (there < needed).then(|| Finding {
        layer: Layer::Group,
        loss: Loss::Interrupted,
        object: case.departure.asg.clone(),
        value: format!("{} until EC2 takes it back at {at}", plain(there)),
        needed: plain(needed),
        why: "load balancers and migrations need longer than a spot interruption leaves".to_owned(),
        line: "capacity_rebalance = true".to_owned(),
    })
}

/// How long after `from` a load balancer may still send to the instance.
fn still_sent_for(case: &Case<'_>, from: Time) -> Duration {
    let of = |balancer: &Balancer| {
        let group = balancer.sight.last().filter(|group| group.targets.is_some())?;
        let all = budget::may_send_for(group, case.policy);
        Some(balancer.deregistered.map_or(all, |at| (at + all).since(from).min(all)))
    };
    case.seen.balancers.iter().filter_map(of).max().unwrap_or_default()
}
