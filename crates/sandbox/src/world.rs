//! The sandbox's world: all simulated systems on one clock, and the requests of clients. Every instance can leave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::requests::Requests;
use super::{HOOK, Options, cluster, state};
use crate::wire::{Cluster, Models};
use decamp_core::decide::{Minute, TaskRole};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{AutoScaling, GroupSetup as AsgSetup, HookSetup, LifecycleState, MachineEvent};
use decamp_sim::consul::Consul;
use decamp_sim::event::{AllocationNumber, Event};
use decamp_sim::load_balancers::{CrossZone, GroupSetup, HealthTimes, Kind, LoadBalancers, TargetType};
use decamp_sim::nomad::{GroupNumber, NodeNumber, Nomad};
use decamp_sim::rng::Rng;

/// All systems and clients of a sandbox.
pub struct World {
    now: Time,
    auto_scaling: AutoScaling,
    balancers: LoadBalancers,
    /// The model of Nomad.
    pub nomad: Nomad,
    consul: Consul,
    options: Options,
    /// The clients.
    pub requests: Requests,
    log: Vec<Event>,
    rng: Rng,
    ingress: GroupNumber,
    /// The ingress's number for the one service of each task group.
    numbers: Vec<Option<usize>>,
    named: Vec<TargetGroupArn>,
    replacements: bool,
}

impl World {
    /// A calm cluster at this time.
    #[must_use]
    pub fn new(options: &Options, now: Time) -> Self {
        let mut rng = Rng::new(options.seed);
        let [asg_limit, reads, writes] = options.limits();
        let [attached, named] = options.target_groups();
        let mut balancers = LoadBalancers::new(now, rng.bits(), reads, writes);
        let mut auto_scaling = AutoScaling::new(now, rng.bits(), asg_limit);
        let hook = HookSetup::terminating(HOOK.into(), options.heartbeat_timeout).naming(named.clone());
        let numbers = options.first..options.first + options.nodes.max(2);
        auto_scaling.add_group(AsgSetup {
            hooks: vec![hook],
            attached: attached.clone(),
            start_takes: options.starts_in,
            next_instance: cluster::id_of(numbers.end),
            ..AsgSetup::new(Arc::clone(&options.asg))
        });
        let mut nomad = Nomad::new(options.nomad, now, Rng::new(rng.bits()));
        let mut consul = Consul::new(options.consul, now, Rng::new(rng.bits()));
        let nodes: Vec<NodeNumber> =
            numbers.clone().map(|n| cluster::add_node(&mut nomad, &mut consul, n, &mut rng, options)).collect();
        for number in numbers.clone() {
            auto_scaling.put_instance(&options.asg, cluster::instance(number), zone(number), LifecycleState::InService);
        }
        let fronts: Vec<TargetGroupArn> = attached.iter().chain(&named).cloned().collect();
        for arn in &fronts {
            let lag = (Duration::ZERO, options.lag);
            // Two checks a second apart, as in a small cluster.
            let health = HealthTimes { up: Duration::from_secs(2), ..HealthTimes::default() };
            let kind = match (arn.is_classic(), options.network && attached.contains(arn)) {
                (true, _) => Kind::Classic,
                (false, true) => Kind::Nlb,
                (false, false) => Kind::Alb,
            };
            let setup = GroupSetup::new(arn.clone(), kind, cluster::PORT);
            let cross_zone = match (options.crosses_zones, kind) {
                (true, _) => setup.cross_zone,
                (false, Kind::Classic) => CrossZone { of_group: None, of_balancer: false },
                (false, Kind::Alb | Kind::Nlb) => CrossZone { of_group: Some(false), ..setup.cross_zone },
            };
            let by_address = options.by_address && kind == Kind::Alb && named.contains(arn);
            let target_type = if by_address { TargetType::Ip } else { TargetType::Instance };
            balancers.add_group(GroupSetup { delay: options.delay, lag, health, cross_zone, target_type, ..setup });
            let id_of = |instance| match cluster::address(instance).filter(|_| by_address) {
                Some(address) => TargetId::Ip(address),
                None => TargetId::Instance(instance),
            };
            let targets = numbers.clone().map(|n| (id_of(cluster::instance(n)), cluster::PORT, Some(zone(n))));
            balancers.put_targets(arn, targets);
        }
        let ingress = cluster::add_ingress(&mut nomad, &mut consul, &nodes, options);
        let services = cluster::add_services(&mut nomad, &mut consul, &nodes, options);
        if options.batch {
            cluster::add_batch(&mut nomad, &mut consul, &nodes, options);
        }
        if options.deaf {
            cluster::add_deaf(&mut nomad, &mut consul, &nodes, options);
        }
        if options.csi.is_some() {
            cluster::add_plugin(&mut nomad, &mut consul, &nodes, options);
        }
        let mut requests = Requests::new(now, Rng::new(rng.bits()), fronts, options.rate, options.longest_request);
        let mut numbers = vec![None; nomad.groups().len()];
        for group in services {
            numbers[group.index()] = Some(requests.routing.add_service());
        }
        let log = Vec::new();
        let replacements = options.replacements;
        let mut world = Self {
            now,
            auto_scaling,
            balancers,
            nomad,
            consul,
            options: options.clone(),
            requests,
            log,
            rng,
            ingress,
            numbers,
            named,
            replacements,
        };
        let all: Vec<AllocationNumber> = (0..).zip(world.nomad.allocations()).map(|(n, _)| AllocationNumber(n)).collect();
        for number in all {
            world.add_allocation(number, true);
            let group = world.nomad.allocation(number).group;
            if let Some(service) = world.numbers[group.index()] {
                world.requests.routing.put(service, number);
            }
        }
        world
    }

    /// All instances of the group: those at the start, and later ones.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.auto_scaling.instances().map(|instance| instance.id)
    }

    /// Adds an allocation to the model of the clients.
    fn add_allocation(&mut self, number: AllocationNumber, listens: bool) {
        let allocation = self.nomad.allocation(number);
        let tasks = &self.nomad.groups()[allocation.group.index()].spec.group.tasks;
        let kill_timeout = tasks.iter().filter(|t| t.role == TaskRole::Main).map(|t| t.kill_timeout).min().unwrap_or_default();
        let is_ingress = allocation.group == self.ingress;
        let on = self.nomad.node(allocation.node).spec.instance;
        self.requests.add_allocation(number, listens, kill_timeout);
        if let Some(instance) = on.filter(|_| is_ingress) {
            self.requests.set_ingress(instance, number);
        }
    }

    /// Handles everything that is due now.
    fn advance_to_now(&mut self) {
        let now = self.now;
        self.nomad.advance(now, &mut self.consul, &mut self.log);
        self.auto_scaling.advance(now, &mut self.balancers);
        for event in self.auto_scaling.take_machine_events() {
            match event {
                MachineEvent::Launched(instance) => self.launched(instance),
                MachineEvent::EnteredService(instance) => self.enter_service(instance),
                MachineEvent::Stopped(instance) => self.machine_stops(instance),
            }
        }
        self.forward_events();
        self.requests.cut(now, &self.balancers);
    }

    /// Forwards the events of processes to the model of the clients.
    fn forward_events(&mut self) {
        for place in 0..self.log.len() {
            let event = self.log[place];
            if event.allocation.is_by_hand() {
                // A service that is registered by hand has no process in the sandbox.
                continue;
            }
            if !self.requests.knows(event.allocation) {
                self.add_allocation(event.allocation, false);
            }
            let service = self.numbers.get(self.nomad.allocation(event.allocation).group.index()).copied().flatten();
            self.requests.happened(event, |_| service);
        }
        self.log.clear();
    }

    fn node_of(&self, instance: InstanceId) -> Option<NodeNumber> {
        let id = self.nomad.nodes_of(instance).next()?;
        self.nomad.node_number(id)
    }

    fn machine_stops(&mut self, instance: InstanceId) {
        if let Some(node) = self.node_of(instance) {
            self.nomad.end_machine(node, true, &mut self.consul, &mut self.log);
        }
        self.balancers.machine_stopped(instance);
        // An instance refresh launches replacements itself.
        let refreshed = self.auto_scaling.instance(instance).is_some_and(|instance| instance.refreshed);
        if self.replacements
            && !refreshed
            && let Ok(new) = self.auto_scaling.launch_another(&self.options.asg, None)
        {
            self.launched(new);
        }
    }

    /// Adds the node of a new instance. Its ingress runs before the load balancers first check it.
    fn launched(&mut self, instance: InstanceId) {
        if let Some(number) = cluster::number(instance)
            && self.node_of(instance).is_none()
        {
            cluster::add_node(&mut self.nomad, &mut self.consul, number, &mut self.rng, &self.options);
        }
    }

    /// Registers an instance in the named target groups. Auto Scaling registers it in the attached ones.
    fn enter_service(&mut self, instance: InstanceId) {
        let zone = self.auto_scaling.instance(instance).map(|instance| Arc::clone(&instance.zone));
        for arn in &self.named {
            match cluster::address(instance) {
                Some(address) => self.balancers.register_by_hand(arn, instance, address, zone.clone()),
                None => self.balancers.register_instance(arn, instance, zone.clone()),
            }
        }
    }
}

fn zone(number: u32) -> Arc<str> {
    ["eu-west-1a", "eu-west-1b", "eu-west-1c"][usize::try_from(number % 3).unwrap_or(0)].into()
}

impl Models for World {
    fn next_event(&self) -> Time {
        let cluster = self.nomad.next_event().min(self.consul.next_event());
        cluster.min(self.auto_scaling.next_event()).min(self.balancers.next_event())
    }

    fn advance(&mut self, to: Time) {
        loop {
            let at = self.next_event().min(to).max(self.now);
            self.requests.advance(at, &self.balancers);
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

    fn counted(&self, group: &TargetGroupArn) -> Vec<Minute> {
        self.requests.counted(group)
    }

    fn more(&mut self) -> Map<String, Value> {
        state::shown(&self.nomad, &self.requests)
    }
}
