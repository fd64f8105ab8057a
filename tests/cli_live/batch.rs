//! `decamp run --event` with batches: what can be walked is walked, and the rest is named. And what `status` says of a group that is not there.

use decamp_sandbox::{ACCOUNT, ASG, REGION, serve};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Sandbox, code, decamp, quick, terminate, text};

/// The command with an event on standard input, where one Region is allowed.
async fn with_event(sandbox: &Sandbox, event: &str) -> std::process::Output {
    let mut command = decamp(sandbox, &["run", "--event", "-"]);
    command.env("DECAMP_REGIONS", REGION).env("DECAMP_LOG", "info");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it was asked for").write_all(event.as_bytes()).await.expect("it reads");
    child.wait_with_output().await.expect("it ends")
}

fn envelope(source: &str, kind: &str, detail: &Value) -> Value {
    json!({
        "version": "0", "id": "i", "detail-type": kind, "source": source, "account": ACCOUNT, "region": REGION,
        "time": "2026-03-04T05:06:07Z", "resources": [], "detail": detail,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_walked_as_far_as_it_can_be_and_what_was_passed_over_is_said() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
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
    let said = text(&output.stdout);
    for line in [
        "record 1 is of the kind test",
        "record 2 cannot be used: not an event that decamp knows: plain text",
        "record 5 says that EC2 takes",
        "which is past",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}\n{}", text(&output.stderr));
    }
    let log = text(&output.stderr);
    assert!(log.contains("record 3 names no Region") && !log.contains("record 5 names no Region"), "{log}");
    assert_eq!(said.matches(" departed: ").count(), 1, "the same told twice is walked once: {said}");
    assert_eq!(code(&output), Some(18), "not everything was walked: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_is_long_past_says_so() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let detail = json!({"instance-id": sandbox.instances[0].to_string(), "instance-action": "terminate"});
    let output = with_event(&sandbox, &envelope("aws.ec2", "EC2 Spot Instance Interruption Warning", &detail).to_string()).await;
    let said = text(&output.stdout);
    assert_eq!(code(&output), Some(18), "{said}{}", text(&output.stderr));
    assert!(said.contains("back at 2026-03-04T05:08:07Z, which is past") && !said.contains("was done"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_not_there_is_not_one_that_nothing_leaves() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let output =
        decamp(&sandbox, &["status", "--asg", "nosuch"]).env("DECAMP_GROUPS", "nosuch").output().await.expect("it starts");
    assert_eq!(code(&output), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("there is no Auto Scaling group nosuch"), "{}", text(&output.stderr));
}
