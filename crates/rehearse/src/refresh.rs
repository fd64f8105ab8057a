//! An instance refresh in real time. The events of the instances' hooks go into the queue.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::plan::{ASG, Plan};
use super::queue::EventQueue;
use decamp_core::refresh::Preferences;
use decamp_sandbox::wire::Shared;

/// How often events are collected.
const EVERY: Duration = Duration::from_millis(100);

/// Replaces every current instance.
pub(super) async fn refresh(shared: &Shared, queue: &EventQueue) {
    let preferences = Preferences {
        min_healthy: Some(Plan::MIN_HEALTHY_PERCENT),
        max_healthy: Some(Plan::MAX_HEALTHY_PERCENT),
        warm_up: Some(Plan::WARM_UP),
        // The launch template is unchanged, and all instances are to be replaced.
        skip_matching: false,
        ..Preferences::default()
    };
    let started = shared.with(|models| models.aws().0.start_refresh(ASG, preferences, None));
    started.expect("nothing throttles this call, and no other refresh is in progress");
    let mut sent: HashSet<String> = HashSet::new();
    loop {
        let over = shared.look(|models| {
            let asg = models.aws().0;
            asg.refreshes(ASG).first().is_none_or(|refresh| refresh.status.is_over())
        });
        for event in shared.events() {
            if sent.insert(event.token.expose().to_owned()) {
                queue.send(&event.event_bridge(&shared.account.region, &shared.account.id));
            }
        }
        if over {
            return;
        }
        sleep(EVERY).await;
    }
}
