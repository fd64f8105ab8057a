//! Lost agents: decamp does not release a node whose agent Nomad has lost early while its services pass, or once its agent is back
//! (ADR 0005).

use std::time::Duration;

use super::Oracle;
use crate::auto_scaling::AutoScaling;
use crate::consul::Consul;
use crate::nomad::Nomad;
use crate::world::{Lists, Subject};
use decamp_core::decide::{Departure, NodeStatus, Outcome};
use decamp_core::time::Time;

/// How old the worker's last look may be.
const LOOKED: Duration = Duration::from_secs(12);
/// The error of a clock and a call at the end.
const AT_THE_END: Duration = Duration::from_secs(20);

impl Oracle {
    /// L2 for the outcome that the agent is dead.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub(super) fn check_lost_agent(
        &mut self,
        at: Time,
        departure: &Departure,
        verdict: &Outcome,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        consul: &Consul,
        subject: &Subject,
    ) {
        let Some(node) = subject.node.filter(|_| *verdict == Outcome::AgentDead && !self.bounds.entry_is_wrong) else { return };
        let early = self.earliest_end(departure, auto_scaling, subject).is_some_and(|end| at + AT_THE_END < end);
        // A hold has its own end (ADR 0015).
        if !early || self.machine_died || self.held || self.unheld.is_some() {
            return;
        }
        let since = |known: Option<Time>| known.is_some_and(|known| known + LOOKED < at);
        // Without a leader, an agent that is back becomes ready later. A purged node is listed once its agent has registered again.
        let state = nomad.node(node);
        if since(self.agent_back) && since(Some(state.status_since)) && state.registered && state.status == NodeStatus::Ready {
            self.broke(at, "L2", "it gave up an agent that is back".to_owned());
        }
        let state = consul.node(subject.consul_node);
        let passing = state.of_allocations().find(|entry| entry.is_listed() && entry.is_passing());
        // If a job was purged before any look, nothing says in which of Consul's namespaces its services are.
        let is_visible = subject.consul_lists == Lists::All && !self.purged_between_workers();
        if let Some(entry) = passing.filter(|_| is_visible && consul.agent_lives(subject.consul_node) && since(self.agent_died)) {
            let name = entry.name.clone();
            self.broke(at, "L2", format!("it let a lost node go while {name} passes its checks"));
        }
    }
}
