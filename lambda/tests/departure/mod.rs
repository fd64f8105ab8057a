//! The real binary takes an instance out of the sandbox, pass by pass, while clients send requests: none may fail.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use decamp::sim::sandbox::{self, ACCOUNT, CONSUL_TOKEN, NOMAD_TOKEN, Options, REGION, Sandbox};

use serde_json::{Value, json};
use tokio::process::Command;

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

async fn start(sandbox: &Sandbox, command: Command) -> Function {
    let mut settings = sandbox.variables();
    settings.extend([
        ("DECAMP_GUARD_ALB", "2s".to_owned()),
        ("DECAMP_LONGEST_REQUEST", "1s".to_owned()),
        ("DECAMP_ACCOUNTS", ACCOUNT.to_owned()),
        ("DECAMP_REGIONS", REGION.to_owned()),
    ]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Function::start_by(command, &settings).await
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

/// The arm64 package under an emulator, where `just package` made one and both are installed.
fn packaged_for_arm64() -> Option<Command> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let libraries = target.join("tools/rust-arm64/arm64/usr/lib");
    let (binary, loader) = (target.join("package/arm64/bootstrap"), libraries.join("ld-linux-aarch64.so.1"));
    let emulator = ["/usr/bin/qemu-aarch64-static", "/usr/bin/qemu-aarch64"].into_iter().map(PathBuf::from);
    let emulator = emulator.chain([target.join("tools/bin/qemu-aarch64-static")]).find(|path| path.exists())?;
    if !binary.exists() || !loader.exists() {
        return None;
    }
    let mut command = Command::new(emulator);
    command.arg(loader).arg("--library-path").arg(libraries.join("aarch64-linux-gnu")).arg(binary);
    Some(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_fed_to_the_real_binary_takes_an_instance_out_without_a_failed_request() {
    walk_out(Command::new(env!("CARGO_BIN_EXE_bootstrap"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_arm64_package_takes_an_instance_out_without_a_failed_request() {
    match packaged_for_arm64() {
        Some(command) => walk_out(command).await,
        None => println!("skipped: no arm64 package, or no emulator for it (`just package`, qemu-user-static)"),
    }
}

async fn walk_out(command: Command) {
    let sandbox = sandbox::serve(&options()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let mut function = start(&sandbox, command).await;
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
