//! What an operator may choose. Every field has a default that loses nothing.

use std::time::Duration;

use serde::Serialize;

use super::action::LifecycleResult;
use super::snapshot::TaskGroup;
use crate::ids::TargetGroupArn;

/// The rules' settings. `settings.rs` reads them; their variables and units stand there and in the README.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The longest that a departure may take, from its entry into the hook. Default 2 h.
    pub max_departure: Duration,
    /// Give up this long before the hook ends, so that the last call still lands. Default 30 s.
    pub reserve: Duration,
    /// What `end` completes the action with. Default CONTINUE.
    pub on_timeout: LifecycleResult,
    /// Never force a drain; what is left at `end` is left. Default false.
    pub never_force: bool,
    /// Leave system jobs running. Refused when one of them serves a target. Default false.
    pub ignore_system_jobs: bool,
    /// Drain beside the deregistration delay where that loses nothing. Default true.
    pub overlap: bool,
    /// How long an ALB's, or a Classic Load Balancer's, routing may lag a deregistration. Default 10 s.
    pub guard_alb: Duration,
    /// The same for NLB and Gateway Load Balancers. Default 120 s.
    pub guard_nlb: Duration,
    /// How long to wait for the node of an instance that is younger than 15 min or in a group without Nomad. Default 30 s.
    pub no_node_wait: Duration,
    /// Auto Scaling groups that run no Nomad, by name; a `*` at the end stands for any rest. Elsewhere a missing node is a contradiction.
    pub without_nomad: Vec<std::sync::Arc<str>>,
    /// How long to wait for a dead Nomad agent to come back. Default 5 min, at least the longest stop.
    pub agent_dead_wait: Duration,
    /// How long a leftover registration of an allocation that is over is waited for. Default 10 min.
    pub leftover_wait: Duration,
    /// How long a target is waited for that may be ours, because nobody is known to have its address. Default 10 min.
    pub unknown_target_wait: Duration,
    /// What to do when somebody cancels our drain. Default respect.
    pub on_cancel: OnCancel,
    /// What to do when ours is the last healthy target of a group, or of its zone where load balancing does not cross zones. Default warn.
    pub last_target: LastTarget,
    /// Whether services are registered in Consul. Default true.
    pub consul: bool,
    /// What to do about services that somebody registered by hand with the node's Consul agent. Default name.
    pub by_hand: ByHand,
    /// Find target groups by scanning all of them. Default false.
    pub scan: bool,
    /// Target groups named in the settings.
    pub target_groups: Vec<TargetGroupArn>,
    /// Hooks that are ours. Empty: every terminating hook of an allowed group.
    pub hooks: Vec<std::sync::Arc<str>>,
    /// Refuse before the first write when the Nomad token cannot see enough (`decamp run`), instead of waiting for a better one. Default false.
    pub refuse_without_sight: bool,
    /// What one task may claim of the time for a stop by its `kill_timeout`. Default 30 s: clients cap it there (`max_kill_timeout`),
    /// and servers do not know the cap (facts/nomad.md 5.4).
    pub max_kill_timeout: Duration,
    /// What poststop tasks may take; Nomad sets them no limit. Default 30 s.
    pub poststop: Duration,
    /// The longest request that the clients may make; settings that would cut such a request are foreseen losses. Default 5 s.
    pub longest_request: Duration,
    /// How long the ingress routes to a service after it left discovery, where no job on the node tells.
    /// Default 17 s: Traefik's poll of 15 s and its throttle of 2 s.
    pub ingress_forgets: Duration,
    /// What an ingress may need on top of what its settings promise: to read what changed, to apply it, and to be scheduled at all on a busy
    /// machine. Default 3 s: a Traefik that watches, with its throttle of 2 s, took up to 4 s on one.
    pub ingress_margin: Duration,
}

/// What to do when somebody cancels our drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCancel {
    /// Leave it cancelled: heartbeat until `end`, and say so.
    Respect,
    /// Drain once more.
    DrainAgain,
}

/// What to do about services on the node's Consul agent that Nomad did not register. Nomad does not stop them, and a drain does not
/// take them out of discovery: whoever routes by Consul sends to them until the machine is gone, or until somebody takes them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByHand {
    /// Name them before anything moves and at the end, and go on.
    Name,
    /// Hold the instance until none with such a name is routable: removed, or critical (maintenance). A `*` at the end of a name stands
    /// for any rest.
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

/// What to do when ours is the last healthy target of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastTarget {
    /// Deregister it, and say so.
    Warn,
    /// Wait for another to be healthy, until the drain must begin.
    Hold,
}

impl Policy {
    /// The longest that an allocation of this group may take to stop, as far as its job may claim it.
    #[must_use]
    pub fn longest_stop(&self, group: &TaskGroup) -> Duration {
        group.longest_stop(self.poststop, self.max_kill_timeout)
    }

    /// How long a load balancer whose kind is not known may still send after a deregistration.
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

/// Whether a name is this pattern: the same, or its beginning where the pattern ends with a `*`.
#[must_use]
pub fn is_named_by(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}
