//! The Consul adapter: when a list counts as whole, whose registrations count, and when they are critical.

use std::time::Duration;

use decamp_core::decide::Unseen;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::{self, Reply, Request, Server};

const NODE: &str = "ip-10-0-0-1";
const ALLOCATION: &str = "15e52398-8b67-143d-4ae7-7107d64e0001";

fn of(service: &str, more: &str) -> Value {
    json!({ "ID": format!("_nomad-task-{ALLOCATION}-group-web-{service}-http{more}"), "Service": format!("{service}{more}") })
}

/// A Consul with one node that has these services and checks.
fn consul(services: Value, checks: Value, version: &'static str) -> impl Fn(&Request) -> Reply + Send {
    let meta = if version.is_empty() { json!({}) } else { json!({ "consul-version": version }) };
    let body = json!({ "Node": { "Node": NODE, "Meta": meta }, "Services": services }).to_string();
    move |request| match request.path.split('?').next().unwrap_or_default() {
        "/v1/catalog/node-services/ip-10-0-0-1" => {
            let reply = Reply::json(body.clone()).with("X-Consul-Index", 7);
            if version.is_empty() { reply } else { reply.with("X-Consul-Query-Backend", "blocking-query") }
        }
        "/v1/health/node/ip-10-0-0-1" => Reply::json(checks.to_string()),
        _ => Reply::text(403, "Permission denied"),
    }
}

#[tokio::test]
async fn only_registrations_of_allocations_and_their_sidecars_count() {
    let services = json!([
        of("web", ""), of("web", "-sidecar-proxy"),
        { "ID": "_nomad-client-evzrdhvjjplgsnbvmawc", "Service": "nomad-client" },
        { "ID": "_nomad-check-1", "Service": "x" }, { "ID": "redis", "Service": "redis" },
    ]);
    let server = Server::start(consul(services, json!([]), "1.19.2")).await;
    let seen = server::consul(&[&server.address], Some("t")).look(NODE).await.expect("it is there");
    let names: Vec<&str> = seen.services.iter().map(|s| &*s.service).collect();
    assert_eq!(names, ["web", "web-sidecar-proxy"]);
    assert!(seen.services.iter().all(|s| s.allocation.to_string() == ALLOCATION && !s.critical));
    assert!(seen.whole && !seen.agent_dead);
    assert!(server.requests().iter().all(|r| r.path.contains("consistent")));
}

#[tokio::test]
async fn services_that_neither_nomad_nor_consul_registered_were_registered_by_hand() {
    let services = json!([
        of("web", ""), { "ID": "_nomad-client-evzrdhvjjplgsnbvmawc", "Service": "nomad-client" },
        { "ID": "consul", "Service": "consul" }, { "ID": "edge-1", "Service": "edge" }, { "ID": "exporter", "Service": "exporter" },
    ]);
    let failing = json!([{ "CheckID": "c", "ServiceID": "exporter", "Status": "critical" }]);
    let seen = async |checks: Value| {
        let server = Server::start(consul(services.clone(), checks, "1.19.2")).await;
        server::consul(&[&server.address], Some("t")).look(NODE).await.expect("it is there")
    };
    let named = |seen: &decamp_core::decide::Registrations| -> Vec<(String, bool)> {
        seen.by_hand.iter().map(|one| (one.service.to_string(), one.critical)).collect()
    };
    assert_eq!(named(&seen(failing).await), [("edge".to_owned(), false), ("exporter".to_owned(), true)]);
    let maintenance = json!([{ "CheckID": "_node_maintenance", "ServiceID": "", "Status": "critical" }]);
    assert_eq!(named(&seen(maintenance).await), [("edge".to_owned(), true), ("exporter".to_owned(), true)]);
}

/// Consul Enterprise: a request for one namespace does not list the services of another.
fn enterprise(request: &Request) -> Reply {
    let in_team = request.path.contains("ns=team");
    let path = request.path.split('?').next().unwrap_or_default();
    let node = json!({ "Node": NODE, "Meta": { "consul-version": "1.19.2+ent" } });
    let serf = json!([{ "CheckID": "serfHealth", "ServiceID": "", "Status": "critical" }]);
    match (path, in_team) {
        ("/v1/catalog/node-services/ip-10-0-0-1", true) => {
            Reply::json(json!({ "Node": node, "Services": [of("api", ""), { "ID": "edge", "Service": "edge" }] }).to_string())
        }
        ("/v1/catalog/node-services/ip-10-0-0-1", false) => {
            Reply::json(json!({ "Node": node, "Services": [of("web", "")] }).to_string())
        }
        // The checks of the node itself are in no namespace.
        ("/v1/health/node/ip-10-0-0-1", true) => Reply::json("[]".to_owned()),
        ("/v1/health/node/ip-10-0-0-1", false) => Reply::json(serf.to_string()),
        _ => Reply::text(403, "Permission denied"),
    }
    .with("X-Consul-Query-Backend", "blocking-query")
}

#[tokio::test]
async fn only_declared_namespaces_are_queried() {
    let server = Server::start(enterprise).await;
    let client = server::consul(&[&server.address], Some("t"));
    let seen = client.look(NODE).await.expect("it is there");
    assert_eq!(seen.services.iter().map(|s| &*s.service).collect::<Vec<_>>(), ["web"]);
    assert!(server.requests().iter().all(|request| !request.path.contains("ns=")), "the community edition rejects it");
    let seen = client.look_in(NODE, &["team".into()]).await.expect("it is there");
    let names: Vec<_> = seen.services.iter().map(|s| (&*s.service, s.critical)).collect();
    assert_eq!(names, [("web", true), ("api", true)], "a check of the node applies to all namespaces");
    assert_eq!(seen.by_hand.iter().map(|one| (&*one.service, one.critical)).collect::<Vec<_>>(), [("edge", true)]);
    assert!(seen.whole && seen.agent_dead);
}

#[tokio::test]
async fn for_a_consul_without_namespaces_a_namespace_is_empty() {
    let plain = consul(json!([of("web", "")]), json!([]), "1.19.2");
    let server = Server::start(move |request: &Request| match request.path.contains("ns=") {
        true => Reply::text(400, "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature"),
        false => plain(request),
    })
    .await;
    let seen = server::consul(&[&server.address], Some("t")).look_in(NODE, &["team".into()]).await.expect("it is there");
    assert_eq!(seen.services.iter().map(|s| &*s.service).collect::<Vec<_>>(), ["web"]);
    assert!(seen.whole);
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_is_not_empty() {
    let plain = consul(json!([of("web", "")]), json!([]), "1.19.2");
    let server = Server::start(move |request: &Request| match request.path.contains("ns=") {
        true => Reply::text(403, "Permission denied"),
        false => plain(request),
    })
    .await;
    let look = server::consul(&[&server.address], Some("t")).look_in(NODE, &["team".into()]).await;
    assert!(matches!(look, Err(Unseen::Denied(_))), "{look:?}");
}

#[tokio::test]
async fn an_answer_is_whole_only_if_consul_would_report_filtering() {
    let filtered = |services: Value| {
        let answer = consul(services, json!([]), "1.19.2");
        move |r: &Request| answer(r).with("X-Consul-Results-Filtered-By-ACLs", "true")
    };
    let whole = |address: String, token: Option<&'static str>| async move {
        server::consul(&[&address], token).look(NODE).await.expect("it is there").whole
    };
    let new = Server::start(consul(json!([]), json!([]), "1.19.2")).await;
    assert!(whole(new.address.clone(), Some("t")).await);
    assert!(!whole(new.address.clone(), None).await, "filtering for the anonymous token is not reported");
    assert!(!whole(new.address.clone(), Some(" ")).await, "nor for a blank token");
    let old = Server::start(consul(json!([]), json!([]), "")).await;
    assert!(!whole(old.address.clone(), Some("t")).await, "before 1.11 filtering is never reported");
    let narrow = Server::start(filtered(json!([of("web", "")]))).await;
    assert!(!whole(narrow.address.clone(), Some("t")).await);
    let odd = Server::start(consul(json!([{ "ID": "_nomad-task-whose", "Service": "web" }]), json!([]), "1.19.2")).await;
    assert!(!whole(odd.address.clone(), Some("t")).await, "it belongs to an unknown allocation");
}

#[tokio::test]
async fn without_acls_an_answer_is_whole_whatever_the_version_and_the_token() {
    for (version, status, text, whole) in [
        ("", 401, "ACL support disabled", true),
        ("1.19.2", 401, "ACL support disabled", true),
        ("1.19.2", 403, "token does not exist: ACL not found", false),
        ("1.19.2", 500, "No cluster leader", false),
    ] {
        let server = Server::start(move |r| match r.path.starts_with("/v1/acl/token/self") {
            true => Reply::text(status, text),
            false => consul(json!([of("web", "")]), json!([]), version)(r),
        })
        .await;
        let client = server::consul(&[&server.address], None);
        for _ in 0..3 {
            assert_eq!(client.look(NODE).await.expect("it is there").whole, whole, "{version} {text}");
        }
        let asked = server.requests().iter().filter(|r| r.path.starts_with("/v1/acl/token/self")).count();
        assert_eq!(asked, 1, "the answer is cached for a while");
    }
}

#[tokio::test]
async fn the_answer_about_an_unlisted_node_is_not_whole() {
    let server = Server::start(|r| {
        let body = if r.path.contains("node-services") { r#"{"Node":null,"Services":null}"# } else { "[]" };
        Reply::json(body).with("X-Consul-Query-Backend", "blocking-query")
    })
    .await;
    let seen = server::consul(&[&server.address], Some("t")).look(NODE).await.expect("it answered");
    assert!(!seen.whole && seen.services.is_empty());
}

#[tokio::test]
async fn an_answer_about_another_node_is_an_error() {
    let server = Server::start(|_| Reply::json(r#"{"Node":{"Node":"else"},"Services":[]}"#)).await;
    assert!(matches!(server::consul(&[&server.address], Some("t")).look(NODE).await, Err(Unseen::Away(_))));
}

#[tokio::test]
async fn the_version_of_the_agent_proves_that_filtering_is_reported() {
    let server = Server::start(|r| {
        if r.path.starts_with("/v1/agent/self") {
            return Reply::json(r#"{"Config":{"Version":"1.12.0"}}"#);
        }
        consul(json!([]), json!([]), "")(r)
    })
    .await;
    let client = server::consul(&[&server.address], Some("t"));
    for _ in 0..3 {
        assert!(client.look(NODE).await.expect("it is there").whole);
    }
    let asked = server.requests().iter().filter(|r| r.path.starts_with("/v1/agent/self")).count();
    assert_eq!(asked, 1, "its version does not change");
}

#[tokio::test]
async fn a_critical_check_applies_to_its_service_and_one_of_the_node_to_all_services() {
    let id = |service: &str| format!("_nomad-task-{ALLOCATION}-group-web-{service}-http");
    let critical = |check: &str, service: String| json!({ "CheckID": check, "ServiceID": service, "Status": "critical" });
    let cases = [
        (json!([]), (false, false, false)),
        (json!([{ "CheckID": "a", "ServiceID": id("a"), "Status": "warning" }]), (false, false, false)),
        (json!([critical("x", id("a"))]), (false, true, false)),
        (json!([critical("_node_maintenance", String::new())]), (false, true, true)),
        (json!([critical("serfHealth", String::new())]), (true, true, true)),
    ];
    for (checks, expected) in cases {
        let server = Server::start(consul(json!([of("a", ""), of("b", "")]), checks.clone(), "1.19.2")).await;
        let seen = server::consul(&[&server.address], Some("t")).look(NODE).await.expect("it is there");
        let of = |name: &str| seen.services.iter().any(|s| &*s.service == name && s.critical);
        assert_eq!((seen.agent_dead, of("a"), of("b")), expected, "{checks}");
    }
}

#[tokio::test]
async fn a_watch_wakes_when_a_registration_goes() {
    let mut turn = 0;
    let server = Server::start(move |r| {
        if r.path.contains("node-services") {
            turn += 1;
        }
        let services = if turn < 3 { json!([of("web", "")]) } else { json!([]) };
        consul(services, json!([]), "1.19.2")(r)
    })
    .await;
    let client = server::consul(&[&server.address], Some("t"));
    let seen = client.look(NODE).await.expect("it is there");
    let news = client
        .watch(NODE, &seen, false, None, Instant::now() + Duration::from_secs(5))
        .await
        .expect("it went")
        .expect("it is seen");
    assert!(news.services.is_empty());
    let blocking: Vec<String> = server.requests().iter().filter(|r| r.path.contains("index=")).map(|r| r.path.clone()).collect();
    assert_eq!(blocking.len(), 1);
    assert!(blocking[0].contains("index=7&wait=20000ms"), "{blocking:?}");
}
