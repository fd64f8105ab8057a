//! The `check` event, answered by the real binary: the report of what it can reach, without any write.

use std::time::{Duration, Instant};

use decamp_sandbox::{ASG, CONSUL_TOKEN, NOMAD_TOKEN, Options, Sandbox};
use serde_json::Value;
use tokio::process::Command;

use super::departure::depart;
use super::runtime::{Answer, FailingServer};
use super::{TIME, assert_no_canary, batch, lines, nothing_handed_back, of, start};

const CHECK: &str = r#"{"decamp":"check"}"#;

async fn sandbox() -> Sandbox {
    let options = Options { acls: true, replacements: false, ..Options::default() };
    decamp_sandbox::serve(&options).await.expect("loopback has free ports")
}

/// The function's report in a sandbox, and its printed lines.
async fn checked(sandbox: &Sandbox, more: &[(&'static str, String)]) -> (Value, String) {
    let mut function = depart::start(sandbox, Command::new(env!("CARGO_BIN_EXE_bootstrap")), more).await;
    let answer = function.invoke(CHECK, TIME).await;
    let Answer::Response(text) = &answer else { panic!("{answer:?}") };
    (serde_json::from_str(text).expect("a report"), function.end().await)
}

/// The `ok` and `seen` of each check of a system.
fn about<'a>(report: &'a Value, system: &str) -> Vec<(bool, &'a str)> {
    let checks = report["checks"].as_array().expect("a list").iter();
    let of = checks.filter(|check| check["system"] == system);
    of.map(|check| (check["ok"].as_bool().expect("yes or no"), check["seen"].as_str().expect("a text"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_reports_what_it_reaches_and_writes_nothing() {
    let sandbox = sandbox().await;
    let before = sandbox.shared.look(|models| models.more());
    let (report, printed) = checked(&sandbox, &[]).await;
    assert_eq!((&report["decamp"], &report["ready"]), (&"check".into(), &true.into()), "{report:#}");
    assert_eq!(about(&report, "Auto Scaling"), [(true, "3 instances, hook decamp with 5m")], "{report:#}");
    let balancers = about(&report, "Elastic Load Balancing");
    assert_eq!(balancers, [(true, "3 targets, deregistration delay 5s"); 2], "the attached one and the hook's");
    assert_eq!(about(&report, "Nomad"), [(true, "it can read everything that is needed"), (true, "3 of 3 instances are nodes")]);
    assert_eq!(about(&report, "Consul"), [(true, "it can read nodes and their services")]);
    let after = sandbox.shared.look(|models| models.more());
    assert_eq!(before["nodes"], after["nodes"], "no node is drained, and none is ineligible");
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN] {
        assert!(!printed.contains(secret) && !report.to_string().contains(secret), "a secret was printed:\n{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_each_wrong_setting() {
    let sandbox = sandbox().await;
    let own = |name, value: &str| (name, value.to_owned());
    let cases = [
        (own("NOMAD_TOKEN", "0a0a0a0a-0000-4000-8000-000000000bad"), "Nomad", "denied"),
        (own("CONSUL_HTTP_TOKEN", "0b0b0b0b-0000-4000-8000-000000000bad"), "Consul", "denied"),
        (own("NOMAD_ADDR", "https://nomad.invalid:4646"), "Nomad", "nomad.invalid"),
        // A correct setting: the same comparison finds the function ready.
        (own("NOMAD_REGION", ""), "decamp", "act"),
        (own("DECAMP_GROUPS", "others"), "Auto Scaling", "there is no such group"),
        (own("DECAMP_GROUPS", "other-*"), "Auto Scaling", "no group has such a name"),
        (own("DECAMP_HOOKS", "leave"), "Auto Scaling", "no terminating hook of decamp's"),
        (own("DECAMP_GROUPS", ""), "decamp", "DECAMP_GROUPS is not set"),
    ];
    for (setting, system, text) in cases {
        let (report, _) = checked(&sandbox, std::slice::from_ref(&setting)).await;
        let found = about(&report, system);
        let expected = text == "act";
        assert!(found.iter().any(|(ok, seen)| *ok == expected && seen.contains(text)), "{setting:?}: {report:#}");
        assert_eq!(report["ready"], expected, "{setting:?}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_metadata_that_cannot_be_read() {
    let sandbox = sandbox().await;
    sandbox.shared.with(|models| {
        models.aws().0.change_group(ASG, |setup| {
            let metadata = setup.hooks[0].metadata.as_deref().expect("it names one");
            setup.hooks[0].metadata = Some(metadata.replace("target_groups", "target_group").into());
        });
    });
    let (report, _) = checked(&sandbox, &[]).await;
    let found = about(&report, "Auto Scaling");
    assert!(found.iter().any(|(ok, seen)| !ok && seen.contains("its key `target_group` is not read")), "{report:#}");
    assert_eq!(report["ready"], false, "{report:#}");
}

#[tokio::test]
async fn a_check_is_answered_in_time_when_every_request_fails() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    let began = Instant::now();
    let time = Duration::from_secs(8);
    let Answer::Response(text) = function.invoke(CHECK, time).await else { panic!("it answers") };
    assert!(began.elapsed() < time, "{:?}", began.elapsed());
    let report: Value = serde_json::from_str(&text).expect("a report");
    assert_eq!(report["ready"], false, "{report:#}");
    for system in ["Auto Scaling", "Nomad", "Consul"] {
        assert!(about(&report, system).iter().any(|(ok, _)| !ok), "{system}: {report:#}");
    }
    let writes =
        ["Heartbeat", "Deregister", "Complete", "ChangeMessageVisibility", "SetInstanceHealth", "/drain", "/eligibility"];
    let requests = failing.requests();
    assert!(!requests.iter().any(|request| writes.iter().any(|write| request.contains(write))), "{requests:#?}");
    let printed = function.end().await;
    assert_no_canary(&printed);
    assert!(!of(&lines(&printed), "WARN").is_empty(), "the log says so too: {printed}");
}

#[tokio::test]
async fn a_message_that_asks_for_a_check_is_rejected() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    assert!(nothing_handed_back(&function.invoke(&batch(&[CHECK]), TIME).await));
    assert_eq!(failing.requests(), Vec::<String>::new());
    let printed = function.end().await;
    assert_eq!(of(&lines(&printed), "ERROR").len(), 1, "{printed}");
}
