//! Several Nomad nodes that report the same instance id: which of them are set aside (ADR 0005).

use super::NodeStatus;
use crate::ids::NodeId;

/// A node that reports the instance's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// Its id.
    pub id: NodeId,
    /// Its status in Nomad.
    pub status: NodeStatus,
    /// Whether it is ineligible, its last drain was decamp's, or its metadata has a note of decamp's.
    pub taken_out: bool,
}

/// Splits them into the nodes that are the instance, and those that are set aside because they are down while another is ready.
///
/// A node that decamp drains, or has begun to take out of service, is never set aside, even if its agent dies. Its processes may still run,
/// and the other node with the instance's id may be the row of an agent that died a moment ago. decamp first makes every node of the
/// instance ineligible.
#[must_use]
pub fn set_aside(twins: &[Twin]) -> (Vec<NodeId>, Vec<NodeId>) {
    let one_is_ready = twins.iter().any(|twin| twin.status == NodeStatus::Ready);
    let aside = |twin: &Twin| one_is_ready && twin.status == NodeStatus::Down && !twin.taken_out;
    let ids = |is_aside: bool| twins.iter().filter(|twin| aside(twin) == is_aside).map(|twin| twin.id).collect();
    (ids(false), ids(true))
}
