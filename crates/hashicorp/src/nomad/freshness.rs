//! Whether an answer is at least as new as decamp's own last write to that node (S7).

use std::time::Duration;

use decamp_core::ids::NodeId;
use decamp_net::ttl_map::TtlMap;

/// A leader that has lost its followers steps down within seconds. If an answer is still older than the write long after it, the servers'
/// state was restored from a snapshot, and the new, lower indexes are correct.
const OLD_LEADERS_ARE_GONE: Duration = Duration::from_secs(30);

/// The index of decamp's last write to each node.
#[derive(Debug)]
pub(super) struct Freshness {
    written: TtlMap<NodeId, u64>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { written: TtlMap::with_ttl(OLD_LEADERS_ARE_GONE) }
    }
}

impl Freshness {
    /// Notes that a write was accepted with this index. Nomad answers 0 to a write that changed nothing, which proves nothing.
    pub(super) fn wrote(&self, node: NodeId, index: u64) {
        if index != 0 {
            self.written.put(node, index);
        }
    }

    /// Whether a node with this `ModifyIndex` includes the last write.
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
    async fn old_writes_are_forgotten() {
        let freshness = Freshness::default();
        for node in 0..10_000 {
            freshness.wrote(NodeId(node), 40);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(freshness.written.held(), 30);
    }
}
