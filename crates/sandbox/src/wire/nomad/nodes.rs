//! `/v1/nodes` and `/v1/node/…`: list nodes, read one, drain it, set its eligibility, purge it.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{
    Answer, AppState, Body, Request, allocations as shapes_of_allocations, drain_meta, node_written, read, shapes, write,
};
use crate::wire::filter::{Filter, FilterError};
use crate::wire::query_options;
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use crate::wire::{Cluster, Shared};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;
use decamp_sim::nomad::{ApiError, DrainSpec, NodeRule, Nomad};

/// Parses the id of a node. Nomad answers 500 to an invalid or abbreviated id.
fn id(text: &str) -> Result<NodeId, HttpError> {
    text.parse().map_err(|_| HttpError::new(500, "node lookup failed: index error: UUID must be 36 characters"))
}

fn may_read_nodes(request: &Request) -> Result<(), HttpError> {
    if request.token.node() < NodeRule::Read { Err(ApiError::PermissionDenied.into()) } else { Ok(()) }
}

pub(super) fn filter_error(error: FilterError) -> HttpError {
    match error {
        FilterError::Syntax(why) => {
            HttpError::new(400, format!("failed to create result paginator: failed to read filter expression: {why}"))
        }
        FilterError::Missing(path) => {
            HttpError::new(400, format!("failed to read result page: error finding value in datum: /{path}: couldn't find key"))
        }
    }
}

pub(super) async fn list(State(shared): AppState, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        may_read_nodes(request)?;
        let nomad = &*cluster.nomad;
        // Nomad before 1.3 ignores the filter. Since the releases that fixed the drain, a missing key is not an error.
        let filter = request.options.text("filter").filter(|_| nomad.version().filters());
        let filter = filter.map(Filter::read).transpose().map_err(filter_error)?;
        let lenient = nomad.version().completes_on_client_status();
        let prefix = request.options.text("prefix").unwrap_or_default();
        let index = nomad.nodes().map(|(_, node)| node.index).max().unwrap_or(1);
        let mut rows: Vec<(NodeId, Value)> = Vec::new();
        for (_, node) in nomad.nodes() {
            let fits = match &filter {
                Some(filter) => filter.fits(&shapes::node(node, nomad.version(), began), lenient).map_err(filter_error)?,
                None => true,
            };
            if fits && node.spec.id.to_string().starts_with(prefix) {
                rows.push((node.spec.id, shapes::stub(node, nomad.version())));
            }
        }
        rows.sort_by_key(|(id, _)| *id);
        Ok(ReadAnswer::newer(since, index, || rows.into_iter().map(|(_, row)| row).collect()))
    })
    .await
}

pub(super) async fn one(State(shared): AppState, Path(text): Path<String>, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        may_read_nodes(request)?;
        let node = id(&text)?;
        one_of(cluster.nomad, node, since, began)
    })
    .await
}

fn one_of(nomad: &Nomad, id: NodeId, since: u64, began: Time) -> Result<Option<ReadAnswer>, HttpError> {
    let number = nomad.node_number(id).ok_or_else(|| HttpError::not_found("node not found", nomad.index()))?;
    let node = nomad.node(number);
    Ok(ReadAnswer::newer(since, node.index, || shapes::node(node, nomad.version(), began)))
}

pub(super) async fn allocations(State(shared): AppState, Path(text): Path<String>, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        may_read_nodes(request)?;
        let node = id(&text)?;
        let nomad = &*cluster.nomad;
        // Nomad answers 200 with an empty list for an unknown node. Without allocations the index is the global one.
        let state = nomad.node_number(node).map(|number| nomad.node(number));
        let listed = state.map(|state| state.allocations.as_slice()).unwrap_or_default();
        let index = state.filter(|_| !listed.is_empty()).map_or(nomad.index(), |state| state.allocations_index);
        Ok(ReadAnswer::newer(since, index, || {
            let seen = listed.iter().filter(|n| {
                let group = nomad.allocation(**n).group;
                request.token.reads_jobs(&nomad.groups()[group.index()].spec.group.namespace)
            });
            seen.map(|number| shapes_of_allocations::whole(nomad, *number, began)).collect()
        }))
    })
    .await
}

/// The node of a write. A `NodeID` in the body overrides the path.
fn written_to(path: &str, body: &Value) -> Result<NodeId, HttpError> {
    id(body.get("NodeID").and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(path))
}

pub(super) async fn drain(State(shared): AppState, Path(text): Path<String>, options: QueryOptions, body: Body) -> Answer {
    let body = query_options::json(&body)?;
    let node = written_to(&text, &body)?;
    let spec = match body.get("DrainSpec") {
        None | Some(Value::Null) => None,
        Some(spec) => Some(read_spec(spec)?),
    };
    let mark_eligible = body.get("MarkEligible").and_then(Value::as_bool).unwrap_or(false);
    let note = drain_meta::read(body.get("Meta"));
    let act = |cluster: &mut Cluster<'_>, token: &_| match spec {
        Some(spec) => Ok(cluster.nomad.set_drain(token, node, spec, note)?),
        None => Ok(cluster.nomad.cancel_drain(token, node, mark_eligible)?),
    };
    write(&shared, options, act, node_written)
}

/// Reads a drain spec. Nomad accepts a deadline only as a whole number of nanoseconds, and refuses `6e11`.
fn read_spec(spec: &Value) -> Result<DrainSpec, HttpError> {
    let deadline_ns = match spec.get("Deadline") {
        None | Some(Value::Null) => 0,
        Some(deadline) => deadline.as_i64().ok_or_else(|| {
            let kind = if deadline.is_string() { "string".to_owned() } else { format!("number {deadline}") };
            let field = "into Go struct field DrainSpec.DrainSpec.Deadline of type time.Duration";
            HttpError::new(400, format!("json: cannot unmarshal {kind} {field}"))
        })?,
    };
    let ignore_system_jobs = spec.get("IgnoreSystemJobs").and_then(Value::as_bool).unwrap_or(false);
    Ok(DrainSpec { deadline_ns, ignore_system_jobs })
}

pub(super) async fn eligibility(State(shared): AppState, Path(text): Path<String>, options: QueryOptions, body: Body) -> Answer {
    let body = query_options::json(&body)?;
    let node = written_to(&text, &body)?;
    let eligible = match body.get("Eligibility").and_then(Value::as_str) {
        Some("eligible") => true,
        Some("ineligible") => false,
        other => return Err(HttpError::new(500, format!("invalid scheduling eligibility {:?}", other.unwrap_or_default()))),
    };
    write(&shared, options, |cluster, token| Ok(cluster.nomad.set_eligibility(token, node, eligible)?), node_written)
}

pub(super) async fn purge(State(shared): State<Arc<Shared>>, Path(text): Path<String>, options: QueryOptions) -> Answer {
    let node = id(&text)?;
    let body = |index| json!({ "EvalCreateIndex": 0, "EvalIDs": null, "Index": index, "NodeModifyIndex": index });
    write(&shared, options, |cluster, token| Ok(cluster.nomad.purge_node(token, node)?), body)
}
