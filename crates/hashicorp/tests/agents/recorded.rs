//! Recorded answers of real agents, read by the adapters. `tests/recordings/` says on which release each file was recorded.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use decamp_core::decide::{ClientStatus, DrainStatus, JobKind, Node, Refusal, Registrations, TokenAccess, Unseen};
use decamp_core::ids::{InstanceId, NodeId};
use serde_json::Value;

use super::server::{self, Reply, Server};

pub(super) fn lines(file: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is one exchange")).collect()
}

pub(super) fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn status(line: &Value) -> u16 {
    line["status"].as_u64().and_then(|s| u16::try_from(s).ok()).expect("a status")
}

/// Answers as recorded: JSON, or the plain text of an error.
pub(super) fn reply(line: &Value) -> Reply {
    match (status(line), &line["body"]) {
        (200, body) => Reply::json(body.to_string()).with("X-Nomad-Index", &line["index"]),
        (status, body) => Reply::text(status, body.as_str().unwrap_or_default()),
    }
}

/// All states that looks would have shown during a recorded drain, in order.
async fn replay(file: &str, instance: &str) -> Vec<Node> {
    let instance: InstanceId = instance.parse().expect("it fits");
    let now: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
    let shown = Arc::clone(&now);
    let server = Server::start(move |request| {
        let shown = shown.lock().expect("no test panics in it");
        if request.path.starts_with("/v1/nodes") {
            let ids = shown.values().filter_map(|line| Some(serde_json::json!({ "ID": line["body"]["ID"].as_str()? })));
            return Reply::json(Value::Array(ids.collect()).to_string());
        }
        shown.get(&request.path).map_or(Reply::text(404, "node not found"), reply)
    })
    .await;
    let client = server::nomad(&[&server.address], None);
    let mut states = Vec::new();
    for line in lines(file) {
        now.lock().expect("no test panics in it").insert(text(&line, "path").to_owned(), line);
        if now.lock().expect("no test panics in it").len() == 2 {
            let look = client.look(instance, None).await.expect("it was recorded");
            let [node] = look.nodes.try_into().expect("it is one node");
            states.push(node);
        }
    }
    states
}

#[tokio::test]
async fn a_recorded_drain_is_complete_before_its_last_task_has_ended() {
    for (file, instance, version) in
        [("nomad-2.0.5-drain.jsonl", "i-00000000000abc002", "2.0.5"), ("nomad-1.1.2-drain.jsonl", "i-00000000000abc001", "1.1.2")]
    {
        let states = replay(file, instance).await;
        let last = states.last().expect("something was recorded");
        assert_eq!((&*last.version, last.eligible, last.drain.is_none()), (version, false, true));
        assert!(last.allocations.iter().all(|a| a.client.is_over()), "{file}");
        let complete = |n: &Node| n.last_drain.as_ref().is_some_and(|l| l.status == DrainStatus::Complete);
        let early = states.iter().filter(|n| !n.eligible && complete(n) && n.allocations.iter().any(|a| !a.client.is_over()));
        assert!(0 < early.count(), "{file}: \"complete\" came only after the last allocation had ended");
        assert!(states.iter().any(|n| n.drain.as_ref().is_some_and(|d| d.force_deadline.is_some())), "{file}");
        assert!(states.iter().all(|n| n.last_drain.as_ref().is_none_or(|l| l.meta.is_none())), "the drain is not decamp's");
        let kinds = |kind| last.allocations.iter().filter(|a| a.group.kind == kind).count();
        assert!(kinds(JobKind::System) == 1 && 1 <= kinds(JobKind::Service), "{file}");
    }
}

#[tokio::test]
async fn an_allocation_within_its_shutdown_delay_is_pending_and_has_not_ended() {
    let states = replay("nomad-2.0.5-drain.jsonl", "i-00000000000abc002").await;
    let waiting =
        states.iter().flat_map(|n| n.allocations.iter()).find(|a| a.client == ClientStatus::Pending).expect("it was recorded");
    assert_eq!((&*waiting.group.job, waiting.wanted, waiting.client.is_over()), ("ingress", false, false));
    assert_eq!(
        (
            waiting.group.serves_on().as_secs(),
            waiting.group.longest_stop(std::time::Duration::ZERO, std::time::Duration::MAX).as_secs()
        ),
        (2, 7)
    );
    assert_eq!(*waiting.ports, [8080]);
    let node = &states[0];
    assert_eq!((&*node.name, node.consul_name.as_deref()), ("client2", Some("ip-127-0-0-12")));
    assert_eq!(node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.12"]);
}

#[tokio::test]
async fn the_capabilities_of_each_recorded_nomad_token_are_recognised() {
    let all = lines("nomad-2.0.5-who-sees-what.jsonl");
    let of = |token: &str| all.iter().filter(|l| text(l, "token") == token).cloned().collect::<Vec<_>>();
    for (token, expected) in
        [("management", "full"), ("decamp", "full"), ("nodeonly", "namespace \"*\""), ("narrow", "namespace \"*\"")]
    {
        let recorded = of(token);
        let policies = recorded.iter().find(|l| text(l, "path") == "/v1/acl/token/self").map(|l| l["body"]["Policies"].clone());
        let server = Server::start(move |request| {
            if request.path == "/v1/acl/policies" {
                let names = policies.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
                return Reply::json(Value::Array(names.iter().map(|n| serde_json::json!({ "Name": n })).collect()).to_string());
            }
            recorded.iter().find(|l| text(l, "path") == request.path).map_or(Reply::text(403, "Permission denied"), reply)
        })
        .await;
        let capability = server::nomad(&[&server.address], Some("t")).token_access().await;
        match (expected, capability) {
            ("full", capability) => assert_eq!(capability, Ok(TokenAccess::Full), "{token}"),
            (missing, Ok(TokenAccess::Insufficient(why))) => assert!(why.contains(missing), "{token}: {why}"),
            (_, capability) => panic!("{token}: {capability:?}"),
        }
    }
    // This is why it matters: Nomad answered 200 to the narrow tokens too, with fewer rows.
    let rows = |token: &str| {
        of(token).iter().find_map(|l| Some(l["body"].as_array().filter(|_| text(l, "path").ends_with("/allocations"))?.len()))
    };
    assert_eq!((rows("management"), rows("decamp"), rows("nodeonly"), rows("narrow")), (Some(3), Some(3), Some(0), Some(2)));
}

#[tokio::test]
async fn an_invalid_recorded_token_is_denied() {
    let all = lines("nomad-2.0.5-who-sees-what.jsonl");
    for (token, said) in [("garbage", "parse signed token"), ("unknown", "Permission denied"), ("expired", "ACL token expired")] {
        let refused =
            all.iter().rfind(|l| text(l, "token") == token && text(l, "path") == "/v1/acl/token/self").expect("recorded").clone();
        let server = Server::start(move |_| reply(&refused)).await;
        let capability = server::nomad(&[&server.address], Some("t")).token_access().await;
        assert!(matches!(&capability, Err(Unseen::Denied(why)) if why.contains(said)), "{token}: {capability:?}");
    }
}

#[tokio::test]
async fn recorded_errors_of_writes_are_distinguished() {
    for line in lines("nomad-errors.jsonl") {
        if text(&line, "method") == "GET" {
            continue;
        }
        let expected = match (status(&line), text(&line, "body")) {
            (_, "node not found") => Some(Refusal::Missing),
            (403, why) => Some(Refusal::Denied(why.into())),
            (400 | 405, _) => None,
            (status, why) => Some(Refusal::Away(format!("answered {status}: {why}").into())),
        };
        let recorded = line.clone();
        let server = Server::start(move |_| reply(&recorded)).await;
        let answer = server::nomad(&[&server.address], None).make_ineligible(NodeId(1)).await;
        match expected {
            Some(expected) => assert_eq!(answer, Err(expected), "{line}"),
            None => assert!(matches!(answer, Err(Refusal::Rejected(_))), "{line}: {answer:?}"),
        }
    }
}

async fn recorded_look(of: Vec<Value>, node: &str, token: Option<&str>) -> Result<Registrations, Unseen> {
    let server = Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        let Some(line) = of.iter().rfind(|l| text(l, "path") == path) else { return Reply::text(403, "Permission denied") };
        if status(line) != 200 {
            return Reply::text(status(line), text(line, "body"));
        }
        let mut answer = Reply::json(line["body"].to_string());
        for name in ["X-Consul-Results-Filtered-By-Acls", "X-Consul-Query-Backend"] {
            if let Some(value) = line["headers"][name].as_str() {
                answer = answer.with(name, value);
            }
        }
        answer
    })
    .await;
    server::consul(&[&server.address], token).look(node).await
}

#[tokio::test]
async fn the_permissions_of_each_recorded_consul_token_are_recognised() {
    let all = lines("consul-1.19.2-who-sees-what.jsonl");
    // One of the three services does not belong to an allocation.
    for (token, seen) in [
        ("management", Some((true, 2))),
        ("reader", Some((true, 2))),
        ("nodes-only", Some((false, 0))),
        ("one-service", Some((false, 1))),
        ("services-only", Some((false, 0))),
        ("blank", Some((false, 0))),
        ("unknown", None),
    ] {
        let of = all.iter().filter(|l| text(l, "token") == token).cloned().collect();
        let sent = Some("t").filter(|_| token != "blank");
        match (recorded_look(of, "ip-127-0-0-10", sent).await, seen) {
            (Ok(look), Some(seen)) => assert_eq!((look.whole, look.services.len()), seen, "{token}"),
            (Err(Unseen::Denied(_)), None) => {}
            (look, _) => panic!("{token}: {look:?}"),
        }
    }
}

#[tokio::test]
async fn services_of_a_dead_consul_agent_stay_listed_and_are_critical() {
    for file in ["consul-1.19.2-agent-dies.jsonl", "consul-1.8.7-agent-dies.jsonl"] {
        let all = lines(file);
        let node = all[0]["path"].as_str().and_then(|p| p.rsplit('/').next()).expect("a node").to_owned();
        // Later lines of the recording clean up. The test uses the line while the agent is dead.
        let is_dead = |l: &&Value| {
            l["body"].as_array().is_some_and(|c| c.iter().any(|c| c["CheckID"] == "serfHealth" && c["Status"] == "critical"))
        };
        let dead = all.iter().find(is_dead).expect("it died").clone();
        let services = all.iter().find(|l| text(l, "path").contains("node-services")).expect("it had some").clone();
        let look = recorded_look(vec![services, dead], &node, Some("t")).await.expect("it answered");
        assert!(look.agent_dead && !look.services.is_empty(), "{file}: {look:?}");
        assert!(look.services.iter().all(|s| s.critical), "{file}");
    }
}
