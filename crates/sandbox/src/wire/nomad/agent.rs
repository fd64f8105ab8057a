//! What the agent that is asked says of itself, its servers and its region.

use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, Body, Of, Request, open, read};
use crate::wire::asked;
use crate::wire::asked::{Asked, Refused, Seen};
use decamp_sim::nomad::{ApiError, NodeRule, Nomad, Token};

const SERVER: &str = "53d87375-9950-2616-8320-b24735719558";

/// Asks the cluster for something that needs no leader.
fn ask<T>(shared: &super::Shared, asked: Asked, needs: NodeRule, look: impl FnOnce(&Nomad) -> T) -> Result<T, Refused> {
    let request = Request::of(shared, asked);
    if !request.token.is_valid() || request.token.node() < needs {
        return Err(ApiError::PermissionDenied.into());
    }
    let mut look = Some(look);
    let seen = shared.look(|stage| stage.cluster().and_then(|cluster| look.take().map(|look| look(cluster.nomad))));
    seen.ok_or_else(|| Refused::new(404, ""))
}

pub(super) async fn own(State(shared): Of, asked: Asked) -> Answer {
    let version = ask(&shared, asked, NodeRule::None, |nomad| nomad.version())?;
    Ok(open(json!({
        "config": { "Region": "global", "Datacenter": "dc1", "NodeName": "server1", "ACL": { "Enabled": false },
            "Version": { "Version": version.to_string(), "VersionPrerelease": "", "VersionMetadata": "", "Revision": "" } },
        "member": { "Name": "server1.global", "Addr": "127.0.0.1", "Port": 4648, "Status": "alive",
            "Tags": { "region": "global", "dc": "dc1", "role": "nomad", "build": version.to_string() } },
        "stats": { "nomad": { "server": "true", "leader": "true" } },
    })))
}

pub(super) async fn members(State(shared): Of, asked: Asked) -> Answer {
    let version = ask(&shared, asked, NodeRule::Read, |nomad| nomad.version())?;
    let tags = json!({ "region": "global", "expect": "1", "dc": "dc1", "vsn": "1", "id": SERVER, "port": "4647",
        "build": version.to_string(), "raft_vsn": "3", "rpc_addr": "127.0.0.1", "bootstrap": "1", "role": "nomad" });
    let server = json!({ "Addr": "127.0.0.1", "Name": "server1.global", "Port": 4648, "Status": "alive", "Tags": tags,
        "DelegateCur": 4, "DelegateMax": 5, "DelegateMin": 2, "ProtocolCur": 2, "ProtocolMax": 5, "ProtocolMin": 1 });
    Ok(open(json!({ "Members": [server], "ServerDC": "dc1", "ServerName": "server1", "ServerRegion": "global" })))
}

pub(super) async fn health(State(shared): Of, asked: Asked) -> Answer {
    let healthy = ask(&shared, asked, NodeRule::None, |nomad| nomad.has_leader()).unwrap_or(true);
    Ok(open(json!({ "server": { "ok": healthy, "message": "ok" } })))
}

pub(super) async fn leader(State(shared): Of, _: Asked) -> Answer {
    let has_leader = shared.look(|stage| stage.cluster().is_some_and(|cluster| cluster.nomad.has_leader()));
    if has_leader { Ok(open(Value::from("127.0.0.1:4647"))) } else { Err(Refused::new(500, "No cluster leader")) }
}

pub(super) async fn peers() -> Answer {
    Ok(open(json!(["127.0.0.1:4647"])))
}

pub(super) async fn regions() -> Answer {
    Ok(open(json!(["global"])))
}

pub(super) async fn namespaces(State(shared): Of, asked: Asked) -> Answer {
    read(&shared, asked, |cluster, request, since| {
        let mut names: Vec<&str> =
            cluster.nomad.groups().iter().map(|group| &*group.spec.group.namespace).chain(["default"]).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| request.token.reads_jobs(name));
        let row = |name: &str| json!({ "Name": name, "Description": "", "CreateIndex": 1, "ModifyIndex": 1 });
        Ok(Seen::newer(since, 1, || names.into_iter().map(row).collect()))
    })
    .await
}

pub(super) async fn autopilot(State(shared): Of, asked: Asked) -> Answer {
    let request = Request::of(&shared, asked.clone());
    if !matches!(request.token, Token::AclsOff | Token::Management) {
        return Err(ApiError::PermissionDenied.into());
    }
    let (version, healthy) = ask(&shared, asked, NodeRule::None, |nomad| (nomad.version(), nomad.has_leader()))?;
    let server = json!({ "ID": SERVER, "Name": "server1.global", "Address": "127.0.0.1:4647", "SerfStatus": "alive",
        "Version": version.to_string(), "Leader": healthy, "LastContact": "0s", "Healthy": healthy, "Voter": true });
    Ok(open(json!({ "FailureTolerance": 0, "Healthy": healthy, "Leader": SERVER, "Servers": [server], "Voters": [SERVER] })))
}

/// `POST /v1/search`: what begins with a text. The `nomad` command asks it to complete what a person types.
pub(super) async fn search(State(shared): Of, asked: Asked, body: Body) -> Answer {
    let body = asked::json(&body)?;
    let prefix = body.get("Prefix").and_then(Value::as_str).unwrap_or_default().to_owned();
    read(&shared, asked, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let nodes: Vec<String> = (nomad.nodes().filter(|_| NodeRule::Read <= request.token.node()))
            .map(|(_, node)| node.spec.id.to_string())
            .filter(|id| id.starts_with(&prefix))
            .collect();
        let allocations: Vec<String> = (nomad.allocations().iter())
            .filter(|a| a.listed && request.token.reads_jobs(&nomad.groups()[a.group.index()].spec.group.namespace))
            .map(|a| a.id.to_string())
            .filter(|id| id.starts_with(&prefix))
            .collect();
        Ok(Seen::newer(since, nomad.index(), || {
            json!({ "Matches": { "nodes": nodes, "allocs": allocations }, "Truncations": { "nodes": false, "allocs": false } })
        }))
    })
    .await
}
