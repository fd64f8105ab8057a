//! The sweep: whatever waits is looked after on a timer, whether or not its event ever came, and whoever had it in hand before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::Service;
use super::departures::{Done, Entry, TakenUp};
use super::taking::take_up;
use super::view::View;
use super::walking::{Pace, Walked, walk};
use decamp_aws::Leaving;
use decamp_config::Mode;
use decamp_core::decide::{Cause, Departure, Lifecycle, LifecycleAction, NomadSight, Unseen};
use decamp_core::ids::InstanceId;
use decamp_core::world::World;

/// An instance of which nothing was due for so many times as a sweep comes by itself is taken up all the same: nobody may be at it, and
/// some waits need a worker that remembers. Sweeps that were asked for prove nothing sooner.
const PATIENCE: u32 = 5;
/// Between two sweeps at least, where they are asked for: each asks for every group, of the bucket that departures need.
const PAUSE: Duration = Duration::from_secs(5);
/// What Nomad may take to say what our token sees.
const SIGHT: Duration = Duration::from_secs(10);

/// Sweeps until the service stops.
pub(super) async fn sweeping(service: Arc<Service>) {
    let mut timer = interval(service.settings.serve.sweep_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pause = PAUSE.min(service.settings.serve.sweep_every);
    let (mut idle, mut last) = (HashMap::new(), None::<Instant>);
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
        }
        // Whoever asked until now asked for this one.
        service.sweep_now.notified().now_or_never();
        sweep(&service, &mut idle).await;
        last = Some(Instant::now());
    }
}

/// Whether nobody may be at an instance of which nothing was due since then.
fn is_neglected(since: Instant, now: Instant, sweep_every: Duration) -> bool {
    sweep_every.saturating_mul(PATIENCE) <= now.duration_since(since)
}

/// One look, heartbeat and step for everything that waits and is not in hand here.
///
/// Where that found something to write, nobody was at it, and this replica takes it up. Where nothing was due, another replica
/// may have it in hand: it is left to that one, and shown. `idle` is since when that is so of each.
async fn sweep(service: &Arc<Service>, idle: &mut HashMap<InstanceId, Instant>) {
    let now = Instant::now();
    let look = async { tokio::join!(leaving(service), see_nomad(service)) };
    let leaving = match unless_stopped(service, look).await {
        None => return,
        Some((Ok(leaving), ())) => leaving,
        Some((Err(unseen), ())) => {
            service.health.saw("Auto Scaling", Err(unseen.to_string()));
            warn!(event = "sweep", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return;
        }
    };
    service.health.saw("Auto Scaling", Ok(()));
    let count = |wanted: &Lifecycle| leaving.iter().filter(|one| one.lifecycle == *wanted).count();
    let (waiting, retained) = (count(&Lifecycle::Waiting), count(&Lifecycle::Retained));
    let ours = leaving.iter().filter(|one| one.lifecycle == Lifecycle::Waiting);
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
    // A task for each: a defect that one of them shows ends that one's pass and no other's.
    let passes = entries.iter().map(|entry| {
        let (service, entry) = (Arc::clone(service), Arc::clone(entry));
        spawn_local(async move {
            let _passer = service.departures.passer(&entry);
            walk(&service, &entry, Pace::OnePass).await
        })
    });
    let walked = join_all(passes).await.into_iter().map(|walked| walked.unwrap_or(Walked::NOT));
    let acts = service.settings.mode == Mode::Act;
    let mut elsewhere = Vec::new();
    let before = std::mem::take(idle);
    for (entry, Walked { done, wrote, only_looked }) in entries.iter().zip(walked) {
        let instance = entry.departure.instance;
        let since = before.get(&instance).copied().unwrap_or(now);
        if done == Done::Over {
            if !only_looked {
                service.departures.remember(entry);
            }
            continue;
        }
        if service.departures.has(instance) {
            // It came in meanwhile.
            continue;
        }
        // Whoever only looks has nothing to take up: what is shown is all there is to it.
        if !only_looked && acts && (wrote || is_neglected(since, now, service.settings.serve.sweep_every)) {
            match take_up(service, entry.departure.clone(), "sweep") {
                TakenUp::InHand(_) => continue,
                TakenUp::Full | TakenUp::Stopping => {}
            }
        }
        idle.insert(instance, since);
        elsewhere.push((instance, entry.shown()));
    }
    service.departures.see_elsewhere(elsewhere);
    unless_stopped(service, service.record.ask(service)).await;
    service.numbers.swept(waiting, retained);
    info!(event = "sweep", waiting, retained, "swept: {waiting} waiting, {retained} retained");
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

/// Notes whether Nomad answers, and whether our token sees enough.
async fn see_nomad(service: &Service) {
    let sight = tokio::time::timeout(SIGHT, service.live.nomad().sight()).await;
    let seen = match sight {
        Ok(Ok(NomadSight::Full)) => Ok(()),
        Ok(Ok(NomadSight::Short(missing))) => Err(format!("the token cannot see enough: {missing}")),
        Ok(Err(unseen)) => Err(unseen.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    service.health.saw("Nomad", seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_a_time_however_often_somebody_asked_for_a_sweep() {
        let (since, every) = (Instant::now(), Duration::from_secs(60));
        assert!(!is_neglected(since, since, every));
        assert!(!is_neglected(since, since + Duration::from_secs(299), every));
        assert!(is_neglected(since, since + Duration::from_secs(300), every));
    }
}
