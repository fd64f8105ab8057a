//! The metrics, as Prometheus's own linter reads them.

use std::process::Stdio;

use decamp::sim::sandbox::serve;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::replica::{Replica, quick, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_say_about_them() {
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
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match promtool.spawn() {
        Ok(promtool) => promtool,
        Err(why) => return eprintln!("promtool: skipped, it cannot be started: {why}"),
    };
    let mut input = promtool.stdin.take().expect("it is piped");
    input.write_all(metrics.as_bytes()).await.expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{metrics}");
}
