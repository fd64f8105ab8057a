//! The real fleet.

use std::sync::Arc;
use std::time::Duration;

use decamp::decide::{Departure, Effect, Part, Refusal, Showing, Snapshot, Unseen};
use decamp::events::Message;
use decamp::ids::InstanceId;
use decamp::live::{Clock, Leaving};
use decamp::settings::Settings;
use decamp::time::Time;
use decamp::world::World;

use crate::fleet::Fleet;

/// AWS, Nomad and Consul.
#[derive(Debug)]
pub(crate) struct Real {
    clock: Clock,
    began: std::time::Instant,
}

impl Real {
    pub(crate) async fn new(_: &Settings) -> Self {
        Self { clock: Clock::default(), began: std::time::Instant::now() }
    }

    pub(crate) fn wake(&self) {
        self.clock.start_again();
    }
}

fn away<T>() -> Result<T, Unseen> {
    Err(Unseen::Away("not connected".into()))
}

impl World for Real {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn steady(&self) -> Duration {
        self.began.elapsed()
    }

    async fn look(&self, _: &Departure, _: &Snapshot, _: &[Part]) -> Vec<Showing> {
        vec![Showing::Lifecycle(away()), Showing::Group(away())]
    }

    async fn pause(&self, _: &Departure, _: &Snapshot, until: Time, _: &[Part]) -> Vec<Showing> {
        tokio::time::sleep_until(self.clock.when(until)).await;
        Vec::new()
    }

    async fn act(&self, _: &Departure, _: &Effect) -> Result<(), Refusal> {
        Err(Refusal::Away("not connected".into()))
    }
}

impl Fleet for Real {
    async fn leaving(&self) -> Result<Vec<Leaving>, Unseen> {
        away()
    }

    async fn group_of(&self, _: InstanceId) -> Result<Option<Arc<str>>, Unseen> {
        away()
    }

    async fn hide(&self, _: &Message, _: Duration) -> Result<(), Refusal> {
        Err(Refusal::Away("not connected".into()))
    }
}
