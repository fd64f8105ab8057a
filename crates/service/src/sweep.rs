//! The sweep: on a timer, it takes care of every waiting instance, even if the event was lost or the worker that had it died.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{info, warn};

use super::Service;
use super::departures::{Admission, Done, Entry};
use super::intake::admit_after_pass;
use super::runner::{Extent, RunSummary, run_departure};
use super::view::{Elsewhere, View};
use decamp_aws::Leaving;
use decamp_core::decide::{Cause, Departure, Lifecycle, LifecycleAction, TokenAccess, Unseen};
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_live::Cluster;

/// The shortest time between two sweeps that are requested. Each sweep asks for every group and uses the rate limit that departures
/// need.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between a sweep and one for a neglected instance. That sweep takes the instance up, so the same instance
/// causes no other.
const SOON: Duration = Duration::from_secs(1);
/// How long Nomad may take to say what decamp's token can read.
const TOKEN_CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Sweeps until the service stops.
pub(super) async fn run(service: Arc<Service>) {
    let mut timer = interval(service.settings.serve.sweep_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pause = SHORTEST_INTERVAL.min(service.settings.serve.sweep_every);
    let mut last = None::<Instant>;
    // When the first departure that runs elsewhere counts as neglected, because its worker wrote nothing for a period.
    let mut neglected = None::<Instant>;
    let mut stopping = service.stopping.subscribe();
    loop {
        let asked = async {
            service.sweep_now.notified().await;
            if let Some(last) = last {
                sleep_until(last + pause).await;
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = timer.tick() => {}
            () = asked => {}
            // One period after the last write, not after the first sweep that saw it.
            () = sleep_until(neglected.unwrap_or_else(Instant::now)), if neglected.is_some() => {
                if let Some(last) = last {
                    sleep_until(last + SOON).await;
                }
            }
        }
        // This sweep answers all requests for a sweep until now.
        service.sweep_now.notified().now_or_never();
        neglected = sweep(&service).await;
        last = Some(Instant::now());
    }
}

/// Whether no worker seems to run a departure whose last write was then. Such a departure is taken up within one period (ADR 0018).
fn is_neglected(written: Option<Time>, now: Time, sweep_every: Duration) -> bool {
    written.is_none_or(|written| written + sweep_every <= now)
}

/// Makes one look, heartbeat and step for every waiting instance that this replica does not have in progress.
///
/// If the pass wrote something, no other worker had done it, and this replica takes the departure up. It also takes up a departure
/// that nobody has written for in a period. Every other departure belongs to another replica and is only shown.
///
/// Returns when the first departure that belongs to another replica will count as neglected, unless its worker writes before.
async fn sweep(service: &Arc<Service>) -> Option<Instant> {
    let look = async { tokio::join!(leaving(service), check_nomad(service)) };
    let leaving = match unless_stopped(service, look).await {
        None => return None,
        Some((Ok(leaving), ())) => leaving,
        Some((Err(unseen), ())) => {
            service.health.saw("Auto Scaling", Err(unseen.to_string()));
            warn!(event = "sweep", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return None;
        }
    };
    service.health.saw("Auto Scaling", Ok(()));
    let count = |wanted: &Lifecycle| leaving.iter().filter(|one| one.lifecycle == *wanted).count();
    let (waiting, retained) = (count(&Lifecycle::Waiting), count(&Lifecycle::Retained));
    let waits = [Lifecycle::Waiting, Lifecycle::ReplacingRootVolume];
    let ours = leaving.iter().filter(|one| waits.contains(&one.lifecycle));
    let entries: Vec<Arc<Entry>> = ours
        .map(|one| {
            let cause = Cause::Lifecycle(LifecycleAction::default());
            let departure = Departure { instance: one.instance, asg: Arc::clone(&one.asg), cause };
            let trace_id = service.traces.id_of(&departure);
            let view = View { walked_here: false, trace_id, ..View::begin(&departure, "sweep", service.live.now()) };
            Entry::new(departure, view)
        })
        .filter(|entry| service.departures.begin_pass(entry))
        .collect();
    let every = service.settings.serve.sweep_every;
    let begun = service.live.now();
    let sweep = Sweep::begin(begun, every, entries.len(), service.settings.aws.auto_scaling_rate);
    let mut entries = entries;
    entries.sort_by_cached_key(|entry| sweep.place(entry.departure.instance));
    // One task for each pass, so that a panic affects only its own departure.
    let passes = entries.iter().enumerate().map(|(place, entry)| {
        let (service, entry) = (Arc::clone(service), Arc::clone(entry));
        let wait = sweep.starts_after(place, every * 3 / 4);
        spawn_local(async move {
            let _passer = service.departures.pass_guard(&entry);
            let mut stopping = service.stopping.subscribe();
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return RunSummary::NOTHING,
                () = sleep(wait) => {}
            }
            run_departure(&service, &entry, Extent::OnePass(sweep)).await
        })
    });
    let runs = join_all(passes).await.into_iter().map(|run| run.unwrap_or(RunSummary::NOTHING));
    let acts = !service.settings.only_observes();
    let mut elsewhere = Vec::new();
    let now = service.live.now();
    for (entry, RunSummary { done, wrote, only_looked, last_written }) in entries.iter().zip(runs) {
        let instance = entry.departure.instance;
        if done == Done::Finished {
            if !only_looked {
                service.departures.remember(entry);
            }
            continue;
        }
        if service.departures.has(instance) {
            // An event for it arrived meanwhile. The departure's timeline includes what the pass wrote before.
            service.departures.add_writes(entry);
            continue;
        }
        // A pass that only looked has nothing to take up. Its departure is only shown.
        if !only_looked && acts && (wrote || is_neglected(last_written, now, every)) {
            match admit_after_pass(service, entry) {
                Admission::InProgress(_) => continue,
                Admission::Finished | Admission::Full | Admission::Stopping => {}
            }
        }
        let mut shown = entry.shown();
        if !only_looked && acts {
            shown.elsewhere = last_written.map(|at| Elsewhere { last_written: at, taken_up_at: at + every });
        }
        elsewhere.push((instance, shown));
    }
    let first = elsewhere.iter().filter_map(|(_, shown)| shown.elsewhere).map(|elsewhere| elsewhere.taken_up_at).min();
    service.departures.see_elsewhere(elsewhere);
    unless_stopped(service, service.activity_history.refresh(service)).await;
    service.metrics.swept(waiting, retained);
    service.health.swept(service.live.now());
    info!(event = "sweep", waiting, retained, "swept: {waiting} waiting, {retained} retained");
    first.map(|first| Instant::now() + first.since(service.live.now()))
}

/// Awaits a look unless the service stops first. Cutting a look short costs nothing. A write must never be cut short.
async fn unless_stopped<T>(service: &Service, look: impl Future<Output = T>) -> Option<T> {
    let mut stopping = service.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => None,
        seen = look => Some(seen),
    }
}

/// Every leaving instance of the allowed groups.
async fn leaving(service: &Service) -> Result<Vec<Leaving>, Unseen> {
    let allowed = &service.settings.allowed;
    let mut leaving = service.live.auto_scaling().leaving(allowed.named_groups()).await?;
    leaving.retain(|one| allowed.group(&one.asg));
    Ok(leaving)
}

/// Records for each cluster whether its Nomad answers and whether decamp's token can read enough.
async fn check_nomad(service: &Service) {
    join_all(service.live.clusters().iter().map(|cluster| check_nomad_of(service, cluster))).await;
}

async fn check_nomad_of(service: &Service, cluster: &Cluster) {
    let checked = tokio::time::timeout(TOKEN_CHECK_TIMEOUT, cluster.nomad().token_access()).await;
    let seen = match checked {
        Ok(Ok(TokenAccess::Full)) => Ok(()),
        Ok(Ok(TokenAccess::Insufficient(missing))) => Err(format!("the token cannot see enough: {missing}")),
        Ok(Err(unseen)) => Err(unseen.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    service.health.saw_one_of("Nomad", cluster.name(), seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_departure_without_a_write_for_a_period_is_neglected() {
        let (now, every) = (Time(1_800_000_000_000), Duration::from_secs(60));
        assert!(is_neglected(None, now, every), "nobody has begun");
        assert!(!is_neglected(Some(now - Duration::from_secs(59)), now, every));
        assert!(is_neglected(Some(now - Duration::from_secs(60)), now, every));
    }
}
