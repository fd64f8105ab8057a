//! The only seam: what the rules need of a world, real or pretend.

use crate::decide::{Departure, Effect, Observation, Part, Refusal, Snapshot};
use crate::time::Time;
use std::time::Duration;

/// A world to look at and to act in.
///
/// Every method may be cancelled at any await point; an effect may then have happened or not.
#[expect(async_fn_in_trait, reason = "departures are driven on one thread; no caller needs Send")]
pub trait World {
    /// The time, by the servers' clocks as far as they were heard.
    fn now(&self) -> Time;

    /// How long this world has been looked at, by a clock that nothing sets: unlike `now`, it never jumps when a server's clock
    /// is first heard.
    fn steady(&self) -> Duration;

    /// Looks at `parts`, at the same time where they do not depend on one another. Answers for each of them, in any order
    /// (for `TargetGroups` one answer a group). It takes at most a few seconds, and never fails: what could not be seen is `Unseen`.
    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Observation>;

    /// Waits until `until`, or until one of the watched parts shows something other than in `seen`, and answers what it shows;
    /// nothing if the time was up. A watch that cannot see is no news: the wait goes on. But for one of Consul while something stops that
    /// an ingress finds there ([`Snapshot::stops_in_consul`]): it asks every few seconds, and each answer is news, also one that shows the
    /// same; and so is, once, that none came for [`BRIEF`](crate::decide::BRIEF).
    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation>;

    /// Takes one effect. `Ok` is certain; a refusal may have worked (see [`Refusal`]).
    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal>;
}
