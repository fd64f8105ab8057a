//! Polls all refreshes, including those that others started: every 15 s while one is in progress, every group with each sweep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::Service;
use decamp_config::Settings;
use decamp_core::decide::Unseen;
use decamp_core::refresh::{Refresh, Status, newest};
use decamp_core::world::World;
use decamp_net::ttl_map::TtlMap;

/// How often a refresh in progress is polled. All calls of Auto Scaling share one rate limit (facts/aws.md 2.6).
const INTERVAL: Duration = Duration::from_secs(15);
/// The most groups of one poll. The others come with the next poll. Groups that the settings do not name are found when one of
/// their instances leaves.
const MOST_GROUPS: usize = 200;

/// Polls refreshes until the service stops.
pub(crate) async fn poll(service: &Service) {
    let sweep = service.settings.serve.sweep_every;
    let mut timer = interval(INTERVAL.min(sweep));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = service.stopping.subscribe();
    let looked: TtlMap<Arc<str>, ()> = TtlMap::with_ttl(sweep);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = timer.tick() => {}
            () = service.refreshes.look_now.notified() => {}
        }
        let under_way = service.refreshes.under_way();
        let due = |group: &Arc<str>| under_way.contains(group) || looked.get(group).is_none();
        let due: Vec<Arc<str>> = groups(service).into_iter().chain(under_way.iter().cloned()).filter(due).collect();
        let due: BTreeSet<Arc<str>> = due.into_iter().take(MOST_GROUPS).collect();
        due.iter().for_each(|group| looked.put(Arc::clone(group), ()));
        let looks = due.iter().map(|group| look(service, group));
        let unseen: Vec<Unseen> = join_all(looks).await.into_iter().filter_map(Result::err).collect();
        // A group that does not exist yet is not a problem. A role without permission is one.
        let denied = unseen.iter().find(|why| matches!(why, Unseen::Denied(_)));
        service.health.saw("Instance refreshes", denied.map_or(Ok(()), |why| Err(why.to_string())));
    }
}

/// The groups in the settings and those with a leaving instance.
fn groups(service: &Service) -> BTreeSet<Arc<str>> {
    let Settings { allowed, serve, .. } = &service.settings;
    let by_runs = serve.terraform.iter().flat_map(|terraform| terraform.workspaces.values().flatten());
    let by_webhooks = serve.signed.values().filter_map(|webhook| webhook.action.group());
    let named = allowed.groups.iter().filter(|group| !group.ends_with('*'));
    let leaving = service.departures.shown().0;
    by_runs.chain(by_webhooks).chain(named).cloned().chain(leaving.into_iter().map(|view| view.group)).collect()
}

async fn look(service: &Service, group: &Arc<str>) -> Result<(), Unseen> {
    let listed = service.live.auto_scaling().refreshes_if_there(group).await.inspect_err(|why| {
        debug!(asg.name = %group, %why, "its refreshes cannot be read: {why}");
    })?;
    let Some(listed) = listed else {
        if service.refreshes.forget(group) {
            info!(asg.name = %group, "the group {group} no longer exists, and its refresh is no longer shown");
            service.metrics.refresh_removed(group);
            service.departures.notify_watchers();
        }
        return Ok(());
    };
    let Some(refresh) = newest(listed) else { return Ok(()) };
    if let Some(before) = service.refreshes.update(refresh.clone(), service.live.now()) {
        log_status(&refresh, before);
        service.metrics.refresh_progress(group, refresh.percentage.unwrap_or(0));
        service.departures.notify_watchers();
    }
    Ok(())
}

/// Logs a change of a refresh. A refresh that had ended before this replica first saw it is not logged.
fn log_status(refresh: &Refresh, before: Option<Status>) {
    let Refresh { id, group, status, percentage, .. } = refresh;
    if before.is_none() && status.is_over() || before == Some(*status) && !status.is_over() {
        return;
    }
    let (name, meaning, percentage) = (status.name(), status.meaning(), percentage.unwrap_or(0));
    let why = refresh.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    match status {
        Status::Failed | Status::RollbackFailed | Status::RollbackSuccessful | Status::Unknown => {
            warn!(asg.name = %group, refresh.id = %id, status = name, percentage, "refresh of {group}: {name}, {meaning}{why}");
        }
        Status::Pending
        | Status::InProgress
        | Status::Baking
        | Status::Successful
        | Status::Cancelling
        | Status::Cancelled
        | Status::RollbackInProgress => {
            info!(asg.name = %group, refresh.id = %id, status = name, percentage, "refresh of {group}: {name}, {meaning}{why}");
        }
    }
}
