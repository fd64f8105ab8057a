//! The world of one departure: all the pretend systems on one clock, the traffic over them, and what operators and faults do.

mod actors;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::actors::Intervention;
use super::api_faults::ApiFaults;
use super::auto_scaling::{AutoScaling, Happening};
use super::consul::{self, Consul};
use super::event::{AllocationNumber, Event, What};
use super::load_balancers::LoadBalancers;
use super::nomad::{self, Nomad};
use super::oracle::Oracle;
use super::rng::Rng;
use super::traffic::{Process, Traffic};
use decamp_core::decide::{Departure, Effect, TaskRole};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// Everything that there is.
pub struct SimWorld {
    /// The true time.
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
    /// How calls fare.
    pub api_faults: ApiFaults,
    /// The rng of calls.
    pub rng: Rng,
    /// Who plays.
    pub subject: Subject,
    /// What operators and faults still do, in order.
    pub interventions: VecDeque<(Time, Intervention)>,
    /// The judge.
    pub oracle: Oracle,
    /// Calls made.
    pub calls: Calls,
    log: Vec<Event>,
    numbers: Vec<Vec<Option<usize>>>,
    /// The number that the ingress knows the service by that was registered by hand.
    number_by_hand: Option<usize>,
    /// By which version of each group the instance was last seen in it; `None` once it was not.
    listed: Vec<Option<u64>>,
}

/// Who plays.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The instance that leaves.
    pub instance: InstanceId,
    /// Its group.
    pub asg: Arc<str>,
    /// Its node; `None` if it never joined.
    pub node: Option<nomad::NodeNumber>,
    /// Its Consul agent.
    pub consul_node: consul::NodeNumber,
    /// The target groups, as the traffic knows them.
    pub fronts: Vec<TargetGroupArn>,
    /// Every address of it, and of what runs on it, at which it is a target.
    pub addresses: Vec<IpAddr>,
    /// The one of them that nothing tells.
    pub untold: Option<IpAddr>,
    /// decamp's Nomad token.
    pub nomad_token: nomad::Token,
    /// decamp's Consul token.
    pub consul_token: consul::Token,
    /// What the Consul that decamp asks lists of the node.
    pub consul_lists: Lists,
    /// A target group that does not list the instance for so many looks yet, although it sends to it.
    pub hides_it: Option<(TargetGroupArn, u32)>,
    /// A target group that the hook names and that never held the instance, although it is long up.
    pub never_held_it: Option<TargetGroupArn>,
    /// The service that was registered by hand on the node's agent.
    pub by_hand: Option<Arc<str>>,
    /// The zones of instances, as Auto Scaling tells them.
    pub zones: Arc<[(InstanceId, Arc<str>)]>,
    /// Whether it does not tell that of another instance.
    pub zones_untold: bool,
    /// Whether Auto Scaling did not answer when a worker last asked it for them.
    pub zones_unanswered: bool,
    /// An instance in the zone of ours that may become a target later.
    pub joins: Option<InstanceId>,
}

impl Subject {
    /// Whether a target is the instance's.
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
    /// What its agent registered, in the namespaces that are asked.
    All,
    /// None of its services: they are in a namespace that no job declares.
    NoServices,
    /// Not even the node: it is in another datacenter.
    NoNode,
}

/// How often which API was called by workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// AWS, all but heartbeats.
    pub aws: u32,
    /// Heartbeats.
    pub heartbeats: u32,
    /// Nomad.
    pub nomad: u32,
    /// Consul.
    pub consul: u32,
}

impl SimWorld {
    /// A world from its parts.
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

    /// Tells which number the ingress knows the services of each task group by.
    pub fn number_services(&mut self, numbers: Vec<Vec<Option<usize>>>) {
        self.numbers = numbers;
    }

    /// Tells which number the ingress knows the service by that was registered by hand.
    pub fn number_by_hand(&mut self, number: usize) {
        self.number_by_hand = Some(number);
    }

    /// The task group of a service that the ingress knows by this number.
    #[must_use]
    pub fn group_of_service(&self, service: usize) -> Option<nomad::GroupNumber> {
        let place = self.numbers.iter().position(|services| services.contains(&Some(service)))?;
        u32::try_from(place).ok().map(nomad::GroupNumber)
    }

    /// Tells the traffic of an allocation.
    pub fn introduce(&mut self, number: AllocationNumber, listens: bool) {
        let allocation = self.nomad.allocation(number);
        let group = &self.nomad.groups()[allocation.group.index()].spec.group;
        let servers = group.tasks.iter().filter(|t| matches!(t.role, TaskRole::Leader | TaskRole::Main));
        let process = Process {
            on_ours: Some(allocation.node) == self.subject.node,
            listens,
            killed_at: Time(0),
            kill_timeout: servers.map(|t| t.kill_timeout).min().unwrap_or_default(),
        };
        self.traffic.put_process(number, process);
    }

    /// When something next happens by itself.
    #[must_use]
    pub fn next_event(&self) -> Time {
        let interventions = self.interventions.front().map_or(Time::NEVER, |(at, _)| *at);
        let models = self.nomad.next_event().min(self.consul.next_event());
        models.min(self.auto_scaling.next_event()).min(self.balancers.next_event()).min(interventions)
    }

    /// Lets everything happen that is due by `to`, in order.
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

    /// Everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        self.nomad.advance(now, &mut self.consul, &mut self.log);
        self.auto_scaling.advance(now, &mut self.balancers);
        for (_, happening) in self.auto_scaling.happened() {
            self.oracle.auto_scaling(now, &self.subject, &happening);
            if happening == Happening::MachineStopped(self.subject.instance) {
                self.machine_stops();
            }
        }
        while self.interventions.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, intervention)) = self.interventions.pop_front() {
                self.intervene(intervention);
            }
        }
        self.targets_leave();
        self.tell();
    }

    /// Passes on what happened to processes.
    pub fn tell(&mut self) {
        for place in 0..self.log.len() {
            let event = self.log[place];
            if event.allocation.is_by_hand() {
                self.traffic.happened(event, |_| self.number_by_hand);
                continue;
            }
            if !self.traffic.knows(event.allocation) {
                self.introduce(event.allocation, false);
            }
            let allocation = self.nomad.allocation(event.allocation);
            let ours = Some(allocation.node) == self.subject.node;
            if ours && matches!(event.what, What::ToldToStop | What::Signalled) {
                self.traffic.fill(event.at, &self.balancers);
            }
            self.oracle.process(self.now, event, ours, self.subject.untold, &self.nomad, &self.traffic, &self.balancers);
            let numbers = self.numbers.get(allocation.group.index());
            self.traffic.happened(event, |service| numbers.and_then(|n| n.get(usize::from(service)).copied().flatten()));
        }
        self.log.clear();
    }

    /// Targets whose delay is over: what they still hold is cut.
    fn targets_leave(&mut self) {
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

    /// An effect of ours is about to be taken: everything that serves holds a request (ADR 0021).
    pub fn before_effect(&mut self, departure: &Departure, effect: &Effect) {
        self.traffic.fill(self.now, &self.balancers);
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
