//! The pretend Nomad's HTTP API: what decamp and the `nomad` command ask, in the shapes and words that real servers answered.

mod acl;
mod agent;
mod allocations;
mod jobs;
mod metadata;
mod nodes;
mod notes;
mod shapes;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::asked::{Asked, Look, Refused, Seen};
use super::{Cluster, Shared};
use decamp_sim::nomad::{ApiError, Nomad, Read, Token, Written};

/// Nomad's API, at `/v1/…`.
pub fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .merge(nodes())
        .merge(work())
        .merge(rest())
        .method_not_allowed_fallback(async || Refused::new(405, "Invalid method"))
        .with_state(Arc::clone(shared))
}

fn nodes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/client/metadata", get(metadata::read).post(metadata::apply))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/node/{id}", get(nodes::one))
        .route("/v1/node/{id}/allocations", get(nodes::allocations))
        .route("/v1/node/{id}/drain", put(nodes::drain).post(nodes::drain))
        .route("/v1/node/{id}/eligibility", put(nodes::eligibility).post(nodes::eligibility))
        .route("/v1/node/{id}/purge", put(nodes::purge).post(nodes::purge))
}

fn work() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/allocations", get(allocations::list))
        .route("/v1/allocation/{id}", get(allocations::one))
        .route("/v1/allocation/{id}/services", get(allocations::services))
        .route("/v1/services", get(allocations::all_services))
        .route("/v1/service/{name}", get(allocations::service))
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/job/{id}", get(jobs::one).delete(jobs::stop))
        .route("/v1/job/{id}/allocations", get(jobs::allocations))
        .route("/v1/job/{id}/summary", get(jobs::summary))
        .route("/v1/job/{id}/scale", get(jobs::scale_status).put(jobs::scale).post(jobs::scale))
        .route("/v1/job/{id}/evaluations", get(jobs::nothing))
        .route("/v1/job/{id}/deployments", get(jobs::nothing))
        .route("/v1/job/{id}/deployment", get(jobs::no_deployment))
        .route("/v1/job/{id}/actions", get(jobs::nothing))
}

fn rest() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/acl/token/self", get(acl::token_self))
        .route("/v1/acl/policies", get(acl::policies))
        .route("/v1/acl/policy/{name}", get(acl::policy))
        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/agent/health", get(agent::health))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .route("/v1/regions", get(agent::regions))
        .route("/v1/namespaces", get(agent::namespaces))
        .route("/v1/operator/autopilot/health", get(agent::autopilot))
        .route("/v1/search", post(agent::search).put(agent::search))
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::new(error.status(), error.text())
    }
}

/// One request: who asks, and what.
#[derive(Debug)]
struct Request {
    asked: Asked,
    token: Token,
}

impl Request {
    fn of(shared: &Shared, asked: Asked) -> Self {
        let token = super::lock(&shared.tokens).nomad(asked.secret.as_deref());
        Self { asked, token }
    }

    fn read(&self) -> Read {
        if self.asked.is_stale() { Read::Stale } else { Read::Default }
    }

    /// Whether a read of any kind is answered.
    fn may_read(&self, nomad: &mut Nomad) -> Result<(), Refused> {
        if self.asked.text("region").is_some_and(|region| region != "global") {
            return Err(Refused::new(500, "No path to region"));
        }
        Ok(nomad.may_read(&self.token, self.read())?)
    }

    /// The namespaces that it asks for: one, or all.
    fn wants(&self, namespace: &str) -> bool {
        match self.asked.text("namespace") {
            None => namespace == "default",
            Some("*") => true,
            Some(one) => namespace == one,
        }
    }
}

/// Answers a read, once there is something newer than the request knows.
async fn read(
    shared: &Shared,
    asked: Asked,
    mut look: impl FnMut(&mut Cluster<'_>, &Request, u64) -> Look + Send,
) -> Result<Response, Refused> {
    let request = Request::of(shared, asked);
    let looks = |cluster: &mut Cluster<'_>, since: u64| {
        request.may_read(cluster.nomad)?;
        let known_leader = cluster.nomad.has_leader();
        Ok(look(cluster, &request, since)?.map(|seen| Seen { known_leader, ..seen }))
    };
    let answer = request.asked.wait_for(shared, looks).await;
    Ok(match answer {
        Ok(seen) => (headers(seen.index, seen.known_leader), Json(seen.body)).into_response(),
        Err(refused) => match refused.index {
            Some(index) => (headers(index, true), refused).into_response(),
            None => return Err(refused),
        },
    })
}

fn headers(index: u64, known_leader: bool) -> [(HeaderName, String); 3] {
    [
        (HeaderName::from_static("x-nomad-index"), index.to_string()),
        (HeaderName::from_static("x-nomad-knownleader"), known_leader.to_string()),
        (HeaderName::from_static("x-nomad-lastcontact"), "0".to_owned()),
    ]
}

/// Does a write, and answers with its index.
fn write(
    shared: &Shared,
    asked: Asked,
    act: impl FnOnce(&mut Cluster<'_>, &Token) -> Result<Written, Refused>,
    body: impl FnOnce(u64) -> Value,
) -> Result<Response, Refused> {
    let request = Request::of(shared, asked);
    let written = shared.with(|stage| match stage.cluster() {
        Some(mut cluster) => act(&mut cluster, &request.token),
        None => Err(Refused::new(404, "")),
    })?;
    let index = [(HeaderName::from_static("x-nomad-index"), written.index.to_string())];
    Ok((index, Json(body(written.index))).into_response())
}

/// What a write to a node or a job answers.
fn node_written(index: u64) -> Value {
    json!({ "EvalCreateIndex": 0, "EvalIDs": null, "Index": index, "NodeModifyIndex": index })
}

/// An answer that needs neither a leader nor a right.
fn open(body: Value) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], Json(body)).into_response()
}

type Of = State<Arc<Shared>>;
type Body = Bytes;
type Answer = Result<Response, Refused>;
