//! What a node's drain tells about the allocations on it.

use std::sync::Arc;

use decamp_core::decide::{Allocation, ClientStatus, Drain, DrainMeta, DrainStatus, JobKind, LastDrain, Node, Phase};
use decamp_core::time::Time;

use crate::facts::{self, secs};

/// The calm world's node, with each allocation changed.
fn node(change: impl Fn(&mut Allocation)) -> Node {
    let mut node = facts::nomad().nodes.remove(0);
    let mut allocations = node.allocations.to_vec();
    allocations.iter_mut().for_each(change);
    node.allocations = allocations.into();
    node
}

fn stop_all_but_system_jobs(allocation: &mut Allocation) {
    if allocation.group.kind != JobKind::System {
        allocation.client = ClientStatus::Complete;
    }
}

fn last_drain(status: DrainStatus, phase: Phase) -> LastDrain {
    let meta = DrainMeta {
        action: "action".into(),
        phase,
        until: Time(0),
        longest_stop: secs(1),
        allocations: 1,
        warm: false,
        unproved: false,
    };
    LastDrain { status, started: None, updated: None, meta: Some(meta) }
}

#[test]
fn a_drain_can_complete_once_only_system_jobs_and_what_was_lost_before_are_left() {
    let drain = Drain { force_deadline: None, ignore_system_jobs: false };
    let running = Node { drain: Some(drain.clone()), ..node(|_| ()) };
    let stopped = Node { drain: Some(drain), ..node(stop_all_but_system_jobs) };
    let rows = [
        (&running, false, false),
        (&running, true, true),
        (&stopped, false, true),
        (&Node { drain: None, ..stopped.clone() }, false, false),
    ];
    for (node, lost_before, expected) in rows {
        assert_eq!(node.drain_can_complete(|_| lost_before), expected, "{node:?}");
    }
}

#[test]
fn work_that_is_wanted_after_a_drain_of_everything_has_landed() {
    let with = |node: Node, last_drain| Node { last_drain: Some(last_drain), ..node };
    let complete = DrainStatus::Complete;
    let rows = [
        (with(node(|_| ()), last_drain(complete, Phase::All)), true),
        (with(node(|_| ()), last_drain(complete, Phase::Services)), false),
        (with(node(|_| ()), last_drain(DrainStatus::Draining, Phase::All)), false),
        (with(node(|a| a.wanted = false), last_drain(complete, Phase::All)), false),
        (with(node(|a| a.client = ClientStatus::Complete), last_drain(complete, Phase::All)), false),
        (with(node(|a| Arc::make_mut(&mut a.group).csi_plugin = true), last_drain(complete, Phase::All)), false),
        (node(|_| ()), false),
    ];
    for (node, expected) in rows {
        assert_eq!(node.has_work_after_its_drain(), expected, "{node:?}");
    }
}
