//! Whether an answer is at least as new as our own last write to that node (S7).

use std::time::Duration;

use decamp_core::ids::NodeId;
use decamp_net::lately::Lately;

/// A leader that has lost its followers steps down within seconds. An answer that is older than our write long after it means
/// that the servers' state was restored from a snapshot: then the new, lower numbers are the truth.
const OLD_LEADERS_ARE_GONE: Duration = Duration::from_secs(30);

/// The index of our last write to each node.
#[derive(Debug)]
pub(super) struct Freshness {
    written: Lately<NodeId, u64>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { written: Lately::for_a(OLD_LEADERS_ARE_GONE) }
    }
}

impl Freshness {
    /// A write was accepted with this index. Nomad answers 0 to a write that changed nothing: that one proves nothing.
    pub(super) fn wrote(&self, node: NodeId, index: u64) {
        if index != 0 {
            self.written.put(node, index);
        }
    }

    /// Whether a node that was read with this `ModifyIndex` has our last write in it.
    pub(super) fn is_fresh(&self, node: NodeId, index: u64) -> bool {
        self.written.get(&node).is_none_or(|ours| ours <= index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_older_than_our_write_is_stale_until_no_old_leader_can_be_left() {
        let (node, other) = (NodeId(1), NodeId(2));
        let freshness = Freshness::default();
        freshness.wrote(node, 40);
        freshness.wrote(node, 0);
        assert!(!freshness.is_fresh(node, 39));
        assert!(freshness.is_fresh(node, 40));
        assert!(freshness.is_fresh(other, 1));
        tokio::time::advance(OLD_LEADERS_ARE_GONE).await;
        assert!(freshness.is_fresh(node, 39), "the servers were restored from a snapshot");
        assert!(freshness.is_fresh(node, 38), "and stay so");
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_are_gone_are_forgotten() {
        let freshness = Freshness::default();
        for node in 0..10_000 {
            freshness.wrote(NodeId(node), 40);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(freshness.written.held(), 30);
    }
}
