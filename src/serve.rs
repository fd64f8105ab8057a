//! `decamp serve`: events in, departures walked out, and what a person or another program sees of them. Nothing is stored.
//!
//! Everything runs on one thread: departures wait far more than they compute. Any number of replicas may run, and any of them may
//! die: whoever is told again, or sweeps next, goes on from what is true.

mod departures;
mod gentle;
mod health;
mod http;
mod numbers;
mod queue;
mod refreshes;
pub mod runs;
mod sweep;
mod taking;
pub mod verify;
mod view;
mod walking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use self::departures::Departures;
use self::health::Health;
use self::numbers::Numbers;
use self::refreshes::Refreshes;
use self::taking::{Interruption, interrupted};
use self::walking::{Pace, walk};
use crate::live::Live;
use crate::settings::Settings;
use crate::world::World;

/// From the word to stop to the end of the process, at most (D27: 10 s, less what the process itself needs).
const FAREWELL: Duration = Duration::from_secs(8);
/// Spot interruptions that wait for their group to be asked for.
const MOST_INTERRUPTIONS: usize = 1_000;

/// All that the parts of a service share.
pub(crate) struct Service {
    settings: Settings,
    live: Live,
    departures: Departures,
    refreshes: Refreshes,
    numbers: Numbers,
    health: Health,
    /// True once this replica was told to stop.
    stopping: watch::Sender<bool>,
    sweep_now: Notify,
    interruptions: mpsc::Sender<Interruption>,
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
/// An address cannot be listened on, or a certificate cannot be used: nothing was begun then.
pub async fn serve(settings: Settings, live: Live, ready: impl FnOnce(Addresses), stop: impl Future<Output = ()>) -> Result<()> {
    let listen =
        |address: SocketAddr| async move { TcpListener::bind(address).await.with_context(|| format!("listen on {address}")) };
    let webhooks = listen(settings.serve.webhooks.address).await?;
    let admin = listen(settings.serve.admin.address).await?;
    let addresses = Addresses { webhooks: webhooks.local_addr()?, admin: admin.local_addr()? };
    let (departures, mut begun) = Departures::new(settings.serve.most_departures);
    let (interruptions, mut to_ask) = mpsc::channel(MOST_INTERRUPTIONS);
    let began = Duration::from_millis(live.now().0).as_secs_f64();
    let service = Arc::new(Service {
        departures,
        refreshes: Refreshes::default(),
        numbers: Numbers::new(began),
        health: Health::default(),
        stopping: watch::Sender::new(false),
        sweep_now: Notify::new(),
        interruptions,
        settings,
        live,
    });
    let doors = http::Doors::open(&service, webhooks, admin)?;
    let local = LocalSet::new();
    local
        .run_until(async {
            let open = spawn_local(doors.serve());
            let walks = Arc::clone(&service);
            spawn_local(async move {
                while let Some(entry) = begun.recv().await {
                    let service = Arc::clone(&walks);
                    spawn_local(async move {
                        let walked = walk(&service, &entry, Pace::Whole).await;
                        service.departures.finish(&entry, walked.done);
                    });
                }
            });
            let asking = Arc::clone(&service);
            spawn_local(async move {
                while let Some(interruption) = to_ask.recv().await {
                    let service = Arc::clone(&asking);
                    spawn_local(async move { interrupted(&service, interruption).await });
                }
            });
            let sweeps = Arc::clone(&service);
            spawn_local(async move { sweep::sweeping(&sweeps).await });
            let follows = Arc::clone(&service);
            spawn_local(async move { refreshes::following(&follows).await });
            let queues = queue::consume_all(&service);
            ready(addresses);
            info!(webhooks = %addresses.webhooks, admin = %addresses.admin, "serving");
            stop.await;
            let end = Instant::now() + FAREWELL;
            info!(departures = service.departures.count(), "told to stop: no new work, and what is in hand is let go");
            service.stopping.send_replace(true);
            service.departures.stop();
            let farewell = async {
                service.departures.empty().await;
                for queue in queues {
                    queue.await.ok();
                }
                open.await.ok();
            };
            if timeout_at(end, farewell).await.is_err() {
                warn!(departures = service.departures.count(), "ended in the middle: a call was not answered in time");
            }
        })
        .await;
    Ok(())
}
