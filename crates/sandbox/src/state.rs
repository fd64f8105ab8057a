//! The part of `GET /sandbox/state` that is not AWS: the nodes, and the results of the clients' requests.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::requests::Requests;
use decamp_sim::nomad::Nomad;

pub(super) fn shown(nomad: &Nomad, requests: &Requests) -> Map<String, Value> {
    let mut by_kind: BTreeMap<String, u64> = BTreeMap::new();
    for failure in &requests.failures {
        *by_kind.entry(format!("{:?}", failure.cause)).or_default() += 1;
    }
    let last: Vec<Value> = (requests.failures.iter().rev().take(20))
        .map(|f| json!({ "at": f.at, "how": format!("{:?}", f.cause), "instance": f.instance, "allocation": f.allocation.map(|n| nomad.allocation(n).id.to_string()) }))
        .collect();
    let nodes: Vec<Value> = nomad
        .nodes()
        .map(|(_, node)| {
            let allocation = |number: &decamp_sim::event::AllocationNumber| {
                let allocation = nomad.allocation(*number);
                let group = &nomad.groups()[allocation.group.index()];
                json!({ "id": allocation.id.to_string(), "name": allocation.name(group), "wanted": allocation.wanted,
                    "status": allocation.client, "runs": allocation.is_alive() })
            };
            let allocations: Vec<Value> = node.allocations.iter().map(allocation).collect();
            json!({ "id": node.spec.id.to_string(), "name": &*node.spec.name, "instance": node.spec.instance, "status": node.status,
                "eligible": node.eligible, "draining": node.drain.is_some(), "allocations": allocations })
        })
        .collect();
    let requests =
        json!({ "sent": requests.sent, "failed": requests.failures.len(), "failed_by_kind": by_kind, "last_failures": last });
    [("nodes".to_owned(), Value::from(nodes)), ("requests".to_owned(), requests)].into_iter().collect()
}
