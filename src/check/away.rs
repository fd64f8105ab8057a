//! Systems that could not be seen at all: each is said once, and nothing that depends on it is guessed.

use decamp_core::decide::{Snapshot, System, Unseen};
use serde::Serialize;

use super::Read;

/// A system that no look showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Away {
    pub(crate) system: System,
    pub(crate) why: String,
    /// What is unknown because of it.
    pub(crate) unknown: &'static str,
    /// What to set, or to look at.
    pub(crate) line: String,
}

/// All of them. What one instance's look missed and another's showed is said with that instance.
pub(super) fn away(read: &Read<'_>) -> Vec<Away> {
    let mut all = Vec::new();
    if let Some(why) = unseen_by_all(read, |seen| (seen.nomad.last().is_some(), seen.nomad.blind().map(|blind| &blind.why))) {
        let (unknown, line) = match why {
            Unseen::Denied(_) => {
                ("nodes, jobs, services, the ingress, the longest stop", "NOMAD_TOKEN=… # one that may read nodes and jobs")
            }
            Unseen::Away(_) | Unseen::Throttled | Unseen::Stale => (
                "nodes, jobs, services, the ingress, the longest stop",
                "NOMAD_ADDR=https://… # and NOMAD_CACERT for a private CA",
            ),
        };
        all.push(Away { system: System::Nomad, why: why.to_string(), unknown, line: line.to_owned() });
    }
    let nodes = read.looks.iter().any(|(_, seen)| seen.nomad.last().is_some_and(|nomad| !nomad.nodes.is_empty()));
    let consul = unseen_by_all(read, |seen| (seen.consul.last().is_some(), seen.consul.blind().map(|blind| &blind.why)));
    if let Some(why) = consul.filter(|_| nodes && read.policy.consul) {
        let line = "CONSUL_HTTP_ADDR=https://… # or DECAMP_CONSUL=false where nothing registers in Consul";
        let unknown = "whether its catalog lists what runs, and whether the token sees all of it";
        all.push(Away { system: System::Consul, why: why.to_string(), unknown, line: line.to_owned() });
    }
    if let Err(why) = &read.scanned
        && read.looks.iter().flat_map(|(_, seen)| &seen.balancers).all(|balancer| balancer.sight.last().is_none())
    {
        let line = "# allow elasticloadbalancing:Describe* to decamp".to_owned();
        all.push(Away { system: System::LoadBalancers, why: why.to_string(), unknown: "target groups and their delays", line });
    }
    all
}

/// Why no look showed a part, if none did.
fn unseen_by_all<'a>(read: &'a Read<'_>, part: impl Fn(&'a Snapshot) -> (bool, Option<&'a Unseen>)) -> Option<&'a Unseen> {
    let looks: Vec<(bool, Option<&Unseen>)> = read.looks.iter().map(|(_, seen)| part(seen)).collect();
    if looks.iter().any(|(seen, _)| *seen) {
        return None;
    }
    looks.into_iter().find_map(|(_, why)| why)
}
