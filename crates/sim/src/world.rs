//! The world of one departure: all simulated systems on one clock, their traffic, and the interventions of operators and faults.

mod actors;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::actors::Intervention;
use super::api_faults::ApiFaults;
use super::auto_scaling::{AutoScaling, InstanceEvent};
use super::consul::{self, Consul};
use super::event::{AllocationNumber, Event, EventKind};
use super::load_balancers::LoadBalancers;
use super::nomad::{self, Nomad};
use super::oracle::Oracle;
use super::rng::Rng;
use super::traffic::{Process, Traffic};
use decamp_core::decide::{Departure, Effect, System, TaskRole};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// All simulated systems of one departure, on one clock.
pub struct SimWorld {
    /// The true time. Workers' clocks may differ from it.
    pub now: Time,
    /// Auto Scaling.
    pub auto_scaling: AutoScaling,
    /// The load balancers.
    pub balancers: LoadBalancers,
    /// Nomad.
    pub nomad: Nomad,
    /// Consul.
    pub consul: Consul,
    /// The clients and the ingress.
    pub traffic: Traffic,
    /// The faults that API calls meet.
    pub api_faults: ApiFaults,
    /// Draws the times and results of calls.
    pub rng: Rng,
    /// The instance that leaves, and all that belongs to it.
    pub subject: Subject,
    /// What operators and faults will do, in order of time.
    pub interventions: VecDeque<(Time, Intervention)>,
    /// The judge.
    pub oracle: Oracle,
    /// The calls that workers made.
    pub calls: Calls,
    log: Vec<Event>,
    numbers: Vec<Vec<Option<usize>>>,
    /// The ingress's number of the service that was registered by hand.
    number_by_hand: Option<usize>,
    /// For each group, its version when the instance was last seen in it; `None` once the instance is not listed.
    listed: Vec<Option<u64>>,
}

/// The instance that leaves: its group, its node, its target groups, and the tokens with which decamp looks at them.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The instance that leaves.
    pub instance: InstanceId,
    /// Its Auto Scaling group.
    pub asg: Arc<str>,
    /// Its Nomad node; `None` if it never joined.
    pub node: Option<nomad::NodeNumber>,
    /// Its Consul agent.
    pub consul_node: consul::NodeNumber,
    /// The target groups. The traffic knows each by its index in this list.
    pub fronts: Vec<TargetGroupArn>,
    /// Every address of the instance, and of the allocations on it, at which it is a target.
    pub addresses: Vec<IpAddr>,
    /// The one of these addresses that no system reports.
    pub unreported: Option<IpAddr>,
    /// decamp's Nomad token.
    pub nomad_token: nomad::Token,
    /// decamp's Consul token.
    pub consul_token: consul::Token,
    /// What the Consul that decamp asks lists of the node.
    pub consul_lists: Lists,
    /// A target group that sends to the instance and does not list it yet, and for how many looks more.
    pub lists_late: Option<(TargetGroupArn, u32)>,
    /// A target group that the hook names and in which the instance was never registered, although it has been up for long.
    pub never_registered: Option<TargetGroupArn>,
    /// The service that was registered by hand on the node's Consul agent.
    pub by_hand: Option<Arc<str>>,
    /// The zones of instances, as Auto Scaling reports them.
    pub zones: Arc<[(InstanceId, Arc<str>)]>,
    /// Whether Auto Scaling does not report the zone of another instance.
    pub zones_unreported: bool,
    /// Whether Auto Scaling did not answer when a worker last asked for zones.
    pub zones_unanswered: bool,
    /// An instance in the same zone that may become a target later.
    pub joining: Option<InstanceId>,
}

impl Subject {
    /// Whether a Nomad node is the instance: its own, or another that carries its id.
    #[must_use]
    pub fn has_node(&self, node: nomad::NodeNumber, nomad: &Nomad) -> bool {
        Some(node) == self.node || nomad.node(node).spec.instance == Some(self.instance)
    }

    /// Whether a target is this instance.
    #[must_use]
    pub fn owns(&self, id: &TargetId) -> bool {
        match id {
            TargetId::Instance(instance) => *instance == self.instance,
            TargetId::Ip(ip) => self.addresses.contains(ip),
            TargetId::Other(_) => false,
        }
    }
}

/// What the Consul that decamp asks lists of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// All that the node's agent registered, in the namespaces that are asked for.
    All,
    /// None of the node's services: they are in a namespace that no job declares.
    NoServices,
    /// Not even the node: it is in another datacenter.
    NoNode,
}

/// How often workers called each API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls of AWS without heartbeats.
    pub aws: u32,
    /// Heartbeats.
    pub heartbeats: u32,
    /// Nomad.
    pub nomad: u32,
    /// Consul.
    pub consul: u32,
}

impl SimWorld {
    /// Makes a world from its parts.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "one call, and each part is a whole system")]
    pub fn new(
        now: Time,
        auto_scaling: AutoScaling,
        balancers: LoadBalancers,
        nomad: Nomad,
        consul: Consul,
        traffic: Traffic,
        rng: Rng,
        subject: Subject,
    ) -> Self {
        let listed = vec![Some(u64::MAX); subject.fronts.len()];
        Self {
            now,
            auto_scaling,
            balancers,
            nomad,
            consul,
            traffic,
            api_faults: ApiFaults::default(),
            rng,
            subject,
            interventions: VecDeque::new(),
            oracle: Oracle::default(),
            calls: Calls::default(),
            log: Vec::new(),
            numbers: Vec::new(),
            number_by_hand: None,
            listed,
        }
    }

    /// Sets the ingress's number of each service of each task group.
    pub fn set_service_numbers(&mut self, numbers: Vec<Vec<Option<usize>>>) {
        self.numbers = numbers;
    }

    /// Sets the ingress's number of the service that was registered by hand.
    pub fn set_number_by_hand(&mut self, number: usize) {
        self.number_by_hand = Some(number);
    }

    /// The task group of the service with this ingress number.
    #[must_use]
    pub fn group_of_service(&self, service: usize) -> Option<nomad::GroupNumber> {
        let place = self.numbers.iter().position(|services| services.contains(&Some(service)))?;
        u32::try_from(place).ok().map(nomad::GroupNumber)
    }

    /// Adds an allocation's process to the traffic.
    pub fn add_process(&mut self, number: AllocationNumber, listens: bool) {
        let allocation = self.nomad.allocation(number);
        let group = self.nomad.group_of(allocation);
        let servers = group.tasks.iter().filter(|t| matches!(t.role, TaskRole::Leader | TaskRole::Main));
        let process = Process {
            on_ours: Some(allocation.node) == self.subject.node,
            listens,
            killed_at: Time(0),
            kill_timeout: servers.map(|t| t.kill_timeout).min().unwrap_or_default(),
        };
        self.traffic.put_process(number, process);
    }

    /// When something next happens without a worker.
    #[must_use]
    pub fn next_event(&self) -> Time {
        let interventions = self.interventions.front().map_or(Time::NEVER, |(at, _)| *at);
        let models = self.nomad.next_event().min(self.consul.next_event());
        models.min(self.auto_scaling.next_event()).min(self.balancers.next_event()).min(interventions)
    }

    /// Advances the clock to `to`, and processes all events due by then in order.
    pub fn advance(&mut self, to: Time) {
        loop {
            let next = self.next_event();
            let at = next.min(to).max(self.now);
            self.traffic.advance(at, &self.balancers);
            self.now = at;
            self.step();
            if to <= at {
                return;
            }
        }
    }

    /// Processes everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        self.nomad.advance(now, &mut self.consul, &mut self.log);
        self.auto_scaling.advance(now, &mut self.balancers);
        for (_, event) in self.auto_scaling.take_instance_events() {
            self.oracle.auto_scaling(now, &self.subject, &event);
            if event == InstanceEvent::MachineStopped(self.subject.instance) {
                self.machine_stops();
            }
        }
        while self.interventions.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, intervention)) = self.interventions.pop_front() {
                self.intervene(intervention);
            }
        }
        self.cut_at_targets_that_left();
        self.pass_events();
    }

    /// Passes the events of processes to the traffic and the judge.
    pub fn pass_events(&mut self) {
        for place in 0..self.log.len() {
            let event = self.log[place];
            if event.allocation.is_by_hand() {
                self.traffic.process_event(event, |_| self.number_by_hand);
                continue;
            }
            if !self.traffic.knows(event.allocation) {
                self.add_process(event.allocation, false);
            }
            let allocation = self.nomad.allocation(event.allocation);
            let ours = Some(allocation.node) == self.subject.node;
            if ours && matches!(event.kind, EventKind::StopRequested | EventKind::Signalled) {
                self.traffic.fill(event.at, &self.balancers);
            }
            self.oracle.process(self.now, event, ours, self.subject.unreported, &self.nomad, &self.traffic, &self.balancers);
            let numbers = self.numbers.get(allocation.group.index());
            self.traffic.process_event(event, |service| numbers.and_then(|n| n.get(usize::from(service)).copied().flatten()));
        }
        self.log.clear();
    }

    /// Cuts the requests that targets still hold when their delay is over.
    fn cut_at_targets_that_left(&mut self) {
        for (front, arn) in self.subject.fronts.iter().enumerate() {
            let version = self.balancers.routes_version(arn);
            if self.listed[front].is_none_or(|seen| seen == version) {
                continue;
            }
            let is_listed = self.balancers.listed_until(arn, self.subject.instance).is_some();
            self.listed[front] = is_listed.then_some(version);
            if !is_listed {
                let set = self.balancers.setup(arn).map(|setup| (setup.delay, setup.connection_termination)).unwrap_or_default();
                self.traffic.target_gone(self.now, front, set.0, set.1);
            }
        }
    }

    fn machine_stops(&mut self) {
        self.oracle.machine_stops(self.now);
        self.traffic.fill(self.now, &self.balancers);
        if let Some(node) = self.subject.node {
            self.nomad.end_machine(node, false, &mut self.consul, &mut self.log);
        }
        self.traffic.machine_gone(self.now);
        self.traffic.machine_stops(self.now);
        self.balancers.machine_stopped(self.subject.instance);
    }

    /// Called right before a worker's effect takes place: every process that serves holds a request (ADR 0021).
    pub fn before_effect(&mut self, departure: &Departure, effect: &Effect) {
        self.traffic.fill(self.now, &self.balancers);
        self.oracle.sees_notes(self.now, effect, self.api_faults.denies(System::Nomad, self.now), &self.nomad);
        self.oracle.effect(
            self.now,
            departure,
            effect,
            &self.auto_scaling,
            &self.nomad,
            &self.consul,
            &self.balancers,
            &self.subject,
        );
    }
}
