//! Every refresh is followed, whoever started it: those under way often, all groups with every sweep.

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
use decamp_net::lately::Lately;

/// How often a refresh under way is looked at: all of Auto Scaling shares one bucket (facts/aws.md 2.6).
const PACE: Duration = Duration::from_secs(15);
/// What is not named anywhere is found among what leaves; of more groups than these the others are looked at the next time.
const MOST_GROUPS: usize = 200;

/// Follows refreshes until the service stops.
pub(crate) async fn following(service: &Service) {
    let sweep = service.settings.serve.sweep_every;
    let mut timer = interval(PACE.min(sweep));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = service.stopping.subscribe();
    let looked: Lately<Arc<str>, ()> = Lately::for_a(sweep);
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
        // A group that does not exist yet is no illness; a role that may not look is one.
        let denied = unseen.iter().find(|why| matches!(why, Unseen::Denied(_)));
        service.health.saw("Instance refreshes", denied.map_or(Ok(()), |why| Err(why.to_string())));
    }
}

/// The groups that can be named: by the settings, or because one of their instances leaves.
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
        debug!(asg.name = %group, %why, "its refreshes cannot be seen: {why}");
    })?;
    let Some(listed) = listed else {
        if service.refreshes.forget(group) {
            info!(asg.name = %group, "there is no group {group} any more, and its refresh is not shown any longer");
            service.numbers.refresh_is_forgotten(group);
            service.departures.tell();
        }
        return Ok(());
    };
    let Some(refresh) = newest(listed) else { return Ok(()) };
    if let Some(before) = service.refreshes.see(refresh.clone(), service.live.now()) {
        say(&refresh, before);
        service.numbers.refresh_stands(group, refresh.percentage.unwrap_or(0));
        service.departures.tell();
    }
    Ok(())
}

/// Says what became of a refresh; how one ended that nobody saw begin is history.
fn say(refresh: &Refresh, before: Option<Status>) {
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
