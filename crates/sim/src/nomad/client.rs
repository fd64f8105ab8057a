//! What a node's client does: it starts and stops processes, asks for their registrations, and tells the servers, a little late.

use super::state::{Life, NodeNumber};
use super::stopping::Stopping;
use super::{Due, Nomad, Outside};
use crate::consul::Entry;
use crate::event::{AllocationNumber, What};
use decamp_core::decide::snapshot::{ClientStatus, JobKind, Provider, TaskRole};

impl Nomad {
    /// The client hears that an allocation is to stop.
    pub(super) fn learn(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let capped = self.version.caps_kill_timeout();
        let state = &mut self.allocations[number.index()];
        if !self.nodes[state.node.index()].agent_alive {
            return;
        }
        let spec = &self.groups[state.group.index()].spec;
        match state.life {
            Life::Stopping | Life::Over { .. } => return,
            Life::Coming => {
                state.epoch += 1;
                state.life = Life::Over { failed: false };
                return self.unsynced(number);
            }
            Life::Running => {}
        }
        state.epoch += 1;
        state.life = Life::Stopping;
        let plan = Stopping::plan(&spec.group, &spec.behaviour, self.now, capped);
        state.stopping = Some(plan);
        let epoch = state.epoch;
        for place in self.turns_that_show(number) {
            self.queue.put(plan.turns[usize::from(place)], Due::Turn { allocation: number, epoch, place });
        }
        self.queue.put(plan.signal, Due::Signal { allocation: number, epoch });
        if plan.ended < plan.over {
            self.queue.put(plan.ended, Due::Ended { allocation: number, epoch });
        }
        self.queue.put(plan.over, Due::Over { allocation: number, epoch });
        self.say(number, What::ToldToStop, outside);
        let of_tasks = self.groups[self.allocations[number.index()].group.index()].spec.behaviour.services_of_tasks;
        self.leave_discovery(number, !of_tasks, outside);
    }

    /// The turns of a stop at which something shows: a task's delay, a task's services, a layer after another.
    fn turns_that_show(&self, number: AllocationNumber) -> impl Iterator<Item = u8> + use<> {
        let spec = &self.groups[self.allocations[number.index()].group.index()].spec;
        let pending = self.version.shows_pending_in_shutdown_delay();
        let layers = [TaskRole::Leader, TaskRole::Main, TaskRole::Sidecar, TaskRole::Poststop];
        let mut shown = [false; 4];
        let mut before = false;
        for (place, role) in layers.into_iter().enumerate() {
            for task in spec.group.tasks.iter().filter(|t| t.role == role) {
                shown[place] |= before || (pending && !task.shutdown_delay.is_zero()) || 0 < spec.behaviour.services_of_tasks;
            }
            before |= spec.group.tasks.iter().any(|t| t.role == role);
        }
        (0..4).filter(move |&place| shown[usize::from(place)])
    }

    pub(super) fn turn(&mut self, number: AllocationNumber, place: u8, outside: &mut Outside<'_>) {
        let spec = &self.groups[self.allocations[number.index()].group.index()].spec;
        let first_layer = [TaskRole::Leader, TaskRole::Main, TaskRole::Sidecar]
            .iter()
            .position(|role| spec.group.tasks.iter().any(|t| t.role == *role));
        let of_tasks = spec.behaviour.services_of_tasks;
        if 0 < of_tasks && first_layer == Some(usize::from(place)) {
            self.leave_discovery(number, of_tasks, outside);
        }
        self.unsynced(number);
    }

    pub(super) fn serving_ended(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let killed = self.allocations[number.index()].stopping.is_some_and(|s| s.killed);
        self.say(number, What::Ended { killed }, outside);
    }

    /// The last process is gone.
    pub(super) fn over(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        let failed = self.groups[state.group.index()].spec.behaviour.exits_with_error;
        state.life = Life::Over { failed };
        state.ended = Some(self.now);
        if state.stopping.is_none_or(|s| s.ended == s.over) {
            self.serving_ended(number, outside);
        }
        self.say(number, What::Over, outside);
        self.check_finds_out(number, outside);
        self.unsynced(number);
    }

    /// The serving process of an allocation that has its kill signal ended by itself, now and not when it was planned to: where
    /// real processes stand for the model's.
    pub fn process_ended(&mut self, number: AllocationNumber) {
        let now = self.now;
        let state = &mut self.allocations[number.index()];
        let Some(plan) = state.stopping.as_mut().filter(|plan| plan.signal <= now && now < plan.ended) else { return };
        if state.life != Life::Stopping {
            return;
        }
        let after = plan.over.since(plan.ended);
        (plan.ended, plan.over, plan.killed) = (now, now + after, false);
        state.epoch += 1;
        let (epoch, over) = (state.epoch, plan.over);
        if now < over {
            self.queue.put(now, Due::Ended { allocation: number, epoch });
        }
        self.queue.put(over, Due::Over { allocation: number, epoch });
    }

    /// What ends while no agent is there to deregister it stays in Consul, until its check fails.
    fn check_finds_out(&self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let node = &self.nodes[self.allocations[number.index()].node.index()];
        if let Some((consul_node, _)) = &node.spec.consul
            && !node.agent_alive
        {
            outside.consul.process_ended(*consul_node, number);
        }
    }

    /// It ends by itself.
    pub(super) fn finish(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        state.epoch += 1;
        state.life = Life::Over { failed: false };
        state.ended = Some(self.now);
        self.say(number, What::Ended { killed: false }, outside);
        self.say(number, What::Over, outside);
        self.leave_discovery(number, u32::MAX, outside);
        self.check_finds_out(number, outside);
        self.unsynced(number);
    }

    /// Puts down when a process that was placed comes up. Nothing comes up where no agent lives.
    pub(super) fn come_up(&mut self, number: AllocationNumber) {
        let at = self.soon(20, 120);
        let state = &self.allocations[number.index()];
        if state.life == Life::Coming && self.nodes[state.node.index()].agent_alive {
            let starts_in = self.groups[state.group.index()].spec.behaviour.starts_in;
            self.queue.put(at + starts_in, Due::Start { allocation: number, epoch: state.epoch });
        }
    }

    pub(super) fn start(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        if !self.nodes[state.node.index()].agent_alive || state.life != Life::Coming {
            return;
        }
        state.life = Life::Running;
        state.started = Some(self.now);
        let (group, epoch) = (state.group, state.epoch);
        let healthy = self.now + self.groups[group.index()].spec.behaviour.healthy_in;
        self.say(number, What::Serving, outside);
        self.enter_nomad_discovery(number);
        for service in bits(self.allocations[number.index()].in_nomad_discovery) {
            self.say(number, What::InDiscovery { service }, outside);
        }
        let at = self.soon(5, 40);
        self.queue.put(at, Due::Register { allocation: number, epoch });
        if self.has_health(group) {
            self.queue.put(healthy, Due::Healthy { allocation: number, epoch });
        }
        self.unsynced(number);
    }

    /// Whether the servers are told of a health of this group's allocations at all.
    pub(super) fn has_health(&self, group: super::GroupNumber) -> bool {
        match self.groups[group.index()].spec.group.kind {
            JobKind::Service => true,
            JobKind::System => self.version.has_health_of_system_jobs(),
            JobKind::Batch | JobKind::SysBatch => false,
        }
    }

    pub(super) fn become_healthy(&mut self, number: AllocationNumber) {
        let state = &mut self.allocations[number.index()];
        let told = self.nodes[state.node.index()].agent_alive;
        if told && state.wanted && state.life == Life::Running && state.healthy.is_none() {
            state.healthy = Some(true);
            self.allocation_changed(number);
        }
    }

    pub(super) fn enter_nomad_discovery(&mut self, number: AllocationNumber) {
        let services = if self.version.has_services() { self.services_with(number, Provider::Nomad) } else { 0 };
        self.allocations[number.index()].in_nomad_discovery = services;
    }

    /// The services of an allocation that this provider keeps, a bit each.
    fn services_with(&self, number: AllocationNumber, provider: Provider) -> u32 {
        let services = &self.groups[self.allocations[number.index()].group.index()].spec.group.services;
        services.iter().enumerate().filter(|(_, s)| s.provider == provider).fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// Registers with the Consul agent beside it.
    pub(super) fn register(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let passes_in = self.groups[self.allocations[number.index()].group.index()].spec.behaviour.passes_in;
        self.register_at(number, self.now + passes_in, outside);
    }

    /// Registers with the Consul agent beside it, passing from then on.
    pub(super) fn register_at(&mut self, number: AllocationNumber, passes: decamp_core::time::Time, outside: &mut Outside<'_>) {
        let state = &self.allocations[number.index()];
        let node = &self.nodes[state.node.index()];
        let Some((consul_node, _)) = node.spec.consul.as_ref().filter(|_| node.agent_alive) else { return };
        let group = &self.groups[state.group.index()].spec.group;
        for service in bits(self.services_with(number, Provider::Consul)) {
            let declared = &group.services[usize::from(service)];
            let entry = Entry::new(number, state.id, service, declared.name.clone()).within(declared.namespace.clone());
            outside.consul.register(*consul_node, entry, passes, outside.log);
        }
    }

    /// Its services leave discovery: Nomad's own at once, Consul's as soon as its agent gets to it.
    fn leave_discovery(&mut self, number: AllocationNumber, services: u32, outside: &mut Outside<'_>) {
        self.leave_nomad_discovery(number, services, outside);
        let in_consul = self.services_with(number, Provider::Consul) & services;
        if 0 < in_consul {
            let at = self.soon(1, 10);
            self.queue.put(at, Due::Deregister { allocation: number, services: in_consul });
        }
    }

    pub(super) fn leave_nomad_discovery(&mut self, number: AllocationNumber, services: u32, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        let gone = state.in_nomad_discovery & services;
        state.in_nomad_discovery &= !services;
        for service in bits(gone) {
            self.say(number, What::LeftDiscovery { service }, outside);
        }
    }

    pub(super) fn deregister(&mut self, number: AllocationNumber, services: u32, outside: &mut Outside<'_>) {
        let node = &self.nodes[self.allocations[number.index()].node.index()];
        if let Some((consul_node, _)) = &node.spec.consul
            && node.agent_alive
        {
            outside.consul.deregister(*consul_node, number, services, outside.log);
        }
    }

    /// The servers will hear of an allocation's state with its client's next batch.
    pub(super) fn unsynced(&mut self, number: AllocationNumber) {
        let at = self.soon(20, 250);
        let node = self.allocations[number.index()].node;
        let state = &mut self.nodes[node.index()];
        if !state.unsynced.contains(&number) {
            state.unsynced.push(number);
        }
        if !state.sync_due && state.agent_alive {
            state.sync_due = true;
            let epoch = state.agent_epoch;
            self.queue.put(at, Due::Sync { node, epoch });
        }
    }

    pub(super) fn sync(&mut self, node: NodeNumber, epoch: u32, outside: &mut Outside<'_>) {
        let state = &mut self.nodes[node.index()];
        if state.agent_epoch != epoch {
            return;
        }
        state.sync_due = false;
        if !state.registered {
            return;
        }
        for number in std::mem::take(&mut state.unsynced) {
            self.sync_allocation(number, outside);
        }
    }

    fn sync_allocation(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let (capped, pending) = (self.version.caps_kill_timeout(), self.version.shows_pending_in_shutdown_delay());
        let state = &mut self.allocations[number.index()];
        let spec = &self.groups[state.group.index()].spec;
        state.synced = self.now;
        let was = state.client;
        state.client = match (state.life, &state.stopping) {
            (Life::Coming, _) => ClientStatus::Pending,
            (Life::Stopping, Some(plan)) => plan.client_status(&spec.group, &spec.behaviour, self.now, capped, pending),
            (Life::Running | Life::Stopping, _) => ClientStatus::Running,
            (Life::Over { failed: false }, _) => ClientStatus::Complete,
            (Life::Over { failed: true }, _) => ClientStatus::Failed,
        };
        if state.is_client_terminal() && was != state.client {
            // Since 1.8 the servers themselves drop what an allocation that is over had in Nomad's discovery.
            self.leave_nomad_discovery(number, u32::MAX, outside);
            self.release_successor(number);
        }
        if self.allocations[number.index()].listed {
            self.allocation_changed(number);
        }
    }

    /// What was to follow an allocation that is now over comes up.
    pub(super) fn release_successor(&mut self, number: AllocationNumber) {
        if let Some(next) = self.allocations[number.index()].next {
            self.come_up(next);
        }
    }
}

/// The places of the bits that are set.
pub(super) fn bits(mut set: u32) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let place = u16::try_from(set.trailing_zeros()).unwrap_or(u16::MAX);
        (0 < set).then(|| {
            set &= set - 1;
            place
        })
    })
}
