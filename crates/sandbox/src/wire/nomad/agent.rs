//! The agent endpoints: the agent itself, its servers and its region.

use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, AppState, Body, Request, open, read};
use crate::wire::query_options;
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use decamp_sim::nomad::{ApiError, NodeRule, Nomad, Token};

const SERVER: &str = "53d87375-9950-2616-8320-b24735719558";

/// Reads something from the cluster that needs no leader.
fn ask<T>(
    shared: &super::Shared,
    options: QueryOptions,
    needs: NodeRule,
    look: impl FnOnce(&Nomad) -> T,
) -> Result<T, HttpError> {
    let request = Request::of(shared, options);
    if !request.token.is_valid() || request.token.node() < needs {
        return Err(ApiError::PermissionDenied.into());
    }
    let mut look = Some(look);
    let seen = shared.look(|models| models.cluster().and_then(|cluster| look.take().map(|look| look(cluster.nomad))));
    seen.ok_or_else(|| HttpError::new(404, ""))
}

pub(super) async fn own(State(shared): AppState, options: QueryOptions) -> Answer {
    let version = ask(&shared, options, NodeRule::None, |nomad| nomad.version())?;
    Ok(open(json!({
        "config": { "Region": "global", "Datacenter": "dc1", "NodeName": "server1", "ACL": { "Enabled": false },
            "Version": { "Version": version.to_string(), "VersionPrerelease": "", "VersionMetadata": "", "Revision": "" } },
        "member": { "Name": "server1.global", "Addr": "127.0.0.1", "Port": 4648, "Status": "alive",
            "Tags": { "region": "global", "dc": "dc1", "role": "nomad", "build": version.to_string() } },
        "stats": { "nomad": { "server": "true", "leader": "true" } },
    })))
}

pub(super) async fn members(State(shared): AppState, options: QueryOptions) -> Answer {
    let version = ask(&shared, options, NodeRule::Read, |nomad| nomad.version())?;
    let tags = json!({ "region": "global", "expect": "1", "dc": "dc1", "vsn": "1", "id": SERVER, "port": "4647",
        "build": version.to_string(), "raft_vsn": "3", "rpc_addr": "127.0.0.1", "bootstrap": "1", "role": "nomad" });
    let server = json!({ "Addr": "127.0.0.1", "Name": "server1.global", "Port": 4648, "Status": "alive", "Tags": tags,
        "DelegateCur": 4, "DelegateMax": 5, "DelegateMin": 2, "ProtocolCur": 2, "ProtocolMax": 5, "ProtocolMin": 1 });
    Ok(open(json!({ "Members": [server], "ServerDC": "dc1", "ServerName": "server1", "ServerRegion": "global" })))
}

pub(super) async fn health(State(shared): AppState, options: QueryOptions) -> Answer {
    let healthy = ask(&shared, options, NodeRule::None, |nomad| nomad.has_leader()).unwrap_or(true);
    Ok(open(json!({ "server": { "ok": healthy, "message": "ok" } })))
}

pub(super) async fn leader(State(shared): AppState, _: QueryOptions) -> Answer {
    let has_leader = shared.look(|models| models.cluster().is_some_and(|cluster| cluster.nomad.has_leader()));
    if has_leader { Ok(open(Value::from("127.0.0.1:4647"))) } else { Err(HttpError::new(500, "No cluster leader")) }
}

pub(super) async fn peers() -> Answer {
    Ok(open(json!(["127.0.0.1:4647"])))
}

pub(super) async fn regions() -> Answer {
    Ok(open(json!(["global"])))
}

pub(super) async fn namespaces(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let mut names: Vec<&str> =
            cluster.nomad.groups().iter().map(|group| &*group.spec.group.namespace).chain(["default"]).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| request.token.reads_jobs(name));
        let row = |name: &str| json!({ "Name": name, "Description": "", "CreateIndex": 1, "ModifyIndex": 1 });
        Ok(ReadAnswer::newer(since, 1, || names.into_iter().map(row).collect()))
    })
    .await
}

pub(super) async fn autopilot(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options.clone());
    if !matches!(request.token, Token::AclsOff | Token::Management) {
        return Err(ApiError::PermissionDenied.into());
    }
    let (version, healthy) = ask(&shared, options, NodeRule::None, |nomad| (nomad.version(), nomad.has_leader()))?;
    let server = json!({ "ID": SERVER, "Name": "server1.global", "Address": "127.0.0.1:4647", "SerfStatus": "alive",
        "Version": version.to_string(), "Leader": healthy, "LastContact": "0s", "Healthy": healthy, "Voter": true });
    Ok(open(json!({ "FailureTolerance": 0, "Healthy": healthy, "Leader": SERVER, "Servers": [server], "Voters": [SERVER] })))
}

/// `POST /v1/search`: ids that begin with a text. The `nomad` command uses it to complete abbreviated ids.
pub(super) async fn search(State(shared): AppState, options: QueryOptions, body: Body) -> Answer {
    let body = query_options::json(&body)?;
    let prefix = body.get("Prefix").and_then(Value::as_str).unwrap_or_default().to_owned();
    read(&shared, options, |cluster, request, since| {
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
        Ok(ReadAnswer::newer(since, nomad.index(), || {
            json!({ "Matches": { "nodes": nodes, "allocs": allocations }, "Truncations": { "nodes": false, "allocs": false } })
        }))
    })
    .await
}
