//! The simulated Consul's HTTP API: catalog, health and agents, as far as decamp and the `consul` command use them.

mod agent;
mod catalog;
mod shapes;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};

pub use self::shapes::service_id;
use super::query_options::{HttpError, QueryOptions, ReadResult};
use super::{Cluster, Shared};
use decamp_sim::consul::{ApiError, Consul, Read, Token, Version};

/// Consul's API, at `/v1/…`.
pub fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/catalog/nodes", get(catalog::nodes))
        .route("/v1/catalog/services", get(catalog::services))
        .route("/v1/catalog/service/{name}", get(catalog::service))
        .route("/v1/catalog/node/{name}", get(catalog::node))
        .route("/v1/catalog/node-services/{name}", get(catalog::node_services))
        .route("/v1/catalog/datacenters", get(agent::datacenters))
        .route("/v1/catalog/deregister", put(catalog::deregister))
        .route("/v1/health/node/{name}", get(catalog::health_of_node))
        .route("/v1/health/service/{name}", get(catalog::health_of_service))
        .route("/v1/health/state/{state}", get(catalog::health_in_state))
        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/acl/token/self", get(agent::token_self))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .with_state(Arc::clone(shared))
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
    fn of(shared: &Shared, options: QueryOptions) -> Result<Self, HttpError> {
        let has_namespaces = shared.look(|models| models.cluster().is_some_and(|cluster| cluster.consul.has_namespaces()));
        // Only Enterprise has namespaces and partitions. The model has no partitions.
        let missing = if has_namespaces { &["partition"][..] } else { &["ns", "partition"] };
        for &enterprise in missing {
            // The community edition refuses the parameter with any value, even `default`.
            if options.text(enterprise).is_some_and(|name| !name.is_empty()) {
                let what = if enterprise == "ns" { "Namespaces" } else { "Partitions" };
                let text = format!("Invalid query parameter: \"{enterprise}\" - {what} are a Consul Enterprise feature");
                return Err(HttpError::new(400, text));
            }
        }
        if options.text("dc").is_some_and(|dc| dc != "dc1") {
            return Err(HttpError::new(500, "No path to datacenter"));
        }
        let token = super::lock(&shared.tokens).consul(options.secret.as_deref());
        Ok(Self { options, token })
    }

    /// The requested namespace. `None` is the default one.
    fn namespace(&self) -> Option<&str> {
        self.options.text("ns").filter(|name| !name.is_empty() && *name != "default")
    }

    fn read(&self) -> Read {
        if self.options.is_stale() { Read::Stale } else { Read::Default }
    }
}

/// Checks whether a request may read lists over all nodes.
fn may_read(consul: &Consul, request: &Request) -> Result<(), HttpError> {
    if request.token == Token::Unknown {
        return Err(ApiError::AclNotFound.into());
    }
    if request.read() == Read::Default && !consul.has_leader() { Err(ApiError::NoLeader.into()) } else { Ok(()) }
}

/// Answers a read when there is something newer than the client's index.
async fn read(
    shared: &Shared,
    options: QueryOptions,
    mut look: impl FnMut(&mut Cluster<'_>, &Request, u64) -> ReadResult + Send,
) -> Result<Response, HttpError> {
    let request = Request::of(shared, options)?;
    let seen = request.options.wait_for(shared, |cluster, since| look(cluster, &request, since)).await?;
    let version = version(shared);
    let mut response = Json(seen.body).into_response();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    put("x-consul-index", &seen.index.to_string());
    put("x-consul-knownleader", if seen.known_leader { "true" } else { "false" });
    put("x-consul-lastcontact", "0");
    // Consul 1.11 and later say that ACLs left something out. The other two headers are those of current releases.
    if Version::V1_19_2 <= version {
        let consistent = if request.options.get("consistent").is_some() { "consistent" } else { "leader" };
        put("x-consul-effective-consistency", if request.read() == Read::Stale { "stale" } else { consistent });
        put("x-consul-query-backend", "blocking-query");
        if seen.filtered {
            put("x-consul-results-filtered-by-acls", "true");
        }
    }
    Ok(response)
}

fn version(shared: &Shared) -> Version {
    shared.look(|models| models.cluster().map_or(Version::V1_19_2, |cluster| cluster.consul.version()))
}

/// The version as the agent and its nodes show it.
fn version_text(version: Version) -> &'static str {
    match version {
        Version::V1_8_7 => "1.8.7",
        Version::V1_19_2 => "1.19.2",
    }
}

type AppState = State<Arc<Shared>>;
type Answer = Result<Response, HttpError>;
