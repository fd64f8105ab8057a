//! `/v1/client/metadata`: dynamic node metadata, which a server passes on to the node's agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::{Answer, Body, Of, Request, shapes};
use crate::wire::asked;
use crate::wire::asked::{Asked, Refused};
use decamp_core::ids::NodeId;
use decamp_sim::nomad::{ApiError, Metadata, NodeRule};

/// The node that is asked for: in the body, or in the query, which wins.
fn node(asked: &Asked, body: &Value) -> Result<NodeId, Refused> {
    let named = asked.text("node_id").or_else(|| body.get("NodeID").and_then(Value::as_str)).filter(|text| !text.is_empty());
    let named = named.ok_or_else(|| Refused::new(400, "No local Node and node_id not provided"))?;
    named.parse().map_err(|_| Refused::new(500, "index error: UUID must be 36 characters"))
}

/// Everything was written by this endpoint: no agent here has metadata in its configuration.
fn answer(metadata: &Metadata) -> Answer {
    let all = shapes::meta(metadata);
    Ok(Json(json!({ "Meta": all, "Dynamic": all, "Static": {} })).into_response())
}

pub(super) async fn read(State(shared): Of, asked: Asked) -> Answer {
    let request = Request::of(&shared, asked);
    let metadata = shared.with(|stage| {
        let cluster = stage.cluster().ok_or_else(|| Refused::new(404, ""))?;
        if !cluster.nomad.version().has_dynamic_metadata() {
            return Err(Refused::from(ApiError::NoSuchRoute));
        }
        request.may_read(cluster.nomad)?;
        if request.token.node() < NodeRule::Read {
            return Err(ApiError::PermissionDenied.into());
        }
        Ok(cluster.nomad.agents_metadata(node(&request.asked, &Value::Null)?)?)
    })?;
    answer(&metadata)
}

pub(super) async fn apply(State(shared): Of, asked: Asked, body: Body) -> Answer {
    let body = asked::json(&body)?;
    let request = Request::of(&shared, asked);
    let id = node(&request.asked, &body)?;
    let missing = || Refused::new(400, "missing required Meta object");
    let keys = body.get("Meta").and_then(Value::as_object).filter(|map| !map.is_empty()).ok_or_else(missing)?;
    let keys: Vec<(Arc<str>, Option<Arc<str>>)> =
        keys.iter().map(|(key, value)| (key.as_str().into(), value.as_str().map(Arc::from))).collect();
    if let Some((key, _)) = keys.iter().find(|(key, _)| !is_key(key)) {
        return Err(Refused::new(400, format!("{key:?} is invalid")));
    }
    let metadata = shared.with(|stage| {
        let cluster = stage.cluster().ok_or_else(|| Refused::new(404, ""))?;
        Ok::<_, Refused>(cluster.nomad.apply_metadata(&request.token, id, &keys)?)
    })?;
    answer(&metadata)
}

/// One or more identifiers with dots between them (facts/nomad.md 13.3).
fn is_key(key: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
    };
    key.split('.').all(identifier)
}
