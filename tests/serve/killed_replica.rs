//! A killed replica: another one takes over its departures within one period. Until then every view says when.

use std::time::Duration;

use decamp_sandbox::{ASG, Options, Sandbox, serve};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick, requests, terminate};

/// The time between two sweeps.
const PERIOD: Duration = Duration::from_secs(12);

/// The output of `decamp status`.
async fn status(sandbox: &Sandbox) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().args(["status", "--asg", ASG]).envs(sandbox.variables());
    command.env("DECAMP_GUARD_ALB", "2s").env("AWS_EC2_METADATA_DISABLED", "true").env("DECAMP_SWEEP", "12s");
    let output = command.output().await.expect("the binary starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_departure_of_a_killed_replica_is_taken_over_within_one_period_and_every_view_says_when() {
    let sandbox = serve(&Options { delay: Duration::from_secs(45), ..quick() }).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let first = Replica::start(&sandbox, &[("DECAMP_SWEEP", "10m")]).await;
    let event = terminate(&sandbox, instance).await;
    assert_eq!(first.send(&event).await.status(), 202);
    let path = format!("/v1/departures/{instance}");
    // It has made all writes that come before the end of the delay, and the node shows them.
    while !first.json(&path).await["timeline"].to_string().contains("note decamp.") {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(6)).await;
    let second = Replica::start(&sandbox, &[("DECAMP_SWEEP", "12s")]).await;
    // It is killed after a sweep of the other replica, some seconds before the next one.
    while second.get(&path).await.status() != 200 {
        sleep(Duration::from_millis(50)).await;
    }
    first.signal("KILL").await;
    let killed = Instant::now();

    let seen = second.json(&path).await;
    let (written, by) = (&seen["elsewhere"]["last_written"], &seen["elsewhere"]["taken_up_at"]);
    assert!(seen["walked_here"] == false && written.is_string() && by.is_string() && written.as_str() < by.as_str(), "{seen:#}");
    let page = second.text("/").await;
    let says = format!("Without another one before <time>{}</time>, this replica takes over", by.as_str().expect("a time"));
    assert!(page.contains(&says), "{says} is not in {page}");
    let listed = status(&sandbox).await;
    assert!(listed.contains("the last write for it was") && listed.contains("a sweep continues it"), "{listed}");

    while second.json(&path).await["walked_here"] != true {
        assert!(killed.elapsed() < PERIOD + Duration::from_secs(6), "no replica took over: {}", second.printed());
        sleep(Duration::from_millis(50)).await;
    }
    println!("taken up {:?} after the kill", killed.elapsed());
    assert_eq!(second.json(&path).await["elsewhere"], Value::Null);
    assert!(crate::replica::machine_is_off(&sandbox, instance).await, "{}", second.printed());
    assert_eq!(second.past().await["outcome"]["word"], "departed");
    assert_eq!(requests(&sandbox).1, Value::Array(vec![]), "{}", second.printed());
}
