//! The sandbox's clients, request by request: load balancer, ingress, service. One fails when nothing listens, or when what holds it dies.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster;
use super::routing::Routing;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sim::event::{AllocationNumber, Event, What};
use decamp_sim::load_balancers::{LoadBalancers, Route};
use decamp_sim::luck::Luck;
use decamp_sim::traffic::Failed;

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// When it failed.
    pub at: Time,
    /// How.
    pub how: Failed,
    /// At which allocation.
    pub allocation: Option<AllocationNumber>,
    /// On which instance's port the load balancer sent it in.
    pub instance: Option<InstanceId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Process {
    listens: bool,
    /// It got its kill signal and finishes what it holds, until then at the latest.
    finishes_by: Option<Time>,
    kill_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    since: Time,
    until: Time,
    front: usize,
    instance: InstanceId,
    door: AllocationNumber,
    copy: Option<AllocationNumber>,
}

/// All requests of a sandbox.
#[derive(Debug)]
pub struct Requests {
    fronts: Vec<TargetGroupArn>,
    turn: Vec<usize>,
    /// The ingress of each instance.
    doors: BTreeMap<InstanceId, AllocationNumber>,
    /// By number. `None`: not introduced yet, although one with a higher number may be.
    processes: Vec<Option<Process>>,
    held: Vec<Held>,
    luck: Luck,
    gap_us: u64,
    next_us: u64,
    longest: Duration,
    pub(super) routing: Routing,
    /// Every request that was sent.
    pub sent: u64,
    /// Every request that failed.
    pub failures: Vec<Failure>,
}

impl Requests {
    pub(super) fn new(at: Time, luck: Luck, fronts: Vec<TargetGroupArn>, rate: u32, longest: Duration) -> Self {
        let gap_us = 1_000_000_u64.checked_div(u64::from(rate)).unwrap_or(u64::MAX).max(1);
        Self {
            turn: vec![0; fronts.len()],
            fronts,
            doors: BTreeMap::new(),
            processes: Vec::new(),
            held: Vec::new(),
            luck,
            gap_us,
            next_us: at.0.saturating_mul(1000).saturating_add(gap_us),
            longest,
            routing: Routing::default(),
            sent: 0,
            failures: Vec::new(),
        }
    }

    /// Says what is known of an allocation at the beginning, or when it appears.
    pub(super) fn introduce(&mut self, number: AllocationNumber, listens: bool, kill_timeout: Duration) {
        if self.processes.len() <= number.index() {
            self.processes.resize(number.index() + 1, None);
        }
        self.processes[number.index()] = Some(Process { listens, finishes_by: None, kill_timeout });
    }

    pub(super) fn knows(&self, number: AllocationNumber) -> bool {
        self.processes.get(number.index()).is_some_and(Option::is_some)
    }

    /// What listens on the load balancers' port of an instance.
    pub(super) fn open_door(&mut self, instance: InstanceId, ingress: AllocationNumber) {
        self.doors.insert(instance, ingress);
    }

    fn process(&self, number: AllocationNumber) -> Process {
        self.processes.get(number.index()).copied().flatten().unwrap_or_default()
    }

    fn edit(&mut self, number: AllocationNumber, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(number.index()).and_then(Option::as_mut) {
            change(process);
        }
    }

    /// Lets clients send until `to`, by what holds true until then.
    pub(super) fn advance(&mut self, to: Time, balancers: &LoadBalancers) {
        let until = to.0.saturating_mul(1000);
        while self.next_us < until {
            let at = Time(self.next_us / 1000);
            self.next_us = self.next_us.saturating_add(self.gap_us);
            self.routing.advance(at);
            self.send(at, balancers);
        }
        self.routing.advance(to);
        if 64 < self.held.len() {
            self.held.retain(|held| to < held.until);
        }
    }

    fn send(&mut self, at: Time, balancers: &LoadBalancers) {
        if self.fronts.is_empty() {
            return;
        }
        self.sent += 1;
        let front = usize::try_from(self.luck.below(self.fronts.len() as u64)).unwrap_or(0);
        let until = at + self.takes();
        let Some(route) = next_route(balancers, &self.fronts[front], &mut self.turn[front]) else {
            return self.fail(at, Failed::NoTarget, None, None);
        };
        let instance = match route.id {
            TargetId::Instance(instance) => Some(instance),
            TargetId::Ip(address) => cluster::instance_at(address),
            TargetId::Other(_) => None,
        };
        let Some(instance) = instance else { return };
        let Some(door) = self.doors.get(&instance).copied().filter(|door| self.process(*door).listens) else {
            return self.fail(at, Failed::DoorClosed, None, Some(instance));
        };
        let mut held = Held { since: at, until, front, instance, door, copy: None };
        if self.routing.services() != 0 {
            let service = usize::try_from(self.luck.below(self.routing.services() as u64)).unwrap_or(0);
            let Some(copy) = self.routing.copy_of(service, &mut self.luck) else {
                return self.fail(at, Failed::NoCopy, None, Some(instance));
            };
            if !self.process(copy).listens {
                return self.fail(at, Failed::CopyClosed, Some(copy), Some(instance));
            }
            held.copy = Some(copy);
        }
        self.held.push(held);
    }

    /// Most requests are short; one in eight takes up to the longest.
    fn takes(&mut self) -> Duration {
        if self.luck.one_in(8) {
            self.luck.span(Duration::from_millis(50), self.longest.max(Duration::from_millis(51)))
        } else {
            self.luck.span(Duration::from_millis(5), Duration::from_millis(50))
        }
    }

    fn fail(&mut self, at: Time, how: Failed, allocation: Option<AllocationNumber>, instance: Option<InstanceId>) {
        self.failures.push(Failure { at, how, allocation, instance });
    }

    /// What happened to an allocation. `number` gives the number that the ingress knows a service of it by.
    pub(super) fn happened(&mut self, event: Event, number: impl Fn(u16) -> Option<usize>) {
        let (at, allocation) = (event.at, event.allocation);
        self.routing.advance(at);
        match event.what {
            What::Serving => self.edit(allocation, |process| process.listens = true),
            What::InDiscovery { service } => {
                if let Some(service) = number(service) {
                    self.routing.joins(at, service, allocation, &mut self.luck);
                }
            }
            What::LeftDiscovery { service } => {
                if let Some(service) = number(service) {
                    self.routing.leaves(at, service, allocation, &mut self.luck);
                }
            }
            What::Signalled => self.edit(allocation, |process| {
                process.listens = false;
                process.finishes_by = Some(at + process.kill_timeout);
            }),
            What::Ended { killed } => self.ended(at, allocation, killed),
            What::ToldToStop | What::Over => {}
        }
    }

    /// A process that ended by itself finished what it held, as far as its kill timeout let it; a killed one dropped it.
    fn ended(&mut self, at: Time, number: AllocationNumber, killed: bool) {
        self.edit(number, |process| process.listens = false);
        let finishes_by = self.process(number).finishes_by.filter(|_| !killed).unwrap_or(at);
        let mut failed = Vec::new();
        self.held.retain(|held| {
            let how = if held.door == number { Failed::DoorDied } else { Failed::CopyDied };
            if (held.door != number && held.copy != Some(number)) || held.until <= at {
                return true;
            }
            if finishes_by < held.until {
                failed.push((how, held.instance));
            }
            false
        });
        for (how, instance) in failed {
            self.fail(finishes_by, how, Some(number), Some(instance));
        }
    }

    /// Load balancers close what is still under way on a target whose delay is over. What they sent there after the
    /// deregistration, because their routing lagged, has its own delay.
    pub(super) fn cut(&mut self, at: Time, balancers: &LoadBalancers) {
        let fronts = &self.fronts;
        let is_cut = |held: &Held| {
            let front = &fronts[held.front];
            let delay = balancers.setup(front).map(|setup| setup.delay).unwrap_or_default();
            let address = cluster::address(held.instance);
            let is_listed = balancers.listed_until(front, held.instance).is_some()
                || address.is_some_and(|address| balancers.address_listed_until(front, address).is_some());
            at < held.until && held.since <= at - delay && !is_listed
        };
        let (cut, kept): (Vec<Held>, Vec<Held>) = self.held.iter().partition(|held| is_cut(held));
        self.held = kept;
        for held in cut {
            self.fail(at, Failed::CutByBalancer, None, Some(held.instance));
        }
    }
}

/// Where the next request goes, each route in turn; `None` if there is none. Where load balancing does not cross zones, clients ask the node
/// of each zone in turn.
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
    fn of_two_new_allocations_the_one_that_is_heard_of_later_is_introduced_too() {
        let mut requests = Requests::new(Time(0), Luck::new(1), Vec::new(), 10, Duration::from_secs(1));
        let (lower, higher) = (AllocationNumber(4), AllocationNumber(5));
        requests.introduce(higher, false, Duration::from_secs(5));
        assert!(requests.knows(higher));
        assert!(!requests.knows(lower), "it would never be introduced, and its requests would fail for ever");
        requests.introduce(lower, false, Duration::from_secs(5));
        requests.happened(Event { at: Time(1), allocation: lower, what: What::Serving }, |_| None);
        assert!(requests.process(lower).listens && !requests.process(higher).listens);
    }
}
