//! The rehearsal as a newcomer uses it: real servers and requests, a baseline that loses requests, decamp that does not, and bad input.
#[path = "rehearsal/browser.rs"]
mod browser;
#[path = "rehearsal/devtools.rs"]
mod devtools;
#[path = "rehearsal/network.rs"]
mod network;
#[path = "rehearsal/real_consul.rs"]
mod real_consul;
#[path = "rehearsal/real_nomad.rs"]
mod real_nomad;
#[path = "rehearsal/service.rs"]
mod service;
#[path = "rehearsal/terminal.rs"]
mod terminal;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Runs one rehearsal at a time, because the processes of every plan listen on the same addresses.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `decamp rehearse` with an empty environment.
fn rehearse(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().stdin(Stdio::null()).arg("rehearse").args(["--port", &port.to_string()]).args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn complaint(output: &Output) -> String {
    text(&output.stderr)
}

/// The program of this name on the PATH. Without it the test prints that it is skipped.
fn on_the_path(name: &str) -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().ok()?;
    let path = text(&output.stdout).trim().to_owned();
    if path.is_empty() {
        println!("skipped: no {name} on the path");
        return None;
    }
    Some(path.into())
}

/// A short plan, which takes seconds.
const SHORT: [&str; 8] = ["--nodes", "2", "--services", "2", "--rate", "100", "--calm", "2s"];

#[test]
fn decamp_loses_nothing_where_a_baseline_loses_requests_and_the_report_is_self_contained() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("there is room for one");
    let report = folder.path().join("report.html");
    let drivers = ["--driver", "terminate-at-once", "--driver", "decamp", "--json", "--report"];
    let output = rehearse(18_101, &SHORT).args(drivers).arg(&report).output().expect("the binary starts");
    let runs: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(output.status.code(), Some(0), "{}\n{:?}", complaint(&output), runs.last().map(|run| &run["account"]["failures"]));
    let [control, baseline, decamp] = &runs[..] else { panic!("{} lines", runs.len()) };
    assert!(0.0 < control["requests_sustained"].as_f64().expect("a number"), "{control}");
    let failed = |run: &Value| run["account"]["failed"].as_u64().expect("a number");
    assert!(0 < failed(baseline), "a baseline that loses nothing proves nothing");
    assert_eq!(failed(decamp), 0);
    assert!(1_500 < decamp["account"]["requests"].as_u64().expect("a number"), "{}", decamp["account"]["requests"]);
    let left = decamp["strips"].as_array().expect("a list").iter().filter(|strip| !strip["gone"].is_null()).count();
    assert_eq!(left, 2, "both old instances are gone");
    let departures = decamp["strips"].as_array().expect("a list").iter().filter(|strip| !strip["departure"].is_null()).count();
    assert_eq!(departures, 2, "and both waited in their hook");
    for story in decamp["stories"].as_array().expect("a list") {
        let outcome = story[1]["outcome"].as_str().expect("it ended");
        assert!(outcome.starts_with("departed"), "{outcome}");
    }
    let page = std::fs::read_to_string(&report).expect("it was written");
    for outside in ["src=", "<link", "<script", "url(", "@import"] {
        assert!(!page.contains(outside), "the report needs something from outside: {outside}");
    }
    assert!(page.contains("none failed with decamp") && page.contains("sent it to"), "it has the result and the causes");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "no other file is left");
}

#[test]
fn invalid_arguments_are_refused_at_the_beginning() {
    for (arguments, word) in [
        (["--nodes", "1"], "--nodes"),
        (["--rate", "0"], "--rate"),
        (["--ingress-poll", "0s"], "between 1s and 60s"),
        (["--driver", "nobody"], "terminate-at-once"),
        (["--rounds", "0"], "--rounds"),
        (["--balancer", "classic"], "nlb-termination"),
        (["--chaos=nonsense", "--single"], "consul-for-all"),
    ] {
        let output = rehearse(18_102, &arguments).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(complaint(&output).contains(word), "{}", complaint(&output));
    }
    for (arguments, words) in [
        (["--nomad", "/bin/true", "--driver", "decamp"], "--nomad needs --consul as well"),
        (["--traefik", "/bin/true", "--consul", "/bin/true"], "--traefik needs --nomad as well"),
    ] {
        let output = rehearse(18_102, &arguments).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(complaint(&output).contains(words), "{}", complaint(&output));
    }
    let real = ["--nomad", "/bin/true", "--consul", "/bin/true"];
    for (arguments, words) in [
        (["--driver", "serve"], "--driver serve works only with the simulated Nomad"),
        (["--traefik=/bin/true", "--chaos=consul-for-all"], "Traefik does not report a stale catalog"),
    ] {
        let output = rehearse(18_102, &real).args(arguments).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(complaint(&output).contains(words), "{}", complaint(&output));
    }
    let output = rehearse(18_102, &["--report", "/nowhere/at/all.html"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(3));
    assert!(complaint(&output).contains("write the report to /nowhere/at/all.html"), "{}", complaint(&output));
}

#[test]
fn a_missing_or_wrong_binary_is_reported_by_name() {
    let _alone = alone();
    for (arguments, words) in [
        (["--consul", "/nowhere/consul"], "start a real Consul: run /nowhere/consul: there is no such file"),
        (["--consul", "/bin/true"], "/bin/true is no Consul"),
        (["--lambda", "/nowhere/bootstrap"], "start /nowhere/bootstrap"),
    ] {
        let output = rehearse(18_105, &SHORT).args(["--driver", "decamp"]).args(arguments).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(3));
        assert!(complaint(&output).contains(words), "{}", complaint(&output));
    }
}

#[test]
fn a_port_in_use_is_reported_with_advice() {
    let _alone = alone();
    let _taken = TcpListener::bind("127.0.0.12:18103").expect("it is free");
    let output = rehearse(18_103, &SHORT).args(["--driver", "decamp"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(3));
    let complaint = complaint(&output);
    assert!(complaint.contains("127.0.0.12:18103") && complaint.contains("--port"), "{complaint}");
}

#[test]
fn an_interrupt_in_the_middle_leaves_no_report_and_no_listener() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("there is room for one");
    let report = folder.path().join("report.html");
    let mut child = rehearse(18_104, &SHORT)
        .arg("--report")
        .arg(&report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let began = std::time::Instant::now();
    while std::net::TcpStream::connect("127.0.0.11:18104").is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "no ingress ever listened");
        std::thread::sleep(Duration::from_millis(50));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    assert!(interrupted.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    TcpListener::bind("127.0.0.11:18104").expect("nothing listens there any more");
}

#[test]
fn decamp_loses_nothing_when_its_processes_are_killed_at_random() {
    let _alone = alone();
    let chaos = ["--driver", "decamp", "--chaos", "--json"];
    let output = rehearse(18_106, &SHORT).args(chaos).output().expect("the binary starts");
    let run: Value = text(&output.stdout).lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a run");
    assert_eq!(output.status.code(), Some(0), "{}\n{}", complaint(&output), run["account"]["failures"]);
    assert!(0 < run["kills"].as_u64().expect("a number"), "it was never killed");
    assert_eq!(run["judged"]["attributable"], 0);
    let stories = run["stories"].as_array().expect("a list");
    assert!(stories.iter().any(|story| !story[1]["lines"].as_array().expect("a list").is_empty()), "no story was recorded");
}
