//! Looks back at departures that have ended here: what their load balancers counted. CloudWatch publishes it minutes later, when the
//! departure is no longer in progress.

use std::time::Duration;

use tracing::{info, warn};

use super::Service;
use super::departures::{Entry, lock};
use super::notify::Notification;
use decamp_core::decide::{Compared, LookBack, Snapshot, with_counts};
use decamp_core::describe::{ComparisonCounts, log_compared};
use decamp_core::world::World as _;

/// A departure that has ended and whose load balancers' counts are to come.
#[derive(Debug)]
pub(super) struct PendingLookBack {
    pub(super) asked: LookBack,
    /// How long to wait for CloudWatch.
    pub(super) at_most: Duration,
    pub(super) seen: Snapshot,
    pub(super) compared: Vec<Compared>,
}

/// Waits for the counts of a departure that has ended, if there is one, and then counts and reports the comparison. A replica that is told
/// to stop counts at once what it knows.
pub(super) async fn finish(service: &Service, entry: &Entry) {
    let Some(PendingLookBack { asked, at_most, seen, compared: before }) = lock(&entry.look_back).take() else { return };
    let departure = &entry.departure;
    let (instance, asg) = (departure.instance, &*departure.asg);
    let mut stopping = service.stopping.subscribe();
    let counted = tokio::select! {
        counted = service.live.look_back(&asked, at_most) => Some(counted),
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    let Some(counted) = counted else {
        service.metrics.compared(asg, &ComparisonCounts::of(departure, &seen, &before));
        return;
    };
    for why in counted.iter().filter_map(|one| one.minutes.as_ref().err()) {
        warn!(instance.id = %instance, asg.name = asg, action = "compared", "the load balancers' counts could not be read: {why}");
    }
    let compared = with_counts(&seen, &before, &asked, &counted);
    service.metrics.compared(asg, &ComparisonCounts::of(departure, &seen, &compared));
    let news: Vec<Compared> = compared.iter().filter(|one| !before.contains(one)).cloned().collect();
    info!(instance.id = %instance, asg.name = asg, action = "compared", "its load balancers were looked back at: {} news", news.len());
    log_compared(departure, &news);
    service.departures.compare_again(entry, &compared);
    if !news.is_empty() && service.notify.has_receivers() {
        let now = service.live.now();
        service.notify.send(service, Notification::compared(departure, &entry.shown(), &compared, now));
    }
}
