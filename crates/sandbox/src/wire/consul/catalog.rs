//! `/v1/catalog/…` and `/v1/health/…`.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{Answer, AppState, Request, may_read, read, shapes};
use crate::wire::Cluster;
use crate::wire::filter::{Filter, FilterError};
use crate::wire::query_options;
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use decamp_sim::consul::{NodeState, Token, Version};

/// The nodes in the catalog.
fn listed<'a>(cluster: &'a Cluster<'_>) -> impl Iterator<Item = &'a NodeState> {
    cluster.consul.nodes().iter().filter(|node| node.registered)
}

/// The index of a list over all nodes.
fn newest(cluster: &Cluster<'_>) -> u64 {
    cluster.consul.nodes().iter().map(|node| node.index).max().unwrap_or(1)
}

/// An answer. If the request has a token, the answer says whether ACLs left something out.
fn read_answer(
    cluster: &Cluster<'_>,
    request: &Request,
    since: u64,
    index: u64,
    hides: bool,
    body: impl FnOnce() -> Value,
) -> Option<ReadAnswer> {
    let seen = ReadAnswer::newer(since, index, body)?;
    let filtered = hides && request.token != Token::Blank && Version::V1_19_2 <= cluster.consul.version();
    Some(ReadAnswer { known_leader: cluster.consul.has_leader(), filtered, ..seen })
}

pub(super) async fn nodes(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        may_read(cluster.consul, request)?;
        let rows: Vec<Value> = if request.token.reads_nodes() {
            listed(cluster).map(|node| shapes::node(cluster, node)).collect()
        } else {
            Vec::new()
        };
        let rows = match request.options.text("filter").map(Filter::read).transpose() {
            Ok(None) => rows,
            Ok(Some(filter)) => {
                let fits = rows.into_iter().map(|row| Ok((filter.fits(&row, false)?, row))).collect::<Result<Vec<_>, _>>();
                fits.map_err(filter_error)?.into_iter().filter(|(fits, _)| *fits).map(|(_, row)| row).collect()
            }
            Err(why) => return Err(filter_error(why)),
        };
        Ok(read_answer(cluster, request, since, newest(cluster), !request.token.reads_nodes(), || Value::from(rows)))
    })
    .await
}

fn filter_error(error: FilterError) -> HttpError {
    let why = match error {
        FilterError::Syntax(why) => why,
        FilterError::Missing(path) => format!("Selector {path:?} is not valid"),
    };
    HttpError::new(500, format!("Failed to create boolean expression evaluator: {why}"))
}

pub(super) async fn services(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        may_read(cluster.consul, request)?;
        let all = |token: &Token| -> BTreeMap<String, Vec<&str>> {
            let services = listed(cluster).flat_map(|node| shapes::services(cluster, node, token, request.namespace()));
            services.map(|service| (service.name.to_string(), Vec::new())).collect()
        };
        let (shown, whole) = (all(&request.token), all(&Token::Full));
        let hides = shown.len() < whole.len();
        Ok(read_answer(cluster, request, since, newest(cluster), hides, || json!(shown)))
    })
    .await
}

pub(super) async fn service(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        may_read(cluster.consul, request)?;
        let mut rows = Vec::new();
        for node in listed(cluster).filter(|_| request.token.reads_nodes()) {
            let services = shapes::services(cluster, node, &request.token, request.namespace());
            rows.extend(services.iter().filter(|s| *s.name == *name).map(|service| shapes::of_service(cluster, node, service)));
        }
        let hides = !request.token.reads_nodes() || !request.token.reads_service(&name);
        Ok(read_answer(cluster, request, since, newest(cluster), hides, || Value::from(rows)))
    })
    .await
}

pub(super) async fn node_services(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let answer = cluster.consul.node_services(&name, &request.token, request.read())?;
        let body = || match cluster.consul.node_number(&name).filter(|_| answer.body.node) {
            None => json!({ "Node": null, "Services": null }),
            Some(number) => {
                let node = cluster.consul.node(number);
                let address = shapes::address(cluster, node);
                let services = shapes::services(cluster, node, &request.token, request.namespace());
                let rows: Vec<Value> = services.iter().map(|service| shapes::of_node(service, &address, node.index)).collect();
                json!({ "Node": shapes::node(cluster, node), "Services": rows })
            }
        };
        let seen = ReadAnswer::newer(since, answer.index, body);
        Ok(seen.map(|seen| ReadAnswer { known_leader: answer.known_leader, filtered: answer.filtered, ..seen }))
    })
    .await
}

pub(super) async fn node(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let answer = cluster.consul.node_services(&name, &request.token, request.read())?;
        let body = || match cluster.consul.node_number(&name).filter(|_| answer.body.node) {
            None => Value::Null,
            Some(number) => {
                let node = cluster.consul.node(number);
                let address = shapes::address(cluster, node);
                // This old endpoint checks the right to read a service by the service's id, so only a token that reads all services
                // sees any.
                let services = match request.token {
                    Token::AclsOff | Token::Full => shapes::services(cluster, node, &request.token, request.namespace()),
                    Token::NodesOnly | Token::OneService(_) | Token::ServicesOnly | Token::Blank | Token::Unknown => Vec::new(),
                };
                json!({ "Node": shapes::node(cluster, node), "Services": shapes::by_id(&services, &address, node.index) })
            }
        };
        let seen = ReadAnswer::newer(since, answer.index, body);
        Ok(seen.map(|seen| ReadAnswer { known_leader: answer.known_leader, filtered: answer.filtered, ..seen }))
    })
    .await
}

pub(super) async fn health_of_node(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let answer = cluster.consul.node_services(&name, &request.token, request.read())?;
        let body = || match cluster.consul.node_number(&name).filter(|_| answer.body.node) {
            None => json!([]),
            Some(number) => {
                let node = cluster.consul.node(number);
                Value::from(shapes::checks(
                    node,
                    request.namespace().is_none(),
                    &shapes::services(cluster, node, &request.token, request.namespace()),
                ))
            }
        };
        let seen = ReadAnswer::newer(since, answer.index, body);
        Ok(seen.map(|seen| ReadAnswer { known_leader: answer.known_leader, filtered: answer.filtered, ..seen }))
    })
    .await
}

pub(super) async fn health_of_service(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        may_read(cluster.consul, request)?;
        let only_passing = request.options.get("passing").is_some_and(|value| value != "false");
        let mut rows = Vec::new();
        for node in listed(cluster).filter(|_| request.token.reads_nodes()) {
            let services = shapes::services(cluster, node, &request.token, request.namespace());
            let found = services.iter().filter(|s| *s.name == *name).map(|service| shapes::health(cluster, node, service));
            rows.extend(found.filter(|(_, passing)| *passing || !only_passing).map(|(row, _)| row));
        }
        let hides = !request.token.reads_nodes() || !request.token.reads_service(&name);
        Ok(read_answer(cluster, request, since, newest(cluster), hides, || Value::from(rows)))
    })
    .await
}

pub(super) async fn health_in_state(State(shared): AppState, Path(state): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        may_read(cluster.consul, request)?;
        let of = |token: &Token| {
            let nodes = listed(cluster).filter(|_| token.reads_nodes());
            let checks = nodes.flat_map(|node| {
                shapes::checks(node, request.namespace().is_none(), &shapes::services(cluster, node, token, request.namespace()))
            });
            checks.filter(|check| state == "any" || check["Status"] == *state).collect::<Vec<Value>>()
        };
        let (shown, whole) = (of(&request.token), of(&Token::Full));
        Ok(read_answer(cluster, request, since, newest(cluster), shown.len() < whole.len(), || Value::from(shown)))
    })
    .await
}

/// `PUT /v1/catalog/deregister`: one service, or without `ServiceID` and `CheckID` the whole node.
pub(super) async fn deregister(State(shared): AppState, options: QueryOptions, body: Bytes) -> Answer {
    let request = Request::of(&shared, options)?;
    let body = query_options::json(&body)?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let Some(name) = text("Node") else { return Err(HttpError::new(500, "Must provide node")) };
    let (service, check) = (text("ServiceID"), text("CheckID"));
    shared.with(|models| {
        let Some(cluster) = models.cluster() else { return Err(HttpError::new(404, "")) };
        cluster.consul.may_deregister(&request.token)?;
        let Some(number) = cluster.consul.node_number(&name) else { return Ok(()) };
        match (service, check) {
            (None, None) => cluster.consul.deregister_node(number, cluster.log),
            (None, Some(_)) => {}
            (Some(id), _) => {
                let entry = cluster.consul.node(number).entries().find(|entry| shapes::service_id(&cluster, entry) == id);
                if let Some((allocation, service)) = entry.map(|entry| (entry.allocation, entry.service)) {
                    cluster.consul.deregister_service(number, allocation, service, cluster.log);
                }
            }
        }
        Ok(())
    })?;
    Ok(Json(true).into_response())
}
