//! The sweep: whatever waits is looked after on a timer, whether or not its event ever came, and whoever had it in hand before.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{info, warn};

use super::Service;
use super::departures::{Done, Entry, TakenUp};
use super::taking::take_up_after;
use super::view::{Elsewhere, View};
use super::walking::{Pace, Walked, walk};
use decamp_aws::Leaving;
use decamp_core::decide::{Cause, Departure, Lifecycle, LifecycleAction, NomadSight, Unseen};
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_live::Cluster;

/// Between two sweeps at least, where they are asked for: each asks for every group, of the bucket that departures need.
const PAUSE: Duration = Duration::from_secs(5);
/// Between a sweep and one that comes because something is neglected: it takes that up, so that the next one is not due for the same.
const SOON: Duration = Duration::from_secs(1);
/// What Nomad may take to say what our token sees.
const SIGHT: Duration = Duration::from_secs(10);

/// Sweeps until the service stops.
pub(super) async fn sweeping(service: Arc<Service>) {
    let mut timer = interval(service.settings.serve.sweep_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pause = PAUSE.min(service.settings.serve.sweep_every);
    let mut last = None::<Instant>;
    // When somebody who is at a departure elsewhere will have written nothing for a period.
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
            // A period after the last write, and not a period after the first sweep that saw it.
            () = sleep_until(neglected.unwrap_or_else(Instant::now)), if neglected.is_some() => {
                if let Some(last) = last {
                    sleep_until(last + SOON).await;
                }
            }
        }
        // Whoever asked until now asked for this one.
        service.sweep_now.notified().now_or_never();
        neglected = sweep(&service).await;
        last = Some(Instant::now());
    }
}

/// Whether nobody shows that it is at an instance for which something was last written then: within one period it is taken up (ADR 0018).
fn is_neglected(written: Option<Time>, now: Time, sweep_every: Duration) -> bool {
    written.is_none_or(|written| written + sweep_every <= now)
}

/// One look, heartbeat and step for everything that waits and is not in hand here.
///
/// Where that found something to write, nobody was at it, and this replica takes it up. It does so as well where nobody has written
/// anything for a period. Else another replica has it in hand: it is left to that one, and shown.
///
/// Answers when the first of those that were left to others will be neglected, unless somebody writes before.
async fn sweep(service: &Arc<Service>) -> Option<Instant> {
    let look = async { tokio::join!(leaving(service), see_nomad(service)) };
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
    // A task for each: a defect that one of them shows ends that one's pass and no other's.
    let passes = entries.iter().enumerate().map(|(place, entry)| {
        let (service, entry) = (Arc::clone(service), Arc::clone(entry));
        let wait = sweep.starts_after(place, every * 3 / 4);
        spawn_local(async move {
            let _passer = service.departures.passer(&entry);
            let mut stopping = service.stopping.subscribe();
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return Walked::NOT,
                () = sleep(wait) => {}
            }
            walk(&service, &entry, Pace::OnePass(sweep)).await
        })
    });
    let walked = join_all(passes).await.into_iter().map(|walked| walked.unwrap_or(Walked::NOT));
    let acts = !service.settings.only_observes();
    let mut elsewhere = Vec::new();
    let now = service.live.now();
    for (entry, Walked { done, wrote, only_looked, written }) in entries.iter().zip(walked) {
        let instance = entry.departure.instance;
        if done == Done::Over {
            if !only_looked {
                service.departures.remember(entry);
            }
            continue;
        }
        if service.departures.has(instance) {
            // It came in meanwhile: what the pass wrote before that is part of it.
            service.departures.add_writes(entry);
            continue;
        }
        // Whoever only looks has nothing to take up: what is shown is all there is to it.
        if !only_looked && acts && (wrote || is_neglected(written, now, every)) {
            match take_up_after(service, entry) {
                TakenUp::InHand(_) => continue,
                TakenUp::Over | TakenUp::Full | TakenUp::Stopping => {}
            }
        }
        let mut shown = entry.shown();
        if !only_looked && acts {
            shown.elsewhere = written.map(|last_written| Elsewhere { last_written, taken_up_at: last_written + every });
        }
        elsewhere.push((instance, shown));
    }
    let first = elsewhere.iter().filter_map(|(_, shown)| shown.elsewhere).map(|elsewhere| elsewhere.taken_up_at).min();
    service.departures.see_elsewhere(elsewhere);
    unless_stopped(service, service.record.ask(service)).await;
    service.numbers.swept(waiting, retained);
    service.health.swept(service.live.now());
    info!(event = "sweep", waiting, retained, "swept: {waiting} waiting, {retained} retained");
    first.map(|first| Instant::now() + first.since(service.live.now()))
}

/// What a look shows, unless the word to stop comes first: a look that is cut short costs nothing, a write would.
async fn unless_stopped<T>(service: &Service, look: impl Future<Output = T>) -> Option<T> {
    let mut stopping = service.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => None,
        seen = look => Some(seen),
    }
}

/// Every instance of the allowed groups that is on its way out.
async fn leaving(service: &Service) -> Result<Vec<Leaving>, Unseen> {
    let allowed = &service.settings.allowed;
    let mut leaving = service.live.auto_scaling().leaving(allowed.named_groups()).await?;
    leaving.retain(|one| allowed.group(&one.asg));
    Ok(leaving)
}

/// Notes of each cluster whether its Nomad answers, and whether our token sees enough.
async fn see_nomad(service: &Service) {
    join_all(service.live.clusters().iter().map(|cluster| see_nomad_of(service, cluster))).await;
}

async fn see_nomad_of(service: &Service, cluster: &Cluster) {
    let sight = tokio::time::timeout(SIGHT, cluster.nomad().sight()).await;
    let seen = match sight {
        Ok(Ok(NomadSight::Full)) => Ok(()),
        Ok(Ok(NomadSight::Short(missing))) => Err(format!("the token cannot see enough: {missing}")),
        Ok(Err(unseen)) => Err(unseen.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    service.health.saw_one_of("Nomad", cluster.name(), seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wrote_for_within_a_period_is_taken_up() {
        let (now, every) = (Time(1_800_000_000_000), Duration::from_secs(60));
        assert!(is_neglected(None, now, every), "nobody has begun");
        assert!(!is_neglected(Some(now - Duration::from_secs(59)), now, every));
        assert!(is_neglected(Some(now - Duration::from_secs(60)), now, every));
    }
}
