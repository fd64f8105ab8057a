//! Systems that no look could read. The report names each once and guesses nothing that depends on it.

use decamp_core::decide::{Snapshot, System, Unseen};
use serde::Serialize;

use super::Inspection;

/// A system that no look could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unavailable {
    pub(crate) system: System,
    pub(crate) why: String,
    /// The facts that are unknown because of it.
    pub(crate) unknown: &'static str,
    /// The setting or permission to change.
    pub(crate) line: String,
}

/// All unavailable systems. A system that was read for one instance and not for another is reported with that instance.
pub(super) fn unavailable(read: &Inspection<'_>) -> Vec<Unavailable> {
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
        all.push(Unavailable { system: System::Nomad, why: why.to_string(), unknown, line: line.to_owned() });
    }
    let nodes = read.looks.iter().any(|(_, seen)| seen.nomad.last().is_some_and(|nomad| !nomad.nodes.is_empty()));
    let consul = unseen_by_all(read, |seen| (seen.consul.last().is_some(), seen.consul.blind().map(|blind| &blind.why)));
    if let Some(why) = consul.filter(|_| nodes && read.policy.consul) {
        let line = "CONSUL_HTTP_ADDR=https://… # or DECAMP_CONSUL=false where nothing registers in Consul";
        let unknown = "whether its catalog lists what runs, and whether the token sees all of it";
        all.push(Unavailable { system: System::Consul, why: why.to_string(), unknown, line: line.to_owned() });
    }
    if let Err(why) = &read.scanned
        && read.looks.iter().flat_map(|(_, seen)| &seen.balancers).all(|balancer| balancer.sight.last().is_none())
    {
        let line = "# allow elasticloadbalancing:Describe* to decamp".to_owned();
        all.push(Unavailable {
            system: System::LoadBalancers,
            why: why.to_string(),
            unknown: "target groups and their delays",
            line,
        });
    }
    all
}

/// Why a part could not be read, if no look read it.
fn unseen_by_all<'a>(read: &'a Inspection<'_>, part: impl Fn(&'a Snapshot) -> (bool, Option<&'a Unseen>)) -> Option<&'a Unseen> {
    let looks: Vec<(bool, Option<&Unseen>)> = read.looks.iter().map(|(_, seen)| part(seen)).collect();
    if looks.iter().any(|(seen, _)| *seen) {
        return None;
    }
    looks.into_iter().find_map(|(_, why)| why)
}
