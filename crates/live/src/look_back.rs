//! Looks back at a departure that has ended: what the load balancers counted meanwhile. Nothing waits for this.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Live;
use decamp_aws::CountsOf;
use decamp_core::decide::{Counted, LookBack, Refusal};
use decamp_core::ids::TargetGroupArn;
use decamp_core::world::World as _;

/// How often CloudWatch is asked again at most.
const ASK_EVERY: Duration = Duration::from_secs(30);

impl Live {
    /// What the load balancers counted around a departure. CloudWatch publishes minutes late: this waits for the last one, for at most that
    /// long after it is over.
    pub async fn look_back(&self, asked: &LookBack, at_most: Duration) -> Vec<Counted> {
        sleep(asked.to.since(self.now())).await;
        let (began, every) = (Instant::now(), (at_most / 10).clamp(Duration::from_secs(1), ASK_EVERY));
        loop {
            let (counted, may_pass) = self.counted(asked).await;
            if asked.is_published(&counted) && !may_pass || at_most <= began.elapsed() + every {
                return counted;
            }
            sleep(every).await;
        }
    }

    /// What is published so far, and whether a failure may pass.
    async fn counted(&self, asked: &LookBack) -> (Vec<Counted>, bool) {
        let (mut all, mut may_pass) = (Vec::with_capacity(asked.groups.len()), false);
        for group in &asked.groups {
            let minutes = match self.load_balancers.balancer_of(group).await {
                Some(balancer) => {
                    let of = CountsOf { group: group.clone(), balancer };
                    self.signed.minutes(&of, asked.since, asked.to).await.map_err(|refusal| {
                        may_pass |= matches!(refusal, Refusal::Away(_) | Refusal::Throttled);
                        sentence(group, &refusal)
                    })
                }
                None => Err(format!("{}: it belongs to no single load balancer that is known", group.name())),
            };
            all.push(Counted { group: group.clone(), minutes: minutes.map_err(Into::into) });
        }
        (all, may_pass)
    }
}

fn sentence(group: &TargetGroupArn, refusal: &Refusal) -> String {
    let what =
        if matches!(refusal, Refusal::Denied(_)) { "; allow cloudwatch:GetMetricData, or unset DECAMP_LOOK_BACK" } else { "" };
    format!("{}: {refusal}{what}", group.name())
}
