//! The faults that `--chaos` injects, besides killing decamp: throttled load-balancer calls, no Consul, no Nomad leader (ADR 0024).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::proxy_link::ProxyLink;
use decamp_sandbox::wire::{FaultPlan, Rule, Shared, Side, WireFault};
use decamp_sim::rng::Rng;

/// The pause between two faults.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(6));
/// How long Consul is unreachable, and how long the load-balancer API throttles.
const FAULT_LASTS: Duration = Duration::from_secs(10);
/// How long Nomad has no leader.
const NO_LEADER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// Injects faults until the task is aborted. `consul` lists the links to Consul that are cut together: decamp's own, or also that of the
/// ingress. `nomad` is decamp's link to a real Nomad. The only server of a real Nomad stays leader, so this link is cut instead.
pub(super) async fn inject(shared: Arc<Shared>, consul: Vec<Arc<ProxyLink>>, nomad: Option<Arc<ProxyLink>>, seed: u64) {
    let mut rng = Rng::new(seed ^ 0xc4a0);
    loop {
        sleep(rng.span(BETWEEN.0, BETWEEN.1)).await;
        match rng.below(3) {
            0 => {
                let of = |operation: &str| Rule {
                    side: Some(Side::Aws),
                    one_in: 2,
                    ..Rule::next(u32::MAX, operation, WireFault::Throttled)
                };
                shared.set_faults(FaultPlan::new(vec![of("DescribeTarget"), of("DeregisterTargets")], rng.bits()));
                sleep(FAULT_LASTS).await;
                shared.set_faults(FaultPlan::default());
            }
            1 => {
                consul.iter().for_each(|link| link.set_cut(true));
                sleep(FAULT_LASTS).await;
                consul.iter().for_each(|link| link.set_cut(false));
            }
            _ => {
                let span = rng.span(NO_LEADER.0, NO_LEADER.1);
                if let Some(link) = &nomad {
                    link.set_cut(true);
                    sleep(span).await;
                    link.set_cut(false);
                    continue;
                }
                shared.with(|models| {
                    if let Some(cluster) = models.cluster() {
                        cluster.nomad.lose_leader(span);
                    }
                });
            }
        }
    }
}
