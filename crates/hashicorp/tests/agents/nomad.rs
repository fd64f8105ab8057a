//! The Nomad adapter: how nodes are found, when an answer is stale, the writes, and the watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use decamp_core::decide::{ClientStatus, DrainMeta, NodeStatus, Phase, Refusal, Unseen, WholeSeconds};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_core::time::Time;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::{self, Reply, Request, Server};

const OURS: &str = "i-0123456789abcdef0";
const OTHER: &str = "i-0fedcba9876543210";

fn instance() -> InstanceId {
    OURS.parse().expect("it fits")
}

fn id(number: u64) -> String {
    NodeId(u128::from(number)).to_string()
}

fn node(number: u64, instance: &str, status: &str) -> Value {
    json!({
        "ID": id(number), "Name": format!("node{number}"), "Status": status, "SchedulingEligibility": "eligible", "ModifyIndex": 10,
        "HTTPAddr": format!("10.0.0.{number}:4646"), "Attributes": { "unique.platform.aws.instance-id": instance, "nomad.version": "2.0.5" },
    })
}

fn allocation(number: u128, client: &str) -> Value {
    json!({ "ID": decamp_core::ids::AllocationId(number).to_string(), "Namespace": "default", "JobID": "app", "TaskGroup": "web",
            "DesiredStatus": "run", "ClientStatus": client })
}

/// A Nomad that ignores filters, like releases before 1.3.
fn old_nomad(nodes: Vec<Value>) -> impl FnMut(&Request) -> Reply + Send {
    move |request| {
        let path = request.path.as_str();
        if path.starts_with("/v1/nodes") {
            return Reply::json(Value::Array(nodes.clone()).to_string()).with("X-Nomad-Index", 10);
        }
        let one = path.strip_prefix("/v1/node/").map(|rest| rest.trim_end_matches("/allocations"));
        let found = nodes.iter().find(|n| n["ID"].as_str() == one);
        match found {
            _ if path.ends_with("/allocations") => Reply::json("[]").with("X-Nomad-Index", 5),
            Some(node) => Reply::json(node.to_string()).with("X-Nomad-Index", 10),
            None => Reply::text(404, "node not found"),
        }
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_filter_does_not_make_another_node_ours() {
    let nodes: Vec<Value> = (1..=30).map(|n| node(n, if n == 17 { OURS } else { OTHER }, "ready")).collect();
    let server = Server::start(old_nomad(nodes)).await;
    let client = server::nomad(&[&server.address], None);
    let look = client.look(instance(), None).await.expect("it is there");
    assert_eq!(look.nodes.iter().map(|n| n.id).collect::<Vec<_>>(), [NodeId(17)]);
    let before = server.requests().len();
    let again = client.look(instance(), None).await.expect("it is there");
    assert_eq!(again, look);
    assert_eq!(server.requests().len() - before, 3, "the list, the node and its allocations: nothing else has changed");
    let filter = &server.requests()[0].path;
    assert!(filter.contains("\"unique.platform.aws.instance-id\" in Attributes and"), "{filter}");
}

#[tokio::test]
async fn a_known_node_is_read_without_a_search_until_it_is_lost_or_purged() {
    for (status, purged, searches) in [("ready", false, 0), ("down", false, 1), ("ready", true, 1)] {
        let server = Server::start(old_nomad(vec![node(1, OURS, "ready")])).await;
        let known = server::nomad(&[&server.address], None).look(instance(), None).await.expect("it is there");
        let nodes = if purged { vec![node(2, OURS, "ready")] } else { vec![node(1, OURS, status)] };
        let server = Server::start(old_nomad(nodes)).await;
        let look = server::nomad(&[&server.address], None).look(instance(), Some(&known)).await.expect("it is there");
        assert_eq!(look.nodes.len(), 1);
        let searched = server.requests().iter().filter(|r| r.path.starts_with("/v1/nodes")).count();
        assert_eq!(searched, searches, "{status} {purged}");
    }
}

#[tokio::test]
async fn a_down_node_is_the_instance_unless_a_ready_one_is() {
    let server = Server::start(old_nomad(vec![node(1, OURS, "down")])).await;
    let look = server::nomad(&[&server.address], None).look(instance(), None).await.expect("it is there");
    assert_eq!(look.nodes.iter().map(|n| n.status).collect::<Vec<_>>(), [NodeStatus::Down]);
    let server = Server::start(old_nomad(vec![node(1, OURS, "down"), node(2, OURS, "ready")])).await;
    let look = server::nomad(&[&server.address], None).look(instance(), None).await.expect("it is there");
    assert_eq!((look.nodes[0].id, look.nodes.len(), look.set_aside), (NodeId(2), 1, vec![NodeId(1)]));
}

#[tokio::test]
async fn a_node_without_the_attribute_is_found_by_the_id_in_its_name_or_meta() {
    let mut unknown = node(4, OURS, "ready");
    unknown["Attributes"] = json!({});
    let found = async |unknown: &Value| {
        let server = Server::start(old_nomad(vec![unknown.clone(), node(5, OTHER, "ready")])).await;
        server::nomad(&[&server.address], None).look(instance(), None).await.map(|nomad| nomad.nodes.len())
    };
    assert_eq!(found(&unknown).await, Ok(0));
    unknown["Meta"] = json!({ "ec2": OURS });
    assert_eq!(found(&unknown).await, Ok(1));
    unknown["Meta"] = json!({});
    unknown["Name"] = format!("{OURS}.eu-west-1.compute.internal").into();
    assert_eq!(found(&unknown).await, Ok(1));
}

#[tokio::test]
async fn an_answer_older_than_our_last_write_is_stale() {
    let index = Arc::new(AtomicU64::new(10));
    let now = Arc::clone(&index);
    let server = Server::start(move |request| {
        if request.method == "PUT" {
            return Reply::json(r#"{"Index":12,"NodeModifyIndex":0}"#).with("X-Nomad-Index", 12);
        }
        let mut node = node(1, OURS, "ready");
        node["ModifyIndex"] = json!(now.load(Ordering::Relaxed));
        old_nomad(vec![node])(request)
    })
    .await;
    let client = server::nomad(&[&server.address], None);
    let known = client.look(instance(), None).await.expect("it is there");
    assert_eq!(client.make_ineligible(NodeId(1)).await, Ok(()));
    assert_eq!(client.look(instance(), Some(&known)).await, Err(Unseen::Stale));
    assert_eq!(client.look(instance(), None).await, Err(Unseen::Stale));
    index.store(12, Ordering::Relaxed);
    assert!(client.look(instance(), Some(&known)).await.is_ok());
}

#[tokio::test]
async fn the_answer_of_a_server_without_a_leader_is_stale() {
    let server = Server::start(|r| old_nomad(vec![node(1, OURS, "ready")])(r).with("X-Nomad-Knownleader", "false")).await;
    assert_eq!(server::nomad(&[&server.address], None).look(instance(), None).await, Err(Unseen::Stale));
}

#[tokio::test]
async fn a_drain_has_its_spec_in_whole_nanoseconds_and_its_metadata() {
    let server = Server::start(|_| Reply::json(r#"{"Index":12,"NodeModifyIndex":12}"#)).await;
    let client = server::nomad(&[&server.address], None);
    let meta = DrainMeta {
        action: "0123456789ab".into(),
        phase: Phase::Services,
        until: Time(1_795_375_337_137),
        longest_stop: Duration::from_secs(9),
        allocations: 4,
        warm: false,
        unproved: false,
    };
    let deadline = WholeSeconds::at_most(Duration::from_millis(600_900));
    client.drain(NodeId(1), deadline, true, &meta).await.expect("it was accepted");
    let sent = &server.requests()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("PUT", format!("/v1/node/{}/drain", id(1)).as_str()));
    let body: Value = serde_json::from_str(&sent.body).expect("JSON");
    assert!(sent.body.contains("\"Deadline\":600000000000,"), "an integer, without an exponent: {}", sent.body);
    assert_eq!(body["DrainSpec"], json!({ "Deadline": 600_000_000_000_u64, "IgnoreSystemJobs": true }));
    assert_eq!((&body["Meta"]["tool"], &body["Meta"]["phase"]), (&json!("decamp"), &json!("services")));
    assert_eq!(body["Meta"]["until"], "2026-11-22T19:22:17.137Z");
}

#[tokio::test]
async fn a_write_to_a_purged_node_is_missing() {
    let server = Server::start(|_| Reply::text(500, "node not found")).await;
    assert_eq!(server::nomad(&[&server.address], None).make_ineligible(NodeId(1)).await, Err(Refusal::Missing));
}

/// The 32 blocking queries of a process are shared: a test that uses all of them has the others poll.
static BLOCKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_watch_ends_with_a_change_and_never_sends_index_zero() {
    let _alone = BLOCKING.lock().await;
    let turn = Arc::new(AtomicU64::new(0));
    let at = Arc::clone(&turn);
    let server = Server::start(move |request| {
        if request.path.contains("/allocations") {
            let blocking = request.path.contains("index=");
            let turn = if blocking { at.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            // The first answer shows no change. The second shows that the allocation has ended, with an index that went backwards.
            let client = if turn < 2 { "running" } else { "complete" };
            let index = [40, 41, 3][usize::try_from(turn.min(2)).expect("it is small")];
            return Reply::json(json!([allocation(1, client)]).to_string()).with("X-Nomad-Index", index);
        }
        old_nomad(vec![node(1, OURS, "ready")])(request)
    })
    .await;
    let client = server::nomad(&[&server.address], None);
    let known = client.look(instance(), None).await.expect("it is there");
    let began = std::time::Instant::now();
    let news = client.watch(&known, Instant::now() + Duration::from_secs(5)).await.expect("it changed");
    assert_eq!(news.nodes[0].allocations[0].client, ClientStatus::Complete);
    assert!(Duration::from_millis(250) <= began.elapsed(), "it asked again at once");
    let blocking: Vec<String> = server.requests().iter().filter(|r| r.path.contains("index=")).map(|r| r.path.clone()).collect();
    assert!(blocking[0].contains("index=40&wait=20000ms") && blocking[1].contains("index=41"), "{blocking:?}");
}

#[tokio::test]
async fn failed_requests_do_not_end_a_watch() {
    let _alone = BLOCKING.lock().await;
    let server = Server::start(old_nomad(vec![node(1, OURS, "ready")])).await;
    let known = server::nomad(&[&server.address], None).look(instance(), None).await.expect("it is there");
    for wrong in [
        || Reply::text(500, "No cluster leader"),
        || Reply::text(403, "Permission denied"),
        || Reply::json("null"),
        || Reply::Reset,
    ] {
        let server = Server::start(move |_| wrong()).await;
        let client = server::nomad(&[&server.address], None);
        assert_eq!(client.watch(&known, Instant::now() + Duration::from_millis(400)).await, None);
        assert!(server.requests().len() <= 4, "it asked {} times", server.requests().len());
    }
}

#[tokio::test]
async fn the_services_of_many_ended_allocations_are_queried_by_name() {
    let service = |name: &str| json!([{ "Name": name, "Provider": "nomad" }]);
    let job =
        |name: &str| json!({ "Type": "service", "TaskGroups": [{ "Name": "web", "Services": service(name), "Tasks": [] }] });
    let list: Vec<Value> = (1..=200_u128)
        .map(|n| {
            let mut one = allocation(n, if n == 1 { "running" } else { "failed" });
            // Nomad fills in the name of the last one.
            one["Job"] = job(if n == 200 { "${NOMAD_JOB_NAME}-web" } else { "flaps" });
            one["Job"]["Version"] = json!(if n == 200 { 1 } else { 0 });
            one
        })
        .collect();
    let registered = |n: u128| json!([{ "ServiceName": "flaps", "AllocID": decamp_core::ids::AllocationId(n).to_string() }]);
    let server = Server::start(move |request| match request.path.as_str() {
        path if path.starts_with("/v1/service/flaps?") => Reply::json(registered(7).to_string()),
        path if path.contains("/services") => Reply::json(registered(if path.contains("0001/") { 1 } else { 200 }).to_string()),
        path if path.contains("/allocations") => Reply::json(Value::from(list.clone()).to_string()),
        _ => old_nomad(vec![node(1, OURS, "ready")])(request),
    })
    .await;
    let client = server::nomad(&[&server.address], None);
    let known = client.look(instance(), None).await.expect("it is there");
    let before = server.requests().len();
    let services = client.services(&known).await.expect("it answers");
    let of: Vec<u128> = services.services.iter().map(|one| one.allocation.0).collect();
    assert_eq!(of, [1, 200, 7]);
    assert_eq!(server.requests().len() - before, 3, "the running one, the one with an unknown name, and one name for all others");
    assert!(server.requests().iter().any(|r| r.path.contains("filter=NodeID ==")));
}

#[tokio::test]
async fn at_most_32_watches_hold_a_connection_open() {
    let _alone = BLOCKING.lock().await;
    let held = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&held);
    let server = Server::start(move |request| {
        if request.path.contains("/allocations") {
            if request.path.contains("index=") {
                now.fetch_add(1, Ordering::Relaxed);
                return Reply::Silence;
            }
            return Reply::json(json!([allocation(1, "running")]).to_string()).with("X-Nomad-Index", 40);
        }
        old_nomad(vec![node(1, OURS, "ready")])(request)
    })
    .await;
    let until = Instant::now() + Duration::from_millis(1_500);
    let watches = (0..40).map(|_| async {
        let client = server::nomad(&[&server.address], None);
        let known = client.look(instance(), None).await.expect("it is there");
        client.watch(&known, until).await
    });
    let news = futures_util::future::join_all(watches).await;
    assert!(news.iter().all(Option::is_none));
    assert!(held.load(Ordering::Relaxed) <= 32, "{} were held", held.load(Ordering::Relaxed));
}

#[tokio::test]
async fn the_capabilities_of_a_token_follow_from_its_policies() {
    use decamp_core::decide::TokenAccess;
    let policy = |rules: serde_json::Value| json!({ "Name": "p", "Rules": "as it was written", "RulesJSON": rules }).to_string();
    let full = policy(json!({
        "Agent": null, "Namespaces": [{ "Capabilities": ["read-job"], "Name": "*", "Policy": "", "Variables": null }],
        "Node": { "Policy": "write" }, "Operator": null,
    }));
    let answer = move |token: Reply, policies: Reply, one: String| async move {
        let (mut token, mut policies) = (Some(token), Some(policies));
        let server = Server::start(move |r| match r.path.as_str() {
            "/v1/acl/token/self" => token.take().expect("asked once"),
            "/v1/acl/policies" => policies.take().expect("asked once"),
            _ => match one.as_str() {
                "403" => Reply::text(403, "Permission denied"),
                body => Reply::json(body),
            },
        })
        .await;
        server::nomad(&[&server.address], Some("t")).token_access().await
    };
    let client = || Reply::json(r#"{"Type":"client"}"#);
    let one = || Reply::json(r#"[{"Name":"p"}]"#);
    assert_eq!(answer(Reply::json(r#"{"Type":"management"}"#), one(), String::new()).await, Ok(TokenAccess::Full));
    assert_eq!(answer(Reply::text(400, "ACL support disabled"), one(), String::new()).await, Ok(TokenAccess::Full));
    assert_eq!(answer(client(), one(), full.clone()).await, Ok(TokenAccess::Full));
    assert_eq!(
        answer(Reply::text(404, "ACL token not found"), one(), full.clone()).await,
        Ok(TokenAccess::Full),
        "a workload identity"
    );
    for (policies, one_policy) in [
        (Reply::json("null"), full.clone()),
        (Reply::json("[]"), full.clone()),
        (one(), "403".to_owned()),
        (one(), policy(serde_json::Value::Null)),
        (Reply::json(r#"[{"Name":"../x"}]"#), full.clone()),
    ] {
        let capability = answer(client(), policies, one_policy).await;
        assert!(matches!(capability, Ok(TokenAccess::Insufficient(_))), "{capability:?}");
    }
    let expired = answer(Reply::text(500, "ACL token expired"), one(), full.clone()).await;
    assert_eq!(expired, Err(Unseen::Denied("ACL token expired".into())));
}
