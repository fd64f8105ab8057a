//! Nodes that were read before, for clusters whose servers cannot filter: there every look lists all, and few have changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire;
use decamp_core::ids::NodeId;

/// Nodes with the index at which each was so.
#[derive(Debug, Default)]
pub(super) struct Before(Mutex<HashMap<NodeId, (u64, wire::Node)>>);

impl Before {
    /// A node that has not changed since it was read.
    pub(super) fn node(&self, id: NodeId, index: u64) -> Option<wire::Node> {
        self.lock().get(&id).filter(|(at, _)| *at == index && index != 0).map(|(_, node)| node.clone())
    }

    /// Keeps what is needed of a node.
    pub(super) fn keep(&self, id: NodeId, node: &wire::Node) {
        self.lock().insert(id, (node.modify_index, node.for_keeps()));
    }

    /// Forgets what is not listed any more: nobody will ask for it again.
    pub(super) fn forget_all_but(&self, listed: &[wire::Stub]) {
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
    fn a_node_is_known_until_it_changes() {
        let before = Before::default();
        before.keep(NodeId(1), &node(7));
        assert!(before.node(NodeId(1), 7).is_some());
        assert!(before.node(NodeId(1), 8).is_none() && before.node(NodeId(2), 7).is_none());
        before.keep(NodeId(3), &node(0));
        assert!(before.node(NodeId(3), 0).is_none(), "an index of 0 says nothing");
    }

    #[test]
    fn only_what_is_listed_is_remembered() {
        let before = Before::default();
        for number in 0..1_000 {
            before.keep(NodeId(number), &node(7));
            let listed =
                (number.saturating_sub(9)..=number).map(|n| wire::Stub { id: NodeId(n).to_string(), ..wire::Stub::default() });
            before.forget_all_but(&listed.collect::<Vec<_>>());
            assert!(before.lock().len() <= 10 && before.node(NodeId(number), 7).is_some());
        }
    }
}
