//! Health checks: real requests to every registered target. The model is updated when a target begins or ceases to pass.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join_all;
use hyper::Request;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::ingress::PING;
use crate::plan::Plan;
use crate::proxy::{self, Pool};
use crate::server::full;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_sandbox::wire::Shared;

/// Checks every registered target of a group until the task is aborted. The model counts the results: two in a row decide.
pub(super) async fn check(shared: Arc<Shared>, arn: TargetGroupArn, port: u16) {
    let pool = proxy::pool(Plan::CHECK_EVERY, false);
    let mut ticks = interval(Plan::CHECK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported: HashMap<InstanceId, bool> = HashMap::new();
    loop {
        ticks.tick().await;
        let targets = registered(&shared, &arn);
        let answers = join_all(targets.iter().map(|(_, address)| passes(&pool, SocketAddr::new(*address, port)))).await;
        for ((instance, _), passes) in targets.iter().zip(answers) {
            if reported.insert(*instance, passes) != Some(passes) {
                shared.with(|models| models.aws().1.set_answers(&arn, &TargetId::Instance(*instance), port, passes));
            }
        }
    }
}

/// The instances that are registered in the group and not draining, with the addresses of their nodes. Instances whose nodes have not
/// joined yet are left out.
fn registered(shared: &Shared, arn: &TargetGroupArn) -> Vec<(InstanceId, IpAddr)> {
    shared.look(|models| {
        let instances: Vec<InstanceId> = {
            let (asg, elb) = models.aws();
            let stays = |id: &InstanceId| elb.listed_until(arn, *id) == Some(decamp_core::time::Time::NEVER);
            asg.instances().map(|instance| instance.id).filter(stays).collect()
        };
        let Some(cluster) = models.cluster() else { return Vec::new() };
        let address = |id: InstanceId| {
            let (_, node) = cluster.nomad.nodes().find(|(_, node)| node.spec.instance == Some(id))?;
            Some((id, *node.spec.addresses.first()?))
        };
        instances.into_iter().filter_map(address).collect()
    })
}

async fn passes(pool: &Pool, address: SocketAddr) -> bool {
    let Ok(request) = Request::get(format!("http://{address}{PING}")).body(full("")) else { return false };
    matches!(timeout(Plan::CHECK_EVERY, pool.request(request)).await, Ok(Ok(answer)) if answer.status().is_success())
}
