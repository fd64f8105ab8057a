//! The scheduler: places, stops and replaces allocations.

use super::state::{AllocationState, Fits, GroupNumber, GroupSpec, GroupState, Life, NodeNumber, NodeSpec, NodeState, Ports};
use super::{Due, Nomad, Outside};
use crate::consul::Consul;
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{ClientStatus, JobKind, NodeStatus, OwnNetwork};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;
use std::time::Duration;

/// How long an allocation that was placed at the start has been running.
const RUNS_FOR: Duration = Duration::from_hours(1);

impl Nomad {
    /// Adds a node: ready, eligible, empty.
    pub fn add_node(&mut self, spec: NodeSpec) -> NodeNumber {
        let index = self.write();
        self.nodes.push(NodeState {
            spec,
            registered: true,
            status: NodeStatus::Ready,
            status_since: self.now,
            metadata: Vec::new(),
            eligible: true,
            drain: None,
            last_drain: None,
            index,
            allocations_index: index,
            claims_index: 0,
            allocations: Vec::new(),
            agents_metadata: Vec::new(),
            metadata_due: false,
            agent_alive: true,
            machine_alive: true,
            agent_epoch: 0,
            unsynced: Vec::new(),
            sync_due: false,
            down_pending: false,
            cached: None,
        });
        let node = NodeNumber(self.nodes.len() as u32 - 1);
        self.node_takes_work(node);
        node
    }

    /// Adds a task group of a job. It places no allocation: see [`Nomad::place`] and [`Nomad::fill`].
    pub fn add_group(&mut self, spec: GroupSpec) -> GroupNumber {
        self.groups.push(GroupState {
            spec,
            allocations: Vec::new(),
            missing: Vec::new(),
            stopped: false,
            watched: false,
            changed: true,
        });
        GroupNumber(self.groups.len() as u32 - 1)
    }

    /// Places an allocation that has been running for long: registered, passing and healthy. It causes no events.
    pub fn place(&mut self, group: GroupNumber, node: NodeNumber, consul: &mut Consul) -> AllocationNumber {
        let state = &self.groups[group.index()];
        let name = match state.spec.group.kind {
            JobKind::Service | JobKind::Batch => state.allocations.len() as u32,
            JobKind::System | JobKind::SysBatch => 0,
        };
        let number = self.allocate(group, name, node, None);
        let healthy = self.has_health(group).then_some(true);
        let state = &mut self.allocations[number.index()];
        state.life = Life::Running;
        state.started = Some(self.now - RUNS_FOR);
        state.has_events = true;
        state.client = ClientStatus::Running;
        state.healthy = healthy;
        self.enter_nomad_discovery(number);
        let now = self.now;
        self.register_at(number, now, &mut Outside { consul, log: &mut Vec::new() });
        number
    }

    /// Makes an allocation end by itself at this time, as a batch job does.
    pub fn ends_at(&mut self, number: AllocationNumber, at: Time) {
        let epoch = self.allocations[number.index()].epoch;
        self.queue.put(at, Due::Finish { allocation: number, epoch });
    }

    /// An allocation that started at `started` and whose slow client registers its services in Consul only at `at`.
    pub fn registers_late(&mut self, number: AllocationNumber, started: Time, at: Time, consul: &mut Consul) {
        let state = &mut self.allocations[number.index()];
        state.started = Some(started);
        let (node, epoch) = (state.node, state.epoch);
        if let Some((agent, _)) = &self.nodes[node.index()].spec.consul {
            consul.deregister(*agent, number, u32::MAX, &mut Vec::new());
        }
        self.queue.put(at, Due::Register { allocation: number, epoch });
        self.allocation_changed(number);
    }

    /// Puts an allocation into its own network.
    pub fn put_in_network(&mut self, number: AllocationNumber, own: OwnNetwork) {
        self.allocations[number.index()].own = Some(own);
        self.allocation_changed(number);
    }

    /// Makes an allocation healthy only from this time on, or never.
    pub fn healthy_at(&mut self, number: AllocationNumber, at: Time) {
        let state = &mut self.allocations[number.index()];
        state.healthy = None;
        let epoch = state.epoch;
        self.queue.put(at, Due::Healthy { allocation: number, epoch });
    }

    /// Starts an allocation of this group on this node, even if the node is not eligible.
    pub fn start_on(&mut self, group: GroupNumber, node: NodeNumber) -> AllocationNumber {
        let name = self.free_name(group);
        let number = self.allocate(group, name, node, None);
        self.schedule_start(number);
        number
    }

    /// Places the missing copies of a group, as far as there is room.
    pub fn fill(&mut self, group: GroupNumber) {
        for name in std::mem::take(&mut self.groups[group.index()].missing) {
            self.place_somewhere(group, name, None);
        }
    }

    pub(super) fn free_name(&self, group: GroupNumber) -> u32 {
        let state = &self.groups[group.index()];
        let taken = |name: u32| {
            state.allocations.iter().map(|n| &self.allocations[n.index()]).any(|a| a.index == name && !a.is_terminal())
        };
        match state.spec.group.kind {
            JobKind::Service | JobKind::Batch => (0..).find(|&name| !taken(name)).unwrap_or_default(),
            JobKind::System | JobKind::SysBatch => 0,
        }
    }

    pub(super) fn allocate(
        &mut self,
        group: GroupNumber,
        name: u32,
        node: NodeNumber,
        previous: Option<AllocationNumber>,
    ) -> AllocationNumber {
        let number = AllocationNumber(self.allocations.len() as u32);
        let id = AllocationId(u128::from(self.rng.bits()) << 64 | u128::from(self.rng.bits()));
        let ports = match &self.groups[group.index()].spec.ports {
            Ports::Static(ports) => ports.clone(),
            Ports::Dynamic => [self.free_port(node)].into(),
        };
        self.allocations.push(AllocationState {
            id,
            node,
            group,
            index: name,
            ports,
            own: None,
            wanted: true,
            marked: false,
            client: ClientStatus::Pending,
            healthy: None,
            listed: true,
            life: Life::Coming,
            synced: self.now,
            started: None,
            ended: None,
            stopping: None,
            previous,
            next: None,
            copy: super::disks::DiskCopy::default(),
            released: None,
            has_events: false,
            in_nomad_discovery: 0,
            modified: 0,
            epoch: 0,
            reported_over: false,
        });
        self.groups[group.index()].allocations.push(number);
        self.nodes[node.index()].allocations.push(number);
        if let Some(previous) = previous {
            self.allocations[previous.index()].next = Some(number);
        }
        self.allocation_changed(number);
        number
    }

    /// Draws a port from 20000 to 32000 that is free on the node, as Nomad does.
    fn free_port(&mut self, node: NodeNumber) -> u16 {
        loop {
            let port = 20_000 + self.rng.below(12_000) as u16;
            let taken = |n: &AllocationNumber| {
                let allocation = &self.allocations[n.index()];
                !matches!(allocation.life, Life::Over { .. }) && allocation.ports.contains(&port)
            };
            if !self.nodes[node.index()].allocations.iter().any(taken) {
                return port;
            }
        }
    }

    /// Places one copy where there is room. Without room the copy is missing until there is some.
    pub(super) fn place_somewhere(&mut self, group: GroupNumber, name: u32, previous: Option<AllocationNumber>) {
        let Some(node) = self.room_for(group) else { return self.groups[group.index()].missing.push(name) };
        let number = self.allocate(group, name, node, previous);
        // A replacement waits for its predecessor on any node. A copy that was placed late has no predecessor, and overlaps.
        if previous.is_none_or(|p| self.allocations[p.index()].is_client_terminal()) {
            self.schedule_start(number);
        }
    }

    /// Of the nodes that can take this group, the one with the fewest allocations.
    fn room_for(&self, group: GroupNumber) -> Option<NodeNumber> {
        let fits = self.groups[group.index()].spec.fits;
        let takes = |(number, node): &(usize, &NodeState)| {
            let here = match fits {
                Fits::Anywhere => true,
                Fits::Apart => !node.allocations.iter().any(|other| {
                    let other = &self.allocations[other.index()];
                    other.group == group && !matches!(other.life, Life::Over { .. })
                }),
                Fits::Only(only) => only.index() == *number,
                Fits::Nowhere => false,
            };
            here && node.takes_work()
        };
        let candidates = self.nodes.iter().enumerate().filter(takes);
        candidates.min_by_key(|(number, node)| (node.allocations.len(), *number)).map(|(number, _)| NodeNumber(number as u32))
    }

    /// Applies a plan: the allocation has to stop, and in the same write a copy of it may be placed elsewhere.
    pub(super) fn apply_plan(&mut self, number: AllocationNumber, replace: bool) {
        let state = &mut self.allocations[number.index()];
        if !state.wanted || !state.listed || state.is_client_terminal() {
            return;
        }
        state.wanted = false;
        let (group, name) = (state.group, state.index);
        let replace = replace && state.next.is_none();
        self.allocation_changed(number);
        self.send_stop(number);
        if replace && !self.groups[group.index()].stopped {
            self.place_somewhere(group, name, Some(number));
        }
    }

    /// Replaces an allocation whose node is lost.
    pub(super) fn replace_lost(&mut self, number: AllocationNumber) {
        let state = &self.allocations[number.index()];
        let (group, name, next) = (state.group, state.index, state.next);
        match self.groups[group.index()].spec.group.kind {
            JobKind::Service | JobKind::Batch if next.is_none() && !self.groups[group.index()].stopped => {
                self.place_somewhere(group, name, Some(number));
                self.release_successor(number);
            }
            JobKind::Service | JobKind::Batch | JobKind::System | JobKind::SysBatch => self.release_successor(number),
        }
    }

    pub(super) fn send_stop(&mut self, number: AllocationNumber) {
        let at = self.soon(2, 12);
        let state = &self.allocations[number.index()];
        self.queue.put(at, Due::StopReceived { allocation: number, epoch: state.epoch });
    }

    /// Places missing copies and system jobs on a node that is new or takes work again.
    pub(super) fn node_takes_work(&mut self, node: NodeNumber) {
        if !self.nodes[node.index()].takes_work() {
            return;
        }
        for number in 0..self.groups.len() {
            let group = GroupNumber(number as u32);
            let state = &self.groups[number];
            match state.spec.group.kind {
                JobKind::Service | JobKind::Batch => self.fill(group),
                JobKind::System if state.stopped || state.spec.fits == Fits::Nowhere => {}
                JobKind::System => {
                    let has = |n: &AllocationNumber| {
                        let allocation = &self.allocations[n.index()];
                        allocation.node == node && !allocation.is_terminal()
                    };
                    if !state.allocations.iter().any(has) && !state.allocations.is_empty() {
                        self.start_on(group, node);
                    }
                }
                JobKind::SysBatch => {}
            }
        }
    }
}

impl NodeState {
    /// Whether new work may be placed on it.
    pub(super) fn takes_work(&self) -> bool {
        self.registered && self.eligible && self.status == NodeStatus::Ready && self.drain.is_none()
    }
}

impl AllocationState {
    /// Its name, as in `app.web[2]`.
    #[must_use]
    pub fn name(&self, group: &GroupState) -> String {
        format!("{}.{}[{}]", group.spec.group.job, group.spec.group.name, self.index)
    }
}
