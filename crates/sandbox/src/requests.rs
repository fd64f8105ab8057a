//! The sandbox's clients. A request goes through a load balancer, an ingress and a service. It fails if one of them does not listen, or
//! dies while the request is in progress.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster;
use super::routing::Routing;
use decamp_core::decide::Minute;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sim::event::{AllocationNumber, Event, EventKind};
use decamp_sim::load_balancers::{LoadBalancers, Route};
use decamp_sim::rng::Rng;
use decamp_sim::traffic::FailureCause;

/// Load balancers count by the minute.
pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedRequest {
    /// When it failed.
    pub at: Time,
    /// How it failed.
    pub cause: FailureCause,
    /// The allocation that failed it.
    pub allocation: Option<AllocationNumber>,
    /// The instance that the load balancer sent it to.
    pub instance: Option<InstanceId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Process {
    listens: bool,
    /// After its kill signal: the time at which it must have finished its requests.
    finishes_by: Option<Time>,
    kill_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
struct InProgress {
    since: Time,
    until: Time,
    front: usize,
    instance: InstanceId,
    ingress: AllocationNumber,
    copy: Option<AllocationNumber>,
}

/// All requests of a sandbox.
#[derive(Debug)]
pub struct Requests {
    fronts: Vec<TargetGroupArn>,
    turn: Vec<usize>,
    /// The ingress of each instance.
    ingresses: BTreeMap<InstanceId, AllocationNumber>,
    /// By number. `None` if the allocation is not added yet. One with a higher number may be added before.
    processes: Vec<Option<Process>>,
    in_progress: Vec<InProgress>,
    rng: Rng,
    gap_us: u64,
    next_us: u64,
    longest: Duration,
    pub(super) routing: Routing,
    /// Every request that was sent.
    pub sent: u64,
    /// Every request that failed.
    pub failures: Vec<FailedRequest>,
    /// What each load balancer counted, by the beginning of the minute and the number of its target group.
    minutes: BTreeMap<(Time, usize), Minute>,
}

impl Requests {
    pub(super) fn new(at: Time, rng: Rng, fronts: Vec<TargetGroupArn>, rate: u32, longest: Duration) -> Self {
        let gap_us = 1_000_000_u64.checked_div(u64::from(rate)).unwrap_or(u64::MAX).max(1);
        Self {
            turn: vec![0; fronts.len()],
            fronts,
            ingresses: BTreeMap::new(),
            processes: Vec::new(),
            in_progress: Vec::new(),
            rng,
            gap_us,
            next_us: at.0.saturating_mul(1000).saturating_add(gap_us),
            longest,
            routing: Routing::default(),
            sent: 0,
            failures: Vec::new(),
            minutes: BTreeMap::new(),
        }
    }

    /// What the load balancer of a target group counted in each minute.
    pub(super) fn counted(&self, group: &TargetGroupArn) -> Vec<Minute> {
        let front = self.fronts.iter().position(|front| front == group);
        self.minutes.iter().filter(|((_, of), _)| Some(*of) == front).map(|(_, minute)| *minute).collect()
    }

    fn minute(&mut self, at: Time, front: usize) -> &mut Minute {
        let at = at.floor(MINUTE);
        self.minutes.entry((at, front)).or_insert(Minute { at, ..Minute::default() })
    }

    /// Adds an allocation, at the beginning or when it appears.
    pub(super) fn add_allocation(&mut self, number: AllocationNumber, listens: bool, kill_timeout: Duration) {
        if self.processes.len() <= number.index() {
            self.processes.resize(number.index() + 1, None);
        }
        self.processes[number.index()] = Some(Process { listens, finishes_by: None, kill_timeout });
    }

    pub(super) fn knows(&self, number: AllocationNumber) -> bool {
        self.processes.get(number.index()).is_some_and(Option::is_some)
    }

    /// Sets the ingress of an instance.
    pub(super) fn set_ingress(&mut self, instance: InstanceId, ingress: AllocationNumber) {
        self.ingresses.insert(instance, ingress);
    }

    fn process(&self, number: AllocationNumber) -> Process {
        self.processes.get(number.index()).copied().flatten().unwrap_or_default()
    }

    fn edit(&mut self, number: AllocationNumber, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(number.index()).and_then(Option::as_mut) {
            change(process);
        }
    }

    /// Sends the clients' requests up to `to`, with the state that holds until then.
    pub(super) fn advance(&mut self, to: Time, balancers: &LoadBalancers) {
        let until = to.0.saturating_mul(1000);
        while self.next_us < until {
            let at = Time(self.next_us / 1000);
            self.next_us = self.next_us.saturating_add(self.gap_us);
            self.routing.advance(at);
            self.send(at, balancers);
        }
        self.routing.advance(to);
        if 64 < self.in_progress.len() {
            self.in_progress.retain(|request| to < request.until);
        }
    }

    fn send(&mut self, at: Time, balancers: &LoadBalancers) {
        if self.fronts.is_empty() {
            return;
        }
        self.sent += 1;
        let front = usize::try_from(self.rng.below(self.fronts.len() as u64)).unwrap_or(0);
        let until = at + self.takes();
        let Some(route) = next_route(balancers, &self.fronts[front], &mut self.turn[front]) else {
            return self.fail(at, front, FailureCause::NoTarget, None, None);
        };
        self.minute(at, front).requests += 1;
        let instance = match route.id {
            TargetId::Instance(instance) => Some(instance),
            TargetId::Ip(address) => cluster::instance_at(address),
            TargetId::Other(_) => None,
        };
        let Some(instance) = instance else { return };
        let Some(ingress) = self.ingresses.get(&instance).copied().filter(|ingress| self.process(*ingress).listens) else {
            return self.fail(at, front, FailureCause::DoorClosed, None, Some(instance));
        };
        let mut request = InProgress { since: at, until, front, instance, ingress, copy: None };
        if self.routing.services() != 0 {
            let service = usize::try_from(self.rng.below(self.routing.services() as u64)).unwrap_or(0);
            let Some(copy) = self.routing.copy_of(service, &mut self.rng) else {
                return self.fail(at, front, FailureCause::NoCopy, None, Some(instance));
            };
            if !self.process(copy).listens {
                return self.fail(at, front, FailureCause::CopyClosed, Some(copy), Some(instance));
            }
            request.copy = Some(copy);
        }
        self.in_progress.push(request);
    }

    /// How long a request takes. Most are short, one in eight takes up to the longest time.
    fn takes(&mut self) -> Duration {
        if self.rng.one_in(8) {
            self.rng.span(Duration::from_millis(50), self.longest.max(Duration::from_millis(51)))
        } else {
            self.rng.span(Duration::from_millis(5), Duration::from_millis(50))
        }
    }

    fn fail(
        &mut self,
        at: Time,
        front: usize,
        cause: FailureCause,
        allocation: Option<AllocationNumber>,
        instance: Option<InstanceId>,
    ) {
        let minute = self.minute(at, front);
        // An ingress answers with 502 or 503 what it cannot pass on, and the load balancer what it cannot.
        match cause {
            FailureCause::NoCopy | FailureCause::CopyClosed | FailureCause::CopyDied => minute.by_targets += 1,
            FailureCause::NoTarget
            | FailureCause::DoorClosed
            | FailureCause::DoorDied
            | FailureCause::CutByBalancer
            | FailureCause::CutByMachine => minute.by_balancer += 1,
        }
        self.failures.push(FailedRequest { at, cause, allocation, instance });
    }

    /// Handles an event of an allocation. `number` maps a service of it to the ingress's number for that service.
    pub(super) fn happened(&mut self, event: Event, number: impl Fn(u16) -> Option<usize>) {
        let (at, allocation) = (event.at, event.allocation);
        self.routing.advance(at);
        match event.kind {
            EventKind::Serving => self.edit(allocation, |process| process.listens = true),
            EventKind::InDiscovery { service } => {
                if let Some(service) = number(service) {
                    self.routing.joins(at, service, allocation, &mut self.rng);
                }
            }
            EventKind::LeftDiscovery { service } => {
                if let Some(service) = number(service) {
                    self.routing.leaves(at, service, allocation, &mut self.rng);
                }
            }
            EventKind::Signalled => self.edit(allocation, |process| {
                process.listens = false;
                process.finishes_by = Some(at + process.kill_timeout);
            }),
            EventKind::Ended { killed } => self.ended(at, allocation, killed),
            EventKind::StopRequested | EventKind::Over => {}
        }
    }

    /// Handles the end of a process. One that ended by itself has finished the requests that fit into its kill timeout. One that was killed
    /// has dropped all of them.
    fn ended(&mut self, at: Time, number: AllocationNumber, killed: bool) {
        self.edit(number, |process| process.listens = false);
        let finishes_by = self.process(number).finishes_by.filter(|_| !killed).unwrap_or(at);
        let mut failed = Vec::new();
        self.in_progress.retain(|request| {
            let cause = if request.ingress == number { FailureCause::DoorDied } else { FailureCause::CopyDied };
            if (request.ingress != number && request.copy != Some(number)) || request.until <= at {
                return true;
            }
            if finishes_by < request.until {
                failed.push((request.front, cause, request.instance));
            }
            false
        });
        for (front, cause, instance) in failed {
            self.fail(finishes_by, front, cause, Some(number), Some(instance));
        }
    }

    /// Cuts the requests in progress on targets whose deregistration delay is over. A request that was sent after the deregistration,
    /// because routing lagged, has the whole delay for itself.
    pub(super) fn cut(&mut self, at: Time, balancers: &LoadBalancers) {
        let fronts = &self.fronts;
        let is_cut = |request: &InProgress| {
            let front = &fronts[request.front];
            let delay = balancers.setup(front).map(|setup| setup.delay).unwrap_or_default();
            let address = cluster::address(request.instance);
            let is_listed = balancers.listed_until(front, request.instance).is_some()
                || address.is_some_and(|address| balancers.address_listed_until(front, address).is_some());
            at < request.until && request.since <= at - delay && !is_listed
        };
        let (cut, kept): (Vec<InProgress>, Vec<InProgress>) = self.in_progress.iter().partition(|request| is_cut(request));
        self.in_progress = kept;
        for request in cut {
            self.fail(at, request.front, FailureCause::CutByBalancer, None, Some(request.instance));
        }
    }
}

/// The route of the next request, in round robin. `None` if there is no route. Without cross-zone load balancing, clients use the load
/// balancer node of each zone in turn.
fn next_route<'b>(balancers: &'b LoadBalancers, front: &TargetGroupArn, turn: &mut usize) -> Option<&'b Route> {
    let (routes, nodes) = (balancers.routes(front), balancers.zonal_nodes(front));
    let (node, here) = (turn.checked_rem(nodes.len()), *turn);
    *turn = turn.wrapping_add(1);
    let Some(node) = node else { return routes.get(here.checked_rem(routes.len())?) };
    let sent_to = &nodes[node].routes;
    routes.get(sent_to[(here / nodes.len()).checked_rem(sent_to.len())?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_can_be_added_after_one_with_a_higher_number() {
        let mut requests = Requests::new(Time(0), Rng::new(1), Vec::new(), 10, Duration::from_secs(1));
        let (lower, higher) = (AllocationNumber(4), AllocationNumber(5));
        requests.add_allocation(higher, false, Duration::from_secs(5));
        assert!(requests.knows(higher));
        assert!(!requests.knows(lower), "it would never be added, and all its requests would fail");
        requests.add_allocation(lower, false, Duration::from_secs(5));
        requests.happened(Event { at: Time(1), allocation: lower, kind: EventKind::Serving }, |_| None);
        assert!(requests.process(lower).listens && !requests.process(higher).listens);
    }
}
