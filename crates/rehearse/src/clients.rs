//! The clients: a constant rate of requests whatever becomes of them (open loop), and a few WebSockets. Every one is accounted for.

mod kept;
mod request;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::kept::Callers;
use super::balancer::{Cuts, Ends};
use super::ledger::{Class, Fared, Ledger};
use super::plan::{Nature, Plan};
use super::proxy::{self, Pool};
use decamp_sim::luck::Luck;

/// What the cause of a failure begins with where the load balancer itself was not reached.
pub(super) const BALANCER: &str = "the load balancer: ";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// WebSockets to each target group. There are none through a Network Load Balancer: an ingress that stops cuts those that it carries,
/// whichever tool stops it.
const SOCKETS: usize = 6;

/// What all clients share.
pub(super) struct Clients {
    /// Where each target group's load balancer listens.
    pub(super) fronts: Vec<SocketAddr>,
    pub(super) services: Vec<Arc<str>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cuts: Cuts,
    pool: Pool,
    /// Those who keep their connections, where it is the load balancer's clients who do.
    callers: Option<Callers>,
    numbers: AtomicU64,
    /// Those whose WebSockets are closed in order when they stop.
    polite: Vec<Arc<str>>,
}

impl Clients {
    /// The clients of load balancers at `fronts`; with `ends`, of Network Load Balancers that tell there how connections end.
    pub(super) fn new(plan: &Plan, fronts: Vec<SocketAddr>, ledger: &Arc<Ledger>, cuts: &Cuts, ends: Option<Ends>) -> Arc<Self> {
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
            callers: ends.map(Callers::new),
            numbers: AtomicU64::new(1),
            polite: names(&|nature| nature != Nature::Deaf),
        })
    }

    /// How many WebSockets there are to be.
    pub(super) fn sockets(&self) -> u64 {
        u64::try_from(self.sockets_in_all()).unwrap_or(u64::MAX)
    }

    fn sockets_in_all(&self) -> usize {
        if self.callers.is_some() { 0 } else { SOCKETS * self.fronts.len() }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the load balancer itself cut this request.
    fn was_cut(&self, number: u64) -> bool {
        self.cuts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&number)
    }

    /// Sends at a constant rate until told to stop, then waits for what is under way.
    pub(super) async fn load(self: Arc<Self>, rate: u32, seed: u64, mut stop: watch::Receiver<bool>) {
        let mut luck = Luck::new(seed ^ 0x10ad);
        let began = Instant::now();
        let mut under_way = JoinSet::new();
        for place in 0..self.sockets_in_all() {
            if let Some(service) = self.polite.get(place % self.polite.len().max(1)).cloned() {
                let front = self.fronts[place % self.fronts.len()];
                under_way.spawn(socket::keep(Arc::clone(&self), front, service, stop.clone()));
            }
        }
        for number in 0_u32.. {
            let due = began + Duration::from_secs(1) * number / rate;
            tokio::select! {
                () = sleep_until(due) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            let drawn = Drawn::draw(&mut luck, &self.services, &self.fronts);
            under_way.spawn(Arc::clone(&self).one(drawn, due));
            // What is over must not pile up.
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, drawn: Drawn, due: Instant) {
        self.ledger.leaves(due);
        let mut fared = request::send(&self, &drawn).await;
        if let (Fared::Failed(..), number @ 1..) = (&fared.0, fared.1)
            && drawn.class == Class::Stream
            && self.was_cut(number)
        {
            // Closed by the load balancer at the end of its delay: it moves if it comes back within a second.
            let again = tokio::time::timeout(Duration::from_secs(1), request::begins(&self, &drawn)).await;
            if again == Ok(true) {
                fared.0 = Fared::Moved;
            }
        }
        if matches!(fared.0, Fared::Failed(..)) && self.callers.as_ref().is_some_and(|callers| callers.broke(fared.1)) {
            self.ledger.failed_on_a_kept_one();
        }
        self.ledger.over(drawn.class, &drawn.service, due, fared.0);
    }
}

/// A request that was drawn.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) class: Class,
    pub(super) service: Arc<str>,
    pub(super) front: SocketAddr,
    /// How long it is to take, beside the way there.
    pub(super) takes: Duration,
}

impl Drawn {
    fn draw(luck: &mut Luck, services: &[Arc<str>], fronts: &[SocketAddr]) -> Self {
        let place = |luck: &mut Luck, many: usize| usize::try_from(luck.below(many as u64)).unwrap_or(0);
        let service = Arc::clone(&services[place(luck, services.len())]);
        let front = fronts[place(luck, fronts.len())];
        let ms = Duration::from_millis;
        // Of a hundred: 84 short ones, 6 slow, 4 streams, 6 uploads.
        let (class, least, most) = match luck.below(100) {
            0..6 => (Class::Slow, ms(200), Plan::LONGEST_REQUEST - ms(100)),
            6..10 => (Class::Stream, ms(300), Plan::LONGEST_REQUEST - ms(300)),
            10..16 => (Class::Upload, ms(100), ms(1_000)),
            _ => (Class::Short, ms(2), ms(30)),
        };
        Self { class, service, front, takes: luck.span(least, most) }
    }
}
