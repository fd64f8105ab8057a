//! `decamp serve`: receives events, runs departures, and shows them to people and to other programs. It stores nothing.
//!
//! Everything runs on one thread, because departures wait far more than they compute. Any number of replicas may run, and any of them
//! may die: the replica that receives the event again, or sweeps next, reads the live systems and continues.

mod activity_history;
mod backoff;
mod check;
mod departures;
mod graceful;
mod health;
mod http;
mod intake;
mod look_back;
mod metrics;
mod notify;
mod pending_lookups;
mod queue;
mod refreshes;
mod repeated;
mod runner;
mod secrets;
mod supervisor;
mod sweep;
pub mod terraform_run;
mod traces;
pub mod verify;
mod view;
mod webhook_client;

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

use self::activity_history::ActivityHistory;
pub use self::check::check;
use self::departures::{Departures, Entry};
use self::health::Health;
pub use self::http::api_document;
use self::metrics::Metrics;
pub use self::notify::KINDS as NOTIFICATIONS;
use self::notify::Notifier;
use self::pending_lookups::{PendingLookup, PendingLookups};
use self::refreshes::Refreshes;
use self::repeated::Repeated;
use self::runner::{Extent, run_departure};
use self::secrets::Secrets;
use self::supervisor::{Task, first_to_end};
use self::traces::Traces;
use decamp_config::Settings;
use decamp_core::world::World;
use decamp_live::Live;

/// The longest time from the signal to stop to the end of the service (ADR 0031: 10 s, less what the process itself needs).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);
/// The least time for notifications and spans that still have to be sent.
const LAST_DELIVERIES: Duration = Duration::from_secs(1);

/// The state that the parts of a service share.
pub(crate) struct Service {
    settings: Settings,
    live: Live,
    departures: Departures,
    refreshes: Refreshes,
    metrics: Metrics,
    health: Health,
    notify: Notifier,
    denials: Denials,
    traces: Traces,
    activity_history: ActivityHistory,
    /// True once this replica was told to stop.
    stopping: watch::Sender<bool>,
    sweep_now: Notify,
    lookups: PendingLookups,
    repeated: Arc<Repeated>,
    secrets: Secrets,
    about: About,
    addresses: Addresses,
}

/// The version and Region of a service, for its page.
#[derive(Debug, Clone)]
pub struct About {
    /// Its version, with the commit if that is known.
    pub version: &'static str,
    /// The Region whose groups it serves.
    pub region: String,
}

/// Where a service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The listener for events.
    pub webhooks: SocketAddr,
    /// The listener for the page, the API and the metrics.
    pub admin: SocketAddr,
}

/// Serves until `stop` completes, then releases all departures and ends within 10 s. `ready` receives the addresses.
///
/// # Errors
///
/// Returns an error before any work starts if an address cannot be listened on or a certificate cannot be used. Also returns an error if a
/// background task ended by a defect; all departures were released then.
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
    let (lookups, new_lookups) = PendingLookups::new();
    let (notify, deliveries) = Notifier::new(&settings.serve, &live);
    let (traces, spans) = Traces::new(&settings.serve, &live);
    let started = Duration::from_millis(live.now().0).as_secs_f64();
    let service = Arc::new(Service {
        departures,
        refreshes: Refreshes::default(),
        metrics: Metrics::new(started),
        health: Health::default(),
        notify,
        denials: Denials::default(),
        traces,
        activity_history: ActivityHistory::default(),
        stopping: watch::Sender::new(false),
        sweep_now: Notify::new(),
        lookups,
        repeated: Arc::default(),
        secrets: Secrets::default(),
        about,
        addresses,
        settings,
        live,
    });
    service.metrics.create_rows(&service.settings);
    let listeners = http::Listeners::open(&service, webhooks, admin)?;
    let local = LocalSet::new();
    let failed = local
        .run_until(async {
            // Shutting down waits for these tasks.
            let mut awaited =
                vec![Task::spawn("the listeners", listeners.serve()), Task::spawn("the sweep", sweep::run(Arc::clone(&service)))];
            awaited.extend(queue::consume_all(&service));
            let for_refreshes = Arc::clone(&service);
            let for_stalls = Arc::clone(&service);
            let for_secrets = Arc::clone(&service);
            let for_summaries = Arc::clone(&service);
            let mut others = [
                Task::spawn("the runner of departures", run_departures(Arc::clone(&service), begun)),
                Task::spawn("the runner of lookups", run_lookups(Arc::clone(&service), new_lookups)),
                Task::spawn("the poll of refreshes", async move { refreshes::poll(&for_refreshes).await }),
                Task::spawn("the watch for stalls", async move { notify::watch_for_stalls(&for_stalls).await }),
                Task::spawn("the watch for secrets", async move { secrets::watch(&for_secrets).await }),
                Task::spawn("the summaries of the log", async move { repeated::write_summaries_regularly(&for_summaries).await }),
            ];
            let mut senders: Vec<_> = notify::deliver_all(&service, deliveries);
            senders.extend(traces::export(&service, spans));
            ready(addresses);
            info!(webhooks = %addresses.webhooks, admin = %addresses.admin, "serving");
            let failed = tokio::select! {
                () = stop => None,
                why = first_to_end(awaited.iter_mut().chain(&mut others)) => Some(why),
            };
            let departures = service.departures.count();
            match &failed {
                None => info!(departures, "told to stop: no new work is accepted, and departures in progress are released"),
                Some(why) => error!(departures, %why, "this replica releases its departures and ends: {why}"),
            }
            shut_down(&service, awaited, senders).await;
            failed
        })
        .await;
    failed.map_or(Ok(()), Err)
}

/// Listens on an address. In a flood, connections wait in the listen queue. A client whose connection does not fit tries again later.
fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(4_096)
    };
    listen().with_context(|| format!("listen on {address}"))
}

/// Releases all departures, waits for calls in progress, hands queue messages back, and sends the notifications that are left.
async fn shut_down(service: &Service, awaited: Vec<Task>, senders: Vec<JoinHandle<()>>) {
    let end = Instant::now() + SHUTDOWN_TIMEOUT;
    service.stopping.send_replace(true);
    service.departures.stop();
    let work = async {
        service.departures.empty().await;
        service.lookups.empty().await;
        service.refreshes.all_started().await;
        for task in awaited {
            task.ended().await;
        }
    };
    if timeout_at(end, work).await.is_err() {
        warn!(departures = service.departures.count(), "ended in the middle: a call was not answered in time");
    }
    repeated::write_summaries(service);
    // Last, because departures that ended during the shutdown are notified too.
    service.notify.finish();
    service.traces.finish();
    if timeout_at(end.max(Instant::now() + LAST_DELIVERIES), join_all(senders)).await.is_err() {
        warn!("ended before everybody was told: a receiver or a collector did not answer in time");
    }
}

/// Runs every admitted departure in a task of its own. A panic affects only its own departure, which another replica continues. The
/// Lambda, which runs one departure at a time, aborts instead.
async fn run_departures(service: Arc<Service>, mut begun: UnboundedReceiver<Arc<Entry>>) {
    while let Some(entry) = begun.recv().await {
        let service = Arc::clone(&service);
        spawn_local(async move {
            {
                let mut guard = service.departures.run_guard(&entry);
                guard.done = run_departure(&service, &entry, Extent::ToTheEnd).await.done;
            }
            look_back::finish(&service, &entry).await;
        });
    }
}

/// Runs every pending lookup in a task of its own.
async fn run_lookups(service: Arc<Service>, mut begun: UnboundedReceiver<Arc<PendingLookup>>) {
    while let Some(pending) = begun.recv().await {
        let service = Arc::clone(&service);
        spawn_local(async move { pending_lookups::run(&service, &pending).await });
    }
}
