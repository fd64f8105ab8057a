//! Requests, one by one: a client sends at a rate, the load balancer routes, the ingress routes by discovery as it last saw it,
//! a container answers after its time. A request fails when nothing listens, or when the process that holds it dies.

mod front;
mod ingress;
mod kept;
mod route;

use std::net::IpAddr;
use std::time::Duration;

use self::front::Front;
pub use self::ingress::{Follows, Ingress};
use super::event::{AllocationNumber, Event, What};
use super::load_balancers::LoadBalancers;
use super::rng::Rng;
use decamp_core::ids::{TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// A way in: one port of the instance behind one target group.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The group, by its place among those that clients send to.
    pub front: usize,
    /// The port.
    pub port: u16,
    /// What listens there on the instance; `None` if nothing that Nomad knows of.
    pub behind: Option<AllocationNumber>,
    /// Whether that routes on to services (an ingress) or answers itself.
    pub is_ingress: bool,
    /// Whether anybody who takes the instance out of service can know of the group.
    pub known: bool,
}

/// What is known of one allocation, as far as requests go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// It is on the instance that leaves.
    pub on_ours: bool,
    /// It listens.
    pub listens: bool,
    /// It got its kill signal: it finishes what it holds, until this time at the latest.
    pub killed_at: Time,
    /// From its kill signal to SIGKILL.
    pub kill_timeout: Duration,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failed {
    /// The load balancer had nowhere to send it.
    NoTarget,
    /// Nothing listened on the port that the load balancer sent it to.
    DoorClosed,
    /// The process behind that port died with it.
    DoorDied,
    /// The ingress knew no copy of its service.
    NoCopy,
    /// The copy that the ingress chose did not listen.
    CopyClosed,
    /// The copy died with it.
    CopyDied,
    /// The load balancer cut it at the end of its delay.
    CutByBalancer,
    /// The machine went, and with it a connection that its client had kept to something that is not Nomad's.
    CutByMachine,
}

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// When it failed.
    pub at: Time,
    /// How.
    pub how: Failed,
    /// At which allocation.
    pub allocation: Option<AllocationNumber>,
    /// Which service it was for.
    pub service: Option<usize>,
    /// Through which target group.
    pub front: usize,
    /// Whether it came over a connection that its client keeps, as far as something held it.
    pub kept: bool,
}

/// A request that something on the instance holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Time,
    until: Time,
    backend: Option<AllocationNumber>,
    copy: Option<AllocationNumber>,
    service: Option<usize>,
    front: usize,
    /// Whether it came over a connection that its client keeps.
    kept: bool,
}

/// All requests of one departure.
#[derive(Debug, Clone)]
pub struct Traffic {
    fronts: Vec<Front>,
    backends: Vec<Backend>,
    /// Whether one of the backends is an ingress: asked for every request.
    has_ingress: bool,
    processes: Vec<Process>,
    /// What listens on the instance and is registered by hand.
    by_hand: Process,
    ours: Vec<TargetId>,
    held: Vec<Held>,
    rng: Rng,
    gap_us: u64,
    next_us: u64,
    /// By how many milliseconds the longest request is longer than 50.
    slow_ms: u64,
    /// What the ingress knows.
    pub ingress: Ingress,
    /// Every request that was sent.
    pub sent: u64,
    /// Every request that failed.
    pub failures: Vec<Failure>,
    /// Effects at which something that served held no request: none is wanted (ADR 0021).
    pub idle_at_effect: u64,
}

impl Traffic {
    /// Clients of these target groups, sending one request each `gap`, none longer than `longest`.
    #[must_use]
    pub fn new(at: Time, rng: Rng, fronts: Vec<TargetGroupArn>, ours: Vec<TargetId>, gap: Duration, longest: Duration) -> Self {
        let gap_us = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX).max(1);
        Self {
            fronts: fronts.into_iter().map(Front::new).collect(),
            backends: Vec::new(),
            has_ingress: false,
            processes: Vec::new(),
            by_hand: Process { on_ours: true, listens: true, ..Process::default() },
            ours,
            held: Vec::new(),
            rng,
            gap_us,
            next_us: at.0 * 1000 + gap_us,
            slow_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(51) - 50,
            ingress: Ingress::default(),
            sent: 0,
            failures: Vec::new(),
            idle_at_effect: 0,
        }
    }

    /// Adds a way in.
    pub fn add_backend(&mut self, backend: Backend) {
        self.has_ingress |= backend.is_ingress;
        self.fronts[backend.front].note_backend(&backend);
        self.backends.push(backend);
    }

    /// Says what is known of an allocation at the beginning, or when it appears.
    pub fn put_process(&mut self, number: AllocationNumber, process: Process) {
        if self.processes.len() <= number.index() {
            self.processes.resize(number.index() + 1, Process::default());
        }
        self.processes[number.index()] = process;
    }

    /// Whether this allocation has been told of.
    #[must_use]
    pub fn knows(&self, number: AllocationNumber) -> bool {
        number.is_by_hand() || number.index() < self.processes.len()
    }

    fn process(&self, number: AllocationNumber) -> Process {
        match number {
            AllocationNumber::BY_HAND => self.by_hand,
            AllocationNumber::BY_HAND_ELSEWHERE => Process { listens: true, ..Process::default() },
            _ => self.processes.get(number.index()).copied().unwrap_or_default(),
        }
    }

    /// Lets clients send until `to`, by what holds true until then.
    pub fn advance(&mut self, to: Time, balancers: &LoadBalancers) {
        let to_us = to.0.saturating_mul(1000);
        if self.next_us < to_us {
            self.look_up(balancers);
        }
        while self.next_us < to_us {
            let at = Time(self.next_us / 1000);
            self.next_us += self.gap_us;
            self.ingress.advance(at);
            self.send(at);
        }
        self.ingress.advance(to);
        // Nobody waits for what is long answered.
        if 64 < self.held.len() {
            self.held.retain(|held| to < held.until);
        }
    }

    fn look_up(&mut self, balancers: &LoadBalancers) {
        for (number, front) in self.fronts.iter_mut().enumerate() {
            front.look_up(number, balancers, &self.backends, &self.ours);
        }
    }

    /// Most requests are short; one in eight takes up to the longest.
    fn takes(&self, bits: u64) -> Duration {
        let millis =
            if bits.is_multiple_of(8) { 50 + Rng::share(bits >> 3, self.slow_ms) } else { 5 + Rng::share(bits >> 3, 45) };
        Duration::from_millis(millis)
    }

    fn fail(&mut self, at: Time, how: Failed, allocation: Option<AllocationNumber>, service: Option<usize>, front: usize) {
        self.failures.push(Failure { at, how, allocation, service, front, kept: false });
    }

    /// Something is about to happen to the instance: everything that can be sent a request holds one.
    pub fn fill(&mut self, at: Time, balancers: &LoadBalancers) {
        self.look_up(balancers);
        for place in 0..self.backends.len() {
            let front = self.backends[place].front;
            if self.fronts[front].sends_to(place) {
                let until = at + self.takes_some();
                self.sent += 1;
                self.through(at, until, place, front, false);
            }
        }
        self.fill_kept_ones(at);
        let copies: Vec<(usize, AllocationNumber)> = self.ingress.copies().filter(|(_, n)| self.process(*n).on_ours).collect();
        for (service, copy) in copies {
            let until = at + self.takes_some();
            self.sent += 1;
            if self.process(copy).listens {
                let service = Some(service);
                self.hold(Held { since: at, until, backend: None, copy: Some(copy), service, front: 0, kept: false });
            } else {
                self.fail(at, Failed::CopyClosed, Some(copy), Some(service), 0);
            }
        }
    }

    fn takes_some(&mut self) -> Duration {
        let bits = self.rng.bits();
        self.takes(bits)
    }

    /// What happened to an allocation. `services` gives the number that the ingress knows its service by.
    pub fn happened(&mut self, event: Event, service_number: impl Fn(u16) -> Option<usize>) {
        let (at, number) = (event.at, event.allocation);
        self.ingress.advance(at);
        if !self.knows(number) {
            self.put_process(number, Process::default());
        }
        match event.what {
            What::Serving => self.processes[number.index()].listens = true,
            What::InDiscovery { service } => {
                if let Some(service) = service_number(service) {
                    self.ingress.joins(at, service, number, &mut self.rng);
                }
            }
            What::LeftDiscovery { service } => {
                if let Some(service) = service_number(service) {
                    self.ingress.leaves(at, service, number, &mut self.rng);
                }
            }
            What::Signalled => {
                let process = &mut self.processes[number.index()];
                process.listens = false;
                process.killed_at = at + process.kill_timeout;
                self.closes_kept_ones(number);
            }
            What::Ended { killed } => self.ended(at, number, killed),
            What::ToldToStop | What::Over => {}
        }
    }

    /// The machine stops, and what listens on it that is no allocation's.
    pub fn machine_stops(&mut self, at: Time) {
        self.by_hand.listens = false;
        self.drop_held(at, AllocationNumber::BY_HAND, at);
    }

    /// A process that ended by itself finished what it held, as far as its kill timeout let it; a killed one dropped it.
    fn ended(&mut self, at: Time, number: AllocationNumber, killed: bool) {
        let process = &mut self.processes[number.index()];
        process.listens = false;
        self.closes_kept_ones(number);
        let process = &mut self.processes[number.index()];
        let finishes_by = if killed || process.killed_at == Time(0) { at } else { process.killed_at };
        self.drop_held(at, number, finishes_by);
    }

    /// What a process holds that it cannot finish fails.
    fn drop_held(&mut self, at: Time, number: AllocationNumber, finishes_by: Time) {
        let mut failures = Vec::new();
        self.held.retain(|held| {
            let here = held.backend == Some(number) || held.copy == Some(number);
            if here && at < held.until {
                if finishes_by < held.until {
                    let how = if held.backend == Some(number) { Failed::DoorDied } else { Failed::CopyDied };
                    failures.push(Failure {
                        at: finishes_by,
                        how,
                        allocation: Some(number),
                        service: held.service,
                        front: held.front,
                        kept: held.kept,
                    });
                }
                return false;
            }
            true
        });
        self.failures.append(&mut failures);
    }

    /// The load balancer closes what is still under way on a target whose delay is over. What it sent there after the
    /// deregistration, because its routing lagged, has its own delay. Connections that clients keep are cut only if the group is set
    /// so (`terminates`), and then whatever comes over them at that moment.
    pub fn target_gone(&mut self, at: Time, front: usize, delay: Duration, terminates: bool) {
        if terminates {
            self.fill_kept_ones(at);
            self.fronts[front].closes();
        }
        let before = self.held.len();
        let deregistered = at - delay;
        let cut = |held: &Held| {
            let by_its_age = held.backend.is_some() && !held.kept && held.since <= deregistered;
            held.front == front && at < held.until && (by_its_age || held.kept && terminates)
        };
        self.held.retain(|held| !cut(held));
        for _ in self.held.len()..before {
            self.fail(at, Failed::CutByBalancer, None, None, front);
        }
    }

    /// A target of the instance that a load balancer still routes to and at which this allocation listens, but for those at one address.
    #[must_use]
    pub fn routed_backend(
        &self,
        allocation: AllocationNumber,
        balancers: &LoadBalancers,
        but_for: Option<IpAddr>,
    ) -> Option<(TargetId, u16)> {
        let ours = |id: &TargetId| self.ours.contains(id) && but_for.is_none_or(|address| *id != TargetId::Ip(address));
        let mut backends = self.backends.iter().filter(|backend| backend.known && backend.behind == Some(allocation));
        backends.find_map(|backend| {
            let routes = balancers.routes(&self.fronts[backend.front].arn);
            let route = routes.iter().find(|r| r.port == backend.port && ours(&r.id))?;
            Some((route.id.clone(), route.port))
        })
    }
}
