//! `decamp serve`: events in, departures walked out, and what a person or another program sees of them. Nothing is stored.
//!
//! Everything runs on one thread: departures wait far more than they compute. Any number of replicas may run, and any of them may
//! die: whoever is told again, or sweeps next, goes on from what is true.

mod check;
mod collector;
mod departures;
mod errands;
mod gentle;
mod health;
mod http;
mod loops;
mod notify;
mod numbers;
mod pauses;
mod queue;
mod receivers;
mod record;
mod refreshes;
mod repeated;
pub mod runs;
mod secrets;
mod sweep;
mod taking;
mod traces;
pub mod verify;
mod view;
mod walking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use decamp_core::denials::Denials;
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

pub use self::check::check;
use self::departures::{Departures, Entry};
use self::errands::Errands;
use self::health::Health;
pub use self::http::api_document;
use self::loops::{Loop, first_to_end};
pub use self::notify::KINDS as NOTIFICATIONS;
use self::notify::Notifier;
use self::numbers::Numbers;
use self::record::Record;
use self::refreshes::Refreshes;
use self::repeated::Repeated;
use self::secrets::Secrets;
use self::traces::Traces;
use self::walking::{Pace, walk};
use decamp_config::Settings;
use decamp_core::world::World;
use decamp_live::Live;

/// From the word to stop to the end of the process, at most (ADR 0031: 10 s, less what the process itself needs).
const FAREWELL: Duration = Duration::from_secs(8);
/// What there is at least to tell what is still to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All that the parts of a service share.
pub(crate) struct Service {
    settings: Settings,
    live: Live,
    departures: Departures,
    refreshes: Refreshes,
    numbers: Numbers,
    health: Health,
    notify: Notifier,
    denials: Denials,
    traces: Traces,
    record: Record,
    /// True once this replica was told to stop.
    stopping: watch::Sender<bool>,
    sweep_now: Notify,
    errands: Errands,
    repeated: Arc<Repeated>,
    secrets: Secrets,
    about: About,
    addresses: Addresses,
}

/// What a service is, for its page.
#[derive(Debug, Clone)]
pub struct About {
    /// Its version, with the commit where that is known.
    pub version: &'static str,
    /// The Region that it looks after.
    pub region: String,
}

/// Where a service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Events are taken in here.
    pub webhooks: SocketAddr,
    /// The page, the API and the metrics are here.
    pub admin: SocketAddr,
}

/// Serves until `stop` is done, then lets everything go and ends within 10 s. `ready` is told where it listens.
///
/// # Errors
///
/// An address cannot be listened on, or a certificate cannot be used: nothing was begun then. Or a part of the service ended by a defect:
/// everything was let go then.
pub async fn serve(
    settings: Settings,
    about: About,
    live: Live,
    ready: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let webhooks = listen(settings.serve.webhooks.address)?;
    let admin = listen(settings.serve.admin.address)?;
    let addresses = Addresses { webhooks: webhooks.local_addr()?, admin: admin.local_addr()? };
    let (departures, begun) = Departures::new(settings.serve.most_departures);
    let (errands, to_ask) = Errands::new();
    let (notify, deliveries) = Notifier::new(&settings.serve, &live);
    let (traces, spans) = Traces::new(&settings.serve, &live);
    let began = Duration::from_millis(live.now().0).as_secs_f64();
    let service = Arc::new(Service {
        departures,
        refreshes: Refreshes::default(),
        numbers: Numbers::new(began),
        health: Health::default(),
        notify,
        denials: Denials::default(),
        traces,
        record: Record::default(),
        stopping: watch::Sender::new(false),
        sweep_now: Notify::new(),
        errands,
        repeated: Arc::default(),
        secrets: Secrets::default(),
        about,
        addresses,
        settings,
        live,
    });
    service.numbers.expect(&service.settings);
    let listeners = http::Listeners::open(&service, webhooks, admin)?;
    let local = LocalSet::new();
    let failed = local
        .run_until(async {
            let mut waited = vec![
                Loop::begin("the listeners", listeners.serve()),
                Loop::begin("the sweep", sweep::sweeping(Arc::clone(&service))),
            ];
            waited.extend(queue::consume_all(&service));
            let follows = Arc::clone(&service);
            let stalls = Arc::clone(&service);
            let sums = Arc::clone(&service);
            let keys = Arc::clone(&service);
            let mut others = [
                Loop::begin("the walks", walk_all(Arc::clone(&service), begun)),
                Loop::begin("the errands", run_errands(Arc::clone(&service), to_ask)),
                Loop::begin("the look after refreshes", async move { refreshes::following(&follows).await }),
                Loop::begin("the look after stalls", async move { notify::watching(&stalls).await }),
                Loop::begin("the look after secrets", async move { secrets::looking_after(&keys).await }),
                Loop::begin("the log's sums", async move { repeated::adding_up(&sums).await }),
            ];
            let mut told: Vec<_> = notify::deliver_all(&service, deliveries);
            told.extend(traces::export(&service, spans));
            ready(addresses);
            info!(webhooks = %addresses.webhooks, admin = %addresses.admin, "serving");
            let failed = tokio::select! {
                () = stop => None,
                why = first_to_end(waited.iter_mut().chain(&mut others)) => Some(why),
            };
            let departures = service.departures.count();
            match &failed {
                None => info!(departures, "told to stop: no new work, and what is in hand is let go"),
                Some(why) => error!(departures, %why, "this replica lets go of what is in hand and ends: {why}"),
            }
            farewell(&service, waited, told).await;
            failed
        })
        .await;
    failed.map_or(Ok(()), Err)
}

/// Listens on an address. In a flood connections wait in this queue: one that does not fit has to come again a second later.
fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(4_096)
    };
    listen().with_context(|| format!("listen on {address}"))
}

/// Lets everything go: the calls in hand are answered, messages are handed back, and what ended is told.
async fn farewell(service: &Service, waited: Vec<Loop>, told: Vec<JoinHandle<()>>) {
    let end = Instant::now() + FAREWELL;
    service.stopping.send_replace(true);
    service.departures.stop();
    let farewell = async {
        service.departures.empty().await;
        service.errands.empty().await;
        service.refreshes.granted().await;
        for one in waited {
            one.ended().await;
        }
    };
    if timeout_at(end, farewell).await.is_err() {
        warn!(departures = service.departures.count(), "ended in the middle: a call was not answered in time");
    }
    repeated::write(service);
    // Last, because what ended on the way is told as well.
    service.notify.finish();
    service.traces.finish();
    if timeout_at(end.max(Instant::now() + LAST_WORDS), join_all(told)).await.is_err() {
        warn!("ended before everybody was told: a receiver or a collector did not answer in time");
    }
}

/// Walks whatever is taken up. A task for each: a defect that one departure shows ends that one's walk, for another replica to go on, and
/// not the thousand others; so the process does not abort by a panic, as the Lambda does that has one in hand.
async fn walk_all(service: Arc<Service>, mut begun: UnboundedReceiver<Arc<Entry>>) {
    while let Some(entry) = begun.recv().await {
        let service = Arc::clone(&service);
        spawn_local(async move {
            let mut walker = service.departures.walker(&entry);
            walker.done = walk(&service, &entry, Pace::Whole).await.done;
        });
    }
}

/// Runs every errand, a task for each.
async fn run_errands(service: Arc<Service>, mut begun: UnboundedReceiver<Arc<errands::InHand>>) {
    while let Some(errand) = begun.recv().await {
        let service = Arc::clone(&service);
        spawn_local(async move { errands::run(&service, &errand).await });
    }
}
