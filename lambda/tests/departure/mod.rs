//! The real binary takes an instance out of the sandbox, pass by pass, while clients send requests: none may fail.

use std::path::Path;
use std::time::{Duration, Instant};

use decamp::sim::sandbox::{self, ACCOUNT, CONSUL_TOKEN, NOMAD_TOKEN, Options, REGION, Sandbox};

use serde_json::{Value, json};

use super::runtime::{Answer, Function};

/// The function's time-out. It looks and acts until 5 s before.
const TIME: Duration = Duration::from_secs(12);

fn options() -> Options {
    Options {
        delay: Duration::from_secs(4),
        lag: Duration::from_secs(1),
        longest_request: Duration::from_millis(700),
        replacements: false,
        acls: true,
        ..Options::default()
    }
}

async fn start(sandbox: &Sandbox) -> Function {
    let mut settings = sandbox.variables();
    settings.extend([
        ("DECAMP_GUARD_ALB", "2s".to_owned()),
        ("DECAMP_LONGEST_REQUEST", "1s".to_owned()),
        ("DECAMP_ACCOUNTS", ACCOUNT.to_owned()),
        ("DECAMP_REGIONS", REGION.to_owned()),
    ]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Function::start(Path::new(env!("CARGO_BIN_EXE_bootstrap")), &settings).await
}

/// The message that tells of the first lifecycle action, as the queue delivers it.
async fn message(sandbox: &Sandbox) -> String {
    let mut changes = sandbox.shared.watch();
    let event = loop {
        if let Some(event) = sandbox.shared.events().into_iter().next() {
            break event;
        }
        changes.changed().await.expect("the sandbox is there");
    };
    let body = event.event_bridge(REGION, ACCOUNT).to_string();
    json!({ "Records": [{
        "messageId": "m-1", "receiptHandle": "canary-handle", "body": body, "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:decamp"), "awsRegion": REGION,
    }] })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_fed_to_the_real_binary_takes_an_instance_out_without_a_failed_request() {
    let sandbox = sandbox::serve(&options()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let mut function = start(&sandbox).await;
    sandbox
        .shared
        .with(|stage| {
            let (asg, elb) = stage.aws();
            asg.terminate(instance, elb)
        })
        .expect("it is in service");
    let message = message(&sandbox).await;
    let began = Instant::now();
    let mut passes = 0;
    loop {
        passes += 1;
        assert!(passes <= 12, "it goes on for ever");
        match function.invoke(&message, TIME).await {
            Answer::Response(text) if text == r#"{"batchItemFailures":[]}"# => break,
            Answer::Response(text) => assert!(text.contains("m-1"), "{text}"),
            other @ (Answer::Error(_) | Answer::Gone) => panic!("{other:?}"),
        }
        // The queue delivers it again when its visibility, which the function set, is over.
        let visibility = sandbox.shared.stores().visibilities.last().cloned().expect("the message was hidden");
        assert_eq!(visibility.0, "canary-handle");
        tokio::time::sleep(Duration::from_secs(visibility.1)).await;
    }
    let took = began.elapsed();
    let machine_is_off = async {
        while sandbox.shared.look(|stage| stage.aws().0.instance(instance).is_some_and(|instance| instance.runs)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), machine_is_off).await.is_ok(), "it was let go");
    let resident = function.most_resident();
    let printed = function.end().await;
    let more = sandbox.shared.look(|stage| stage.more());
    println!("{passes} passes in {took:?}, {resident:?} KiB resident at most, requests {}", more["requests"]);
    assert_eq!(more["requests"]["failed"], Value::from(0), "{}\n{printed}", more["requests"]);
    assert!(200 <= more["requests"]["sent"].as_u64().unwrap_or(0), "too few requests to prove anything");
    assert!(2 <= passes, "one pass is no test of handing back");
    assert!(printed.contains("departed"), "{printed}");
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN, "canary-handle"] {
        assert!(!printed.contains(secret), "a secret was printed:\n{printed}");
    }
}
