//! Auto Scaling's part in real time: the refresh moves instances, and what their hooks tell goes into the queue.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::cluster;
use super::plan::{ASG, Plan};
use super::queue::Queue;
use super::refresh::{Member, Move, Preferences, Refresh, Stands};
use crate::ids::InstanceId;
use crate::sim::auto_scaling::{AutoScaling, Instance, LifecycleState};
use crate::sim::wire::{Shared, Stage};
use crate::time::Time;

/// How often Auto Scaling looks what is to be done next.
const EVERY: Duration = Duration::from_millis(100);

/// Replaces every instance that there is now.
///
/// `launched` is how many instances there ever were: the next one has the next number.
pub(super) async fn refresh(shared: &Shared, queue: &Queue, launched: &mut u32) {
    let old: Vec<InstanceId> = shared.look(|stage| stage.aws().0.instances().filter(|i| i.runs).map(|i| i.id).collect());
    let preferences = Preferences {
        min_healthy: Plan::MIN_HEALTHY_PERCENT,
        max_healthy: Plan::MAX_HEALTHY_PERCENT,
        warm_up: Plan::WARM_UP,
        checkpoints: Vec::new(),
        checkpoint_delay: Duration::ZERO,
    };
    let mut refresh = Refresh::begin(preferences, old);
    let mut sent: HashSet<String> = HashSet::new();
    loop {
        let over = shared.with(|stage| {
            let now = stage.aws().0.now();
            let members = members(stage.aws().0);
            let moves = refresh.next(now, &members);
            let settled = moves.is_empty();
            moves.into_iter().for_each(|one| make(stage, one, launched));
            // What was just moved is not in what was seen before.
            settled && refresh.is_over(now, &members)
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

fn members(asg: &AutoScaling) -> Vec<Member> {
    let stands = |instance: &Instance| {
        if instance.state == LifecycleState::InService {
            return Some(Stands::InService(instance.activity.and_then(|activity| activity.ended).unwrap_or(Time(0))));
        }
        let starts = [LifecycleState::Pending, LifecycleState::PendingWait, LifecycleState::PendingProceed];
        let stands = if starts.contains(&instance.state) { Stands::Pending } else { Stands::Leaving };
        // One whose machine is off is still listed for a while, and counts no more.
        instance.runs.then_some(stands)
    };
    asg.instances().filter_map(|i| Some(Member { id: i.id, stands: stands(i)? })).collect()
}

fn make(stage: &mut dyn Stage, what: Move, launched: &mut u32) {
    let (asg, elb) = stage.aws();
    // A refusal changes nothing: the next look says what is still to be done.
    match what {
        Move::Launch => {
            *launched += 1;
            drop(asg.launch(ASG, cluster::instance(*launched), cluster::zone(*launched)));
        }
        Move::Terminate(id) => drop(asg.terminate(id, elb)),
    }
}
