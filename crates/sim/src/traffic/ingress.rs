//! What the ingress knows of service discovery: always a little old, by the way it follows (Traefik: polls, or watches with a throttle).

use std::sync::Arc;
use std::time::Duration;

use crate::event::AllocationNumber;
use crate::rng::Rng;
use decamp_core::time::Time;

/// Traefik puts no two changes in force within this time (its providers' throttle).
const THROTTLE: Duration = Duration::from_secs(2);
/// Seen: a change is in force 0.1 to 0.3 s after it (facts/consul.md 5.2).
const IN_FORCE_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// How the ingress follows discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It hears of every change.
    Watches,
    /// It asks this often.
    Polls(Duration),
}

/// The copies of each service. What was heard is mostly what is registered: they share it.
type Catalog = Arc<Vec<Vec<AllocationNumber>>>;

/// The copies of each service, as they are and as the ingress knows them.
#[derive(Debug, Clone)]
pub struct Ingress {
    follows: Follows,
    registered: Catalog,
    known: Catalog,
    /// What it has heard and not yet put in force.
    heard: Option<(Time, Catalog)>,
    /// A change that is not yet heard of; when it will be.
    hears: Option<Time>,
    last_in_force: Time,
    phase: Time,
    /// Which services are in Consul; the others are in Nomad's own discovery.
    in_consul: Vec<bool>,
    /// Whether Consul cannot be heard.
    blocked: bool,
    /// When something else in the catalog changes next, how often about, and by whose rng. It takes the throttle's time as well.
    elsewhere: Option<(Time, Duration, Rng)>,
    /// Whether something else has changed that is not yet in force.
    changed_elsewhere: bool,
    /// How long its own work takes beyond that.
    works_for: Duration,
}

impl Default for Ingress {
    fn default() -> Self {
        Self::new(Follows::Watches, Time(0))
    }
}

impl Ingress {
    /// An ingress whose polls, if it polls, fall on `phase` and every interval after it.
    #[must_use]
    pub fn new(follows: Follows, phase: Time) -> Self {
        Self {
            follows,
            registered: Catalog::default(),
            known: Catalog::default(),
            heard: None,
            hears: None,
            last_in_force: Time(0),
            phase,
            in_consul: Vec::new(),
            blocked: false,
            elsewhere: None,
            changed_elsewhere: false,
            works_for: Duration::ZERO,
        }
    }

    /// Has every change be in force so much later, as on a machine that is busy.
    #[must_use]
    pub fn under_load(mut self, works_for: Duration) -> Self {
        self.works_for = works_for;
        self
    }

    /// Lets other things in the catalog change about so often, from `at` on, as they do in a cluster that is in use.
    #[must_use]
    pub fn beside_changes(mut self, at: Time, every: Duration, mut rng: Rng) -> Self {
        self.elsewhere = Some((at + rng.span(Duration::ZERO, every * 2), every, rng));
        self
    }

    /// One more service, in Consul or in Nomad's own discovery; its number.
    pub fn add_service(&mut self, copies: Vec<AllocationNumber>, in_consul: bool) -> usize {
        self.in_consul.push(in_consul);
        Arc::make_mut(&mut self.registered).push(copies.clone());
        Arc::make_mut(&mut self.known).push(copies);
        self.known.len() - 1
    }

    /// Consul cannot be heard (true), or can again.
    pub fn block(&mut self, at: Time, blocked: bool) {
        self.advance(at);
        self.blocked = blocked;
        if !blocked && self.registered != self.known {
            self.hears = Some(at);
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
        let hears = match self.follows {
            Follows::Watches => at + rng.span(IN_FORCE_AFTER.0, IN_FORCE_AFTER.1),
            Follows::Polls(every) => {
                let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
                let rounds = at.0.saturating_sub(self.phase.0) / every + 1;
                Time(self.phase.0 + rounds * every)
            }
        };
        // A poll that is due already hears of this change as well.
        self.hears = Some(self.hears.map_or(hears, |due| due.min(hears)));
    }

    /// Lets it hear of changes, and put them in force.
    #[inline]
    pub(super) fn advance(&mut self, to: Time) {
        // Every request asks, and something is due for few of them.
        let changes = self.elsewhere.as_ref().is_some_and(|(due, ..)| *due <= to);
        if changes || self.hears.is_some_and(|due| due <= to) || self.heard.as_ref().is_some_and(|(due, _)| *due <= to) {
            self.advance_by(to);
        }
    }

    fn advance_by(&mut self, to: Time) {
        while let Some((due, every, rng)) = &mut self.elsewhere
            && *due <= to
        {
            let at = *due;
            *due = at + rng.span(Duration::ZERO, *every * 2).max(Duration::from_millis(1));
            let heard = at + rng.span(IN_FORCE_AFTER.0, IN_FORCE_AFTER.1);
            if self.blocked {
                continue;
            }
            self.advance_to(at);
            self.changed_elsewhere = true;
            self.hears = Some(self.hears.map_or(heard, |already| already.min(heard)));
        }
        self.advance_to(to);
    }

    fn advance_to(&mut self, to: Time) {
        if let Some(due) = self.hears
            && due <= to
        {
            // What was heard and not yet in force is replaced; the throttle's timer goes on.
            let (in_force, before) = match self.heard.take() {
                Some((in_force, heard)) => (in_force, Some(heard)),
                None => (due.max(self.last_in_force + THROTTLE) + self.works_for, None),
            };
            // Traefik skips a configuration that changes nothing; its throttle does not begin anew.
            self.heard = if self.blocked {
                let heard = self.without_consul(before.as_ref().unwrap_or(&self.known));
                (self.changed_elsewhere || heard != self.known).then_some((in_force, heard))
            } else {
                (self.changed_elsewhere || self.registered != self.known).then(|| (in_force, Arc::clone(&self.registered)))
            };
            self.changed_elsewhere = false;
            self.hears = None;
        }
        if let Some((due, _)) = &self.heard
            && *due <= to
            && let Some((due, heard)) = self.heard.take()
        {
            self.known = heard;
            self.last_in_force = due;
        }
    }

    /// What is heard while Consul is not: its services stay as they were.
    fn without_consul(&self, before: &[Vec<AllocationNumber>]) -> Catalog {
        let services = self.registered.iter().zip(before).zip(&self.in_consul);
        Arc::new(services.map(|((now, before), in_consul)| if *in_consul { before.clone() } else { now.clone() }).collect())
    }

    /// Whether there is a service that it sends to.
    pub(super) fn serves_something(&self) -> bool {
        !self.known.is_empty()
    }

    /// A service, and one of its copies; `None` if there are no services.
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

    /// Every copy that it would send to.
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
    fn one_under_load_forgets_later_by_what_its_work_takes() {
        let (ingress, mut rng) = with_one_copy(Follows::Watches);
        let mut ingress = ingress.under_load(Duration::from_secs(2));
        ingress.leaves(Time(100_000), 0, AllocationNumber(1), &mut rng);
        ingress.advance(Time(102_090));
        assert_eq!(knows(&ingress), 1);
        ingress.advance(Time(102_300));
        assert_eq!(knows(&ingress), 0);
    }

    #[test]
    fn a_change_right_after_another_is_in_force_two_seconds_later() {
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
    fn while_consul_is_away_what_nomad_registers_is_heard_all_the_same() {
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
