//! Instance refreshes: starts or adopts them for authorized requests, once for each request, and follows the progress of all of
//! them.

mod dedup;
mod poll;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::dedup::Dedup;
pub(super) use self::poll::poll;
pub(super) use self::start::{StartError, StartRequest, Started, start};
use super::Service;
use super::departures::lock;
use decamp_aws::refresh::Begun;
use decamp_core::refresh::{Refresh, Status};
use decamp_core::time::Time;
use decamp_core::world::World;

/// The refreshes of a service.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    shown: Mutex<BTreeMap<Arc<str>, Shown>>,
    dedup: Mutex<Dedup>,
    /// The tasks that are starting refreshes.
    starting: Mutex<JoinSet<()>>,
    look_now: Notify,
}

/// A refresh, for the page and the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) refresh: Refresh,
    /// The route that asked for it: `terraform`, `webhook`. `None`: it was not started here.
    pub(super) asked_by: Option<&'static str>,
    /// When it was last seen in this state.
    pub(super) seen: Time,
}

impl Refreshes {
    fn spawn_start(&self, start: impl Future<Output = ()> + Send + 'static) {
        let mut starting = lock(&self.starting);
        while starting.try_join_next().is_some() {}
        starting.spawn(start);
    }

    /// Waits until Auto Scaling has answered all requests to start refreshes.
    pub(super) async fn all_started(&self) {
        let mut starting = std::mem::take(&mut *lock(&self.starting));
        while starting.join_next().await.is_some() {}
    }

    /// Shows a refresh that has just begun, until the next look finds more.
    fn show_begun(&self, service: &Service, group: &Arc<str>, begun: &Begun, way: &'static str) {
        let now = service.live.now();
        let refresh = match begun {
            Begun::Adopted(refresh) => refresh.clone(),
            Begun::Started(id) => Refresh {
                id: Arc::clone(id),
                group: Arc::clone(group),
                status: Status::Pending,
                why: None,
                began: Some(now),
                ended: None,
                percentage: None,
                to_update: None,
            },
        };
        let mut shown = lock(&self.shown);
        // A request that adopts a refresh is not the one that asked for it first.
        let first = shown.get(group).filter(|before| before.refresh.id == refresh.id).and_then(|before| before.asked_by);
        shown.insert(Arc::clone(group), Shown { refresh, asked_by: first.or(Some(way)), seen: now });
        drop(shown);
        service.departures.notify_watchers();
    }

    /// Every known refresh: those in progress first, then the last one of each other group, the latest first.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = lock(&self.shown).values().cloned().collect();
        all.sort_by_key(|one| (one.refresh.status.is_over(), std::cmp::Reverse(one.refresh.began)));
        all
    }

    /// Updates a group with what a look found. `None`: nothing changed. `Some`: it changed, with the status before.
    fn update(&self, refresh: Refresh, now: Time) -> Option<Option<Status>> {
        let mut shown = lock(&self.shown);
        if let Some(same) = shown.get_mut(&refresh.group).filter(|before| before.refresh == refresh) {
            same.seen = now;
            return None;
        }
        let before = shown.get(&refresh.group);
        let same = before.filter(|before| before.refresh.id == refresh.id);
        let (asked_by, status) = (same.and_then(|before| before.asked_by), same.map(|before| before.refresh.status));
        shown.insert(Arc::clone(&refresh.group), Shown { refresh, asked_by, seen: now });
        Some(status)
    }

    /// Forgets a group that no longer exists. Whether it was known.
    fn forget(&self, group: &str) -> bool {
        lock(&self.shown).remove(group).is_some()
    }

    /// The groups with a refresh in progress, as far as is known.
    fn under_way(&self) -> BTreeSet<Arc<str>> {
        let shown = lock(&self.shown);
        shown.values().filter(|one| !one.refresh.status.is_over()).map(|one| Arc::clone(&one.refresh.group)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresh(group: &str, id: &str, status: Status, began: u64) -> Refresh {
        let (why, ended, percentage, to_update) = (None, None, Some(10), Some(3));
        Refresh { id: id.into(), group: group.into(), status, why, began: Some(Time(began)), ended, percentage, to_update }
    }

    #[test]
    fn refreshes_in_progress_come_first_and_then_the_latest() {
        let refreshes = Refreshes::default();
        for one in [
            refresh("a", "1", Status::Successful, 5),
            refresh("b", "2", Status::InProgress, 1),
            refresh("c", "3", Status::Failed, 9),
        ] {
            assert_eq!(refreshes.update(one, Time(10)), Some(None));
        }
        let groups: Vec<String> = refreshes.shown().iter().map(|one| one.refresh.group.to_string()).collect();
        assert_eq!(groups, ["b", "c", "a"]);
        assert_eq!(refreshes.under_way(), ["b".into()].into());
    }

    #[test]
    fn a_group_that_no_longer_exists_has_no_refresh_in_progress() {
        let refreshes = Refreshes::default();
        refreshes.update(refresh("a", "1", Status::InProgress, 1), Time(10));
        assert!(refreshes.forget("a") && !refreshes.forget("a"));
        assert!(refreshes.shown().is_empty() && refreshes.under_way().is_empty());
    }

    #[test]
    fn only_a_change_is_reported_and_a_new_refresh_was_not_asked_for_here() {
        let refreshes = Refreshes::default();
        let first = refresh("a", "1", Status::Pending, 5);
        let shown = Shown { refresh: first.clone(), asked_by: Some("webhook"), seen: Time(5) };
        lock(&refreshes.shown).insert("a".into(), shown);
        assert_eq!((refreshes.update(first, Time(6)), refreshes.shown()[0].seen), (None, Time(6)));
        assert_eq!(refreshes.update(refresh("a", "1", Status::InProgress, 5), Time(7)), Some(Some(Status::Pending)));
        assert_eq!(refreshes.shown()[0].asked_by, Some("webhook"));
        assert_eq!(refreshes.update(refresh("a", "2", Status::InProgress, 8), Time(9)), Some(None));
        assert_eq!(refreshes.shown()[0].asked_by, None);
    }
}
