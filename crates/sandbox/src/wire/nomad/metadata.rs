//! `/v1/client/metadata`: dynamic node metadata, which a server forwards to the node's agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::{Answer, AppState, Body, Request, shapes};
use crate::wire::query_options;
use crate::wire::query_options::{HttpError, QueryOptions};
use decamp_core::ids::NodeId;
use decamp_sim::nomad::{ApiError, Metadata, NodeRule};

/// The requested node, from the query or else from the body.
fn node(options: &QueryOptions, body: &Value) -> Result<NodeId, HttpError> {
    let named = options.text("node_id").or_else(|| body.get("NodeID").and_then(Value::as_str)).filter(|text| !text.is_empty());
    let named = named.ok_or_else(|| HttpError::new(400, "No local Node and node_id not provided"))?;
    named.parse().map_err(|_| HttpError::new(500, "index error: UUID must be 36 characters"))
}

/// The answer with a node's metadata. All of it is dynamic: no agent here has metadata in its configuration.
fn answer(metadata: &Metadata) -> Answer {
    let all = shapes::meta(metadata);
    Ok(Json(json!({ "Meta": all, "Dynamic": all, "Static": {} })).into_response())
}

pub(super) async fn read(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options);
    let metadata = shared.with(|models| {
        let cluster = models.cluster().ok_or_else(|| HttpError::new(404, ""))?;
        if !cluster.nomad.version().has_dynamic_metadata() {
            return Err(HttpError::from(ApiError::NoSuchRoute));
        }
        request.may_read(cluster.nomad)?;
        if request.token.node() < NodeRule::Read {
            return Err(ApiError::PermissionDenied.into());
        }
        Ok(cluster.nomad.agents_metadata(node(&request.options, &Value::Null)?)?)
    })?;
    answer(&metadata)
}

pub(super) async fn apply(State(shared): AppState, options: QueryOptions, body: Body) -> Answer {
    let body = query_options::json(&body)?;
    let request = Request::of(&shared, options);
    let id = node(&request.options, &body)?;
    let missing = || HttpError::new(400, "missing required Meta object");
    let keys = body.get("Meta").and_then(Value::as_object).filter(|map| !map.is_empty()).ok_or_else(missing)?;
    let keys: Vec<(Arc<str>, Option<Arc<str>>)> =
        keys.iter().map(|(key, value)| (key.as_str().into(), value.as_str().map(Arc::from))).collect();
    if let Some((key, _)) = keys.iter().find(|(key, _)| !is_key(key)) {
        return Err(HttpError::new(400, format!("{key:?} is invalid")));
    }
    let metadata = shared.with(|models| {
        let cluster = models.cluster().ok_or_else(|| HttpError::new(404, ""))?;
        Ok::<_, HttpError>(cluster.nomad.apply_metadata(&request.token, id, &keys)?)
    })?;
    answer(&metadata)
}

/// Whether a key is one or more identifiers separated by dots (facts/nomad.md 13.3).
fn is_key(key: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
    };
    key.split('.').all(identifier)
}
