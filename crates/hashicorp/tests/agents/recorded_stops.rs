//! How tasks really stopped: recorded answers of Nomad 2.0.5 with raw_exec and docker, read by the adapter and judged by the rules.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{ClientStatus, Node, PastAllocation, Stop, StopKind, TaskEnd, TaskGroup};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use serde_json::{Value, json};

use super::recorded::{lines, reply, text};
use super::server::{self, Reply, Server};

const CONTAINERS: &str = "nomad-2.0.5-containers-stop.jsonl";
const TASKS: &str = "nomad-2.0.5-task-ignores-its-signal.jsonl";

/// The last recorded answer to a path that ends so.
fn last(file: &str, path: &str) -> Value {
    lines(file).into_iter().rfind(|line| text(line, "path").ends_with(path)).expect("it was recorded")
}

/// A server that gives the last recorded answers.
async fn at_the_end(file: &'static str, job: &'static str) -> Server {
    Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/v1/nodes" {
            let node = lines(file).into_iter().find(|line| line["body"]["Attributes"].is_object()).expect("it was recorded");
            return Reply::json(json!([{ "ID": node["body"]["ID"] }]).to_string());
        }
        // Both lists have the same rows: Nomad's `AllocListStub`.
        if path == "/v1/allocations" {
            return reply(&last(file, &format!("/v1/job/{job}/allocations")));
        }
        reply(&last(file, path))
    })
    .await
}

async fn node(file: &'static str, job: &'static str) -> Node {
    let server = at_the_end(file, job).await;
    let instance: InstanceId = "i-00000000000abc000".parse().expect("it fits");
    let look = server::nomad(&[&server.address], None).look(instance, None).await.expect("it was recorded");
    look.nodes.into_iter().next().expect("one node")
}

/// Each stop of a job's groups on the node: group, kind, and the stop.
fn stops(node: &Node, job: &str) -> Vec<(String, StopKind, Stop)> {
    let of_job = node.allocations.iter().filter(|a| *a.group.job == *job);
    let mut all: Vec<_> = of_job
        .flat_map(|a| a.ends.iter().map(|end| (Arc::clone(&a.group), end.clone())))
        .map(|(group, end)| match end {
            TaskEnd::Stopped(stop) => (group.name.to_string(), StopKind::of(&stop, &group.tasks[0].process), stop),
            TaskEnd::Unreadable { why, .. } => panic!("{}: {why}", group.title()),
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn kinds(stops: &[(String, StopKind, Stop)]) -> Vec<(&str, StopKind)> {
    stops.iter().map(|(group, kind, _)| (group.as_str(), *kind)).collect()
}

#[tokio::test]
async fn containers_are_deaf_abrupt_or_stop_in_order_as_they_were_recorded() {
    let node = node(CONTAINERS, "containers").await;
    let stops = stops(&node, "containers");
    use StopKind::{Abrupt, Deaf, InOrder};
    assert_eq!(kinds(&stops), [("exec", Deaf), ("shell-in-front", Deaf), ("with-a-trap", InOrder), ("with-init", Abrupt)]);
    for (group, kind, stop) in &stops {
        assert_eq!((stop.signal, stop.out_of_memory), (0, false), "docker reports no signal: {group}");
        let expected = match kind {
            Deaf => (137, 3_000..3_200),
            Abrupt => (143, 50..100),
            InOrder | StopKind::Slow | StopKind::OutOfMemory | StopKind::KilledEarly => (0, 1_000..1_200),
        };
        assert_eq!(stop.exit_code, expected.0, "{group}");
        assert!(expected.1.contains(&stop.took.as_millis()), "{group}: {:?}", stop.took);
    }
    let drivers: Vec<_> = node.allocations.iter().filter(|a| *a.group.job == *"containers").collect();
    assert!(drivers.iter().all(|a| *a.group.tasks[0].process.driver == *"docker"));
}

#[tokio::test]
async fn tasks_of_raw_exec_are_deaf_abrupt_or_stop_in_order_as_they_were_recorded() {
    let node = node(TASKS, "deaf").await;
    let stops = stops(&node, "deaf");
    use StopKind::{Abrupt, Deaf, InOrder};
    assert_eq!(kinds(&stops), [("good", InOrder), ("shell", Abrupt), ("web", Deaf), ("web", Deaf), ("web", Deaf)]);
    let of = |group: &str| stops.iter().find(|(name, ..)| name == group).map(|(.., stop)| stop).expect("it stopped");
    assert_eq!((of("web").exit_code, of("web").signal, of("web").kill_timeout), (137, 9, Duration::from_secs(3)));
    assert_eq!((of("shell").exit_code, of("shell").signal), (130, 2));
    assert!(of("shell").took < Duration::from_millis(100), "{:?}", of("shell").took);
    // Nothing else shows it: the status is the same for all.
    assert!(node.allocations.iter().filter(|a| *a.group.job == *"deaf").all(|a| a.client == ClientStatus::Complete));
}

fn groups(node: &Node, job: &str) -> Vec<Arc<TaskGroup>> {
    node.allocations.iter().filter(|a| *a.group.job == *job).map(|a| Arc::clone(&a.group)).collect()
}

#[tokio::test]
async fn the_past_stops_of_a_job_are_read_from_stubs_without_its_job() {
    for (file, job, all) in [(CONTAINERS, "containers", 4), (TASKS, "deaf", 5)] {
        let node = node(file, job).await;
        let server = at_the_end(file, job).await;
        let client = server::nomad(&[&server.address], None);
        let past = client.past_stops("default", job, &groups(&node, job), Time(0)).await.expect("it was recorded");
        assert_eq!(past.len(), all, "{job}");
        let ends = |past: &PastAllocation| past.ends.clone();
        for one in &past {
            let here = node.allocations.iter().find(|a| a.id == one.id).expect("it ran on the node");
            assert_eq!(ends(one), here.ends.to_vec(), "the stub and the whole allocation show the same");
        }
        let requests = server.requests();
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        for part in ["/v1/allocations?", "namespace=default", "per_page=50", "reverse=true", &format!("JobID == \"{job}\"")] {
            assert!(request.path.contains(part), "{part}: {}", request.path);
        }
        let later = client.past_stops("default", job, &groups(&node, job), Time::NEVER).await.expect("it was recorded");
        assert_eq!(later, [], "they are older than that");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_filter_costs_no_evidence_and_no_memory() {
    let rows = last(TASKS, "/v1/job/deaf/allocations")["body"].clone();
    let first = rows[0].clone();
    let mut all: Vec<Value> = (0..220)
        .map(|number: u128| {
            let mut other = first.clone();
            other["ID"] = json!(decamp_core::ids::AllocationId(number).to_string());
            other["ModifyIndex"] = json!(number);
            other["JobID"] = json!(if number.is_multiple_of(2) { "deaf" } else { "other" });
            other
        })
        .collect();
    all[0]["ClientStatus"] = json!("running");
    let server = Server::start(move |_| Reply::json(Value::Array(all.clone()).to_string())).await;
    let past = server::nomad(&[&server.address], None).past_stops("default", "deaf", &[], Time(0)).await.expect("it is a list");
    assert_eq!(past.len(), 50, "the newest");
    let ids: Vec<u128> = past.iter().map(|one| one.id.0).collect();
    assert_eq!((ids[0], ids[49]), (218, 120));
}

#[tokio::test]
async fn an_event_in_an_unknown_form_costs_the_evidence_and_not_the_look() {
    let path = |end: &str| last(TASKS, end);
    let listed = lines(TASKS).into_iter().rfind(|line| {
        let path = text(line, "path");
        path.starts_with("/v1/node/") && path.ends_with("/allocations")
    });
    let listed = listed.expect("it was recorded");
    let id = text(&listed, "path").split('/').nth(3).expect("an id").to_owned();
    for events in [json!("seven"), json!([[1]]), json!([{ "Type": "Killing", "Time": "now" }]), json!({ "first": {} })] {
        let mut altered = listed.clone();
        for allocation in altered["body"].as_array_mut().expect("a list") {
            for state in allocation["TaskStates"].as_object_mut().expect("states").values_mut() {
                state["Events"] = events.clone();
            }
        }
        let (id, node) = (id.clone(), path(&id));
        let server = Server::start(move |request| match request.path.split('?').next().unwrap_or_default() {
            "/v1/nodes" => Reply::json(json!([{ "ID": id }]).to_string()),
            path if path.ends_with("/allocations") => reply(&altered),
            _ => reply(&node),
        })
        .await;
        let instance: InstanceId = "i-00000000000abc000".parse().expect("it fits");
        let look = server::nomad(&[&server.address], None).look(instance, None).await.expect("the rest is as always");
        let of_job: Vec<_> = look.nodes[0].allocations.iter().filter(|a| *a.group.job == *"deaf").collect();
        assert!(of_job.iter().all(|a| a.client.is_over() && a.ended.is_some() && a.told.is_none()), "{events}");
        let unreadable = |a: &&decamp_core::decide::Allocation| matches!(&*a.ends, [TaskEnd::Unreadable { .. }]);
        assert!(of_job.iter().all(unreadable), "{events}: {:?}", of_job[0].ends);
    }
}
