//! Findings: settings of the cluster that will cost requests with any tool. They are reported before the first write.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::case::Case;
use super::snapshot::{Allocation, JobKind, Snapshot, TaskGroup, TaskRole};
use super::{Departure, Policy, connections};
use crate::time::plain;

/// The layer of a setting, from the container outwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// How a task stops.
    Container,
    /// How a service leaves discovery.
    Service,
    /// How the ingress follows discovery.
    Ingress,
    /// How a load balancer releases a target.
    LoadBalancer,
    /// The Nomad node.
    Node,
    /// The lifecycle hook.
    Hook,
    /// The Auto Scaling group.
    Group,
}

/// What a finding is about: one name for each rule, so that a lost request can be compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Loss {
    /// The ingress still sends to a service that has stopped.
    LeavesBeforeForgotten,
    /// A request may take longer than a task has left to finish it.
    KilledWithRequests,
    /// A task does not react to its signal, and is killed at its `kill_timeout`.
    DeafTask,
    /// A task dies of its signal at once, with the requests that it holds.
    AbruptTask,
    /// A task needs almost all of its `kill_timeout` to stop.
    SlowStop,
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
    /// The machine takes data in a host volume along.
    LocalData,
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
    /// All names.
    pub const WORDS: &'static [&'static str] = Self::VARIANTS;

    /// Whether Nomad's record of a stop shows it, and no setting: it is reported when the task has stopped.
    #[must_use]
    pub fn is_of_a_stop(self) -> bool {
        matches!(self, Self::DeafTask | Self::AbruptTask)
    }

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
    /// The layer of the setting.
    pub layer: Layer,
    /// The rule that found it.
    pub loss: Loss,
    /// The object that it is set on: `job/group`, a target group, a hook.
    pub object: Arc<str>,
    /// The current value.
    pub value: String,
    /// The value that is needed.
    pub needed: String,
    /// Why.
    pub why: String,
    /// The line to change, as it would stand in the job, the module or the settings.
    pub line: String,
}

impl Finding {
    /// Whether both are the same finding about the same object, to be reported once. Each zone of a target group has its own last target.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        let same = self.loss == other.loss && self.object == other.object;
        same && (self.loss != Loss::LastHealthyTarget || self.value == other.value)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, value, needed, why, line, .. } = self;
        let layer = self.layer.word().replace('-', " ");
        write!(f, "{layer}: {object}: {value}; needed: {needed}; because {why}. Set: {line}")
    }
}

/// Finds every setting in the snapshot that will cost requests in this departure. One finding for each pair of rule and object.
#[must_use]
pub fn foreseen_losses(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<Finding> {
    // No finding depends on the time that it is.
    let case = &Case::new(departure, seen, policy, seen.history.began);
    let forgets = ingress_forgets(seen, policy);
    let mut findings = Vec::new();
    for allocation in one_of_each(case) {
        findings.extend(of_a_service(case, allocation, forgets));
        findings.extend(of_a_drain(&allocation.group));
        findings.extend(of_a_disk(&allocation.group));
    }
    findings.extend(super::local_data::findings(case));
    findings.extend(super::interruption::of_an_interruption(case));
    findings.extend(of_no_group(case));
    findings.extend(super::uncertain_targets::of_unknown_targets(case));
    findings.extend(super::uncertain_targets::of_groups_that_list_nothing(case));
    findings.extend(super::unlisted::findings(case));
    findings.extend(super::by_hand::findings(case));
    findings.extend(super::traffic_sources::of_unhandled_sources(case));
    findings.extend(super::last_target::findings(case));
    findings.extend(connections::of_delays(case));
    // A task with too little time to stop may have a finding as a service already.
    let kept = connections::of_kept_connections(case).into_iter();
    let kept: Vec<_> = kept.filter(|finding| !findings.iter().any(|known| known.repeats(finding))).collect();
    findings.extend(kept);
    findings.extend(case.budget.misfit().map(|misfit| Finding {
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

/// The longest that an ingress routes to a service that has left discovery: the time that the jobs on the node show, with the margin for
/// the ingress's own work, else the setting.
#[must_use]
pub fn ingress_forgets(seen: &Snapshot, policy: &Policy) -> Duration {
    let known = || seen.history.known.iter().map(|known| &known.group);
    // A later worker may find the ingress stopped.
    let listed = || seen.allocations();
    let shown = longest(known()).or_else(|| longest(listed().map(|allocation| &allocation.group)));
    shown.map_or(policy.ingress_forgets, |shown| shown + policy.ingress_margin)
}

fn longest<'g>(groups: impl Iterator<Item = &'g Arc<TaskGroup>>) -> Option<Duration> {
    groups.filter_map(|group| group.ingress.as_ref()).map(|ingress| ingress.forgets_after).max()
}

/// A description of the margin in that time. Empty if no job shows the time.
fn margin(seen: &Snapshot, policy: &Policy) -> String {
    let shown = seen.history.known.iter().any(|k| k.group.ingress.is_some());
    if !shown || policy.ingress_margin.is_zero() {
        return String::new();
    }
    format!(", {} of it for its own work, which load makes longer", plain(policy.ingress_margin))
}

/// One allocation of each task group that counts.
pub(super) fn one_of_each<'a>(case: &'a Case<'_>) -> Vec<&'a Allocation> {
    let mut each: Vec<&Allocation> = Vec::new();
    for allocation in case.all_remaining() {
        if !each.iter().any(|other| other.group.is_same(&allocation.group)) {
            each.push(allocation);
        }
    }
    each
}

/// Whether a load balancer sends to it directly. It then stops after the delay, when nothing is sent any more.
fn serves_a_target(case: &Case<'_>, allocation: &Allocation) -> bool {
    case.our_targets().any(|(_, target)| case.answering(&target.id, target.port).any(|a| a.id == allocation.id))
}

fn of_a_service(case: &Case<'_>, allocation: &Allocation, forgets: Duration) -> Vec<Finding> {
    let group = &allocation.group;
    if !group.is_found_by_an_ingress() || serves_a_target(case, allocation) {
        return Vec::new();
    }
    let mut findings = of_a_stop(case, group, forgets);
    findings.extend(no_copy_left(case, allocation));
    findings
}

/// What the stop of one copy costs by its settings, if an ingress sends to it.
pub(super) fn of_a_stop(case: &Case<'_>, group: &TaskGroup, forgets: Duration) -> Vec<Finding> {
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
                margin(case.seen, case.policy)
            ),
            line: format!("shutdown_delay = \"{}s\"", forgets.as_secs_f64().ceil()),
        });
    }
    findings.extend(killed_with_requests(group, case.policy, serves_on, forgets));
    findings
}

/// The last request may come right before the ingress forgets the service. From then until SIGKILL it must be able to finish.
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
fn no_copy_left(case: &Case<'_>, allocation: &Allocation) -> Option<Finding> {
    let group = &allocation.group;
    let at_once = group.max_parallel.unwrap_or(1);
    let here = u32::try_from(case.all_remaining().filter(|other| other.group.is_same(group)).count()).unwrap_or(u32::MAX);
    // A copy on another node goes on running.
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

/// Work that a drain can only cut, or never moves.
pub(super) fn of_a_drain(group: &TaskGroup) -> Option<Finding> {
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

/// The replacement copies the disk from this node's client after this allocation has ended. If the node is gone by then, the replacement
/// starts with an empty disk, and only the client's log shows it (Nomad's `client/allocrunner/migrate_hook.go`). decamp waits for the copy,
/// and cannot know how long it takes.
pub(super) fn of_a_disk(group: &TaskGroup) -> Option<Finding> {
    // A drain moves nothing else to another node.
    (group.migrates_disk && group.kind == JobKind::Service).then(|| Finding {
        layer: Layer::Node,
        loss: Loss::DiskCut,
        object: group.title().into(),
        value: "ephemeral_disk { migrate = true }".to_owned(),
        needed: "time and room for the copy before the departure ends".to_owned(),
        why: "the replacement copies the disk from this node after the allocation has stopped; decamp keeps the instance until it has \
              it, or ends as data-left when the time is up; a replacement whose copy is cut starts with an empty disk, and one that \
              Nomad places late copies nothing"
            .to_owned(),
        line: "# if the copy may take longer than the departure: raise DECAMP_MAX_DEPARTURE and the hook's heartbeat_timeout"
            .to_owned(),
    })
}

/// An ingress without a known load balancer. Most likely there is one that is neither attached nor named.
fn of_no_group(case: &Case<'_>) -> Option<Finding> {
    case.seen.group.last()?;
    // An ingress that the policy leaves running receives requests as well, until the machine goes.
    let all = case.allocations();
    let ingress = all.into_iter().find(|a| a.group.ingress.is_some() && !a.client.is_over())?;
    super::balancers::has_no_group(case).then(|| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::NoTargetGroup,
        object: ingress.group.title().into(),
        value: "no target group, attached or named".to_owned(),
        needed: "every target group that holds the instance".to_owned(),
        why: "a load balancer that is not known is not left: it sends to the instance until that is gone".to_owned(),
        line: "notification_metadata = jsonencode({ target_groups = [aws_lb_target_group.this.arn] })".to_owned(),
    })
}
