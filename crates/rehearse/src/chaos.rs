//! What goes wrong under `--chaos`, beside decamp being killed: throttled load-balancer calls, no Consul, no leader of Nomad (ADR 0024).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::path::Path;
use decamp_sandbox::wire::{FaultPlan, Rule, Shared, Side, WireFault};
use decamp_sim::luck::Luck;

/// Between two troubles.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(6));
/// How long decamp sees no Consul, and how long the load balancers' API throttles.
const TROUBLE: Duration = Duration::from_secs(10);
/// How long Nomad is without a leader.
const NO_LEADER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// Makes trouble for ever. `consul`: the paths to Consul that are cut together, decamp's own alone or everybody's. `nomad`: decamp's path
/// to a real Nomad, whose only server keeps its lead: it is cut for as long as there would be none.
pub(super) async fn reign(shared: Arc<Shared>, consul: Vec<Arc<Path>>, nomad: Option<Arc<Path>>, seed: u64) {
    let mut luck = Luck::new(seed ^ 0xc4a0);
    loop {
        sleep(luck.span(BETWEEN.0, BETWEEN.1)).await;
        match luck.below(3) {
            0 => {
                let of = |operation: &str| Rule {
                    side: Some(Side::Aws),
                    one_in: 2,
                    ..Rule::next(u32::MAX, operation, WireFault::Throttled)
                };
                shared.set_faults(FaultPlan::new(vec![of("DescribeTarget"), of("DeregisterTargets")], luck.bits()));
                sleep(TROUBLE).await;
                shared.set_faults(FaultPlan::default());
            }
            1 => {
                consul.iter().for_each(|path| path.set_cut(true));
                sleep(TROUBLE).await;
                consul.iter().for_each(|path| path.set_cut(false));
            }
            _ => {
                let span = luck.span(NO_LEADER.0, NO_LEADER.1);
                if let Some(path) = &nomad {
                    path.set_cut(true);
                    sleep(span).await;
                    path.set_cut(false);
                    continue;
                }
                shared.with(|stage| {
                    if let Some(cluster) = stage.cluster() {
                        cluster.nomad.lose_leader(span);
                    }
                });
            }
        }
    }
}
