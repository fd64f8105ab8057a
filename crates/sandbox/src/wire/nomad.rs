//! The simulated Nomad's HTTP API, as far as decamp and the `nomad` command use it. Answers have the format and the texts of real servers.

mod acl;
mod agent;
mod allocations;
mod drain_meta;
mod jobs;
mod metadata;
mod nodes;
mod shapes;
mod task_events;
mod volumes;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::query_options::{HttpError, QueryOptions, ReadAnswer, ReadResult};
use super::{Cluster, Shared};
use decamp_sim::nomad::{ApiError, Nomad, Read, Token, Written};

/// Nomad's API, at `/v1/…`.
pub fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .merge(nodes())
        .merge(work())
        .merge(rest())
        .method_not_allowed_fallback(async || HttpError::new(405, "Invalid method"))
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
        .route("/v1/volume/csi/{id}", get(volumes::one))
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

impl From<ApiError> for HttpError {
    fn from(error: ApiError) -> Self {
        Self::new(error.status(), error.text())
    }
}

/// A request, with its token.
#[derive(Debug)]
struct Request {
    options: QueryOptions,
    token: Token,
}

impl Request {
    fn of(shared: &Shared, options: QueryOptions) -> Self {
        let token = super::lock(&shared.tokens).nomad(options.secret.as_deref());
        Self { options, token }
    }

    fn read(&self) -> Read {
        if self.options.is_stale() { Read::Stale } else { Read::Default }
    }

    /// Checks whether the request may read at all.
    fn may_read(&self, nomad: &mut Nomad) -> Result<(), HttpError> {
        if self.options.text("region").is_some_and(|region| region != "global") {
            return Err(HttpError::new(500, "No path to region"));
        }
        Ok(nomad.may_read(&self.token, self.read())?)
    }

    /// Whether the request is for this namespace. It names one namespace, or all.
    fn wants(&self, namespace: &str) -> bool {
        match self.options.text("namespace") {
            None => namespace == "default",
            Some("*") => true,
            Some(one) => namespace == one,
        }
    }
}

/// Answers a read when there is something newer than the client's index.
async fn read(
    shared: &Shared,
    options: QueryOptions,
    mut look: impl FnMut(&mut Cluster<'_>, &Request, u64) -> ReadResult + Send,
) -> Result<Response, HttpError> {
    let request = Request::of(shared, options);
    let looks = |cluster: &mut Cluster<'_>, since: u64| {
        request.may_read(cluster.nomad)?;
        let known_leader = cluster.nomad.has_leader();
        Ok(look(cluster, &request, since)?.map(|seen| ReadAnswer { known_leader, ..seen }))
    };
    let answer = request.options.wait_for(shared, looks).await;
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

/// Makes a write and answers with its index.
fn write(
    shared: &Shared,
    options: QueryOptions,
    act: impl FnOnce(&mut Cluster<'_>, &Token) -> Result<Written, HttpError>,
    body: impl FnOnce(u64) -> Value,
) -> Result<Response, HttpError> {
    let request = Request::of(shared, options);
    let written = shared.with(|models| match models.cluster() {
        Some(mut cluster) => act(&mut cluster, &request.token),
        None => Err(HttpError::new(404, "")),
    })?;
    let index = [(HeaderName::from_static("x-nomad-index"), written.index.to_string())];
    Ok((index, Json(body(written.index))).into_response())
}

/// The answer to a write to a node or a job.
fn node_written(index: u64) -> Value {
    json!({ "EvalCreateIndex": 0, "EvalIDs": null, "Index": index, "NodeModifyIndex": index })
}

/// An answer that needs neither a leader nor a token.
fn open(body: Value) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], Json(body)).into_response()
}

type AppState = State<Arc<Shared>>;
type Body = Bytes;
type Answer = Result<Response, HttpError>;
