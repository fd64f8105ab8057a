//! Waits for changes of a node's allocations by blocking queries, or by polling every few seconds if there are too many of them.

use std::time::Duration;

use futures_util::future::select_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Client, translate, wire};
use decamp_core::decide::{Node, Nomad, Unseen};
use decamp_core::ids::NodeId;
use decamp_net::http::{RequestFailure, may_block};

/// The longest blocking query. It is short, because Nomad continues to block after the client has disconnected. A change of the node itself
/// (a cancelled drain) does not wake it, so this is also the longest time until such a change is noticed.
const WAIT: Duration = Duration::from_secs(20);
/// The most by which disks that are left delay the next request. Allocations may be stopping meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The least time between two requests about a node, however fast its allocations change.
const LEAST_INTERVAL: Duration = Duration::from_millis(250);

/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Client {
    /// Waits until one of these nodes differs from `known`, and returns all of them; `None` when the time is up. A failed request does not
    /// end the wait.
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

    /// Waits until the node changes, without a time limit.
    async fn watch_node(&self, known: &Node) -> Node {
        loop {
            let began = Instant::now();
            match self.newer(known).await {
                Ok(Some(node)) if node != *known => return node,
                Ok(Some(_) | None) => {}
                Err(_) => sleep(AFTER_FAILURE).await,
            }
            sleep_until(began + LEAST_INTERVAL).await;
        }
    }

    /// One request of a watch: the node after a possible change; `None` if it does not exist.
    async fn newer(&self, known: &Node) -> Result<Option<Node>, Unseen> {
        let allocations = self.newer_allocations(known).await?;
        let Some((node, answer)) = self.node(known.id).await? else { return Ok(None) };
        let ahead = self.ahead(&answer);
        let node = translate::node(known.id, &node, &allocations, ahead).map_err(RequestFailure::unseen)?;
        self.follow_data(node, &allocations).await.map(Some)
    }

    async fn newer_allocations(&self, known: &Node) -> Result<Vec<wire::Allocation>, Unseen> {
        // A list of stubs cannot be watched, because its index is that of all allocations in the cluster.
        if self.lists.is_long(known.id) {
            sleep(pause(known.id, 0)).await;
            return self.list(known.id, &known.version).await;
        }
        let Some(index) = self.allocations_index.take(&known.id).filter(|&index| index != 0) else {
            // Without an index the list is read at once. The next request waits for a change after this answer.
            return self.list(known.id, &known.version).await;
        };
        // The list does not change when a replacement on another node has its disk, or when a volume is released. Each costs a call, so
        // that more of them are polled less often.
        let left = known.data_reads();
        if 0 < left {
            sleep(pause(known.id, index) + Duration::from_secs(left.into()).min(LONGEST_PAUSE)).await;
            return self.list(known.id, &known.version).await;
        }
        // For a node without allocations the index is that of all allocations in the cluster, which changes constantly
        // (facts/nomad.md 6.2).
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

/// Two to three seconds, different for each node, so that not all are polled at the same time.
fn pause(id: NodeId, index: u64) -> Duration {
    let spread = (id.0 ^ id.0 >> 64 ^ u128::from(index)) % 1_000;
    Duration::from_millis(2_000 + u64::try_from(spread).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_blocking_queries_a_node_is_polled_every_two_to_three_seconds() {
        let pauses: Vec<u128> = (0..100).map(|i| pause(NodeId(i * 0x1234_5678_9abc_def1), 7).as_millis()).collect();
        assert!(pauses.iter().all(|p| (2_000..3_000).contains(p)));
        assert!(pauses.iter().any(|p| p != &pauses[0]), "all at the same time");
    }
}
