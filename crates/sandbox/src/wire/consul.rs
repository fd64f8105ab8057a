//! The pretend Consul's HTTP API: the catalog, health and agents, as decamp and the `consul` command ask for them.

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
use super::asked::{Asked, Look, Refused};
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
    fn of(shared: &Shared, asked: Asked) -> Result<Self, Refused> {
        let has_namespaces = shared.look(|stage| stage.cluster().is_some_and(|cluster| cluster.consul.has_namespaces()));
        // Only Enterprise has them; the model has no partitions.
        let missing = if has_namespaces { &["partition"][..] } else { &["ns", "partition"] };
        for &enterprise in missing {
            // The community edition refuses whatever is asked for, the default one as well.
            if asked.text(enterprise).is_some_and(|name| !name.is_empty()) {
                let what = if enterprise == "ns" { "Namespaces" } else { "Partitions" };
                let text = format!("Invalid query parameter: \"{enterprise}\" - {what} are a Consul Enterprise feature");
                return Err(Refused::new(400, text));
            }
        }
        if asked.text("dc").is_some_and(|dc| dc != "dc1") {
            return Err(Refused::new(500, "No path to datacenter"));
        }
        let token = super::lock(&shared.tokens).consul(asked.secret.as_deref());
        Ok(Self { asked, token })
    }

    /// The namespace that is asked; `None` is the default one.
    fn namespace(&self) -> Option<&str> {
        self.asked.text("ns").filter(|name| !name.is_empty() && *name != "default")
    }

    fn read(&self) -> Read {
        if self.asked.is_stale() { Read::Stale } else { Read::Default }
    }
}

/// Whether a list over all nodes is answered.
fn may_read(consul: &Consul, request: &Request) -> Result<(), Refused> {
    if request.token == Token::Unknown {
        return Err(ApiError::AclNotFound.into());
    }
    if request.read() == Read::Default && !consul.has_leader() { Err(ApiError::NoLeader.into()) } else { Ok(()) }
}

/// Answers a read, once there is something newer than the request knows.
async fn read(
    shared: &Shared,
    asked: Asked,
    mut look: impl FnMut(&mut Cluster<'_>, &Request, u64) -> Look + Send,
) -> Result<Response, Refused> {
    let request = Request::of(shared, asked)?;
    let seen = request.asked.wait_for(shared, |cluster, since| look(cluster, &request, since)).await?;
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
    // Since 1.11 an answer says that something was left out; the other two are today's.
    if Version::V1_19_2 <= version {
        let consistent = if request.asked.get("consistent").is_some() { "consistent" } else { "leader" };
        put("x-consul-effective-consistency", if request.read() == Read::Stale { "stale" } else { consistent });
        put("x-consul-query-backend", "blocking-query");
        if seen.filtered {
            put("x-consul-results-filtered-by-acls", "true");
        }
    }
    Ok(response)
}

fn version(shared: &Shared) -> Version {
    shared.look(|stage| stage.cluster().map_or(Version::V1_19_2, |cluster| cluster.consul.version()))
}

/// As the agent and its nodes say it.
fn version_text(version: Version) -> &'static str {
    match version {
        Version::V1_8_7 => "1.8.7",
        Version::V1_19_2 => "1.19.2",
    }
}

type Of = State<Arc<Shared>>;
type Answer = Result<Response, Refused>;
