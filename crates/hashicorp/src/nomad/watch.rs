//! Waits for news of a node's allocations by blocking queries, or by asking every few seconds where those are too many.

use std::time::Duration;

use futures_util::future::select_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Client, translate, wire};
use decamp_core::decide::{Node, Nomad, Unseen};
use decamp_core::ids::NodeId;
use decamp_net::http::{Failure, may_block};

/// The longest blocking query. Nomad goes on blocking after we hang up, so it is short; and a change of the node itself
/// (a cancelled drain) does not wake it, so it is how late such a change is noticed at most.
const WAIT: Duration = Duration::from_secs(20);

/// No node is asked more often than this, however fast its allocations change.
const PACE: Duration = Duration::from_millis(250);

/// How long to leave a server alone that could not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Client {
    /// Waits until one of these nodes shows something else than in `known`, and answers all of them; `None` when the time is up.
    /// A node that cannot be seen is no news.
    pub async fn watch(&self, known: &Nomad, until: Instant) -> Option<Nomad> {
        if known.nodes.is_empty() {
            sleep_until(until).await;
            return None;
        }
        let watches = known.nodes.iter().enumerate().map(|(place, node)| {
            Box::pin(async move {
                let news = tokio::time::timeout_at(until, self.watch_node(node)).await.ok()?;
                Some((place, news))
            })
        });
        let (news, _, _) = select_all(watches).await;
        let (place, node) = news?;
        let mut nomad = known.clone();
        nomad.nodes[place] = node;
        Some(nomad)
    }

    /// Waits until the node shows something else, for ever if need be.
    async fn watch_node(&self, known: &Node) -> Node {
        loop {
            let began = Instant::now();
            match self.newer(known).await {
                Ok(Some(node)) if node != *known => return node,
                Ok(Some(_) | None) => {}
                Err(_) => sleep(AFTER_FAILURE).await,
            }
            sleep_until(began + PACE).await;
        }
    }

    /// One turn: the node as it is after something may have changed; `None` if it is not there.
    async fn newer(&self, known: &Node) -> Result<Option<Node>, Unseen> {
        let allocations = self.newer_allocations(known).await?;
        let Some((node, answer)) = self.node(known.id).await? else { return Ok(None) };
        let ahead = self.ahead(&answer);
        translate::node(known.id, &node, &allocations, ahead).map(Some).map_err(Failure::unseen)
    }

    async fn newer_allocations(&self, known: &Node) -> Result<Vec<wire::Allocation>, Unseen> {
        // What is read as stubs cannot be waited for: their index is that of all allocations in the cluster.
        if self.lists.is_long(known.id) {
            sleep(pause(known.id, 0)).await;
            return self.list(known.id, &known.version).await;
        }
        let Some(index) = self.allocations_index.take(&known.id).filter(|&index| index != 0) else {
            // Nothing to go on from: this answer is compared with what is known, and the next one goes on from it.
            return self.list(known.id, &known.version).await;
        };
        // Without allocations the index is that of all allocations in the cluster, which changes all the time (facts/nomad.md 6.2).
        let permit = if known.allocations.is_empty() { None } else { may_block() };
        match permit {
            Some(_held) => self.list_newer(known.id, &known.version, index, WAIT).await,
            None => {
                sleep(pause(known.id, index)).await;
                self.list(known.id, &known.version).await
            }
        }
    }
}

/// Two to three seconds, different for each node, so that not all ask at the same time.
fn pause(id: NodeId, index: u64) -> Duration {
    let spread = (id.0 ^ id.0 >> 64 ^ u128::from(index)) % 1_000;
    Duration::from_millis(2_000 + u64::try_from(spread).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_block_asks_every_two_to_three_seconds() {
        let pauses: Vec<u128> = (0..100).map(|i| pause(NodeId(i * 0x1234_5678_9abc_def1), 7).as_millis()).collect();
        assert!(pauses.iter().all(|p| (2_000..3_000).contains(p)));
        assert!(pauses.iter().any(|p| p != &pauses[0]), "all at the same time");
    }
}
