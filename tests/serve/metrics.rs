//! The metrics under Prometheus' own linter.

use std::process::Stdio;

use decamp_sandbox::serve;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::replica::{Replica, quick, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_reports_nothing_about_the_metrics() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_MODE", "observe")]).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    assert_eq!(replica.send(&json!({ "nothing": 1 })).await.status(), 400);
    let answer = replica.get("/metrics").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = answer.text().await.expect("it is text");
    for family in
        ["decamp_events_total", "decamp_events_rejected_total", "decamp_http_request_seconds_bucket", "decamp_aws_calls_total"]
    {
        assert!(metrics.contains(family), "{family} is not in\n{metrics}");
    }
    let Some((passed, said)) = promtool(&["check", "metrics"], &metrics).await else { return };
    assert!(passed && said.trim().is_empty(), "{said}\n{metrics}");
}

/// Whether promtool accepts an input, and what it prints. `None`: it is not installed.
async fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match promtool.spawn() {
        Ok(promtool) => promtool,
        Err(why) => {
            eprintln!("promtool: skipped, it cannot be started: {why}");
            return None;
        }
    };
    let mut pipe = promtool.stdin.take().expect("it is piped");
    pipe.write_all(input.as_bytes()).await.expect("it reads");
    drop(pipe);
    let output = promtool.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Some((output.status.success(), said))
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_only_then() {
    // promtool looks for the rules beside the file of tests.
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/alerts.yaml");
    let Some((passed, said)) = promtool(&["test", "rules", tests], "").await else { return };
    assert!(passed && said.contains("SUCCESS"), "{said}");
}

#[tokio::test]
async fn promtool_understands_every_expression_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(include_str!("../../infra/serve/grafana.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("there are panels");
    let targets: Vec<&Value> = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten().collect();
    assert!(15 < targets.len(), "{targets:#?}");
    let rule = |(place, target): (usize, &&Value)| {
        let expression = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
        json!({ "record": format!("dashboard:expression:{place}"), "expr": expression })
    };
    let rules: Vec<Value> = targets.iter().enumerate().map(rule).collect();
    // JSON is YAML.
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).expect("it is ours");
    let Some((passed, said)) = promtool(&["check", "rules", &file.path().display().to_string()], "").await else { return };
    assert!(passed && said.contains(&format!("{} rules found", targets.len())), "{said}");
}
