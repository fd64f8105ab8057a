//! A node's client: starts and stops processes, asks Consul for their registrations, and reports to the servers with a delay.

use super::state::{Life, NodeNumber};
use super::stopping::Stopping;
use super::{Due, Nomad, Outside};
use crate::consul::Entry;
use crate::event::{AllocationNumber, EventKind};
use decamp_core::decide::snapshot::{ClientStatus, JobKind, Provider, TaskRole};
use decamp_core::time::Time;

impl Nomad {
    /// The client receives the request to stop an allocation.
    pub(super) fn receive_stop(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let cap = self.kill_cap();
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
                return self.schedule_sync(number);
            }
            Life::Running => {}
        }
        state.epoch += 1;
        state.life = Life::Stopping;
        let plan = Stopping::plan(&spec.group, &spec.behaviour, self.now, cap);
        state.stopping = Some(plan);
        let epoch = state.epoch;
        for place in self.visible_turns(number) {
            self.queue.put(plan.turns[usize::from(place)], Due::Turn { allocation: number, epoch, place });
        }
        self.queue.put(plan.signal, Due::Signal { allocation: number, epoch });
        if plan.ended < plan.over {
            self.queue.put(plan.ended, Due::Ended { allocation: number, epoch });
        }
        self.queue.put(plan.over, Due::Over { allocation: number, epoch });
        self.emit(number, EventKind::StopRequested, outside);
        let of_tasks = self.groups[self.allocations[number.index()].group.index()].spec.behaviour.services_of_tasks;
        self.leave_discovery(number, !of_tasks, outside);
    }

    /// The layers of a stop whose beginning is visible: because of a task's delay, a task's services, or an earlier layer.
    fn visible_turns(&self, number: AllocationNumber) -> impl Iterator<Item = u8> + use<> {
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
        self.schedule_sync(number);
    }

    pub(super) fn serving_ended(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let killed = self.allocations[number.index()].stopping.is_some_and(|s| s.killed);
        self.emit(number, EventKind::Ended { killed }, outside);
    }

    /// The last process is gone.
    pub(super) fn last_process_ended(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        let failed = self.groups[state.group.index()].spec.behaviour.exits_with_error;
        state.life = Life::Over { failed };
        state.ended = Some(self.now);
        if state.stopping.is_none_or(|s| s.ended == s.over) {
            self.serving_ended(number, outside);
        }
        self.emit(number, EventKind::Over, outside);
        self.leave_to_its_check(number, outside);
        self.schedule_release(number);
        self.schedule_sync(number);
    }

    /// The serving process of an allocation ended by itself after its kill signal: now, and not when the model planned it. The rehearsal
    /// calls this, because it runs real processes.
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

    /// An allocation that ends while no agent is there to deregister it stays in Consul until its check fails.
    fn leave_to_its_check(&self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let node = &self.nodes[self.allocations[number.index()].node.index()];
        if let Some((consul_node, _)) = &node.spec.consul
            && !node.agent_alive
        {
            outside.consul.process_ended(*consul_node, number);
        }
    }

    /// The allocation ends by itself.
    pub(super) fn end_by_itself(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        state.epoch += 1;
        state.life = Life::Over { failed: false };
        state.ended = Some(self.now);
        self.emit(number, EventKind::Ended { killed: false }, outside);
        self.emit(number, EventKind::Over, outside);
        self.leave_discovery(number, u32::MAX, outside);
        self.leave_to_its_check(number, outside);
        self.schedule_release(number);
        self.schedule_sync(number);
    }

    /// Schedules the start of a placed allocation. Without a live agent nothing starts.
    pub(super) fn schedule_start(&mut self, number: AllocationNumber) {
        let at = self.soon(20, 120);
        let state = &self.allocations[number.index()];
        if state.life == Life::Coming && self.nodes[state.node.index()].agent_alive {
            let copied = self.begin_copy(number, at);
            self.schedule_start_at(number, copied);
        }
    }

    /// Schedules the start of an allocation whose disk is there at this time.
    pub(super) fn schedule_start_at(&mut self, number: AllocationNumber, at: Time) {
        let state = &self.allocations[number.index()];
        let starts_in = self.groups[state.group.index()].spec.behaviour.starts_in;
        self.queue.put(at + starts_in, Due::Start { allocation: number, epoch: state.epoch });
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
        self.emit(number, EventKind::Serving, outside);
        self.enter_nomad_discovery(number);
        for service in bits(self.allocations[number.index()].in_nomad_discovery) {
            self.emit(number, EventKind::InDiscovery { service }, outside);
        }
        let at = self.soon(5, 40);
        self.queue.put(at, Due::Register { allocation: number, epoch });
        if self.has_health(group) {
            self.queue.put(healthy, Due::Healthy { allocation: number, epoch });
        }
        self.schedule_sync(number);
    }

    /// Whether clients report the health of this group's allocations.
    pub(super) fn has_health(&self, group: super::GroupNumber) -> bool {
        match self.groups[group.index()].spec.group.kind {
            JobKind::Service => true,
            JobKind::System => self.version.has_health_of_system_jobs(),
            JobKind::Batch | JobKind::SysBatch => false,
        }
    }

    pub(super) fn become_healthy(&mut self, number: AllocationNumber) {
        let state = &mut self.allocations[number.index()];
        let reports = self.nodes[state.node.index()].agent_alive;
        if reports && state.wanted && state.life == Life::Running && state.healthy.is_none() {
            state.healthy = Some(true);
            self.allocation_changed(number);
        }
    }

    pub(super) fn enter_nomad_discovery(&mut self, number: AllocationNumber) {
        let services = if self.version.has_services() { self.services_with(number, Provider::Nomad) } else { 0 };
        self.allocations[number.index()].in_nomad_discovery = services;
    }

    /// The services of an allocation with this provider, one bit for each.
    fn services_with(&self, number: AllocationNumber, provider: Provider) -> u32 {
        let services = &self.groups[self.allocations[number.index()].group.index()].spec.group.services;
        services.iter().enumerate().filter(|(_, s)| s.provider == provider).fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// Registers the allocation's services with the node's Consul agent.
    pub(super) fn register(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let passes_in = self.groups[self.allocations[number.index()].group.index()].spec.behaviour.passes_in;
        self.register_at(number, self.now + passes_in, outside);
    }

    /// Registers the allocation's services with the node's Consul agent; they pass from `passes` on.
    pub(super) fn register_at(&mut self, number: AllocationNumber, passes: Time, outside: &mut Outside<'_>) {
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

    /// Removes services from discovery: from Nomad's own at once, from Consul a few milliseconds later.
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
            self.emit(number, EventKind::LeftDiscovery { service }, outside);
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

    /// The client will report the allocation's state with its next batch.
    pub(super) fn schedule_sync(&mut self, number: AllocationNumber) {
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
        let (cap, pending) = (self.kill_cap(), self.version.shows_pending_in_shutdown_delay());
        let state = &mut self.allocations[number.index()];
        let spec = &self.groups[state.group.index()].spec;
        state.synced = self.now;
        state.has_events |= state.has_received();
        let was = state.client;
        state.client = match (state.life, &state.stopping) {
            (Life::Coming, _) => ClientStatus::Pending,
            (Life::Stopping, Some(plan)) => plan.client_status(&spec.group, &spec.behaviour, self.now, cap, pending),
            (Life::Running | Life::Stopping, _) => ClientStatus::Running,
            (Life::Over { failed: false }, _) => ClientStatus::Complete,
            (Life::Over { failed: true }, _) => ClientStatus::Failed,
        };
        if state.is_client_terminal() && was != state.client {
            // Since 1.8 the servers themselves remove an allocation that is over from Nomad's discovery.
            self.leave_nomad_discovery(number, u32::MAX, outside);
            self.release_successor(number);
        }
        if self.allocations[number.index()].listed {
            self.allocation_changed(number);
        }
    }

    /// Starts the successor of an allocation that is over.
    pub(super) fn release_successor(&mut self, number: AllocationNumber) {
        if let Some(next) = self.allocations[number.index()].next {
            self.schedule_start(next);
        }
    }
}

/// The positions of the bits that are set.
pub(super) fn bits(mut set: u32) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let place = u16::try_from(set.trailing_zeros()).unwrap_or(u16::MAX);
        (0 < set).then(|| {
            set &= set - 1;
            place
        })
    })
}
