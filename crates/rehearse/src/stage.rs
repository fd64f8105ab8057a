//! The rehearsal's models on one clock. What happens to processes and machines is told to whoever keeps the real servers.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::cluster;
use super::plan::{ASG, Nature, Plan};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sandbox::wire::{Cluster, Stage};
use decamp_sim::auto_scaling::{AutoScaling, Happening, LifecycleState};
use decamp_sim::bucket::Limit;
use decamp_sim::consul;
use decamp_sim::consul::Consul;
use decamp_sim::event::{AllocationNumber, Event, What};
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::luck::Luck;
use decamp_sim::nomad;
use decamp_sim::nomad::{GroupNumber, NodeNumber, Nomad};

/// What became of a process, for whoever keeps the real one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to listen.
    Starts(Process),
    /// It gets its kill signal.
    Signalled(AllocationNumber),
    /// It is gone, if it was not already.
    Gone(AllocationNumber),
    /// Where Nomad is real: the machine with this number starts, and its agents with it.
    Joins(u32),
    /// Where Nomad is real: it stops, and with it whatever runs on it.
    Stops(u32),
}

/// A process to be: one allocation's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: AllocationNumber,
    /// `service-2.group[1]`.
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    /// Which node it runs on.
    pub(super) node: Arc<str>,
    /// What it is.
    pub(super) runs: Runs,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// The ingress of its node.
    Ingress,
    /// A copy of a service.
    Service(Nature),
    /// A replica of `decamp serve`.
    Decamp,
}

/// Everything that is pretended.
pub(super) struct World {
    now: Time,
    auto_scaling: AutoScaling,
    balancers: LoadBalancers,
    nomad: Nomad,
    consul: Consul,
    log: Vec<Event>,
    luck: Luck,
    runs: HashMap<GroupNumber, Runs>,
    groups: [TargetGroupArn; 2],
    port: u16,
    joined: HashSet<InstanceId>,
    /// Nomad is real: the model keeps nothing of it but which nodes have joined.
    real: bool,
    fates: UnboundedSender<Fate>,
}

impl World {
    /// A calm cluster at this time. Every process of it is told of at once.
    /// With `serves`, decamp is a job of it.
    pub(super) fn new(plan: &Plan, serves: bool, now: Time, fates: UnboundedSender<Fate>) -> Self {
        let mut luck = Luck::new(plan.seed);
        let mut balancers = LoadBalancers::new(now, luck.bits(), Limit::None, Limit::None);
        let mut auto_scaling = AutoScaling::new(now, luck.bits(), Limit::None);
        auto_scaling.add_group(cluster::auto_scaling_group(plan));
        let mut nomad = Nomad::new(nomad::Version::V2_0_5, now, Luck::new(luck.bits()));
        let mut consul = Consul::new(consul::Version::V1_19_2, now, Luck::new(luck.bits()));
        let numbers = 1..=plan.nodes;
        let nodes: Vec<NodeNumber> = numbers.clone().map(|n| cluster::add_node(&mut nomad, &mut consul, n, &mut luck)).collect();
        for number in numbers.clone() {
            auto_scaling.put_instance(ASG, cluster::instance(number), cluster::zone(number), LifecycleState::InService);
        }
        let groups = cluster::target_groups();
        for arn in &groups {
            balancers.add_group(cluster::target_group(arn.clone(), plan));
            let target = |n| (TargetId::Instance(cluster::instance(n)), plan.port, Some(cluster::zone(n)));
            balancers.put_targets(arn, numbers.clone().map(target));
        }
        let real = plan.nomad.is_some();
        let mut runs = HashMap::new();
        if !real {
            runs.insert(cluster::add_ingress(&mut nomad, &mut consul, &nodes, plan), Runs::Ingress);
            for (group, nature) in cluster::add_services(&mut nomad, &mut consul, &nodes, plan) {
                runs.insert(group, Runs::Service(nature));
            }
            if serves {
                runs.insert(cluster::add_decamp(&mut nomad, &mut consul, &nodes, plan), Runs::Decamp);
            }
        }
        let joined = numbers.clone().map(cluster::instance).collect();
        let (log, port) = (Vec::new(), plan.port);
        let world = Self { now, auto_scaling, balancers, nomad, consul, log, luck, runs, groups, port, joined, real, fates };
        if real {
            numbers.for_each(|number| world.tell(Fate::Joins(number)));
        }
        for (number, _) in (0..).zip(world.nomad.allocations()) {
            world.starts(AllocationNumber(number));
        }
        world
    }

    fn tell(&self, fate: Fate) {
        // Nobody keeps servers any more: the rehearsal is over.
        self.fates.send(fate).ok();
    }

    fn starts(&self, number: AllocationNumber) {
        let allocation = self.nomad.allocation(number);
        let group = &self.nomad.groups()[allocation.group.index()];
        let node = &self.nomad.node(allocation.node).spec;
        let address = node.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = allocation.ports.first().copied().unwrap_or(0);
        self.tell(Fate::Starts(Process {
            number,
            name: allocation.name(group).into(),
            address: SocketAddr::new(address, port),
            node: Arc::clone(&node.name),
            runs: self.runs.get(&allocation.group).copied().unwrap_or(Runs::Ingress),
        }));
    }

    /// Everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        self.nomad.advance(now, &mut self.consul, &mut self.log);
        self.auto_scaling.advance(now, &mut self.balancers);
        for (_, happening) in self.auto_scaling.happened() {
            match happening {
                Happening::MachineStopped(instance) => self.machine_stops(instance),
                Happening::State { instance, state: LifecycleState::InService } => self.enter_service(instance),
                Happening::Launched(instance) => self.machine_starts(instance),
                Happening::State { .. }
                | Happening::ActionBegan { .. }
                | Happening::ActionEnded { .. }
                | Happening::MachineStarted(_)
                | Happening::Delisted(_) => {}
            }
        }
        for event in std::mem::take(&mut self.log) {
            match event.what {
                What::Serving => self.starts(event.allocation),
                What::Signalled => self.tell(Fate::Signalled(event.allocation)),
                What::Ended { .. } => self.tell(Fate::Gone(event.allocation)),
                What::InDiscovery { .. } | What::LeftDiscovery { .. } | What::ToldToStop | What::Over => {}
            }
        }
    }

    /// Real agents start with the machine.
    fn machine_starts(&self, instance: InstanceId) {
        if let Some(number) = cluster::number(instance).filter(|_| self.real) {
            self.tell(Fate::Joins(number));
        }
    }

    /// The system shuts down in order: its Consul agent leaves, its processes are killed.
    fn machine_stops(&mut self, instance: InstanceId) {
        let node = self.nomad.nodes_of(instance).next().and_then(|id| self.nomad.node_number(id));
        if let Some(node) = node {
            self.nomad.end_machine(node, true, &mut self.consul, &mut self.log);
        }
        if let Some(number) = cluster::number(instance).filter(|_| self.real) {
            self.tell(Fate::Stops(number));
        }
        self.balancers.machine_stopped(instance);
    }

    /// The machine is up: its node joins. Auto Scaling registers it in the attached target group; in the other it registers
    /// itself. It is healthy nowhere until its ingress has passed real checks.
    fn enter_service(&mut self, instance: InstanceId) {
        if let Some(number) = cluster::number(instance)
            && self.joined.insert(instance)
        {
            cluster::add_node(&mut self.nomad, &mut self.consul, number, &mut self.luck);
        }
        let [_, named] = &self.groups;
        self.balancers.register_instance(named, instance, None);
        for arn in &self.groups {
            self.balancers.set_answers(arn, &TargetId::Instance(instance), self.port, false);
        }
    }
}

impl Stage for World {
    fn next_event(&self) -> Time {
        let cluster = self.nomad.next_event().min(self.consul.next_event());
        cluster.min(self.auto_scaling.next_event()).min(self.balancers.next_event())
    }

    fn advance(&mut self, to: Time) {
        loop {
            let at = self.next_event().min(to).max(self.now);
            self.now = at;
            self.step();
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
