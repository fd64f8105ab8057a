//! Starts or adopts a refresh of each group that a request names, once for each request, however often it is sent (ADR 0028).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::dedup::{Answer, Arrival};
use crate::Service;
use crate::departures::lock;
use decamp_aws::refresh::{Begun, begin};
use decamp_core::refresh::NotDone;
use decamp_core::world::World;

/// The longest time until a request is answered: senders give up after ten seconds, and its body may have taken five.
const LONGEST: Duration = Duration::from_millis(4_500);

/// A request of an authorized sender to refresh groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartRequest<'a> {
    /// The route it came by: `terraform`, `webhook`.
    pub(crate) way: &'static str,
    /// Tells a request from its repetitions.
    pub(crate) id: &'a str,
    /// How long it is remembered after its refreshes were started.
    pub(crate) remember_for: Duration,
    pub(crate) groups: &'a [Arc<str>],
}

/// What a request led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Started {
    /// Each group is being refreshed.
    Begun(Vec<(Arc<str>, Begun)>),
    /// The refreshes were started when the request came before.
    Repeated,
    /// This service only observes.
    Observed,
}

/// Why a request failed. If the sender repeats it, refreshes that did begin are adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartError {
    /// Auto Scaling did not do it, or not in time.
    Refused,
    /// More requests came than are remembered.
    TooMany,
    /// This replica was told to stop.
    Stopping,
}

/// Starts or adopts a refresh of every group, before it answers (ADR 0028).
///
/// A separate task asks AWS, so that no call is cut off when the sender hangs up or the time for the answer is up. The result is kept for
/// the repetition.
pub(crate) async fn start(service: &Arc<Service>, request: StartRequest<'_>) -> Result<Started, StartError> {
    if *service.stopping.borrow() {
        return Err(StartError::Stopping);
    }
    if service.settings.only_observes() {
        info!(event = request.way, groups = ?request.groups, "observed: a refresh would be started now");
        return Ok(Started::Observed);
    }
    let arrival = lock(&service.refreshes.dedup).register(request.id, service.live.now());
    let mut answer = match arrival {
        Arrival::New(sender) => {
            let answer = sender.subscribe();
            let (id, groups) = (request.id.to_owned(), request.groups.to_vec());
            let starting = start_all(Arc::clone(service), id, request.way, request.remember_for, groups, sender);
            service.refreshes.spawn_start(starting);
            answer
        }
        Arrival::InProgress(answer) => answer,
        Arrival::Started => {
            info!(event = request.way, "the same request again: its refreshes were started already");
            return Ok(Started::Repeated);
        }
        Arrival::TooMany => return Err(StartError::TooMany),
    };
    match timeout(LONGEST, answer.wait_for(Option::is_some)).await {
        Ok(answer) => answer.ok().and_then(|answer| answer.clone()).unwrap_or(Err(StartError::Refused)),
        Err(_) => {
            warn!(event = request.way, groups = ?request.groups, "Auto Scaling has not answered yet; a refresh may have begun all the same");
            Err(StartError::Refused)
        }
    }
}

/// Asks for each group's refresh, and keeps the result.
async fn start_all(
    service: Arc<Service>,
    id: String,
    way: &'static str,
    remember_for: Duration,
    groups: Vec<Arc<str>>,
    sender: watch::Sender<Answer>,
) {
    let asked = groups.iter().map(|group| async { (Arc::clone(group), start_one(&service, group, way).await) });
    let mut begun = Vec::new();
    for (group, one) in join_all(asked).await {
        begun.extend(one.ok().map(|one| (group, one)));
    }
    let answer = if begun.len() == groups.len() {
        lock(&service.refreshes.dedup).started(&id, service.live.now() + remember_for);
        Ok(Started::Begun(begun))
    } else {
        lock(&service.refreshes.dedup).failed(&id);
        Err(StartError::Refused)
    };
    sender.send_replace(Some(answer));
    service.refreshes.look_now.notify_one();
}

async fn start_one(service: &Service, group: &Arc<str>, way: &'static str) -> Result<Begun, NotDone> {
    let begun = begin(service.live.auto_scaling(), group, &service.settings.serve.refresh, None).await;
    match &begun {
        Ok(begun) => {
            service.metrics.refreshed(group, begun.word());
            info!(event = way, asg.name = %group, refresh.id = %begun.id(), "a refresh of {group} was {}", begun.word());
            service.refreshes.show_begun(service, group, begun, way);
        }
        Err(why) => {
            service.metrics.refreshed(group, "failed");
            error!(event = way, asg.name = %group, %why, "a refresh of {group} was not started: {why}");
        }
    }
    begun
}
