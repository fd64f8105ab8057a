//! The rehearsal's models on one clock. They report each change of a process or machine, so that a real server follows it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::cluster;
use super::plan::{ASG, Nature, Plan};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sandbox::wire::{Cluster, Models};
use decamp_sim::auto_scaling::{AutoScaling, LifecycleState, MachineEvent};
use decamp_sim::bucket::Limit;
use decamp_sim::consul;
use decamp_sim::consul::Consul;
use decamp_sim::event::{AllocationNumber, Event, EventKind};
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::nomad;
use decamp_sim::nomad::{GroupNumber, NodeNumber, Nomad};
use decamp_sim::rng::Rng;

/// A change of a process or a machine, which its real counterpart follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A process starts to listen.
    ProcessStarts(Process),
    /// A process gets its kill signal.
    ProcessSignalled(AllocationNumber),
    /// A process is gone, if it did not end before.
    ProcessGone(AllocationNumber),
    /// With a real Nomad: the machine with this number starts, and its agents with it.
    MachineStarts(u32),
    /// With a real Nomad: the machine with this number stops, and everything on it.
    MachineStops(u32),
}

/// A process to start: the server of one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: AllocationNumber,
    /// `service-2.group[1]`.
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    /// The node that it runs on.
    pub(super) node: Arc<str>,
    pub(super) role: Role,
}

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The ingress of its node.
    Ingress,
    /// A copy of a service.
    Service(Nature),
    /// A replica of `decamp serve`.
    Decamp,
}

/// All simulated systems of a rehearsal.
pub(super) struct RehearsalWorld {
    now: Time,
    auto_scaling: AutoScaling,
    balancers: LoadBalancers,
    nomad: Nomad,
    consul: Consul,
    log: Vec<Event>,
    rng: Rng,
    roles: HashMap<GroupNumber, Role>,
    groups: [TargetGroupArn; 2],
    port: u16,
    joined: HashSet<InstanceId>,
    /// Nomad is real. The model of Nomad then only knows which nodes have joined.
    real_nomad: bool,
    changes: UnboundedSender<Change>,
}

impl RehearsalWorld {
    /// A calm cluster at this time. It reports every process at once. With `runs_decamp`, decamp is one of its jobs.
    pub(super) fn new(plan: &Plan, runs_decamp: bool, now: Time, changes: UnboundedSender<Change>) -> Self {
        let mut rng = Rng::new(plan.seed);
        let mut balancers = LoadBalancers::new(now, rng.bits(), Limit::None, Limit::None);
        let mut auto_scaling = AutoScaling::new(now, rng.bits(), Limit::None);
        auto_scaling.add_group(cluster::auto_scaling_group(plan));
        let mut nomad = Nomad::new(nomad::Version::V2_0_5, now, Rng::new(rng.bits()));
        let mut consul = Consul::new(consul::Version::V1_19_2, now, Rng::new(rng.bits()));
        let numbers = 1..=plan.nodes;
        let nodes: Vec<NodeNumber> = numbers.clone().map(|n| cluster::add_node(&mut nomad, &mut consul, n, &mut rng)).collect();
        for number in numbers.clone() {
            auto_scaling.put_instance(ASG, cluster::instance(number), cluster::zone(number), LifecycleState::InService);
        }
        let groups = cluster::target_groups();
        for arn in &groups {
            balancers.add_group(cluster::target_group(arn.clone(), plan));
            let target = |n| (TargetId::Instance(cluster::instance(n)), plan.port, Some(cluster::zone(n)));
            balancers.put_targets(arn, numbers.clone().map(target));
        }
        let real_nomad = plan.nomad.is_some();
        let mut roles = HashMap::new();
        if !real_nomad {
            roles.insert(cluster::add_ingress(&mut nomad, &mut consul, &nodes, plan), Role::Ingress);
            for (group, nature) in cluster::add_services(&mut nomad, &mut consul, &nodes, plan) {
                roles.insert(group, Role::Service(nature));
            }
            if runs_decamp {
                roles.insert(cluster::add_decamp(&mut nomad, &mut consul, &nodes, plan), Role::Decamp);
            }
        }
        let joined = numbers.clone().map(cluster::instance).collect();
        let (log, port) = (Vec::new(), plan.port);
        let world =
            Self { now, auto_scaling, balancers, nomad, consul, log, rng, roles, groups, port, joined, real_nomad, changes };
        if real_nomad {
            numbers.for_each(|number| world.report(Change::MachineStarts(number)));
        }
        for (number, _) in (0..).zip(world.nomad.allocations()) {
            world.report_start(AllocationNumber(number));
        }
        world
    }

    fn report(&self, change: Change) {
        // The receiver is gone when the rehearsal is over.
        self.changes.send(change).ok();
    }

    fn report_start(&self, number: AllocationNumber) {
        let allocation = self.nomad.allocation(number);
        let group = &self.nomad.groups()[allocation.group.index()];
        let node = &self.nomad.node(allocation.node).spec;
        let address = node.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = allocation.ports.first().copied().unwrap_or(0);
        self.report(Change::ProcessStarts(Process {
            number,
            name: allocation.name(group).into(),
            address: SocketAddr::new(address, port),
            node: Arc::clone(&node.name),
            role: self.roles.get(&allocation.group).copied().unwrap_or(Role::Ingress),
        }));
    }

    /// Handles everything that is due now.
    fn advance_to_now(&mut self) {
        let now = self.now;
        self.nomad.advance(now, &mut self.consul, &mut self.log);
        self.auto_scaling.advance(now, &mut self.balancers);
        for event in self.auto_scaling.take_machine_events() {
            match event {
                MachineEvent::Launched(instance) => self.machine_starts(instance),
                MachineEvent::EnteredService(instance) => self.enter_service(instance),
                MachineEvent::Stopped(instance) => self.machine_stops(instance),
            }
        }
        for event in std::mem::take(&mut self.log) {
            match event.kind {
                EventKind::Serving => self.report_start(event.allocation),
                EventKind::Signalled => self.report(Change::ProcessSignalled(event.allocation)),
                EventKind::Ended { .. } => self.report(Change::ProcessGone(event.allocation)),
                EventKind::InDiscovery { .. } | EventKind::LeftDiscovery { .. } | EventKind::StopRequested | EventKind::Over => {}
            }
        }
    }

    /// Starts the real agents with the machine.
    fn machine_starts(&self, instance: InstanceId) {
        if let Some(number) = cluster::number(instance).filter(|_| self.real_nomad) {
            self.report(Change::MachineStarts(number));
        }
    }

    /// Shuts the machine down in order: its Consul agent leaves, and its processes are killed.
    fn machine_stops(&mut self, instance: InstanceId) {
        let node = self.nomad.nodes_of(instance).next().and_then(|id| self.nomad.node_number(id));
        if let Some(node) = node {
            self.nomad.end_machine(node, true, &mut self.consul, &mut self.log);
        }
        if let Some(number) = cluster::number(instance).filter(|_| self.real_nomad) {
            self.report(Change::MachineStops(number));
        }
        self.balancers.machine_stopped(instance);
    }

    /// Joins the node of a machine that is in service. Auto Scaling registers it in the attached target group, and it registers itself
    /// in the other one. It becomes healthy when its ingress has passed real checks.
    fn enter_service(&mut self, instance: InstanceId) {
        if let Some(number) = cluster::number(instance)
            && self.joined.insert(instance)
        {
            cluster::add_node(&mut self.nomad, &mut self.consul, number, &mut self.rng);
        }
        let [_, named] = &self.groups;
        self.balancers.register_instance(named, instance, None);
        for arn in &self.groups {
            self.balancers.set_answers(arn, &TargetId::Instance(instance), self.port, false);
        }
    }
}

impl Models for RehearsalWorld {
    fn next_event(&self) -> Time {
        let cluster = self.nomad.next_event().min(self.consul.next_event());
        cluster.min(self.auto_scaling.next_event()).min(self.balancers.next_event())
    }

    fn advance(&mut self, to: Time) {
        loop {
            let at = self.next_event().min(to).max(self.now);
            self.now = at;
            self.advance_to_now();
            if to <= at {
                return;
            }
        }
    }

    fn aws(&mut self) -> (&mut AutoScaling, &mut LoadBalancers) {
        (&mut self.auto_scaling, &mut self.balancers)
    }

    fn cluster(&mut self) -> Option<Cluster<'_>> {
        Some(Cluster { nomad: &mut self.nomad, consul: &mut self.consul, log: &mut self.log })
    }
}
