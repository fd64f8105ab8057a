//! Single answers of Nomad: errors, tokens without enough rights, plain reads, and the changes that wake a reader of the event stream.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::snapshot::{JobKind, Provider};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;
use decamp_sim::consul;
use decamp_sim::nomad::{ApiError, DrainSpec, NamespaceRule, NodeNumber, NodeRule, Note, Policy, Read, Token};

use crate::recording::{Exchange, exchanges, lines};
use crate::small::Small;
use crate::{FLOOR, TODAY};

fn policy(name: &str, node: NodeRule, namespaces: &[&str]) -> Token {
    let rule = |pattern: &&str| NamespaceRule { pattern: (*pattern).into(), reads_jobs: true, scales_jobs: false };
    Token::Client(vec![Policy { name: name.into(), node, namespaces: namespaces.iter().map(rule).collect() }])
}

fn token(name: &str) -> Token {
    match name {
        "management" => Token::Management,
        "decamp" | "short" => policy("decamp", NodeRule::Write, &["*"]),
        "nodeonly" => policy("nodeonly", NodeRule::Write, &[]),
        "narrow" => policy("narrow", NodeRule::Write, &["default"]),
        "reader" => policy("reader", NodeRule::Read, &["*"]),
        "nobody" => Token::Anonymous,
        "garbage" => Token::Garbage,
        "unknown" => Token::Unknown,
        "expired" => Token::Expired,
        other => panic!("an unknown token: {other}"),
    }
}

/// The model's answer: a status, and the number of rows if it is a list. `None` if the model has no such call.
fn nomad_answer(small: &mut Small, asked: &Exchange, token: &Token, job: &str) -> Option<(u16, Option<usize>)> {
    fn rows<T>(answer: Result<Vec<T>, ApiError>) -> (u16, Option<usize>) {
        answer.map_or_else(|refused| (refused.status(), None), |rows| (200, Some(rows.len())))
    }
    fn bare<T>(answer: Result<T, ApiError>) -> (u16, Option<usize>) {
        (answer.map_or_else(|refused| refused.status(), |_| 200), None)
    }
    let (allocation, nomad, read) = (small.first(job), &mut small.nomad, Read::Default);
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let namespace = query.strip_prefix("namespace=").unwrap_or("default");
    let words: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let eligible = || asked.request["Eligibility"] == "eligible";
    Some(match (asked.method.as_str(), &words[..]) {
        ("GET", ["nodes"]) if query.is_empty() || query == "wait=1s" => rows(nomad.list_nodes(token, read)),
        ("GET", ["node", id]) => bare(nomad.look(id.parse::<NodeId>().ok()?, token, read)),
        ("GET", ["node", id, "allocations"]) => rows(nomad.list_allocations_of(id.parse().ok()?, token, read)),
        ("GET", ["allocations"]) => rows(nomad.list_allocations(token, read)),
        // The recording has a row for each namespace.
        ("GET", ["services"]) => rows(nomad.list_services(token, read)),
        ("GET", ["service", name]) => rows(nomad.list_service(name, namespace, token, read)),
        ("GET", ["allocation", _, "services"]) => rows(nomad.list_services_of(allocation, namespace, token, read)),
        ("GET", ["namespaces"]) => rows(nomad.list_namespaces(token, read)),
        ("GET", ["agent", "members"]) => bare(nomad.may_list_members(token)),
        ("GET", ["operator", "autopilot", "health"]) => bare(nomad.may_read_autopilot(token)),
        ("GET", ["acl", "token", "self"]) => bare(nomad.token_self(token)),
        ("GET", ["acl", "policy", name]) => bare(nomad.policy(name, token)),
        (_, ["node", id, "eligibility"]) if asked.request["Eligibility"] != "perhaps" => {
            bare(nomad.set_eligibility(token, id.parse().ok()?, eligible()))
        }
        ("POST", ["node", id, "drain"]) => {
            let deadline_ns = asked.request["DrainSpec"]["Deadline"].as_i64()?;
            bare(nomad.set_drain(token, id.parse().ok()?, DrainSpec { deadline_ns, ignore_system_jobs: false }, Note::None))
        }
        ("PUT", ["node", id, "purge"]) => bare(nomad.purge_node(token, id.parse().ok()?)),
        _ => return None,
    })
}

#[test]
fn each_token_sees_of_nomad_what_it_saw_in_the_recording() {
    let Some(recorded) = exchanges(TODAY, "who-sees-what") else { return };
    let nodes = [("b626bc06-f6e0-a85d-f68f-29ba37a987fd", "client0"), ("be22f8dd-f346-2ad6-bf94-79c1963ff446", "client1")];
    let mut small = Small::new(TODAY, &nodes);
    small.run("app", "default", Provider::Consul, 4);
    small.run("native", "other", Provider::Nomad, 2);
    let mut asked: Vec<(&str, &str)> = Vec::new();
    let mut compared = 0;
    for exchange in &recorded {
        // The first call with the expiring token came before it expired.
        let again = asked.contains(&(&exchange.token, &exchange.path));
        asked.push((&exchange.token, &exchange.path));
        let name = if exchange.token == "expired" && !again { "short" } else { &exchange.token };
        let Some((status, rows)) = nomad_answer(&mut small, exchange, &token(name), "native") else {
            assert_eq!(exchange.path, "/v1/status/leader", "the model answers all the rest");
            continue;
        };
        assert_eq!(u64::from(status), exchange.status, "{name} {} {}", exchange.method, exchange.path);
        if let (Some(rows), Some(recorded)) = (rows, exchange.body.as_array()) {
            assert_eq!(rows, recorded.len(), "{name} {} {}", exchange.method, exchange.path);
        }
        compared += 1;
    }
    assert!(100 < compared, "{compared}");
}

#[test]
fn refusals_have_nomads_status_and_words() {
    for folder in [TODAY, FLOOR] {
        let Some(recorded) = exchanges(folder, "errors") else { return };
        let real = if folder == TODAY { "80159abf-6fa2-c784-68a1-15b16ae6a51a" } else { "f3831e8a-5101-e444-09ec-fef044e52adf" };
        let mut small = Small::new(folder, &[(real, "client1")]);
        small.run("native", "default", Provider::Nomad, 1);
        let (mut compared, mut unknown_next) = (0, false);
        for exchange in recorded.iter().filter(|e| e.to == "nomad") {
            let words = exchange.body.as_str().unwrap_or_default();
            let (text, asker) = match (exchange.status, words) {
                (500, "rpc error: EOF" | "No cluster leader") => {
                    small.nomad.lose_leader(Duration::from_secs(3));
                    (None, Token::AclsOff)
                }
                (403, "ACL token not found") => (Some(words), Token::Unknown),
                (403, _) => (Some(words), Token::Anonymous),
                _ => (Some(words), Token::AclsOff),
            };
            unknown_next |= asker == Token::Unknown;
            let Some((status, _)) = nomad_answer(&mut small, exchange, &asker, "native") else { continue };
            assert_eq!(u64::from(status), exchange.status, "{folder}: {} {}", exchange.method, exchange.path);
            if let Some(text) = text.filter(|_| exchange.status != 200) {
                let said = [
                    ApiError::NoSuchNode,
                    ApiError::NoSuchNodeToWrite,
                    ApiError::NoSuchAllocation,
                    ApiError::PermissionDenied,
                    ApiError::TokenNotFound,
                ];
                assert!(said.iter().any(|e| e.status() == status && e.text() == text), "{folder}: {status} {text}");
            }
            // The leader is lost for one exchange and back for the next.
            let later = small.nomad.now() + Duration::from_secs(4);
            small.nomad.advance(later, &mut small.consul, &mut Vec::new());
            compared += 1;
        }
        assert!(7 < compared, "{folder}: {compared}");
        assert_eq!(unknown_next, folder == FLOOR);
    }
}

#[test]
fn a_write_that_changes_nothing_has_index_0() {
    let mut small = Small::new(TODAY, &[("80159abf-6fa2-c784-68a1-15b16ae6a51a", "client1")]);
    let node = small.nomad.node(NodeNumber(0)).spec.id;
    assert_eq!(small.nomad.set_eligibility(&Token::AclsOff, node, true).map(|w| w.index), Ok(0));
    assert_ne!(small.nomad.set_eligibility(&Token::AclsOff, node, false).map(|w| w.index), Ok(0));
}

#[test]
fn the_plain_reads_show_the_same_things() {
    let Some(recorded) = exchanges(TODAY, "reads") else { return };
    let find = |part: &str| recorded.iter().find(|e| e.path.contains(part)).expect("it was read");
    let row = &find("/v1/allocations?").body;
    let mut small = Small::new(TODAY, &[("80159abf-6fa2-c784-68a1-15b16ae6a51a", "ip-127-0-0-11")]);
    small.consul.add_other(small.consul_node(), "nomad-client".into());
    for allocation in row.as_array().expect("a list") {
        let job = allocation["JobID"].as_str().expect("a job");
        small.run(job, "default", if job == "native" { Provider::Nomad } else { Provider::Consul }, 1);
    }
    let node = small.nomad.node(NodeNumber(0)).spec.id;
    let listed = small.nomad.list_allocations_of(node, &Token::AclsOff, Read::Default).expect("listed");
    assert_eq!(listed.len(), row.as_array().map_or(0, Vec::len));
    let services = small.consul.node_services("ip-127-0-0-11", &consul::Token::Full, consul::Read::Default).expect("listed").body;
    let recorded_services = find("/v1/catalog/node-services/").body["Services"].as_array().map_or(0, Vec::len);
    assert_eq!(services.services.len() + services.others.len(), recorded_services);
    let own = small.nomad.list_services_of(small.first("native"), "default", &Token::AclsOff, Read::Default).expect("listed");
    assert_eq!(own.len(), find("/services").body.as_array().map_or(0, Vec::len));
    let names = small.nomad.list_services(&Token::AclsOff, Read::Default).expect("listed");
    assert_eq!(names.len(), find("/v1/services?namespace=*").body.as_array().map_or(0, Vec::len));
    let before = find("/v1/job/app/scale").body["TaskGroups"]["web"].clone();
    small.run("four", "default", Provider::Consul, 4);
    let status = small.nomad.scale_status(decamp_sim::nomad::GroupNumber(small.nomad.groups().len() as u32 - 1));
    for (name, count) in
        [("Desired", status.desired), ("Placed", status.placed), ("Running", status.running), ("Healthy", status.healthy)]
    {
        assert_eq!(before[name], count, "{name}");
    }
}

#[test]
fn a_node_in_the_event_stream_wakes_for_its_drain_and_for_every_change_of_its_allocations() {
    let Some(recorded) = lines(TODAY, "event-stream") else { return };
    let mut types: Vec<&str> = recorded
        .iter()
        .flat_map(|line| line["Events"].as_array().into_iter().flatten())
        .filter_map(|e| e["Type"].as_str())
        .collect();
    types.dedup();
    let mut small = Small::new(
        TODAY,
        &[("80159abf-6fa2-c784-68a1-15b16ae6a51a", "client1"), ("1f7a678f-8c44-8e88-026a-0c4029e52f72", "client2")],
    );
    small.run("app", "default", Provider::Consul, 2);
    small.run("ingress", "default", Provider::Consul, 0);
    let ingress = decamp_sim::nomad::GroupNumber(1);
    let node = small.nomad.node(NodeNumber(0)).spec.id;
    make_system(&mut small, ingress);
    let mut woken = Vec::new();
    let spec = DrainSpec { deadline_ns: 60_000_000_000, ignore_system_jobs: false };
    let mut before = (small.nomad.node(NodeNumber(0)).index, small.nomad.node(NodeNumber(0)).allocations_index);
    small.nomad.set_drain(&Token::AclsOff, node, spec, Note::None).expect("taken");
    while small.nomad.now() < Time(20_000) {
        let now = (small.nomad.node(NodeNumber(0)).index, small.nomad.node(NodeNumber(0)).allocations_index);
        if now.0 != before.0 {
            woken.push("NodeDrain");
        }
        if now.1 != before.1 {
            woken.push("AllocationUpdated");
        }
        before = now;
        let next = small.nomad.next_event().min(Time(20_000));
        small.nomad.advance(next, &mut small.consul, &mut Vec::new());
    }
    woken.dedup();
    assert_eq!(woken, types);
}

/// Adds an allocation of a system job on the first node, as in the recorded cluster.
fn make_system(small: &mut Small, like: decamp_sim::nomad::GroupNumber) {
    let mut spec = small.nomad.groups()[like.index()].spec.clone();
    let group = Arc::make_mut(&mut spec.group);
    (group.kind, group.count, group.max_parallel) = (JobKind::System, 1, None);
    let number = small.nomad.add_group(spec);
    small.nomad.place(number, NodeNumber(0), &mut small.consul);
}
