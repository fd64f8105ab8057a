//! Instance refreshes: started or adopted for whoever may ask, once for each wish; and how all of them stand.

mod following;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{error, info};

pub(super) use self::following::following;
use self::wishes::Wishes;
use super::Service;
use super::departures::lock;
use crate::refresh::{Begun, NotDone, Refresh, Status, begin};
use crate::settings::Mode;
use crate::time::Time;
use crate::world::World;

/// What may pass until a wish is answered: senders give up after ten seconds.
const LONGEST: Duration = Duration::from_secs(8);

/// The refreshes of a service.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    shown: Mutex<BTreeMap<Arc<str>, Shown>>,
    wishes: tokio::sync::Mutex<Wishes>,
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

/// Somebody who may do so wants groups to be refreshed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// Who: `terraform`, `webhook`.
    pub(super) way: &'static str,
    /// What tells a wish from its repetitions.
    pub(super) id: &'a str,
    /// How long it is known for one.
    pub(super) kept: Duration,
    pub(super) groups: &'a [Arc<str>],
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Granted {
    /// Each group is being refreshed.
    Begun(Vec<(Arc<str>, Begun)>),
    /// It was granted before.
    Before,
    /// This service only observes.
    Observed,
}

/// Why a wish was not granted. Whoever sends it again finds what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotGranted {
    /// Auto Scaling did not do it, or not in time.
    Refused,
    /// More wishes came than are remembered.
    TooMany,
    /// This replica was told to stop.
    Stopping,
}

/// Starts or adopts a refresh of every group, before it answers (D24).
pub(super) async fn grant(service: &Service, wish: Wish<'_>) -> Result<Granted, NotGranted> {
    if *service.stopping.borrow() {
        return Err(NotGranted::Stopping);
    }
    match timeout(LONGEST, grant_in_turn(service, wish)).await {
        Ok(granted) => granted,
        Err(_) => {
            error!(event = wish.way, groups = ?wish.groups, "a refresh was not started in time; it may have begun all the same");
            wish.groups.iter().for_each(|group| service.numbers.refreshed(group, "failed"));
            Err(NotGranted::Refused)
        }
    }
}

/// One wish after the other: the same one twice at the same moment is still one.
async fn grant_in_turn(service: &Service, wish: Wish<'_>) -> Result<Granted, NotGranted> {
    let mut wishes = service.refreshes.wishes.lock().await;
    let now = service.live.now();
    if wishes.knows(wish.id, now) {
        info!(event = wish.way, "a refresh was asked for again, and is begun already");
        return Ok(Granted::Before);
    }
    if service.settings.mode == Mode::Observe {
        info!(event = wish.way, groups = ?wish.groups, "observed: a refresh would be started now");
        return Ok(Granted::Observed);
    }
    if !wishes.has_room(now) {
        return Err(NotGranted::TooMany);
    }
    let asked = wish.groups.iter().map(|group| async move { (group, one(service, group, wish.way).await) });
    let mut begun = Vec::new();
    let mut whole = true;
    for (group, became) in join_all(asked).await {
        match became {
            Ok(became) => begun.push((Arc::clone(group), became)),
            Err(_) => whole = false,
        }
    }
    if !whole {
        return Err(NotGranted::Refused);
    }
    wishes.remember(wish.id, now + wish.kept);
    service.refreshes.look_now.notify_one();
    Ok(Granted::Begun(begun))
}

async fn one(service: &Service, group: &Arc<str>, way: &'static str) -> Result<Begun, NotDone> {
    let begun = begin(service.live.auto_scaling(), group, &service.settings.serve.refresh, None).await;
    match &begun {
        Ok(begun) => {
            service.numbers.refreshed(group, begun.word());
            info!(event = way, asg.name = %group, refresh.id = %begun.id(), "a refresh of {group} was {}", begun.word());
            service.refreshes.begun(service, group, begun, way);
        }
        Err(why) => {
            service.numbers.refreshed(group, "failed");
            error!(event = way, asg.name = %group, %why, "a refresh of {group} was not started: {why}");
        }
    }
    begun
}

impl Refreshes {
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
        lock(&self.shown).insert(Arc::clone(group), Shown { refresh, asked_by: Some(way), seen: now });
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
