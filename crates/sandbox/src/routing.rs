//! What the sandbox's ingress knows of service discovery: it watches, and so is a little late, as Traefik is.

use std::time::Duration;

use decamp_core::time::Time;
use decamp_sim::event::AllocationNumber;
use decamp_sim::luck::Luck;

/// No two changes come into force within this time (Traefik's throttle).
const THROTTLE: Duration = Duration::from_secs(2);
/// A change that nothing holds up is in force so much later (facts/consul.md 5.2).
const LATE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// The copies of each service, as discovery has them and as the ingress routes.
#[derive(Debug, Default)]
pub(super) struct Routing {
    listed: Vec<Vec<AllocationNumber>>,
    routed: Vec<Vec<AllocationNumber>>,
    /// When what is listed comes into force.
    due: Option<Time>,
    last: Time,
}

impl Routing {
    /// One more service, without copies; its number.
    pub(super) fn add_service(&mut self) -> usize {
        self.listed.push(Vec::new());
        self.routed.push(Vec::new());
        self.routed.len() - 1
    }

    /// A copy that has been there for long.
    pub(super) fn put(&mut self, service: usize, copy: AllocationNumber) {
        self.listed[service].push(copy);
        self.routed[service].push(copy);
    }

    pub(super) fn joins(&mut self, at: Time, service: usize, copy: AllocationNumber, luck: &mut Luck) {
        if !self.listed[service].contains(&copy) {
            self.listed[service].push(copy);
            self.changed(at, luck);
        }
    }

    pub(super) fn leaves(&mut self, at: Time, service: usize, copy: AllocationNumber, luck: &mut Luck) {
        self.listed[service].retain(|one| *one != copy);
        self.changed(at, luck);
    }

    fn changed(&mut self, at: Time, luck: &mut Luck) {
        let heard = at + luck.span(LATE.0, LATE.1);
        self.due.get_or_insert(heard.max(self.last + THROTTLE));
    }

    /// Puts in force what is due.
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

    /// Where it sends a request for a service.
    pub(super) fn copy_of(&self, service: usize, luck: &mut Luck) -> Option<AllocationNumber> {
        let copies = &self.routed[service];
        copies.get(usize::try_from(luck.below(copies.len() as u64)).unwrap_or(0)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_force_late_and_the_next_one_after_the_throttle() {
        let (mut routing, mut luck) = (Routing::default(), Luck::new(1));
        let service = routing.add_service();
        routing.put(service, AllocationNumber(1));
        routing.joins(Time(100_000), service, AllocationNumber(2), &mut luck);
        routing.advance(Time(100_090));
        assert_eq!(routing.routed[service].len(), 1);
        routing.advance(Time(100_301));
        assert_eq!(routing.routed[service].len(), 2);
        routing.leaves(Time(100_400), service, AllocationNumber(1), &mut luck);
        routing.advance(Time(102_000));
        assert_eq!(routing.routed[service].len(), 2);
        routing.advance(Time(102_400));
        assert_eq!(routing.routed[service], [AllocationNumber(2)]);
    }
}
