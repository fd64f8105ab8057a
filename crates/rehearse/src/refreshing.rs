//! Auto Scaling's part in real time: the refresh moves instances, and what their hooks tell goes into the queue.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::plan::{ASG, Plan};
use super::queue::Queue;
use decamp_core::refresh::Preferences;
use decamp_sandbox::wire::Shared;

/// How often events are collected.
const EVERY: Duration = Duration::from_millis(100);

/// Replaces every instance that there is now.
pub(super) async fn refresh(shared: &Shared, queue: &Queue) {
    let preferences = Preferences {
        min_healthy: Some(Plan::MIN_HEALTHY_PERCENT),
        max_healthy: Some(Plan::MAX_HEALTHY_PERCENT),
        warm_up: Some(Plan::WARM_UP),
        // Nothing changed in their template, and all of them are to go.
        skip_matching: false,
        ..Preferences::default()
    };
    let started = shared.with(|stage| stage.aws().0.start_refresh(ASG, preferences, None));
    started.expect("nothing throttles here, and one refresh comes after the other");
    let mut sent: HashSet<String> = HashSet::new();
    loop {
        let over = shared.look(|stage| {
            let asg = stage.aws().0;
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
