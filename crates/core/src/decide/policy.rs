//! The operator's settings for the rules. No default loses requests.

use std::time::Duration;

use serde::Serialize;

use super::action::LifecycleResult;
use super::snapshot::TaskGroup;
use crate::ids::TargetGroupArn;

/// The settings of the rules. `decamp-config` reads them. `docs/settings.md` has their variables and units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The longest that a departure may take, from its entry into the hook. Default 2 h.
    pub max_departure: Duration,
    /// The time kept free before the hook ends, so that the last call still succeeds. Default 30 s.
    pub reserve: Duration,
    /// The result with which `end` completes the action. Default CONTINUE.
    pub on_timeout: LifecycleResult,
    /// Never force a drain. Allocations that still run at `end` are left to the termination of the machine. Default false.
    pub never_force: bool,
    /// Leave system jobs running, unless one of them serves a target. Default false.
    pub ignore_system_jobs: bool,
    /// Drain beside the deregistration delay, if that loses nothing. Default true.
    pub overlap: bool,
    /// How long the routing of an ALB or a Classic Load Balancer may lag behind a deregistration. Default 10 s.
    pub guard_alb: Duration,
    /// The same for NLB and Gateway Load Balancers. Default 120 s.
    pub guard_nlb: Duration,
    /// How long to wait for the node of an instance that is younger than 15 min or in a group without Nomad. Default 30 s.
    pub no_node_wait: Duration,
    /// Auto Scaling groups without Nomad, by name. A `*` at the end stands for any rest. In other groups a missing node is a contradiction.
    pub without_nomad: Vec<std::sync::Arc<str>>,
    /// How long to wait for a dead Nomad agent to come back. Default 5 min, at least the longest stop.
    pub agent_dead_wait: Duration,
    /// How long to wait for a registration of an allocation that is over. Default 10 min.
    pub leftover_wait: Duration,
    /// How long to wait for a target that may be ours, because the owner of its address is unknown. Default 10 min.
    pub unknown_target_wait: Duration,
    /// What to do if somebody cancels our drain. Default respect.
    pub on_cancel: OnCancel,
    /// What to do if ours is the last healthy target of a group, or of its zone where load balancing does not cross zones. Default warn.
    pub last_target: LastTarget,
    /// What to do about data in host volumes, which stays on the machine. Default warn.
    pub local_data: LocalData,
    /// Whether services are registered in Consul. Default true.
    pub consul: bool,
    /// What to do about services that were registered by hand with the node's Consul agent. Default name.
    pub by_hand: ByHand,
    /// Find target groups by scanning all of them. Default false.
    pub scan: bool,
    /// Target groups named in the settings.
    pub target_groups: Vec<TargetGroupArn>,
    /// Hooks that are ours. Empty: every terminating hook of an allowed group.
    pub hooks: Vec<std::sync::Arc<str>>,
    /// Refuse before the first write if the Nomad token cannot see enough (`decamp run`), instead of waiting for a better one. Default
    /// false.
    pub refuse_without_sight: bool,
    /// The longest `kill_timeout` that counts for a task. Default 30 s: clients cap it there (`max_kill_timeout`), and servers do not know
    /// the cap (facts/nomad.md 5.4).
    pub max_kill_timeout: Duration,
    /// How long poststop tasks may take. Nomad sets no limit. Default 30 s.
    pub poststop: Duration,
    /// The longest request of the clients. Settings that would cut such a request are findings. Default 5 s.
    pub longest_request: Duration,
    /// How long the ingress routes to a service that has left discovery, if no job on the node shows it. Default 17 s: Traefik's poll of 15
    /// s and its throttle of 2 s.
    pub ingress_forgets: Duration,
    /// The time that an ingress may need besides what its settings promise: to read a change, to apply it, and to be scheduled on a busy
    /// machine. Default 3 s: a watching Traefik with its throttle of 2 s took up to 4 s on such a machine.
    pub ingress_margin: Duration,
}

/// What to do if somebody cancels our drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCancel {
    /// Leave it cancelled: send heartbeats until `end`, and report it.
    Respect,
    /// Drain once more.
    DrainAgain,
}

/// What to do about services on the node's Consul agent that Nomad did not register. Neither Nomad nor a drain removes them from discovery.
/// Clients that route by Consul use them until somebody removes them or the machine is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByHand {
    /// Name them before the first write and at the end, and go on.
    Name,
    /// Hold the instance until no service with such a name is routable: removed, or critical (maintenance). A `*` at the end of a name
    /// stands for any rest.
    Wait(Vec<std::sync::Arc<str>>),
}

impl ByHand {
    /// Whether a service of this name is waited for.
    #[must_use]
    pub fn waits_for(&self, service: &str) -> bool {
        match self {
            Self::Name => false,
            Self::Wait(names) => names.iter().any(|pattern| is_named_by(pattern, service)),
        }
    }
}

/// What to do if ours is the last healthy target of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastTarget {
    /// Deregister it, and report it.
    Warn,
    /// Wait until another target is healthy, or until the drain must begin.
    Hold,
}

/// What to do about data in host volumes. Nomad does not move it, and the machine takes it along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalData {
    /// Name it before the first write, and go on.
    Warn,
    /// Hold the instance until an operator lets it go, nothing uses the data any more, or the drain must begin.
    Hold,
}

impl Policy {
    /// The longest time that an allocation of this group may take to stop, with the job's claims capped.
    #[must_use]
    pub fn longest_stop(&self, group: &TaskGroup) -> Duration {
        group.longest_stop(self.poststop, self.max_kill_timeout)
    }

    /// How long a load balancer of an unknown kind may still send after a deregistration.
    #[must_use]
    pub fn longest_guard(&self) -> Duration {
        self.guard_alb.max(self.guard_nlb)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_departure: Duration::from_hours(2),
            reserve: Duration::from_secs(30),
            on_timeout: LifecycleResult::Continue,
            never_force: false,
            ignore_system_jobs: false,
            overlap: true,
            guard_alb: Duration::from_secs(10),
            guard_nlb: Duration::from_secs(120),
            no_node_wait: Duration::from_secs(30),
            without_nomad: Vec::new(),
            agent_dead_wait: Duration::from_mins(5),
            leftover_wait: Duration::from_mins(10),
            unknown_target_wait: Duration::from_mins(10),
            on_cancel: OnCancel::Respect,
            last_target: LastTarget::Warn,
            local_data: LocalData::Warn,
            consul: true,
            by_hand: ByHand::Name,
            scan: false,
            target_groups: Vec::new(),
            hooks: Vec::new(),
            refuse_without_sight: false,
            max_kill_timeout: Duration::from_secs(30),
            poststop: Duration::from_secs(30),
            longest_request: Duration::from_secs(5),
            ingress_forgets: Duration::from_secs(17),
            ingress_margin: Duration::from_secs(3),
        }
    }
}

/// Whether a name matches this pattern: it is the same, or begins with it if the pattern ends with a `*`.
#[must_use]
pub fn is_named_by(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}
