//! Foreseen losses: which of the cluster's own settings will cost requests, whoever drains; said before anything moves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::budget::{self, Budget};
use super::scope::Scope;
use super::snapshot::{Allocation, Balancer, JobKind, Snapshot, TaskGroup, TaskRole};
use super::{Departure, Policy, connections};
use crate::time::{Time, plain};

/// Where a setting stands, from the container outwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// How a task stops.
    Container,
    /// How a service leaves discovery.
    Service,
    /// How the ingress follows discovery.
    Ingress,
    /// How a load balancer lets go of a target.
    LoadBalancer,
    /// The Nomad node.
    Node,
    /// The lifecycle hook.
    Hook,
    /// The Auto Scaling group.
    Group,
}

/// What a finding is about. One name a rule, so that a loss can be held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Loss {
    /// The ingress still sends to a service that has stopped.
    LeavesBeforeForgotten,
    /// A request may take longer than a task has left to finish it.
    KilledWithRequests,
    /// The only copies stop before their replacements serve.
    NoCopyLeft,
    /// A request may take longer than the load balancer lets it finish.
    DelayTooShort,
    /// Connections that clients keep through a load balancer are cut, with the requests on them.
    KeptConnections,
    /// No other target of the group, or of its zone where load balancing does not cross zones, is healthy.
    LastHealthyTarget,
    /// Work that a drain cannot finish is cut at its deadline.
    CutAtDeadline,
    /// The drain cannot move it before the deadline, and then all of it at once.
    NeverMigrates,
    /// The machine may go while the replacement still copies the disk from it.
    DiskCut,
    /// No load balancer is known that the instance could be taken out of, and something on it serves one.
    NoTargetGroup,
    /// Something is attached to the group that decamp cannot leave, and that may send to the instance until it is gone.
    UnhandledSource,
    /// A load balancer sends to an address that nobody is known to have: it may be the instance's.
    UnknownTarget,
    /// A target group that the hook names does not hold the instance.
    NotATarget,
    /// Something runs whose services Consul does not list: whether they are gone cannot be seen.
    NotInConsul,
    /// A service was registered by hand with the node's Consul agent: nothing stops it or takes it out.
    RegisteredByHand,
    /// What a departure needs does not fit into the hook.
    DoesNotFit,
    /// EC2 takes the instance back before it can be left in order.
    Interrupted,
}

impl Loss {
    /// All words that there are.
    pub const WORDS: &'static [&'static str] = Self::VARIANTS;

    /// The rule's name, to search by.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Layer {
    /// Its name, to search by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Service => "service",
            Self::Ingress => "ingress",
            Self::LoadBalancer => "load-balancer",
            Self::Node => "node",
            Self::Hook => "hook",
            Self::Group => "group",
        }
    }
}

/// One setting that will cost requests, or cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where it stands.
    pub layer: Layer,
    /// Which rule found it.
    pub loss: Loss,
    /// What it is set on: `job/group`, a target group, a hook.
    pub object: Arc<str>,
    /// What it is.
    pub value: String,
    /// What it would have to be.
    pub needed: String,
    /// Why.
    pub why: String,
    /// The line to change, as it would stand in the job, the module or the settings.
    pub line: String,
}

impl Finding {
    /// Whether both say the same of the same: such are told once.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        self.loss == other.loss && self.object == other.object
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}; needed: {}; because {}. Set: {}",
            self.layer.word().replace('-', " "),
            self.object,
            self.value,
            self.needed,
            self.why,
            self.line
        )
    }
}

/// What a replacement may take to start and to be healthy, before the next copy may stop: Nomad's `min_healthy_time` and a start.
const REPLACEMENT: Duration = Duration::from_secs(15);

/// Every setting in the snapshot that will cost requests in this departure. Pure; one finding for each (rule, object).
#[must_use]
pub fn foreseen_losses(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<Finding> {
    let scope = &Scope::new(departure, seen, policy);
    let budget = &Budget::of(departure, seen, policy);
    let forgets = ingress_forgets(seen, policy);
    let mut findings = Vec::new();
    for allocation in one_of_each(scope) {
        findings.extend(of_a_service(scope, allocation, forgets));
        findings.extend(of_a_drain(allocation));
        findings.extend(of_a_disk(allocation));
    }
    findings.extend(of_an_interruption(scope, budget));
    findings.extend(of_no_group(scope));
    findings.extend(super::doubts::of_unknown_targets(scope));
    findings.extend(super::doubts::of_groups_that_list_nothing(scope, budget));
    findings.extend(super::unlisted::findings(scope));
    findings.extend(super::by_hand::findings(scope));
    findings.extend(super::sources::of_unhandled_sources(scope));
    findings.extend(super::last_target::findings(scope, budget));
    findings.extend(connections::of_delays(scope));
    // A task that has too little time to stop may have been named as a service already.
    let kept = connections::of_kept_connections(scope).into_iter();
    let kept: Vec<_> = kept.filter(|finding| !findings.iter().any(|known| known.repeats(finding))).collect();
    findings.extend(kept);
    findings.extend(budget.misfit().map(|misfit| Finding {
        layer: Layer::Hook,
        loss: Loss::DoesNotFit,
        object: departure.asg.clone(),
        value: plain(misfit.there),
        needed: plain(misfit.needed),
        why: misfit.sentence,
        line: "heartbeat_timeout = 900".to_owned(),
    }));
    findings
}

/// The longest that an ingress routes to a service after it left discovery: what the jobs on the node tell with the margin for its own
/// work, else the setting.
#[must_use]
pub fn ingress_forgets(seen: &Snapshot, policy: &Policy) -> Duration {
    let told = seen.history.known.iter().filter_map(|k| k.group.ingress.as_ref()).map(|i| i.forgets_after).max();
    told.map_or(policy.ingress_forgets, |told| told + policy.ingress_margin)
}

/// What of that is margin, in words: nothing where no job tells.
fn margin(seen: &Snapshot, policy: &Policy) -> String {
    let told = seen.history.known.iter().any(|k| k.group.ingress.is_some());
    if !told || policy.ingress_margin.is_zero() {
        return String::new();
    }
    format!(", {} of it for its own work, which load makes longer", plain(policy.ingress_margin))
}

/// One allocation of each task group that counts.
fn one_of_each<'a>(scope: &'a Scope<'_>) -> Vec<&'a Allocation> {
    let mut each: Vec<&Allocation> = Vec::new();
    for allocation in scope.all_left() {
        if !each.iter().any(|other| is_of(other, &allocation.group)) {
            each.push(allocation);
        }
    }
    each
}

/// Whether it is a copy of this task group.
fn is_of(allocation: &Allocation, group: &TaskGroup) -> bool {
    let of = &allocation.group;
    of.job == group.job && of.name == group.name && of.namespace == group.namespace
}

/// Whether a load balancer sends to it directly: it then stops after the delay, when nothing is sent any more.
fn serves_a_target(scope: &Scope<'_>, allocation: &Allocation) -> bool {
    scope.our_targets().any(|(_, target)| scope.answering(&target.id, target.port).any(|a| a.id == allocation.id))
}

fn of_a_service(scope: &Scope<'_>, allocation: &Allocation, forgets: Duration) -> Vec<Finding> {
    let group = &allocation.group;
    let behind_the_ingress = !group.services.is_empty()
        && group.ingress.is_none()
        && group.kind == JobKind::Service
        && !serves_a_target(scope, allocation);
    if !behind_the_ingress {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let serves_on = group.serves_on();
    if serves_on < forgets {
        findings.push(Finding {
            layer: Layer::Service,
            loss: Loss::LeavesBeforeForgotten,
            object: group.title().into(),
            value: format!("shutdown_delay {}", plain(serves_on)),
            needed: plain(forgets),
            why: format!(
                "the ingress may send to it for {} after it left discovery{}",
                plain(forgets),
                margin(scope.seen, scope.policy)
            ),
            line: format!("shutdown_delay = \"{}s\"", forgets.as_secs_f64().ceil()),
        });
    }
    findings.extend(killed_with_requests(group, scope.policy, serves_on, forgets));
    findings.extend(no_copy_left(scope, allocation));
    findings
}

/// The last request may come when the ingress forgets at last; from there until SIGKILL it must be able to finish.
pub(super) fn killed_with_requests(
    group: &TaskGroup,
    policy: &Policy,
    serves_on: Duration,
    forgets: Duration,
) -> Option<Finding> {
    let servers = group.tasks.iter().filter(|t| matches!(t.role, TaskRole::Leader | TaskRole::Main));
    let kill = servers.map(|t| t.kill_timeout).min()?;
    let after_the_last = serves_on.saturating_sub(forgets) + kill;
    (after_the_last < policy.longest_request).then(|| {
        let needed = policy.longest_request.saturating_sub(serves_on.saturating_sub(forgets));
        Finding {
            layer: Layer::Container,
            loss: Loss::KilledWithRequests,
            object: group.title().into(),
            value: format!("kill_timeout {}", plain(kill)),
            needed: plain(needed),
            why: format!("a request may take {} and is cut when the task is killed", plain(policy.longest_request)),
            line: format!("kill_timeout = \"{}s\"", needed.as_secs_f64().ceil()),
        }
    })
}

/// Nomad starts a replacement only after its predecessor has stopped (facts/nomad.md 4.3).
fn no_copy_left(scope: &Scope<'_>, allocation: &Allocation) -> Option<Finding> {
    let group = &allocation.group;
    let at_once = group.max_parallel.unwrap_or(1);
    let here = u32::try_from(scope.all_left().filter(|other| is_of(other, group)).count()).unwrap_or(u32::MAX);
    // A copy on another node stays.
    (group.kind == JobKind::Service && group.count <= at_once.min(here)).then(|| Finding {
        layer: Layer::Service,
        loss: Loss::NoCopyLeft,
        object: group.title().into(),
        value: format!("count {} with max_parallel {at_once}", group.count),
        needed: format!("count {} or more", at_once + 1),
        why: "every copy may stop before its replacement serves".to_owned(),
        line: format!("count = {}", at_once + 1),
    })
}

/// What a drain can only cut, or never moves.
fn of_a_drain(allocation: &Allocation) -> Option<Finding> {
    let group = &allocation.group;
    let (loss, value, needed, why, line) = match (group.kind, group.max_parallel) {
        (JobKind::Batch | JobKind::SysBatch, _) => (
            Loss::CutAtDeadline,
            "a batch allocation",
            "to end before the deadline",
            "a drain waits for it until its deadline and then stops it; it is not replaced",
            "# let it end, or run it where no instance is replaced",
        ),
        (JobKind::Service, Some(0)) => (
            Loss::NeverMigrates,
            "migrate.max_parallel 0",
            "1 or more",
            "the drain cannot move it, and stops all copies at its deadline",
            "migrate { max_parallel = 1 }",
        ),
        (JobKind::Service | JobKind::System, _) => return None,
    };
    Some(Finding {
        layer: Layer::Node,
        loss,
        object: group.title().into(),
        value: value.to_owned(),
        needed: needed.to_owned(),
        why: why.to_owned(),
        line: line.to_owned(),
    })
}

/// The replacement copies the disk from this node's client after the allocation here has ended, and starts with an empty one if the
/// node is gone by then; only the client's log tells (Nomad's `client/allocrunner/migrate_hook.go`).
fn of_a_disk(allocation: &Allocation) -> Option<Finding> {
    let group = &allocation.group;
    // A drain replaces nothing else on another node.
    (group.migrates_disk && group.kind == JobKind::Service).then(|| Finding {
        layer: Layer::Node,
        loss: Loss::DiskCut,
        object: group.title().into(),
        value: "ephemeral_disk { migrate = true }".to_owned(),
        needed: "a disk that is copied before the machine goes".to_owned(),
        why: "the replacement copies the disk from this node after the allocation has stopped, decamp does not wait for the copy, and \
              a replacement whose copy is cut starts with an empty disk"
            .to_owned(),
        line: "# keep the data on a volume that is not the machine's, or hold the group with the tag decamp:hold and move it by hand"
            .to_owned(),
    })
}

/// Two minutes may be too short to leave in order: what does not fit is cut (ADR 0014).
fn of_an_interruption(scope: &Scope<'_>, budget: &Budget) -> Option<Finding> {
    let super::Cause::Interruption { at } = &scope.departure.cause else { return None };
    let most_copies = one_of_each(scope)
        .into_iter()
        .filter(|a| a.group.kind == JobKind::Service)
        .map(|a| {
            let copies = u32::try_from(scope.all_left().filter(|other| is_of(other, &a.group)).count()).unwrap_or(u32::MAX);
            let rounds = copies.div_ceil(a.group.max_parallel.unwrap_or(1).max(1));
            (scope.policy.longest_stop(&a.group) + REPLACEMENT) * rounds
        })
        .max()
        .unwrap_or_default();
    // What is left of it now: a group that was held, or a balancer that could not be seen, has had its share of the two minutes.
    let from = scope.seen.nomad.at().map_or(budget.began, |looked| looked.max(budget.began));
    let needed = still_sent_for(scope, from) + most_copies;
    let there = budget.until.since(from);
    (there < needed).then(|| Finding {
        layer: Layer::Group,
        loss: Loss::Interrupted,
        object: scope.departure.asg.clone(),
        value: format!("{} until EC2 takes it back at {at}", plain(there)),
        needed: plain(needed),
        why: "load balancers and migrations need longer than a spot interruption leaves".to_owned(),
        line: "capacity_rebalance = true".to_owned(),
    })
}

/// An ingress that no known load balancer sends to: most likely one does that is neither attached nor named.
fn of_no_group(scope: &Scope<'_>) -> Option<Finding> {
    scope.seen.group.last()?;
    // One that is left alone by policy is sent to as well, until the machine goes.
    let all = scope.nodes().iter().flat_map(|node| node.allocations.iter());
    let ingress = all.into_iter().find(|a| a.group.ingress.is_some() && !a.client.is_over())?;
    super::balancers::groups(scope).is_empty().then(|| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::NoTargetGroup,
        object: ingress.group.title().into(),
        value: "no target group, attached or named".to_owned(),
        needed: "every target group that holds the instance".to_owned(),
        why: "a load balancer that is not known is not left: it sends to the instance until that is gone".to_owned(),
        line: "notification_metadata = jsonencode({ target_groups = [aws_lb_target_group.this.arn] })".to_owned(),
    })
}

/// How long after `from` a load balancer may still send to the instance.
fn still_sent_for(scope: &Scope<'_>, from: Time) -> Duration {
    let of = |balancer: &Balancer| {
        let group = balancer.sight.last().filter(|group| group.targets.is_some())?;
        let all = budget::may_send_for(group, scope.policy);
        Some(balancer.deregistered.map_or(all, |at| (at + all).since(from).min(all)))
    };
    scope.seen.balancers.iter().filter_map(of).max().unwrap_or_default()
}
