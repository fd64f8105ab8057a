//! The model of requests. Clients send at a constant rate, the load balancer routes, the ingress routes by its last view of discovery,
//! and a process answers after some time. A request fails if no process listens, or if the process that holds it dies.

mod front;
mod ingress;
mod kept_connections;
mod route;

use std::net::IpAddr;
use std::time::Duration;

use self::front::Front;
pub use self::ingress::{Follows, Ingress};
use super::event::{AllocationNumber, Event, EventKind};
use super::load_balancers::LoadBalancers;
use super::rng::Rng;
use decamp_core::ids::{TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// A backend: one port of the instance behind one target group.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The number of the target group that clients send to.
    pub front: usize,
    /// The port.
    pub port: u16,
    /// The allocation that listens there on the instance; `None` if a process that Nomad does not know listens.
    pub behind: Option<AllocationNumber>,
    /// Whether the process routes on to services (an ingress). Otherwise it answers itself.
    pub is_ingress: bool,
    /// Whether a driver can know the target group.
    pub known: bool,
}

/// The process of one allocation, as far as requests need it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// Whether it is on the instance that leaves.
    pub on_ours: bool,
    /// Whether it listens.
    pub listens: bool,
    /// When it will be killed after its kill signal. Until then it may finish the requests that it holds.
    pub killed_at: Time,
    /// The time from its kill signal to SIGKILL.
    pub kill_timeout: Duration,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureCause {
    /// The load balancer had no target.
    NoTarget,
    /// No process listened on the port that the load balancer sent the request to.
    DoorClosed,
    /// The process behind that port died while it held the request.
    DoorDied,
    /// The ingress knew no copy of the service.
    NoCopy,
    /// The copy that the ingress chose did not listen.
    CopyClosed,
    /// The copy died while it held the request.
    CopyDied,
    /// The load balancer cut the request at the end of the delay.
    CutByBalancer,
    /// The machine stopped, which cut a kept connection to a process that is not Nomad's.
    CutByMachine,
}

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedRequest {
    /// When it failed.
    pub at: Time,
    /// How it failed.
    pub cause: FailureCause,
    /// The allocation at which it failed.
    pub allocation: Option<AllocationNumber>,
    /// The ingress's number of the service that it was for.
    pub service: Option<usize>,
    /// The number of the target group that it came through.
    pub front: usize,
    /// Whether it came over a kept connection. Set only if a process held the request.
    pub kept: bool,
}

/// A request that a process on the instance holds.
#[derive(Debug, Clone, Copy)]
struct HeldRequest {
    since: Time,
    until: Time,
    backend: Option<AllocationNumber>,
    copy: Option<AllocationNumber>,
    service: Option<usize>,
    front: usize,
    /// Whether it came over a kept connection.
    kept: bool,
}

/// All requests of one departure.
#[derive(Debug, Clone)]
pub struct Traffic {
    fronts: Vec<Front>,
    backends: Vec<Backend>,
    /// Whether one of the backends is an ingress. Cached, because every request needs it.
    has_ingress: bool,
    processes: Vec<Process>,
    /// The process on the instance whose service was registered by hand.
    by_hand: Process,
    ours: Vec<TargetId>,
    held: Vec<HeldRequest>,
    rng: Rng,
    gap_us: u64,
    next_us: u64,
    /// How many milliseconds longer than 50 the longest request is.
    slow_ms: u64,
    /// The ingress's view of discovery.
    pub ingress: Ingress,
    /// How many requests were sent.
    pub sent: u64,
    /// The requests that failed.
    pub failures: Vec<FailedRequest>,
    /// How many effects found a serving process without a request. It should be 0 (ADR 0021).
    pub idle_at_effect: u64,
}

impl Traffic {
    /// Clients of these target groups. They send one request each `gap`, and none takes longer than `longest`.
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

    /// Adds a backend.
    pub fn add_backend(&mut self, backend: Backend) {
        self.has_ingress |= backend.is_ingress;
        self.fronts[backend.front].note_backend(&backend);
        self.backends.push(backend);
    }

    /// Adds the process of an allocation, at the start or when it is placed.
    pub fn put_process(&mut self, number: AllocationNumber, process: Process) {
        if self.processes.len() <= number.index() {
            self.processes.resize(number.index() + 1, Process::default());
        }
        self.processes[number.index()] = process;
    }

    /// Whether the process of this allocation was added.
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

    /// Sends the requests until `to`. No model changes in this time.
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
        // Drop requests that were answered long ago.
        if 64 < self.held.len() {
            self.held.retain(|held| to < held.until);
        }
    }

    fn look_up(&mut self, balancers: &LoadBalancers) {
        for (number, front) in self.fronts.iter_mut().enumerate() {
            front.look_up(number, balancers, &self.backends, &self.ours);
        }
    }

    /// How long a request takes. Most are short, and one in eight may take up to the longest.
    fn duration(&self, bits: u64) -> Duration {
        let millis =
            if bits.is_multiple_of(8) { 50 + Rng::share(bits >> 3, self.slow_ms) } else { 5 + Rng::share(bits >> 3, 45) };
        Duration::from_millis(millis)
    }

    fn fail(
        &mut self,
        at: Time,
        cause: FailureCause,
        allocation: Option<AllocationNumber>,
        service: Option<usize>,
        front: usize,
    ) {
        self.failures.push(FailedRequest { at, cause, allocation, service, front, kept: false });
    }

    /// Called before something happens to the instance: sends a request to every process that can get one, so that each holds one.
    pub fn fill(&mut self, at: Time, balancers: &LoadBalancers) {
        self.look_up(balancers);
        for place in 0..self.backends.len() {
            let front = self.backends[place].front;
            if self.fronts[front].sends_to(place) {
                let until = at + self.draw_duration();
                self.sent += 1;
                self.send_through(at, until, place, front, false);
            }
        }
        self.fill_kept_connections(at);
        let copies: Vec<(usize, AllocationNumber)> = self.ingress.copies().filter(|(_, n)| self.process(*n).on_ours).collect();
        for (service, copy) in copies {
            let until = at + self.draw_duration();
            self.sent += 1;
            if self.process(copy).listens {
                let service = Some(service);
                self.hold(HeldRequest { since: at, until, backend: None, copy: Some(copy), service, front: 0, kept: false });
            } else {
                self.fail(at, FailureCause::CopyClosed, Some(copy), Some(service), 0);
            }
        }
    }

    fn draw_duration(&mut self) -> Duration {
        let bits = self.rng.bits();
        self.duration(bits)
    }

    /// Processes an event of an allocation. `service_number` returns the ingress's number of a service.
    pub fn process_event(&mut self, event: Event, service_number: impl Fn(u16) -> Option<usize>) {
        let (at, number) = (event.at, event.allocation);
        self.ingress.advance(at);
        if !self.knows(number) {
            self.put_process(number, Process::default());
        }
        match event.kind {
            EventKind::Serving => self.processes[number.index()].listens = true,
            EventKind::InDiscovery { service } => {
                if let Some(service) = service_number(service) {
                    self.ingress.joins(at, service, number, &mut self.rng);
                }
            }
            EventKind::LeftDiscovery { service } => {
                if let Some(service) = service_number(service) {
                    self.ingress.leaves(at, service, number, &mut self.rng);
                }
            }
            EventKind::Signalled => {
                let process = &mut self.processes[number.index()];
                process.listens = false;
                process.killed_at = at + process.kill_timeout;
                self.close_kept_connections(number);
            }
            EventKind::Ended { killed } => self.ended(at, number, killed),
            EventKind::StopRequested | EventKind::Over => {}
        }
    }

    /// The machine stops, and with it the process whose service was registered by hand.
    pub fn machine_stops(&mut self, at: Time) {
        self.by_hand.listens = false;
        self.drop_held(at, AllocationNumber::BY_HAND, at);
    }

    /// A process ended. If it ended by itself, it finished its requests within its kill timeout. If it was killed, they fail.
    fn ended(&mut self, at: Time, number: AllocationNumber, killed: bool) {
        let process = &mut self.processes[number.index()];
        process.listens = false;
        self.close_kept_connections(number);
        let process = &mut self.processes[number.index()];
        let finishes_by = if killed || process.killed_at == Time(0) { at } else { process.killed_at };
        self.drop_held(at, number, finishes_by);
    }

    /// Fails the requests of a process that it cannot finish by `finishes_by`.
    fn drop_held(&mut self, at: Time, number: AllocationNumber, finishes_by: Time) {
        let mut failures = Vec::new();
        self.held.retain(|held| {
            let here = held.backend == Some(number) || held.copy == Some(number);
            if here && at < held.until {
                if finishes_by < held.until {
                    let cause = if held.backend == Some(number) { FailureCause::DoorDied } else { FailureCause::CopyDied };
                    failures.push(FailedRequest {
                        at: finishes_by,
                        cause,
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

    /// The delay of a target is over, and the load balancer cuts the requests that it still holds. Requests that were sent after the
    /// deregistration because of the routing lag have their own delay. Kept connections are cut only if the group's attribute says so
    /// (`terminates`), with the requests on them at that moment.
    pub fn target_gone(&mut self, at: Time, front: usize, delay: Duration, terminates: bool) {
        if terminates {
            self.fill_kept_connections(at);
            self.fronts[front].closes();
        }
        let before = self.held.len();
        let deregistered = at - delay;
        let cut = |held: &HeldRequest| {
            let by_its_age = held.backend.is_some() && !held.kept && held.since <= deregistered;
            held.front == front && at < held.until && (by_its_age || held.kept && terminates)
        };
        self.held.retain(|held| !cut(held));
        for _ in self.held.len()..before {
            self.fail(at, FailureCause::CutByBalancer, None, None, front);
        }
    }

    /// A target of the instance that a load balancer still routes to and behind which this allocation listens, except those at one
    /// address.
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
