//! A wish for refreshes is granted: each group's is started or adopted, once for a wish however often it is sent (ADR 0028).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::wishes::{Became, Comes};
use crate::Service;
use crate::departures::lock;
use decamp_aws::refresh::{Begun, begin};
use decamp_core::refresh::NotDone;
use decamp_core::world::World;

/// What may pass until a wish is answered: senders give up after ten seconds, and its body may have taken five.
const LONGEST: Duration = Duration::from_millis(4_500);

/// Somebody who may do so wants groups to be refreshed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Who: `terraform`, `webhook`.
    pub(crate) way: &'static str,
    /// What tells a wish from its repetitions.
    pub(crate) id: &'a str,
    /// How long it is known for one.
    pub(crate) kept: Duration,
    pub(crate) groups: &'a [Arc<str>],
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Each group is being refreshed.
    Begun(Vec<(Arc<str>, Begun)>),
    /// It was granted before.
    Before,
    /// This service only observes.
    Observed,
}

/// Why a wish was not granted. Whoever sends it again finds what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// Auto Scaling did not do it, or not in time.
    Refused,
    /// More wishes came than are remembered.
    TooMany,
    /// This replica was told to stop.
    Stopping,
}

/// Starts or adopts a refresh of every group, before it answers (ADR 0028).
///
/// AWS is asked by a task of its own: a sender who hangs up, or who is answered because the time is up, cuts no call off. What
/// comes of it is kept for the repetition.
pub(crate) async fn grant(service: &Arc<Service>, wish: Wish<'_>) -> Result<Granted, NotGranted> {
    if *service.stopping.borrow() {
        return Err(NotGranted::Stopping);
    }
    if service.settings.only_observes() {
        info!(event = wish.way, groups = ?wish.groups, "observed: a refresh would be started now");
        return Ok(Granted::Observed);
    }
    let comes = lock(&service.refreshes.wishes).come(wish.id, service.live.now());
    let mut told = match comes {
        Comes::New(became) => {
            let told = became.subscribe();
            let asking = ask(Arc::clone(service), wish.id.to_owned(), wish.way, wish.kept, wish.groups.to_vec(), became);
            service.refreshes.begin_granting(asking);
            told
        }
        Comes::UnderWay(told) => told,
        Comes::Before => {
            info!(event = wish.way, "a refresh was asked for again, and is begun already");
            return Ok(Granted::Before);
        }
        Comes::TooMany => return Err(NotGranted::TooMany),
    };
    match timeout(LONGEST, told.wait_for(Option::is_some)).await {
        Ok(became) => became.ok().and_then(|became| became.clone()).unwrap_or(Err(NotGranted::Refused)),
        Err(_) => {
            warn!(event = wish.way, groups = ?wish.groups, "Auto Scaling has not answered yet; a refresh may have begun all the same");
            Err(NotGranted::Refused)
        }
    }
}

/// Asks for each group's refresh, and keeps what came of it.
async fn ask(
    service: Arc<Service>,
    id: String,
    way: &'static str,
    kept: Duration,
    groups: Vec<Arc<str>>,
    became: watch::Sender<Became>,
) {
    let asked = groups.iter().map(|group| async { (Arc::clone(group), one(&service, group, way).await) });
    let mut begun = Vec::new();
    for (group, one) in join_all(asked).await {
        begun.extend(one.ok().map(|one| (group, one)));
    }
    let granted = if begun.len() == groups.len() {
        lock(&service.refreshes.wishes).remember(&id, service.live.now() + kept);
        Ok(Granted::Begun(begun))
    } else {
        lock(&service.refreshes.wishes).forget(&id);
        Err(NotGranted::Refused)
    };
    became.send_replace(Some(granted));
    service.refreshes.look_now.notify_one();
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
