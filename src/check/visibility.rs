//! Whether the tokens may read enough, and whether service discovery is asked and lists everything.

use decamp_core::decide::{Layer, Snapshot, TokenAccess};

use super::Inspection;
use super::rules::{Notice, Verdict, notice};
use crate::survey::is_controlled;

/// Whether the Nomad token may read everything.
pub(super) fn nomad_token_notices(read: &Inspection<'_>) -> Vec<Notice> {
    use Verdict::WouldNotWork;
    let mut notices = Vec::new();
    let access = read.looks.iter().find_map(|(_, seen)| seen.nomad_token.last());
    if let Some(TokenAccess::Insufficient(missing)) = access {
        let why = "an empty answer would prove nothing, so decamp would not drain the node";
        let line = "node { policy = \"write\" } namespace \"*\" { capabilities = [\"read-job\", \"csi-read-volume\"] }";
        notices.push(notice(WouldNotWork, Layer::Node, "the Nomad token", [missing, "a token that sees all", why, line]));
    }
    let blind = read.looks.iter().find_map(|(_, seen)| seen.nomad_token.blind().filter(|_| seen.nomad_token.last().is_none()));
    if let Some(blind) = blind {
        let why = format!("the token's policies cannot be read, so an empty answer of Nomad proves nothing: {}", blind.why);
        let line = "NOMAD_TOKEN=… # one that may read its own ACL policies";
        let texts = ["unknown", "a token that sees all", &why, line];
        notices.push(notice(Verdict::Unknown, Layer::Node, "the Nomad token", texts));
    }
    notices
}

/// Whether Consul is asked, and lists everything. `consul_is_reported`: the report names Consul as unavailable elsewhere.
pub(super) fn discovery_notices(read: &Inspection<'_>, consul_is_reported: bool) -> Vec<Notice> {
    use Verdict::Warning;
    let mut notices = Vec::new();
    let declared = read.looks.iter().any(|(_, seen)| {
        seen.history.known.iter().any(|k| k.group.services.iter().any(|s| s.provider == decamp_core::decide::Provider::Consul))
    });
    if !read.policy.consul && declared {
        let why = "jobs register services in Consul, and nothing would confirm that they are gone";
        notices.push(notice(Warning, Layer::Service, "Consul", ["switched off", "on", why, "DECAMP_CONSUL=true"]));
    }
    if read.policy.consul {
        let short = |seen: &Snapshot| seen.consul.last().is_some_and(|r| !r.whole) && !is_controlled(seen);
        if read.looks.iter().any(|(_, seen)| short(seen)) {
            let why = "it does not list every service that the allocations declare; such departures end as unconfirmed";
            let line = "node_prefix \"\" { policy = \"read\" } service_prefix \"\" { policy = \"read\" }";
            notices.push(notice(
                Warning,
                Layer::Service,
                "the Consul token",
                ["may not see all", "read on all nodes and services", why, line],
            ));
        }
        let blind = read.looks.iter().find_map(|(_, seen)| seen.consul.blind().filter(|_| seen.consul.last().is_none()));
        let nodes = read.looks.iter().any(|(_, seen)| seen.nomad.last().is_some_and(|n| !n.nodes.is_empty()));
        if let Some(blind) = blind.filter(|_| nodes && !consul_is_reported) {
            let why = format!("Consul cannot be seen: {}", blind.why);
            let line = "CONSUL_HTTP_ADDR=https://… or DECAMP_CONSUL=false";
            notices.push(notice(Verdict::Unknown, Layer::Service, "Consul", ["unknown", "its catalog", &why, line]));
        }
    }
    notices
}
