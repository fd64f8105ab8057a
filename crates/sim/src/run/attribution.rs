//! Decides who is to blame for a failed request. The rule, written before anything was measured:
//!
//! 1. *Foreseen*: before it first stopped anything, decamp reported a finding that names the task group or the target group that the
//!    request failed at, and the way it failed.
//! 2. *The world's*, if one of these holds:
//!    - Another party ended the machine, stopped the job or drained the node.
//!    - The ingress had lost Consul, and decamp began to stop nothing more after that. If a worker was there to see it, the outcome must
//!      name what stopped in that time.
//!    - The outcome names a departure that could not be done in order (forced, timed out, agent dead, expired, interrupted, no node), and
//!      the request failed at or after that act.
//! 3. Everything else is *attributable* to decamp, and a defect.

use crate::event::AllocationNumber;
use crate::faults::{Fault, Faults};
use crate::nomad::AllocationState;
use crate::traffic::{FailedRequest, FailureCause};
use crate::world::{Lists, SimWorld};
use decamp_core::decide::{Finding, Loss, Outcome, TaskGroup};
use decamp_core::time::Time;
use std::time::Duration;

/// decamp cannot take back a stop that it requested this shortly before the ingress lost Consul.
const IN_FLIGHT: Duration = Duration::from_secs(15);

/// Nomad collects allocations to stop for a second (facts/nomad.md 3.7).
const STOPS_AFTER: Duration = Duration::from_secs(1);

/// The requests of a departure, counted by who is to blame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Requests sent.
    pub sent: u64,
    /// Requests that failed for any reason.
    pub failed: u64,
    /// Requests that failed by decamp's fault.
    pub attributable: u64,
    /// Requests that failed by a setting that decamp had reported.
    pub foreseen: u64,
    /// Requests that another party caused to fail.
    pub worlds: u64,
    /// The findings that cost a request: one bit for each, in the order of the findings.
    pub costly: u64,
    /// A description of the first attributable failure.
    pub example: Option<String>,
}

impl Judged {
    /// The findings that cost a request, work or data.
    pub(super) fn cost_by<'f>(&self, findings: &'f [Finding]) -> Vec<&'f Finding> {
        findings.iter().take(64).enumerate().filter(|(place, _)| self.costly & 1 << place != 0).map(|(_, one)| one).collect()
    }
}

/// Decides for every failed request who is to blame.
pub(super) fn attribute(
    world: &mut SimWorld,
    faults: Faults,
    any_worker: bool,
    outcome: Option<&Outcome>,
    findings: &[Finding],
) -> Judged {
    let failures = std::mem::take(&mut world.traffic.failures);
    let mut attribution = Judged { sent: world.traffic.sent, failed: failures.len() as u64, ..Judged::default() };
    for failure in failures {
        let foreseen_by = foreseen_by(world, &failure, findings);
        attribution.costly |= foreseen_by;
        if foreseen_by != 0 {
            attribution.foreseen += 1;
        } else if !any_worker || is_the_worlds(world, faults, &failure, outcome) {
            attribution.worlds += 1;
        } else {
            attribution.attributable += 1;
            attribution.example.get_or_insert_with(|| describe(world, &failure));
        }
    }
    attribution.costly |= cut_short(world, findings);
    attribution
}

/// The findings that cost work or data instead of requests: allocations that were stopped at the deadline, and disks whose copy the end
/// of the machine cut. One bit for each.
fn cut_short(world: &SimWorld, findings: &[Finding]) -> u64 {
    let is_cut = |finding: &Finding| {
        let here = world.nomad.allocations().iter().filter(|a| Some(a.node) == world.subject.node && !a.wanted);
        let group = |number: crate::nomad::GroupNumber| &world.nomad.groups()[number.index()].spec.group;
        let cut_disks = || world.oracle.machine_stopped.map(|_| world.oracle.cut_disks(&world.nomad)).unwrap_or_default();
        match finding.loss {
            Loss::CutAtDeadline | Loss::LocalData => here.into_iter().any(|a| group(a.group).is_titled(&finding.object)),
            Loss::DiskCut => cut_disks().into_iter().any(|group| group.is_titled(&finding.object)),
            Loss::LeavesBeforeForgotten
            | Loss::KilledWithRequests
            | Loss::DeafTask
            | Loss::AbruptTask
            | Loss::SlowStop
            | Loss::NoCopyLeft
            | Loss::DelayTooShort
            | Loss::KeptConnections
            | Loss::LastHealthyTarget
            | Loss::NeverMigrates
            | Loss::UnhandledSource
            | Loss::UnknownTarget
            | Loss::NotATarget
            | Loss::NotInConsul
            | Loss::RegisteredByHand
            | Loss::NoTargetGroup
            | Loss::DoesNotFit
            | Loss::Interrupted => false,
        }
    };
    findings.iter().take(64).enumerate().filter(|(_, f)| is_cut(f)).fold(0, |bits, (place, _)| bits | 1 << place)
}

fn group<'s>(world: &'s SimWorld, failure: &FailedRequest) -> Option<&'s TaskGroup> {
    let group = match (failure.allocation, failure.service) {
        (Some(number), _) if number.is_by_hand() => return None,
        (Some(number), _) => world.nomad.allocation(number).group,
        (None, Some(service)) => world.group_of_service(service)?,
        (None, None) => return None,
    };
    Some(&world.nomad.groups()[group.index()].spec.group)
}

/// The findings that name what failed and how. One bit for each.
fn foreseen_by(world: &SimWorld, failure: &FailedRequest, findings: &[Finding]) -> u64 {
    let group = group(world, failure);
    let at_front =
        |finding: &Finding| world.subject.fronts.get(failure.front).is_some_and(|front| *front.name() == *finding.object);
    let names_it = |finding: &Finding| {
        let at_group = group.is_some_and(|group| group.is_titled(&finding.object));
        match (failure.cause, finding.loss) {
            (FailureCause::CopyClosed, Loss::LeavesBeforeForgotten | Loss::NoCopyLeft) => at_group,
            (FailureCause::NoCopy, Loss::NoCopyLeft | Loss::NeverMigrates) => at_group,
            (FailureCause::CopyDied | FailureCause::DoorDied, Loss::KilledWithRequests | Loss::LeavesBeforeForgotten) => at_group,
            (FailureCause::CopyClosed | FailureCause::CopyDied, Loss::CutAtDeadline | Loss::NeverMigrates) => at_group,
            (FailureCause::CutByBalancer | FailureCause::DoorDied, Loss::DelayTooShort) => at_front(finding),
            (FailureCause::CutByBalancer | FailureCause::CutByMachine, Loss::KeptConnections) => at_front(finding),
            (FailureCause::NoTarget, Loss::LastHealthyTarget) => at_front(finding),
            (FailureCause::DoorClosed | FailureCause::DoorDied, Loss::NoTargetGroup) => at_group,
            (FailureCause::DoorClosed | FailureCause::DoorDied, Loss::UnknownTarget) => at_front(finding),
            (FailureCause::CopyClosed | FailureCause::CopyDied, Loss::RegisteredByHand) => {
                failure.allocation == Some(AllocationNumber::BY_HAND)
                    && world.subject.by_hand.as_deref() == Some(&*finding.object)
            }
            // The unknown sources have the numbers after those of the known target groups.
            (FailureCause::DoorClosed | FailureCause::DoorDied, Loss::UnhandledSource) => {
                world.subject.fronts.len() <= failure.front
            }
            (_, Loss::Interrupted) => true,
            _ => false,
        }
    };
    // The result has a bit for each of the first 64 findings.
    findings.iter().take(64).enumerate().filter(|(_, f)| names_it(f)).fold(0, |bits, (place, _)| bits | 1 << place)
}

fn is_the_worlds(world: &SimWorld, faults: Faults, failure: &FailedRequest, outcome: Option<&Outcome>) -> bool {
    let oracle = &world.oracle;
    // What operators and machines end, and what decamp could not read beforehand.
    let landed_unseen = oracle.landed_unseen();
    // Nobody could read what is registered by hand, and the outcome does not claim that anything is out of discovery.
    let unread = failure.allocation.is_some_and(|number| number.is_by_hand())
        && !oracle.consul_outages_began.is_empty()
        && matches!(outcome, Some(Outcome::Unconfirmed { .. }));
    if unread {
        return true;
    }
    let consul_agent_dead = oracle.consul_agent_died.is_some_and(|at| at <= failure.at);
    let stays_in_discovery = faults.has(Fault::LeftoverRegistration) || consul_agent_dead;
    let of_the_world = match failure.cause {
        FailureCause::CopyClosed | FailureCause::CopyDied if landed_unseen => true,
        FailureCause::NoTarget => {
            // decamp reports nothing about attributes that it cannot read and zones that nobody reports. A target that is registered again
            // may become the last healthy one between two looks.
            let zones_unreported = world.subject.zones_unreported
                || world.subject.zones_unanswered
                || faults.has(Fault::LastOfItsZone) && faults.has(Fault::DelayUnreadable);
            let unreadable = faults.has(Fault::NonsenseAnswers) || faults.has(Fault::TargetRegisteredAgain);
            let unreported =
                zones_unreported || unreadable || faults.has(Fault::DeniedForGood) || faults.has(Fault::TargetGroupDeleted);
            unreported || taken_out_by_another(world, failure) || is_untouched(world, failure)
        }
        FailureCause::CutByBalancer => {
            is_untouched(world, failure)
                || hides_the_ingress(world, faults, failure)
                || hides_the_delay(world, failure)
                || faults.has(Fault::TargetGroupDeleted)
                || faults.has(Fault::DelayUnreadable)
                || oracle.delay_raised
        }
        // Two concurrent drains, or a drain that a new leader begins again, make an old Nomad mark too many allocations (its bug #25979).
        // Before its first drain decamp stops no copy.
        FailureCause::NoCopy => {
            let untouched = oracle.first_drain.is_none_or(|at| failure.at < at) || !stopped_a_copy(world, failure);
            let drains_meet = oracle.raced || faults.has(Fault::LeaderLost) || faults.has(Fault::OthersLeave);
            let overmarked = drains_meet && world.nomad.version() < crate::nomad::Version::new(1, 10, 3);
            // Before Auto Scaling answers a heartbeat, nothing shows that the event's time, and so the deadline, is of an earlier action.
            let throttled = |at| world.api_faults.throttles_heartbeats(at);
            let entry_is_wrong = faults.has(Fault::StaleToken) && oracle.first_drain.is_some_and(throttled);
            // If there is one copy too many, Nomad marks one more at once.
            untouched
                || entry_is_wrong
                || overmarked
                || faults.has(Fault::LandsLate)
                || faults.has(Fault::ConsulAgentDead)
                || faults.has(Fault::NoRoomElsewhere)
        }
        // A copy that stays in discovery gets requests until it is killed, and holds some then.
        FailureCause::CopyClosed => stays_in_discovery || hidden_by_hand(world, failure),
        FailureCause::CopyDied => {
            stays_in_discovery || hidden_by_hand(world, failure) || faults.has(Fault::NoRoomElsewhere) && oracle.forced.is_some()
        }
        // decamp reports nothing about attributes that it may not read.
        FailureCause::CutByMachine => shows_no_port(faults) || faults.has(Fault::DelayUnreadable) || oracle.delay_raised,
        FailureCause::DoorClosed | FailureCause::DoorDied => {
            oracle.delay_raised || hook_deleted_before_any_look(world, faults) || failure.kept && shows_no_port(faults)
        }
    };
    if of_the_world || of_another_departure(world, faults, failure) {
        return true;
    }
    let hook_deleted = faults.has(Fault::HookDeleted) || faults.has(Fault::ActionCompletedBySomebody);
    if hook_deleted && oracle.verdict.is_none() && oracle.machine_stopped.is_some_and(|at| at <= failure.at) {
        return true;
    }
    // If the settings do not say which hook is decamp's, decamp does nothing (ADR 0013), and the machine ends as it would without a hook.
    if faults.has(Fault::HooksNotNamed) && oracle.machine_stopped.is_some_and(|at| at <= failure.at) {
        return true;
    }
    if oracle.machine_died && oracle.machine_stopped.is_some_and(|at| at <= failure.at) {
        return true;
    }
    if oracle.just_registered_again()
        && matches!(failure.cause, FailureCause::DoorClosed | FailureCause::DoorDied | FailureCause::CutByBalancer)
    {
        return true;
    }
    if oracle.work_stopped_by_operator
        || oracle.operator_drained.is_some()
        || oracle.agent_died.is_some_and(|at| at <= failure.at)
    {
        return true;
    }
    // A drain between two outages does not excuse losses in the second one. What had stopped before that drain was no part of it.
    let stopping =
        failure.allocation.filter(|number| !number.is_by_hand()).and_then(|number| world.nomad.allocation(number).stopping);
    let stopped_by = |drain: Time| stopping.is_none_or(|stopping| drain <= stopping.requested);
    let drained_since = |away: Time| {
        let mut drains = oracle.drain_times.iter().filter(|drain| stopped_by(**drain));
        drains.any(|drain| away + IN_FLIGHT < *drain && *drain + STOPS_AFTER <= failure.at)
    };
    if oracle.consul_outages_began.iter().any(|away| *away <= failure.at && !drained_since(*away))
        && !is_unmentioned(world, failure, outcome)
    {
        return true;
    }
    let cut = matches!(
        outcome,
        Some(
            Outcome::Forced
                | Outcome::Unconfirmed { cut: true, .. }
                | Outcome::DataLeft { cut: true, .. }
                | Outcome::TimedOut
                | Outcome::Retained
                | Outcome::Expired
                | Outcome::Overtaken
                | Outcome::Interrupted
                | Outcome::Gone
        )
    );
    // A worker at the end of the time said that the departure was cut, and was not allowed to complete the action.
    let not_completed = faults.has(Fault::DeniedForGood) && outcome == Some(&Outcome::AlreadyPast);
    let deadline = oracle.deadline.filter(|_| cut || not_completed);
    if oracle.forced.into_iter().chain(deadline).min().is_some_and(|at| at <= failure.at) {
        return true;
    }
    let named = match outcome {
        Some(
            Outcome::Forced
            | Outcome::TimedOut
            | Outcome::Retained
            | Outcome::AgentDead
            | Outcome::NoNode
            | Outcome::Gone
            | Outcome::Expired
            | Outcome::Overtaken
            | Outcome::Interrupted
            | Outcome::NotLeaving
            | Outcome::AlreadyPast,
        ) => true,
        Some(
            Outcome::Departed { .. }
            | Outcome::Unconfirmed { .. }
            | Outcome::DataLeft { .. }
            | Outcome::NotOurs
            | Outcome::Refused { .. },
        )
        | None => false,
    };
    let ended_by_us = oracle.verdict.as_ref().is_some_and(|(_, verdict)| matches!(verdict, Outcome::Departed { .. }));
    named && !ended_by_us && oracle.machine_stopped.is_some_and(|at| at <= failure.at)
}

/// Whether a worker was there while Consul was away and something stopped, and the outcome does not mention it.
fn is_unmentioned(world: &SimWorld, failure: &FailedRequest, outcome: Option<&Outcome>) -> bool {
    let at_a_copy = matches!(failure.cause, FailureCause::CopyClosed | FailureCause::CopyDied | FailureCause::NoCopy);
    let silent = match outcome {
        Some(Outcome::Unconfirmed { unseen: Some(unseen), .. }) => {
            group(world, failure).is_some_and(|group| !unseen.titles.iter().any(|title| group.is_titled(title)))
        }
        Some(Outcome::Departed { .. } | Outcome::Unconfirmed { unseen: None, .. }) => true,
        _ => false,
    };
    at_a_copy && silent && world.oracle.must_name_what_stopped()
}

/// Whether another departure caused the failure. That departure has to foresee its own losses; `check` reports what both cause together.
fn of_another_departure(world: &SimWorld, faults: Faults, failure: &FailedRequest) -> bool {
    let another =
        |number: AllocationNumber| !number.is_by_hand() && Some(world.nomad.allocation(number).node) != world.subject.node;
    let elsewhere = failure.allocation.is_some_and(another);
    let all_copies = || {
        let group = failure.service.and_then(|service| world.group_of_service(service));
        group.is_some_and(|group| {
            let group = &world.nomad.groups()[group.index()].spec.group;
            group.count <= group.max_parallel.unwrap_or(1)
        })
    };
    faults.has(Fault::OthersLeave) && (elsewhere || failure.cause == FailureCause::NoCopy && all_copies())
}

/// Whether decamp could not see the service that was registered by hand: Consul does not know the node, or the token may not read
/// services.
fn hidden_by_hand(world: &SimWorld, failure: &FailedRequest) -> bool {
    let hidden =
        world.subject.consul_lists == Lists::NoNode || matches!(world.subject.consul_token, crate::consul::Token::NodesOnly);
    failure.allocation == Some(AllocationNumber::BY_HAND) && hidden
}

/// Whether a copy of the service on the instance's nodes had been told to stop by then. If none had, a copy elsewhere has left.
fn stopped_a_copy(world: &SimWorld, failure: &FailedRequest) -> bool {
    let told = |a: &AllocationState| a.stopping.as_ref().is_some_and(|stopping| stopping.requested <= failure.at);
    let Some(group) = failure.service.and_then(|service| world.group_of_service(service)) else { return true };
    world.nomad.allocations().iter().any(|a| a.group == group && world.subject.has_node(a.node, &world.nomad) && told(a))
}

/// Whether the instance may have left, before any look, a group in which it was alone or which was deleted. Then nobody can see at which
/// port it was a target. So decamp knows neither what listens there nor how long that process has to finish requests on kept connections.
/// A deleted group does not even say that it belonged to a Network Load Balancer.
fn shows_no_port(faults: Faults) -> bool {
    faults.has(Fault::LastHealthyTarget) || faults.has(Fault::TargetGroupDeleted)
}

/// Whether another party took the instance out of the group, and decamp had done nothing yet or found no trace of it there. For an
/// attached group decamp knows that Auto Scaling did it.
fn taken_out_by_another(world: &SimWorld, failure: &FailedRequest) -> bool {
    let Some(front) = world.subject.fronts.get(failure.front) else { return true };
    let is_attached = world.auto_scaling.groups().any(|group| group.attached.contains(front));
    // A machine that has died is no longer a target.
    world.oracle.machine_died || !world.oracle.left.contains(front) && (!is_attached || world.oracle.first_drain.is_none())
}

/// Whether another party deregistered the instance there, and a Nomad that denies access hid from decamp how long the ingress has to finish
/// its requests.
fn hides_the_ingress(world: &SimWorld, faults: Faults, failure: &FailedRequest) -> bool {
    let by_us = |front| world.oracle.left.contains(front);
    faults.has(Fault::DeniedForGood)
        && world.oracle.first_drain.is_none()
        && !world.subject.fronts.get(failure.front).is_some_and(by_us)
}

/// Whether another party deregistered the instance there, and decamp may not read that load balancer.
fn hides_the_delay(world: &SimWorld, failure: &FailedRequest) -> bool {
    let denied = |front| !world.oracle.left.contains(front) && world.balancers.denies_reads(front);
    world.subject.fronts.get(failure.front).is_some_and(denied)
}

/// Whether it failed before decamp had changed anything: another party deregistered the instance.
fn is_untouched(world: &SimWorld, failure: &FailedRequest) -> bool {
    let before_us = |act: Option<Time>| act.is_none_or(|at| failure.at < at);
    [world.oracle.first_deregistered, world.oracle.first_drain, world.oracle.machine_stopped].into_iter().all(before_us)
}

/// Whether EC2 takes the instance back, and the hook that named its target groups was deleted before decamp looked.
fn hook_deleted_before_any_look(world: &SimWorld, faults: Faults) -> bool {
    let oracle = &world.oracle;
    let before = |at: Time| oracle.group_looked_at.is_none_or(|looked| at <= looked);
    faults.has(Fault::SpotInterruption) && oracle.hook_deleted.is_some_and(before)
}

fn describe(world: &SimWorld, failure: &FailedRequest) -> String {
    let at = failure.at.since(crate::scenario::BEGIN).as_secs_f64();
    let who = group(world, failure).map_or_else(|| "no task group".to_owned(), TaskGroup::title);
    let way = if failure.kept { "a kept connection of front" } else { "front" };
    format!("{:?} at {who}, {at:.1} s after the beginning, through {way} {}", failure.cause, failure.front)
}
