//! One replica for two clusters: each event and each sweep uses the Nomad and Consul of its group.

use std::io::Write as _;

use decamp_sandbox::{Sandbox, TwoClusters};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::replica::{Replica, machine_is_off, quick, requests, terminate};

async fn two() -> TwoClusters {
    TwoClusters::serve(&quick()).await.expect("loopback is there")
}

/// A replica with this settings' file. The environment's settings for blue's Nomad and Consul are not used.
async fn replica(two: &TwoClusters, document: &str, sweep: &str) -> (Replica, NamedTempFile) {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(document.as_bytes()).expect("it is ours");
    let path = file.path().to_str().expect("a path").to_owned();
    let settings = [("AWS_ENDPOINT_URL", &*two.aws.url()), ("DECAMP_GROUPS", ""), ("DECAMP_SWEEP", sweep)];
    (Replica::start_with(&two.blue, &["--config", &path], &settings).await, file)
}

fn touched(sandbox: &Sandbox) -> usize {
    let nodes = sandbox.shared.look(|models| models.more())["nodes"].clone();
    nodes.as_array().expect("a list").iter().filter(|node| node["eligible"] != true || node["draining"] != false).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_leave_two_clusters_at_once_by_event_and_by_sweep() {
    let two = two().await;
    let (mut replica, _file) = replica(&two, &two.document(), "2s").await;
    // Blue's departure has an event, green's is found by the sweep.
    let (blue, green) = (two.blue.instances[0], two.green.instances[0]);
    let event = terminate(&two.blue, blue).await;
    terminate(&two.green, green).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    for (sandbox, instance) in [(&two.blue, blue), (&two.green, green)] {
        assert!(machine_is_off(sandbox, instance).await, "{}", replica.printed());
        assert_eq!(requests(sandbox).1, json!([]), "{}", replica.printed());
        assert_eq!(touched(sandbox), 1, "{}", replica.printed());
    }
    let over = |past: &Value, group: &str| {
        let all = past.as_array().expect("a list").iter();
        all.filter(|past| past["group"] == group && past["outcome"]["word"] == "departed").count()
    };
    replica.past().await;
    let past = replica.json("/v1/departures").await["past"].clone();
    assert_eq!((over(&past, "web"), over(&past, "shop")), (1, 1), "{past:#}");
    assert!(replica.printed().contains("not used, because each table of clusters has its own: NOMAD_ADDR, NOMAD_TOKEN"));
    replica.stop().await;
    let printed = replica.printed();
    assert!(!two.tokens().iter().any(|token| printed.contains(token)), "a secret was printed: {printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_cluster_is_reported_and_delays_no_other() {
    let two = two().await;
    // Nothing listens there.
    let document = two.document().replace(&two.green.nomad.url(), "http://127.0.0.1:9");
    let (replica, _file) = replica(&two, &document, "2s").await;
    replica.says("\"event\":\"sweep\"").await;
    let ready = replica.get("/readyz").await;
    assert_eq!(ready.status(), 200, "an outage takes no replica out of service");
    let unseen: Value = ready.json().await.expect("JSON");
    assert!(unseen.to_string().contains("green: ") && !unseen.to_string().contains("blue: "), "{unseen:#}");
    let (blue, green) = (two.blue.instances[0], two.green.instances[0]);
    let events = json!([terminate(&two.blue, blue).await, terminate(&two.green, green).await]);
    assert_eq!(replica.send(&events).await.status(), 202);
    assert!(machine_is_off(&two.blue, blue).await, "{}", replica.printed());
    assert_eq!((requests(&two.blue).1, requests(&two.green).1), (json!([]), json!([])), "{}", replica.printed());
    assert_eq!((touched(&two.blue), touched(&two.green)), (1, 0), "{}", replica.printed());
    let left = replica.json(&format!("/v1/departures/{green}")).await;
    assert_eq!(left["group"], "shop", "it waits, and is shown: {left:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_group_that_no_cluster_has_is_rejected() {
    let two = two().await;
    let document = two.document();
    let green = document.find("[clusters.green]").expect("it has two");
    let (replica, _file) = replica(&two, &document[green..], "2s").await;
    let event = terminate(&two.blue, two.blue.instances[0]).await;
    let answer = replica.send(&event).await.json::<Value>().await.expect("JSON");
    assert_eq!(answer, json!({ "accepted": 0, "ignored": 0, "rejected": 1 }));
    replica.says("\"event\":\"sweep\"").await;
    assert_eq!(touched(&two.blue), 0, "{}", replica.printed());
    assert_eq!(replica.json("/v1/departures").await["departures"], json!([]));
}
