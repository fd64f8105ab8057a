//! The clients: they send requests at a constant rate, whether or not earlier ones succeed (open loop), and keep a few WebSockets open.
//! The ledger accounts for every request.

mod keep_alive;
mod request;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::keep_alive::KeepAliveClients;
use super::balancer::{ConnectionEnds, Cuts};
use super::ledger::{Class, Ledger, RequestOutcome};
use super::plan::{Nature, Plan};
use super::proxy::{self, Pool};
use decamp_sim::rng::Rng;

/// The beginning of a cause if the request did not reach the load balancer.
pub(super) const BALANCER: &str = "the load balancer: ";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How many WebSockets each target group gets. A Network Load Balancer gets none: an ingress that stops breaks the WebSockets that it
/// carries, with any driver.
const SOCKETS: usize = 6;

/// All clients, and what they share.
pub(super) struct Clients {
    /// The address of each target group's load balancer.
    pub(super) fronts: Vec<SocketAddr>,
    pub(super) services: Vec<Arc<str>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cuts: Cuts,
    pool: Pool,
    /// The clients that keep their connections. Only a Network Load Balancer has them.
    keep_alive: Option<KeepAliveClients>,
    numbers: AtomicU64,
    /// The services that close their WebSockets in order when they stop.
    obedient: Vec<Arc<str>>,
}

impl Clients {
    /// The clients of the load balancers at `fronts`. With `ends` these are Network Load Balancers, which record there how connections
    /// end.
    pub(super) fn new(
        plan: &Plan,
        fronts: Vec<SocketAddr>,
        ledger: &Arc<Ledger>,
        cuts: &Cuts,
        ends: Option<ConnectionEnds>,
    ) -> Arc<Self> {
        let services = plan.services();
        let names = |keep: &dyn Fn(Nature) -> bool| -> Vec<Arc<str>> {
            services.iter().filter(|s| keep(s.nature)).map(|s| Arc::from(&*s.name)).collect()
        };
        Arc::new(Self {
            fronts,
            services: names(&|_| true),
            ledger: Arc::clone(ledger),
            cuts: Arc::clone(cuts),
            pool: proxy::pool(CONNECT, false),
            keep_alive: ends.map(KeepAliveClients::new),
            numbers: AtomicU64::new(1),
            obedient: names(&|nature| !matches!(nature, Nature::Deaf | Nature::Abrupt)),
        })
    }

    /// The number of WebSockets.
    pub(super) fn sockets(&self) -> u64 {
        u64::try_from(self.socket_count()).unwrap_or(u64::MAX)
    }

    fn socket_count(&self) -> usize {
        if self.keep_alive.is_some() { 0 } else { SOCKETS * self.fronts.len() }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the load balancer cut this request.
    fn was_cut(&self, number: u64) -> bool {
        self.cuts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&number)
    }

    /// Sends at a constant rate until `stop` is set, then waits for the requests in progress.
    pub(super) async fn load(self: Arc<Self>, rate: u32, seed: u64, mut stop: watch::Receiver<bool>) {
        let mut rng = Rng::new(seed ^ 0x10ad);
        let began = Instant::now();
        let mut in_progress = JoinSet::new();
        for place in 0..self.socket_count() {
            if let Some(service) = self.obedient.get(place % self.obedient.len().max(1)).cloned() {
                let front = self.fronts[place % self.fronts.len()];
                in_progress.spawn(socket::keep(Arc::clone(&self), front, service, stop.clone()));
            }
        }
        for number in 0_u32.. {
            let due = began + Duration::from_secs(1) * number / rate;
            tokio::select! {
                () = sleep_until(due) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            let spec = RequestSpec::draw(&mut rng, &self.services, &self.fronts);
            in_progress.spawn(Arc::clone(&self).one(spec, due));
            // Drop the handles of finished requests.
            while in_progress.try_join_next().is_some() {}
        }
        while in_progress.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, spec: RequestSpec, due: Instant) {
        self.ledger.sent(due);
        let mut outcome = request::send(&self, &spec).await;
        if let (RequestOutcome::Failed(..), number @ 1..) = (&outcome.0, outcome.1)
            && spec.class == Class::Stream
            && self.was_cut(number)
        {
            // The load balancer closed the stream at the end of its delay. It counts as moved if it is open again within a second.
            let again = tokio::time::timeout(Duration::from_secs(1), request::begins(&self, &spec)).await;
            if again == Ok(true) {
                outcome.0 = RequestOutcome::Moved;
            }
        }
        if matches!(outcome.0, RequestOutcome::Failed(..))
            && self.keep_alive.as_ref().is_some_and(|keep_alive| keep_alive.broke(outcome.1))
        {
            self.ledger.failed_on_kept_connection();
        }
        self.ledger.ended(spec.class, &spec.service, due, outcome.0);
    }
}

/// A request to send, drawn at random.
#[derive(Debug, Clone)]
pub(super) struct RequestSpec {
    pub(super) class: Class,
    pub(super) service: Arc<str>,
    pub(super) front: SocketAddr,
    /// How long the service takes to answer.
    pub(super) takes: Duration,
}

impl RequestSpec {
    fn draw(rng: &mut Rng, services: &[Arc<str>], fronts: &[SocketAddr]) -> Self {
        let place = |rng: &mut Rng, many: usize| usize::try_from(rng.below(many as u64)).unwrap_or(0);
        let service = Arc::clone(&services[place(rng, services.len())]);
        let front = fronts[place(rng, fronts.len())];
        let ms = Duration::from_millis;
        // Of a hundred requests 84 are short, 6 slow, 4 streams and 6 uploads.
        let (class, least, most) = match rng.below(100) {
            0..6 => (Class::Slow, ms(200), Plan::LONGEST_REQUEST - ms(100)),
            6..10 => (Class::Stream, ms(300), Plan::LONGEST_REQUEST - ms(300)),
            10..16 => (Class::Upload, ms(100), ms(1_000)),
            _ => (Class::Short, ms(2), ms(30)),
        };
        Self { class, service, front, takes: rng.span(least, most) }
    }
}
