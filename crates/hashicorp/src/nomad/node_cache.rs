//! A cache of nodes for clusters whose servers cannot filter. There every search lists all nodes, and few of them have changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire;
use decamp_core::ids::NodeId;

/// Nodes with their `ModifyIndex`.
#[derive(Debug, Default)]
pub(super) struct NodeCache(Mutex<HashMap<NodeId, (u64, wire::Node)>>);

impl NodeCache {
    /// A node that has not changed since it was read.
    pub(super) fn get(&self, id: NodeId, index: u64) -> Option<wire::Node> {
        self.lock().get(&id).filter(|(at, _)| *at == index && index != 0).map(|(_, node)| node.clone())
    }

    /// Stores the needed parts of a node.
    pub(super) fn put(&self, id: NodeId, node: &wire::Node) {
        self.lock().insert(id, (node.modify_index, node.for_cache()));
    }

    /// Removes nodes that are no longer listed.
    pub(super) fn retain(&self, listed: &[wire::Stub]) {
        let listed: HashSet<NodeId> = listed.iter().filter_map(|stub| stub.id.parse().ok()).collect();
        self.lock().retain(|id, _| listed.contains(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, (u64, wire::Node)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u64) -> wire::Node {
        wire::Node { modify_index: index, ..wire::Node::default() }
    }

    #[test]
    fn a_node_is_cached_until_it_changes() {
        let cache = NodeCache::default();
        cache.put(NodeId(1), &node(7));
        assert!(cache.get(NodeId(1), 7).is_some());
        assert!(cache.get(NodeId(1), 8).is_none() && cache.get(NodeId(2), 7).is_none());
        cache.put(NodeId(3), &node(0));
        assert!(cache.get(NodeId(3), 0).is_none(), "an index of 0 proves nothing");
    }

    #[test]
    fn only_listed_nodes_are_cached() {
        let cache = NodeCache::default();
        for number in 0..1_000 {
            cache.put(NodeId(number), &node(7));
            let listed =
                (number.saturating_sub(9)..=number).map(|n| wire::Stub { id: NodeId(n).to_string(), ..wire::Stub::default() });
            cache.retain(&listed.collect::<Vec<_>>());
            assert!(cache.lock().len() <= 10 && cache.get(NodeId(number), 7).is_some());
        }
    }
}
