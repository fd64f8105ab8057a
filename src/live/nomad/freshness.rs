//! Whether an answer is at least as new as our own last write to that node (S7).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::NodeId;

/// A leader that has lost its followers steps down within seconds. An answer that is older than our write long after it means
/// that the servers' state was restored from a snapshot: then the new, lower numbers are the truth.
const OLD_LEADERS_ARE_GONE: Duration = Duration::from_secs(30);

/// The index of our last write to each node.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    written: Mutex<HashMap<NodeId, (u64, Instant)>>,
}

impl Freshness {
    /// A write was accepted with this index. Nomad answers 0 to a write that changed nothing: that one proves nothing.
    pub(super) fn wrote(&self, node: NodeId, index: u64) {
        if index != 0 {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert(node, (index, Instant::now()));
        }
    }

    /// Whether a node that was read with this `ModifyIndex` has our last write in it.
    pub(super) fn is_fresh(&self, node: NodeId, index: u64) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&node) {
            Some((ours, at)) if index < *ours => {
                let restored = OLD_LEADERS_ARE_GONE <= at.elapsed();
                if restored {
                    written.remove(&node);
                }
                restored
            }
            Some(_) | None => true,
        }
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
}
