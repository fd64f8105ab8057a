//! `decamp run --event` with a batch: it runs the departures and prints each record that it skips. And `status` of a missing group.

use decamp_sandbox::{ACCOUNT, ASG, REGION, serve};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Sandbox, code, decamp, quick, terminate, text};

/// The command with an event on standard input. `DECAMP_REGIONS` allows one Region.
async fn with_event(sandbox: &Sandbox, event: &str) -> std::process::Output {
    let mut command = decamp(sandbox, &["run", "--event", "-"]);
    command.env("DECAMP_REGIONS", REGION).env("DECAMP_LOG", "info");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(event.as_bytes()).await.expect("it reads");
    child.wait_with_output().await.expect("it ends")
}

fn envelope(source: &str, kind: &str, detail: &Value) -> Value {
    json!({
        "version": "0", "id": "i", "detail-type": kind, "source": source, "account": ACCOUNT, "region": REGION,
        "time": "2026-03-04T05:06:07Z", "resources": [], "detail": detail,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_departures_of_a_batch_are_run_and_its_skipped_records_are_printed() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let leaves = json!({
        "Service": "AWS Auto Scaling", "AccountId": ACCOUNT, "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "AutoScalingGroupName": ASG, "EC2InstanceId": instance.to_string(),
    });
    let test = json!({"Service": "AWS Auto Scaling", "AccountId": ACCOUNT, "Event": "autoscaling:TEST_NOTIFICATION"});
    let past = envelope("aws.ec2", "EC2 Spot Instance Interruption Warning", &json!({"instance-id": instance.to_string()}));
    let bodies = [test.to_string(), "a word".to_owned(), leaves.to_string(), leaves.to_string(), past.to_string()];
    let received = json!({"Messages": bodies.map(|body| json!({"MessageId": "m", "ReceiptHandle": "h", "Body": body}))});
    let output = with_event(&sandbox, &format!("\u{feff}{received}")).await;
    let stdout = text(&output.stdout);
    for line in [
        "record 1 is of the kind test",
        "record 2 cannot be used: not an event that decamp knows: plain text",
        "record 5 says that EC2 takes",
        "which is past",
    ] {
        assert!(stdout.contains(line), "{line} is not in\n{stdout}\n{}", text(&output.stderr));
    }
    let log = text(&output.stderr);
    assert!(log.contains("record 3 names no Region") && !log.contains("record 5 names no Region"), "{log}");
    assert_eq!(stdout.matches(" departed: ").count(), 1, "a duplicate is run once: {stdout}");
    assert_eq!(code(&output), Some(18), "the exit code does not show the skipped records: {stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_is_long_past_says_so() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let detail = json!({"instance-id": sandbox.instances[0].to_string(), "instance-action": "terminate"});
    let output = with_event(&sandbox, &envelope("aws.ec2", "EC2 Spot Instance Interruption Warning", &detail).to_string()).await;
    let stdout = text(&output.stdout);
    assert_eq!(code(&output), Some(18), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("back at 2026-03-04T05:08:07Z, which is past") && !stdout.contains("was done"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_a_missing_group_is_an_error() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let output =
        decamp(&sandbox, &["status", "--asg", "nosuch"]).env("DECAMP_GROUPS", "nosuch").output().await.expect("it starts");
    assert_eq!(code(&output), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("there is no Auto Scaling group nosuch"), "{}", text(&output.stderr));
}
