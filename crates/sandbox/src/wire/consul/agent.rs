//! The agent endpoints: the agent itself, the members, the token, the leader.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{Answer, AppState, Request, shapes, version, version_text};
use crate::wire::query_options::{HttpError, QueryOptions};
use decamp_sim::consul::{ApiError, Token};

/// Checks whether a token may read agents. In the model only a token that reads everything may.
fn may_read_agents(token: &Token) -> Result<(), HttpError> {
    match token {
        Token::AclsOff | Token::Full => Ok(()),
        Token::Unknown => Err(ApiError::AclNotFound.into()),
        Token::NodesOnly | Token::OneService(_) | Token::ServicesOnly | Token::Blank => Err(ApiError::PermissionDenied.into()),
    }
}

pub(super) async fn own(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options)?;
    may_read_agents(&request.token)?;
    let version = version_text(version(&shared));
    let body = json!({
        "Config": { "Datacenter": "dc1", "PrimaryDatacenter": "dc1", "NodeName": "consul1", "Server": true, "Version": version },
        "Member": { "Name": "consul1", "Addr": "127.0.0.1", "Port": 8301, "Status": 1, "Tags": { "dc": "dc1", "role": "consul" } },
        "Meta": { "consul-version": version },
        "Stats": { "consul": { "server": "true", "leader": "true" } },
    });
    Ok(Json(body).into_response())
}

/// The gossip members: the server, and the agent of each Nomad client. Status 1 is alive, 4 is failed.
pub(super) async fn members(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options)?;
    if request.token == Token::Unknown {
        return Err(ApiError::AclNotFound.into());
    }
    let reads = request.token.reads_nodes();
    let version = version_text(version(&shared));
    let member = |name: &str, address: &str, alive: bool, role: &str| {
        let tags =
            json!({ "dc": "dc1", "role": role, "build": format!("{version}:00000000"), "segment": "", "id": name, "vsn": "2" });
        json!({ "Name": name, "Addr": address, "Port": 8301, "Tags": tags, "Status": if alive { 1 } else { 4 },
            "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4 })
    };
    let rows: Vec<Value> = shared.look(|models| {
        let Some(cluster) = models.cluster().filter(|_| reads) else { return Vec::new() };
        let nodes = cluster.consul.nodes().iter().filter(|node| node.registered);
        let agents = nodes.map(|node| member(&node.name, &shapes::address(&cluster, node), !node.serf_critical, "node"));
        [member("consul1", "127.0.0.1", true, "consul")].into_iter().chain(agents).collect()
    });
    Ok(Json(rows).into_response())
}

pub(super) async fn token_self(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options)?;
    let policy = match &request.token {
        Token::Blank | Token::Unknown => return Err(HttpError::new(403, "token does not exist: ACL not found")),
        Token::AclsOff => return Err(HttpError::new(401, "ACL support disabled")),
        Token::Full => "global-read",
        Token::NodesOnly => "nodes-only",
        Token::OneService(_) => "one-service",
        Token::ServicesOnly => "services-only",
    };
    let body = json!({ "AccessorID": "d03866d6-764b-4617-e291-b89ef49cb404", "Description": "", "Local": false,
        "Policies": [{ "ID": "df37d692-765b-2075-d75b-7f3b60a2ff72", "Name": policy }], "CreateIndex": 29, "ModifyIndex": 29 });
    Ok(Json(body).into_response())
}

pub(super) async fn leader(State(shared): AppState) -> Answer {
    let has_leader = shared.look(|models| models.cluster().is_some_and(|cluster| cluster.consul.has_leader()));
    Ok(Json(if has_leader { "127.0.0.1:8300" } else { "" }).into_response())
}

pub(super) async fn peers() -> Answer {
    Ok(Json(json!(["127.0.0.1:8300"])).into_response())
}

pub(super) async fn datacenters() -> Answer {
    Ok(Json(json!(["dc1"])).into_response())
}
