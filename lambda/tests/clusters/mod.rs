//! One function, the real binary, with several clusters: each instance leaves the cluster that its group belongs to.

use std::time::Duration;

use decamp_sandbox::{Sandbox, TwoClusters};
use serde_json::Value;
use tokio::process::Command;

use super::departure::depart;
use super::runtime::{Answer, Function};
use super::{batch, lines, nothing_handed_back, of};

const TIME: Duration = Duration::from_secs(12);
async fn two() -> TwoClusters {
    TwoClusters::serve(&depart::options()).await.expect("loopback has free ports")
}

/// Starts the function with this document, and without Nomad or Consul settings in its environment.
async fn started(two: &TwoClusters, document: String) -> Function {
    two.blue.shared.stores().parameters.insert("/decamp/settings".to_owned(), document);
    let mut more = vec![("DECAMP_CONFIG", "ssm:/decamp/settings".to_owned()), ("AWS_ENDPOINT_URL", two.aws.url())];
    let none = ["NOMAD_ADDR", "NOMAD_TOKEN", "CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "DECAMP_GROUPS"];
    more.extend(none.map(|name| (name, String::new())));
    depart::start(&two.blue, Command::new(env!("CARGO_BIN_EXE_bootstrap")), &more).await
}

/// Terminates one instance of each cluster and returns both events.
async fn terminate(two: &TwoClusters) -> [String; 2] {
    let both = [two.blue.terminate(1).await, two.green.terminate(1).await];
    both.map(|events| events.expect("it is in service").remove(0).to_string())
}

/// How many nodes of a sandbox are ineligible or draining.
fn touched(sandbox: &Sandbox) -> usize {
    let nodes = sandbox.shared.look(|models| models.more())["nodes"].clone();
    let nodes = nodes.as_array().expect("a list").clone();
    nodes.iter().filter(|node| node["eligible"] != true || node["draining"] != false).count()
}

fn failed(sandbox: &Sandbox) -> Value {
    sandbox.shared.look(|models| models.more())["requests"]["failed"].clone()
}

/// Delivers these events until none is handed back, at most `most` times. Returns those that are left.
async fn deliver(function: &mut Function, events: &[String], most: u32) -> Vec<String> {
    let mut left: Vec<String> = events.to_vec();
    for _ in 0..most {
        let bodies: Vec<&str> = left.iter().map(String::as_str).collect();
        let Answer::Response(text) = function.invoke(&batch(&bodies), TIME).await else { panic!("it answers") };
        let handed_back = |n: usize| text.contains(&format!("\"m-{n}\""));
        left = left.iter().enumerate().filter(|(n, _)| handed_back(*n)).map(|(_, event)| event.clone()).collect();
        if left.is_empty() {
            break;
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_leave_two_clusters_at_once_without_a_failed_request() {
    let two = two().await;
    let mut function = started(&two, two.document()).await;
    let events = terminate(&two).await;
    let left = deliver(&mut function, &events, 12).await;
    assert!(nothing_handed_back(&function.invoke("{\"decamp\":\"sweep\"}", TIME).await));
    let printed = function.end().await;
    assert!(left.is_empty(), "{left:?}\n{printed}");
    for sandbox in [&two.blue, &two.green] {
        assert_eq!(failed(sandbox), 0, "{printed}");
        assert_eq!(touched(sandbox), 1, "the node of the instance, and no other: {printed}");
        let asg = &*sandbox.asg;
        let departed = |line: &Value| line["asg.name"] == asg && line["outcome"] == "departed";
        assert!(lines(&printed).iter().any(|(_, line)| departed(line)), "{asg}: {printed}");
        let instance = sandbox.instances[0].to_string();
        let of_another = |line: &Value| line["instance.id"] == instance.as_str() && line["asg.name"] != asg;
        assert!(!lines(&printed).iter().any(|(_, line)| of_another(line)), "{printed}");
    }
    assert!(!two.tokens().iter().any(|token| printed.contains(token)), "a secret was printed");
    assert!(printed.contains("\"Sweeps\":1.0"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_cluster_does_not_delay_another() {
    let two = two().await;
    // Nothing listens on this port.
    let document = two.document().replace(&two.green.nomad.url(), "http://127.0.0.1:9");
    let mut function = started(&two, document).await;
    let events = terminate(&two).await;
    let left = deliver(&mut function, &events, 4).await;
    let printed = function.end().await;
    assert_eq!(left, events[1..], "blue's departure is over, and green's is handed back: {printed}");
    let outcomes: Vec<_> = lines(&printed)
        .into_iter()
        .filter(|(_, line)| line["outcome"].is_string())
        .map(|(_, line)| line["asg.name"].clone())
        .collect();
    assert!(!outcomes.is_empty() && outcomes.iter().all(|asg| asg == "web"), "{outcomes:?}\n{printed}");
    assert_eq!((failed(&two.blue), touched(&two.blue)), (0.into(), 1), "{printed}");
    assert_eq!((failed(&two.green), touched(&two.green)), (0.into(), 0), "{printed}");
    let runs =
        two.green.shared.look(|models| models.aws().0.instance(two.green.instances[0]).is_some_and(|instance| instance.runs));
    assert!(runs, "its hook is kept alive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_no_cluster_is_ignored() {
    let two = two().await;
    // Only the document's second table.
    let document = two.document();
    let green = document.find("[clusters.green]").expect("it has two");
    let mut function = started(&two, document[green..].to_owned()).await;
    let events = terminate(&two).await;
    assert_eq!(deliver(&mut function, &events[..1], 1).await, Vec::<String>::new(), "its message is not handed back");
    assert!(nothing_handed_back(&function.invoke("{\"decamp\":\"sweep\"}", TIME).await));
    let printed = function.end().await;
    let lines = lines(&printed);
    let rejected = of(&lines, "ERROR").iter().filter(|line| line["event"] == "foreign-group").count();
    assert_eq!(rejected, 1, "it is logged once: {printed}");
    assert_eq!((touched(&two.blue), touched(&two.green)), (0, 1), "the sweep continued only green's departure: {printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_two_clusters_ends_the_function_with_an_explanation() {
    let two = two().await;
    let document = two.document().replace("[\"shop\"]", "[\"shop\", \"w*\"]");
    let mut function = started(&two, document).await;
    assert_eq!(function.invoke("{}", TIME).await, Answer::Gone);
    let printed = function.end().await;
    assert!(printed.contains("clusters.blue has the group web and clusters.green has w*"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_reports_each_cluster_by_name() {
    let two = two().await;
    // Green's Nomad token is blue's.
    let document = two.document().replace("ssm:/green/nomad", "ssm:/blue/nomad");
    let mut function = started(&two, document).await;
    let Answer::Response(text) = function.invoke("{\"decamp\":\"check\"}", TIME).await else { panic!("it answers") };
    let report: Value = serde_json::from_str(&text).expect("a report");
    drop(function.end().await);
    let of = |cluster: &str, system: &str| {
        let checks = report["checks"].as_array().expect("a list").iter();
        checks
            .filter(|check| check["cluster"] == cluster && check["system"] == system)
            .map(|check| check["ok"] == true)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("blue", "Nomad"), [true, true], "{report:#}");
    assert_eq!(of("blue", "Consul"), [true], "{report:#}");
    assert!(of("green", "Nomad").contains(&false), "green's Nomad rejects blue's token: {report:#}");
    assert_eq!(report["ready"], false, "{report:#}");
}
