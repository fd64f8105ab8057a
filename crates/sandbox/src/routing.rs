//! Service discovery of the sandbox's ingress. It watches the catalog and applies changes a little late, as Traefik does.

use std::time::Duration;

use decamp_core::time::Time;
use decamp_sim::event::AllocationNumber;
use decamp_sim::rng::Rng;

/// The ingress applies at most one change in this time (Traefik's throttle).
const THROTTLE: Duration = Duration::from_secs(2);
/// How late a change is applied without the throttle: the shortest and the longest time (facts/consul.md 5.2).
const LATE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// The copies of each service: those that discovery lists, and those that the ingress routes to.
#[derive(Debug, Default)]
pub(super) struct Routing {
    listed: Vec<Vec<AllocationNumber>>,
    routed: Vec<Vec<AllocationNumber>>,
    /// When the ingress applies the listed copies.
    due: Option<Time>,
    last: Time,
}

impl Routing {
    /// Adds a service without copies, and returns its number.
    pub(super) fn add_service(&mut self) -> usize {
        self.listed.push(Vec::new());
        self.routed.push(Vec::new());
        self.routed.len() - 1
    }

    /// Adds a copy that is listed and routed already.
    pub(super) fn put(&mut self, service: usize, copy: AllocationNumber) {
        self.listed[service].push(copy);
        self.routed[service].push(copy);
    }

    pub(super) fn joins(&mut self, at: Time, service: usize, copy: AllocationNumber, rng: &mut Rng) {
        if !self.listed[service].contains(&copy) {
            self.listed[service].push(copy);
            self.changed(at, rng);
        }
    }

    pub(super) fn leaves(&mut self, at: Time, service: usize, copy: AllocationNumber, rng: &mut Rng) {
        self.listed[service].retain(|one| *one != copy);
        self.changed(at, rng);
    }

    fn changed(&mut self, at: Time, rng: &mut Rng) {
        let seen = at + rng.span(LATE.0, LATE.1);
        self.due.get_or_insert(seen.max(self.last + THROTTLE));
    }

    /// Applies a change that is due.
    pub(super) fn advance(&mut self, to: Time) {
        if let Some(due) = self.due.filter(|due| *due <= to) {
            self.routed.clone_from(&self.listed);
            self.last = due;
            self.due = None;
        }
    }

    pub(super) fn services(&self) -> usize {
        self.routed.len()
    }

    /// The copy that gets the next request for a service.
    pub(super) fn copy_of(&self, service: usize, rng: &mut Rng) -> Option<AllocationNumber> {
        let copies = &self.routed[service];
        copies.get(usize::try_from(rng.below(copies.len() as u64)).unwrap_or(0)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_applied_late_and_the_next_one_after_the_throttle() {
        let (mut routing, mut rng) = (Routing::default(), Rng::new(1));
        let service = routing.add_service();
        routing.put(service, AllocationNumber(1));
        routing.joins(Time(100_000), service, AllocationNumber(2), &mut rng);
        routing.advance(Time(100_090));
        assert_eq!(routing.routed[service].len(), 1);
        routing.advance(Time(100_301));
        assert_eq!(routing.routed[service].len(), 2);
        routing.leaves(Time(100_400), service, AllocationNumber(1), &mut rng);
        routing.advance(Time(102_000));
        assert_eq!(routing.routed[service].len(), 2);
        routing.advance(Time(102_400));
        assert_eq!(routing.routed[service], [AllocationNumber(2)]);
    }
}
