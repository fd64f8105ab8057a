//! The ingress's view of service discovery, which is always a little old. Like Traefik it polls, or watches with a throttle.

use std::sync::Arc;
use std::time::Duration;

use crate::event::AllocationNumber;
use crate::rng::Rng;
use decamp_core::time::Time;

/// Traefik applies no two changes within this time (the throttle of its providers).
const THROTTLE: Duration = Duration::from_secs(2);
/// Measured: a change is applied 0.1 to 0.3 s after it (facts/consul.md 5.2).
const APPLIED_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// How the ingress follows discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It watches, and gets every change.
    Watches,
    /// It polls at this interval.
    Polls(Duration),
}

/// The copies of each service. Shared, because the views are mostly equal.
type Catalog = Arc<Vec<Vec<AllocationNumber>>>;

/// The copies of each service as registered, and as the ingress knows them.
#[derive(Debug, Clone)]
pub struct Ingress {
    follows: Follows,
    registered: Catalog,
    known: Catalog,
    /// A configuration that it has received, and when it will apply it.
    pending: Option<(Time, Catalog)>,
    /// When it will receive a change that it has not received yet.
    receives_at: Option<Time>,
    last_applied: Time,
    phase: Time,
    /// For each service, whether it is in Consul. Otherwise it is in Nomad's own discovery.
    in_consul: Vec<bool>,
    /// Whether Consul is away.
    blocked: bool,
    /// Other changes in the catalog, which use up the throttle's time as well: when the next comes, the mean interval, and their
    /// generator.
    other_changes: Option<(Time, Duration, Rng)>,
    /// Whether another change in the catalog has not been applied yet.
    other_changed: bool,
    /// How much longer it takes to apply a change under load.
    works_for: Duration,
}

impl Default for Ingress {
    fn default() -> Self {
        Self::new(Follows::Watches, Time(0))
    }
}

impl Ingress {
    /// An ingress. If it polls, it does so at `phase` and after every interval.
    #[must_use]
    pub fn new(follows: Follows, phase: Time) -> Self {
        Self {
            follows,
            registered: Catalog::default(),
            known: Catalog::default(),
            pending: None,
            receives_at: None,
            last_applied: Time(0),
            phase,
            in_consul: Vec::new(),
            blocked: false,
            other_changes: None,
            other_changed: false,
            works_for: Duration::ZERO,
        }
    }

    /// Makes it apply every change this much later, as on a busy machine.
    #[must_use]
    pub fn under_load(mut self, works_for: Duration) -> Self {
        self.works_for = works_for;
        self
    }

    /// Adds other changes in the catalog from `at` on, at this mean interval, as in a busy cluster.
    #[must_use]
    pub fn with_other_changes(mut self, at: Time, every: Duration, mut rng: Rng) -> Self {
        self.other_changes = Some((at + rng.span(Duration::ZERO, every * 2), every, rng));
        self
    }

    /// Adds a service in Consul or in Nomad's own discovery, and returns its number.
    pub fn add_service(&mut self, copies: Vec<AllocationNumber>, in_consul: bool) -> usize {
        self.in_consul.push(in_consul);
        Arc::make_mut(&mut self.registered).push(copies.clone());
        Arc::make_mut(&mut self.known).push(copies);
        self.known.len() - 1
    }

    /// Sets whether Consul is away for the ingress.
    pub fn block(&mut self, at: Time, blocked: bool) {
        self.advance(at);
        self.blocked = blocked;
        if !blocked && self.registered != self.known {
            self.receives_at = Some(at);
        }
    }

    pub(super) fn joins(&mut self, at: Time, service: usize, copy: AllocationNumber, rng: &mut Rng) {
        if !self.registered[service].contains(&copy) {
            Arc::make_mut(&mut self.registered)[service].push(copy);
            self.changed(at, rng);
        }
    }

    pub(super) fn leaves(&mut self, at: Time, service: usize, copy: AllocationNumber, rng: &mut Rng) {
        if self.registered[service].contains(&copy) {
            Arc::make_mut(&mut self.registered)[service].retain(|c| *c != copy);
            self.changed(at, rng);
        }
    }

    fn changed(&mut self, at: Time, rng: &mut Rng) {
        let receives_at = match self.follows {
            Follows::Watches => at + rng.span(APPLIED_AFTER.0, APPLIED_AFTER.1),
            Follows::Polls(every) => {
                let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
                let rounds = at.0.saturating_sub(self.phase.0) / every + 1;
                Time(self.phase.0 + rounds * every)
            }
        };
        // A poll that is already due receives this change as well.
        self.receives_at = Some(self.receives_at.map_or(receives_at, |due| due.min(receives_at)));
    }

    /// Receives and applies the changes that are due by `to`.
    #[inline]
    pub(super) fn advance(&mut self, to: Time) {
        // Every request calls this, and rarely is something due.
        let changes = self.other_changes.as_ref().is_some_and(|(due, ..)| *due <= to);
        if changes || self.receives_at.is_some_and(|due| due <= to) || self.pending.as_ref().is_some_and(|(due, _)| *due <= to) {
            self.advance_all(to);
        }
    }

    fn advance_all(&mut self, to: Time) {
        while let Some((due, every, rng)) = &mut self.other_changes
            && *due <= to
        {
            let at = *due;
            *due = at + rng.span(Duration::ZERO, *every * 2).max(Duration::from_millis(1));
            let received = at + rng.span(APPLIED_AFTER.0, APPLIED_AFTER.1);
            if self.blocked {
                continue;
            }
            self.advance_to(at);
            self.other_changed = true;
            self.receives_at = Some(self.receives_at.map_or(received, |already| already.min(received)));
        }
        self.advance_to(to);
    }

    fn advance_to(&mut self, to: Time) {
        if let Some(due) = self.receives_at
            && due <= to
        {
            // A received configuration that is not applied yet is replaced. The throttle's timer continues.
            let (applied_at, before) = match self.pending.take() {
                Some((applied_at, pending)) => (applied_at, Some(pending)),
                None => (due.max(self.last_applied + THROTTLE) + self.works_for, None),
            };
            // Traefik skips a configuration that changes nothing, and its throttle does not restart.
            self.pending = if self.blocked {
                let pending = self.without_consul(before.as_ref().unwrap_or(&self.known));
                (self.other_changed || pending != self.known).then_some((applied_at, pending))
            } else {
                (self.other_changed || self.registered != self.known).then(|| (applied_at, Arc::clone(&self.registered)))
            };
            self.other_changed = false;
            self.receives_at = None;
        }
        if let Some((due, _)) = &self.pending
            && *due <= to
            && let Some((due, pending)) = self.pending.take()
        {
            self.known = pending;
            self.last_applied = due;
        }
    }

    /// The configuration while Consul is away: services in Consul stay as they were.
    fn without_consul(&self, before: &[Vec<AllocationNumber>]) -> Catalog {
        let services = self.registered.iter().zip(before).zip(&self.in_consul);
        Arc::new(services.map(|((now, before), in_consul)| if *in_consul { before.clone() } else { now.clone() }).collect())
    }

    /// Whether it routes to any service.
    pub(super) fn serves_something(&self) -> bool {
        !self.known.is_empty()
    }

    /// Draws a service and one of its copies; `None` if there are no services.
    pub(super) fn choose(&self, rng: &mut Rng) -> Option<(usize, Option<AllocationNumber>)> {
        if self.known.is_empty() {
            return None;
        }
        let bits = rng.bits();
        let service = usize::try_from(Rng::share(bits, self.known.len() as u64)).unwrap_or(0);
        let copies = &self.known[service];
        let copy = usize::try_from(Rng::share(bits >> 32, copies.len() as u64)).unwrap_or(0);
        Some((service, copies.get(copy).copied()))
    }

    /// All copies that it routes to.
    pub(super) fn copies(&self) -> impl Iterator<Item = (usize, AllocationNumber)> {
        self.known.iter().enumerate().flat_map(|(service, copies)| copies.iter().map(move |copy| (service, *copy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_one_copy(follows: Follows) -> (Ingress, Rng) {
        let mut ingress = Ingress::new(follows, Time(7_000));
        ingress.add_service(vec![AllocationNumber(1)], true);
        (ingress, Rng::new(1))
    }

    fn knows(ingress: &Ingress) -> usize {
        ingress.copies().count()
    }

    #[test]
    fn a_watching_ingress_forgets_within_a_third_of_a_second() {
        let (mut ingress, mut rng) = with_one_copy(Follows::Watches);
        ingress.leaves(Time(100_000), 0, AllocationNumber(1), &mut rng);
        ingress.advance(Time(100_090));
        assert_eq!(knows(&ingress), 1);
        ingress.advance(Time(100_300));
        assert_eq!(knows(&ingress), 0);
    }

    #[test]
    fn an_ingress_under_load_forgets_later_by_the_time_of_its_work() {
        let (ingress, mut rng) = with_one_copy(Follows::Watches);
        let mut ingress = ingress.under_load(Duration::from_secs(2));
        ingress.leaves(Time(100_000), 0, AllocationNumber(1), &mut rng);
        ingress.advance(Time(102_090));
        assert_eq!(knows(&ingress), 1);
        ingress.advance(Time(102_300));
        assert_eq!(knows(&ingress), 0);
    }

    #[test]
    fn a_change_right_after_another_is_applied_two_seconds_later() {
        let (mut ingress, mut rng) = with_one_copy(Follows::Watches);
        ingress.joins(Time(100_000), 0, AllocationNumber(2), &mut rng);
        ingress.advance(Time(100_500));
        ingress.leaves(Time(100_500), 0, AllocationNumber(1), &mut rng);
        ingress.advance(Time(101_900));
        assert_eq!(knows(&ingress), 2);
        ingress.advance(Time(102_400));
        assert_eq!(knows(&ingress), 1);
    }

    #[test]
    fn while_consul_is_away_it_still_receives_changes_in_nomads_own_discovery() {
        let (mut ingress, mut rng) = with_one_copy(Follows::Watches);
        ingress.add_service(vec![AllocationNumber(7)], false);
        ingress.block(Time(90_000), true);
        ingress.leaves(Time(100_000), 0, AllocationNumber(1), &mut rng);
        ingress.leaves(Time(100_000), 1, AllocationNumber(7), &mut rng);
        ingress.advance(Time(100_300));
        assert_eq!(ingress.copies().collect::<Vec<_>>(), [(0, AllocationNumber(1))]);
        ingress.block(Time(200_000), false);
        ingress.advance(Time(200_300));
        assert_eq!(knows(&ingress), 0);
    }

    #[test]
    fn a_polling_ingress_forgets_at_its_next_poll() {
        let (mut ingress, mut rng) = with_one_copy(Follows::Polls(Duration::from_secs(15)));
        ingress.leaves(Time(100_000), 0, AllocationNumber(1), &mut rng);
        ingress.advance(Time(111_999));
        assert_eq!(knows(&ingress), 1);
        ingress.advance(Time(112_000));
        assert_eq!(knows(&ingress), 0);
    }
}
