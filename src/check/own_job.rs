//! Whether decamp, if it runs as a job on these nodes, survives the departure of any one of them.

use std::collections::BTreeSet;

use decamp_core::decide::{Layer, TaskGroup};
use decamp_core::ids::NodeId;

use super::Inspection;
use super::rules::{Notice, Verdict, notice};

/// If decamp runs as a job on these nodes, a copy must remain when any one of them leaves.
pub(super) fn own_job_notices(read: &Inspection<'_>) -> Vec<Notice> {
    let mut ours: Vec<(&TaskGroup, BTreeSet<NodeId>)> = Vec::new();
    for (_, seen) in &read.looks {
        let nodes = seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        for (node, allocation) in nodes.iter().flat_map(|n| n.allocations.iter().map(move |a| (n.id, a))) {
            let group = &*allocation.group;
            if allocation.client.is_over() || !is_decamp(group) {
                continue;
            }
            match ours.iter_mut().find(|(known, _)| known.title() == group.title()) {
                Some((_, on)) => drop(on.insert(node)),
                None => ours.push((group, BTreeSet::from([node]))),
            }
        }
    }
    let mut notices = Vec::new();
    for (group, on) in ours {
        let mut say = |texts: [&str; 4]| notices.push(notice(Verdict::Warning, Layer::Service, &group.title(), texts));
        if group.count < 2 {
            let why = "when its own node leaves, no decamp is left to drain it";
            say(["decamp in one copy", "two", why, "count = 2"]);
        } else if on.len() < 2 {
            let why = "when that host leaves, no decamp is left to drain it";
            say(["decamp on one host", "two hosts", why, "constraint { distinct_hosts = true }"]);
        }
    }
    notices
}

fn is_decamp(group: &TaskGroup) -> bool {
    let named = |name: &str| name == "decamp" || name.starts_with("decamp-");
    named(&group.job) || group.tasks.iter().any(|task| named(&task.name))
}
