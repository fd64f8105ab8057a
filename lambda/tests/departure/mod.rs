//! The real binary handles a departure in the sandbox, pass by pass, while clients send requests: none may fail.

pub(crate) mod depart;

use std::path::{Path, PathBuf};
use std::time::Duration;

use decamp_sandbox::{CONSUL_TOKEN, NOMAD_TOKEN, Sandbox};
use serde_json::Value;
use tokio::process::Command;

use super::runtime::{self, Function};
use depart::Departed;

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// The binary that `just package` built for an architecture, if it did.
fn packaged(architecture: &str) -> Option<PathBuf> {
    Some(target().join("package").join(architecture).join("bootstrap")).filter(|binary| binary.exists())
}

/// The package for this machine.
fn packaged_for_x86_64() -> Option<Command> {
    let runs_here = cfg!(all(target_arch = "x86_64", target_os = "linux"));
    packaged("x86_64").filter(|_| runs_here).map(Command::new)
}

/// The arm64 package under an emulator, if an emulator and a C library for it are installed.
fn packaged_for_arm64() -> Option<Command> {
    let binary = packaged("arm64")?;
    let libraries = target().join("tools/rust-arm64/arm64/usr/lib");
    let loader = libraries.join("ld-linux-aarch64.so.1");
    let emulator = ["/usr/bin/qemu-aarch64-static", "/usr/bin/qemu-aarch64"].into_iter().map(PathBuf::from);
    let emulator = emulator.chain([target().join("tools/bin/qemu-aarch64-static")]).find(|path| path.exists())?;
    if !loader.exists() {
        return None;
    }
    let mut command = Command::new(emulator);
    command.arg(loader).arg("--library-path").arg(libraries.join("aarch64-linux-gnu")).arg(binary);
    Some(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_binary_handles_a_departure_without_a_failed_request() {
    assert_departs(Command::new(env!("CARGO_BIN_EXE_bootstrap"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_x86_64_package_handles_a_departure_without_a_failed_request() {
    match packaged_for_x86_64() {
        Some(command) => assert_departs(command).await,
        None => println!("skipped: no x86_64 package (`just package`), or another machine"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_arm64_package_handles_a_departure_without_a_failed_request() {
    match packaged_for_arm64() {
        Some(command) => assert_departs(command).await,
        None => println!("skipped: no arm64 package, or no emulator for it (`just package`, qemu-user-static)"),
    }
}

async fn assert_departs(command: Command) {
    let Departed { sandbox, passes, took, resident, printed } = depart::depart(command).await;
    let more = sandbox.shared.look(|models| models.more());
    println!("{passes} passes in {took:?}, {resident:?} KiB resident at most, requests {}", more["requests"]);
    assert_eq!(more["requests"]["failed"], Value::from(0), "{}\n{printed}", more["requests"]);
    assert!(200 <= more["requests"]["sent"].as_u64().unwrap_or(0), "too few requests for the test to mean anything");
    assert!(2 <= passes, "a departure of one pass does not test handing back");
    assert!(printed.contains("departed"), "{printed}");
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let position = |is: &dyn Fn(&Value) -> bool| lines.iter().position(is);
    let foreseen = position(&|line| line["action"] == "foresee" && line["loss"] == "delay-too-short").expect("it is foreseen");
    let deregistered = position(&|line| line["action"] == "deregister").expect("it is written");
    assert!(foreseen < deregistered, "the loss was foreseen only after the write that causes it:\n{printed}");
    assert_eq!((&lines[foreseen]["level"], &lines[foreseen]["needed"]), (&Value::from("WARN"), &Value::from("6s")));
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN, "canary-handle"] {
        assert!(!printed.contains(secret), "a secret was printed:\n{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_groups_the_function_observes_and_logs_an_error() {
    let sandbox = decamp_sandbox::serve(&depart::options()).await.expect("loopback has free ports");
    let event = sandbox.terminate_these(&[sandbox.instances[0]]).await.expect("it is in service").remove(0);
    let command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    let mut function = depart::start(&sandbox, command, &[("DECAMP_GROUPS", String::new())]).await;
    let event = depart::delivered(&event.to_string());
    let answer = function.invoke(&event, Duration::from_secs(12)).await;
    let swept = function.invoke("{\"decamp\":\"sweep\"}", Duration::from_secs(12)).await;
    let printed = function.end().await;
    for answer in [answer, swept] {
        assert_eq!(answer, runtime::Answer::Response(r#"{"batchItemFailures":[]}"#.to_owned()), "{printed}");
    }
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let logged = |level: &str, text: &str| {
        lines.iter().any(|line| line["level"] == level && line["message"].as_str().is_some_and(|message| message.contains(text)))
    };
    assert!(logged("ERROR", "DECAMP_GROUPS is not set: nothing is written"), "{printed}");
    assert!(logged("INFO", "observed: this write was next and was not made"), "{printed}");
    let nodes = sandbox.shared.look(|models| models.more())["nodes"].clone();
    let touched = |node: &Value| node["eligible"] != true || node["draining"] != false;
    assert!(nodes.as_array().is_some_and(|nodes| !nodes.is_empty() && !nodes.iter().any(touched)), "{nodes:#}");
    assert!(sandbox.shared.stores().visibilities.is_empty(), "an observing function hid the message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_passes_wait_once_for_a_guard_that_is_longer_than_a_pass() {
    let sandbox = decamp_sandbox::serve(&depart::options()).await.expect("loopback has free ports");
    let command = || Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    let more = [("DECAMP_GUARD_ALB", "20s".to_owned())];
    let first = depart::start(&sandbox, command(), &more).await;
    let mut earlier = String::new();
    let restart = async |sandbox: &Sandbox, function: Function| {
        earlier.push_str(&function.end().await);
        depart::start(sandbox, command(), &more).await
    };
    // The function works until 5 s before its time-out, so every pass is shorter than half of the guard.
    let departed = depart::depart_with(sandbox, first, Duration::from_secs(12), restart).await;
    let printed = earlier + &departed.printed;
    let requests = departed.sandbox.shared.look(|models| models.more())["requests"].clone();
    assert_eq!(requests["failed"], Value::from(0), "{requests}\n{printed}");
    assert!(printed.contains("\"outcome\":\"departed\""), "{printed}");
    // The departure would never end if each pass started the guard again.
    assert!((3..=8).contains(&departed.passes), "{} passes\n{printed}", departed.passes);
}
