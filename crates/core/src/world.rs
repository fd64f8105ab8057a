//! The interface between the rules and the systems, real or simulated.

use crate::decide::{Departure, Effect, Observation, Part, Refusal, Snapshot};
use crate::time::Time;
use std::time::Duration;

/// A world to read from and to write to.
///
/// Every method may be cancelled at any await point. An effect may then have happened or not.
#[expect(async_fn_in_trait, reason = "departures are driven on one thread; no caller needs Send")]
pub trait World {
    /// The time, by the servers' clocks as far as they are known.
    fn now(&self) -> Time;

    /// How long this world has existed, by a steady clock. Unlike `now`, it never jumps when a server's clock becomes known.
    fn steady(&self) -> Duration;

    /// Looks at `parts`, concurrently where they do not depend on each other. Returns an observation for each of them, in any order, and
    /// for `TargetGroups` one for each group. It takes at most a few seconds and never fails: a part that cannot be read is `Unseen`.
    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Observation>;

    /// Waits until `until`, or until one of the watched parts differs from `seen`, and returns what it shows, or nothing if the time is up.
    /// A watch that fails is no news, and the wait goes on. A watch of Consul differs while something stops that an ingress finds there
    /// ([`Snapshot::stops_in_consul`]): it asks every few seconds, and each answer is news, even if it shows the same. It is also news,
    /// once, that no answer came for [`BRIEF`](crate::decide::BRIEF).
    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation>;

    /// Makes one write. `Ok` is certain. A refused write may have worked (see [`Refusal`]).
    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal>;
}
