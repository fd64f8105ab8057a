//! A world for graceful shutdown: no write begins after the signal to stop, and writes in flight are still answered.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use decamp_core::decide::{Departure, Effect, Observation, Part, Refusal, Snapshot, Unseen};
use decamp_core::ids::InstanceId;
use decamp_core::proactive_replacement::Replaces;
use decamp_core::time::Time;
use decamp_core::world::World;

/// Wraps a world for graceful shutdown.
pub(super) struct Graceful<'a, W> {
    world: &'a W,
    /// Writes in flight.
    writes: Cell<u32>,
    /// Whether no further write may begin.
    closed: Cell<bool>,
    answered: Notify,
}

impl<'a, W: World> Graceful<'a, W> {
    pub(super) fn new(world: &'a W) -> Self {
        Self { world, writes: Cell::new(0), closed: Cell::new(false), answered: Notify::new() }
    }

    /// Completes once the signal to stop was given and no write is in flight. Looks and waits are abandoned.
    pub(super) async fn stopped(&self, mut stop: watch::Receiver<bool>) {
        if stop.wait_for(|stop| *stop).await.is_err() {
            // The sender is gone, so the signal never comes.
            std::future::pending::<()>().await;
        }
        self.closed.set(true);
        while 0 < self.writes.get() {
            self.answered.notified().await;
        }
    }

    /// Makes a write, if one may still begin.
    async fn write<T>(&self, write: impl Future<Output = T>) -> T {
        if self.closed.get() {
            return std::future::pending().await;
        }
        self.writes.set(self.writes.get() + 1);
        let answer = write.await;
        self.writes.set(self.writes.get() - 1);
        self.answered.notify_one();
        answer
    }
}

impl<W: World> World for Graceful<'_, W> {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn steady(&self) -> Duration {
        self.world.steady()
    }

    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        self.world.look(departure, seen, parts).await
    }

    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation> {
        self.world.pause(departure, seen, until, watch).await
    }

    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal> {
        self.write(self.world.act(departure, effect)).await
    }
}

impl<W: Replaces> Replaces for Graceful<'_, W> {
    async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen> {
        self.world.group_of(instance).await
    }

    async fn ask_to_replace(&self, instance: InstanceId) -> Result<(), Refusal> {
        self.write(self.world.ask_to_replace(instance)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{ActionRef, Cause, LifecycleAction};

    /// A world whose writes take a second and are counted when they complete.
    #[derive(Default)]
    struct Slow(Cell<u32>);

    impl World for Slow {
        fn now(&self) -> Time {
            Time(0)
        }
        fn steady(&self) -> Duration {
            Duration::ZERO
        }
        async fn look(&self, _: &Departure, _: &Snapshot, _: &[Part]) -> Vec<Observation> {
            std::future::pending().await
        }
        async fn pause(&self, _: &Departure, _: &Snapshot, _: Time, _: &[Part]) -> Vec<Observation> {
            std::future::pending().await
        }
        async fn act(&self, _: &Departure, _: &Effect) -> Result<(), Refusal> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_in_flight_is_answered_and_none_begins_after_the_signal() {
        let (slow, stop) = (Slow::default(), watch::Sender::new(false));
        let world = Graceful::new(&slow);
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
        let beat = Effect::Heartbeat(ActionRef { hook: "ours".into(), token: None });
        let writes = async {
            loop {
                world.act(&departure, &beat).await.expect("it works");
            }
        };
        let signal = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            stop.send_replace(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = writes => {}
            () = signal => {}
            () = world.stopped(stop.subscribe()) => {}
        }
        assert_eq!(slow.0.get(), 3, "the third was in flight at the signal, and there is no fourth");
    }
}
