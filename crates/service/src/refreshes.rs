//! Instance refreshes: started or adopted for whoever may ask, once for each wish; and how all of them stand.

mod following;
mod granting;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub(super) use self::following::following;
pub(super) use self::granting::{Granted, NotGranted, Wish, grant};
use self::wishes::Wishes;
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
    wishes: Mutex<Wishes>,
    /// Wishes that are being granted.
    granting: Mutex<JoinSet<()>>,
    look_now: Notify,
}

/// A refresh as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) refresh: Refresh,
    /// Who asked for it here: `terraform`, `webhook`. `None`: somebody else did.
    pub(super) asked_by: Option<&'static str>,
    /// When it was last seen so.
    pub(super) seen: Time,
}

impl Refreshes {
    fn begin_granting(&self, asking: impl Future<Output = ()> + Send + 'static) {
        let mut granting = lock(&self.granting);
        while granting.try_join_next().is_some() {}
        granting.spawn(asking);
    }

    /// Waits until Auto Scaling has answered all that it was asked for others.
    pub(super) async fn granted(&self) {
        let mut granting = std::mem::take(&mut *lock(&self.granting));
        while granting.join_next().await.is_some() {}
    }

    /// Shows what was just begun, before the next look shows more.
    fn begun(&self, service: &Service, group: &Arc<str>, begun: &Begun, way: &'static str) {
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
        // Whoever adopts it did not ask for it first.
        let first = shown.get(group).filter(|before| before.refresh.id == refresh.id).and_then(|before| before.asked_by);
        shown.insert(Arc::clone(group), Shown { refresh, asked_by: first.or(Some(way)), seen: now });
        drop(shown);
        service.departures.tell();
    }

    /// Every refresh that is known: those under way first, then the last one of each other group, the latest first.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = lock(&self.shown).values().cloned().collect();
        all.sort_by_key(|one| (one.refresh.status.is_over(), std::cmp::Reverse(one.refresh.began)));
        all
    }

    /// Takes what a look showed of a group. Whether it is shown otherwise now, and how it stood before.
    fn see(&self, refresh: Refresh, now: Time) -> Option<Option<Status>> {
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

    /// Forgets a group that is not there any more. Whether anything was known of it.
    fn forget(&self, group: &str) -> bool {
        lock(&self.shown).remove(group).is_some()
    }

    /// The groups of which a refresh is under way, as far as is known.
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
    fn what_is_under_way_comes_first_and_then_the_latest() {
        let refreshes = Refreshes::default();
        for one in [
            refresh("a", "1", Status::Successful, 5),
            refresh("b", "2", Status::InProgress, 1),
            refresh("c", "3", Status::Failed, 9),
        ] {
            assert_eq!(refreshes.see(one, Time(10)), Some(None));
        }
        let groups: Vec<String> = refreshes.shown().iter().map(|one| one.refresh.group.to_string()).collect();
        assert_eq!(groups, ["b", "c", "a"]);
        assert_eq!(refreshes.under_way(), ["b".into()].into());
    }

    #[test]
    fn a_group_that_is_not_there_any_more_is_under_way_no_longer() {
        let refreshes = Refreshes::default();
        refreshes.see(refresh("a", "1", Status::InProgress, 1), Time(10));
        assert!(refreshes.forget("a") && !refreshes.forget("a"));
        assert!(refreshes.shown().is_empty() && refreshes.under_way().is_empty());
    }

    #[test]
    fn only_what_is_shown_otherwise_is_told_and_another_refresh_was_asked_for_by_somebody_else() {
        let refreshes = Refreshes::default();
        let first = refresh("a", "1", Status::Pending, 5);
        let shown = Shown { refresh: first.clone(), asked_by: Some("webhook"), seen: Time(5) };
        lock(&refreshes.shown).insert("a".into(), shown);
        assert_eq!((refreshes.see(first, Time(6)), refreshes.shown()[0].seen), (None, Time(6)));
        assert_eq!(refreshes.see(refresh("a", "1", Status::InProgress, 5), Time(7)), Some(Some(Status::Pending)));
        assert_eq!(refreshes.shown()[0].asked_by, Some("webhook"));
        assert_eq!(refreshes.see(refresh("a", "2", Status::InProgress, 8), Time(9)), Some(None));
        assert_eq!(refreshes.shown()[0].asked_by, None);
    }
}
