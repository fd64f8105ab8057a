//! Requests for refreshes: a refresh that is being cancelled is not adopted, and a call that hangs delays no other request.

use std::path::PathBuf;
use std::time::Duration;

use decamp_core::refresh::{Preferences, Status};
use decamp_sandbox::wire::{FaultPlan, Rule, WireFault};
use decamp_sandbox::{ASG, Options, Sandbox, serve};
use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::refreshes::{WEBHOOK, hook_of, seconds};
use crate::replica::{Replica, quick};

/// A webhook for the sandbox's group, and one for a missing group.
fn settings() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("decamp.toml");
    let hook = |name: &str, group: &str| {
        format!("[webhooks.{name}]\nscheme = \"standard\"\naction = \"refresh\"\ngroup = \"{group}\"\nsecret = \"{WEBHOOK}\"\n")
    };
    std::fs::write(&file, format!("{}{}", hook("deploy", ASG), hook("other", "api"))).expect("it is ours");
    (folder, file)
}

async fn replica(sandbox: &Sandbox, file: &std::path::Path) -> Replica {
    Replica::start_with(
        sandbox,
        &["--config", &file.display().to_string()],
        &[("DECAMP_SWEEP", "2s"), ("DECAMP_GROUPS", "web,api")],
    )
    .await
}

async fn ask(replica: &Replica, name: &str, id: &str) -> Response {
    hook_of(replica, name, id, seconds(), "{}").await
}

fn newest(sandbox: &Sandbox) -> Status {
    sandbox.shared.look(|models| models.aws().0.refreshes(ASG)[0].status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_is_being_cancelled_is_not_adopted_and_the_repetition_starts_a_new_one() {
    let options = Options { delay: Duration::from_secs(8), starts_in: Duration::from_secs(1), ..quick() };
    let sandbox = serve(&options).await.expect("loopback is there");
    let (_folder, file) = settings();
    let replica = replica(&sandbox, &file).await;
    sandbox
        .shared
        .with(|models| {
            let asg = models.aws().0;
            asg.change_group(ASG, |setup| setup.version += 1);
            asg.start_refresh(ASG, Preferences::default(), None).map(drop)
        })
        .expect("it starts");
    let began = Instant::now();
    // One instance is in its hook. The cancellation waits for it.
    while sandbox.shared.events().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing leaves");
        sleep(Duration::from_millis(100)).await;
    }
    sandbox.shared.with(|models| models.aws().0.cancel_refresh(ASG, true)).expect("it is under way");
    assert_eq!(newest(&sandbox), Status::Cancelling);
    let refused = ask(&replica, "deploy", "msg-1").await;
    assert_eq!(refused.status(), 503, "{}", replica.printed());
    replica.says("Cancelling").await;
    while newest(&sandbox) == Status::Cancelling {
        assert!(began.elapsed() < Duration::from_secs(150), "{}", replica.printed());
        sleep(Duration::from_millis(200)).await;
    }
    let answer: Value = ask(&replica, "deploy", "msg-1").await.json().await.expect("JSON");
    assert_eq!(answer["refreshes"][0]["begun"], "started", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_call_that_hangs_delays_no_other_and_is_answered_before_its_sender_gives_up() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let replica = replica(&sandbox, &file).await;
    // There is an instance to replace, so the first refresh does not end at once.
    sandbox.shared.with(|models| models.aws().0.change_group(ASG, |setup| setup.version += 1));
    let hangs = Rule::next(1, "StartInstanceRefresh", WireFault::Late(20_000));
    sandbox.shared.set_faults(FaultPlan::new(vec![hangs], 0));
    let began = Instant::now();
    let first = async {
        let answer = ask(&replica, "deploy", "msg-1").await;
        (answer.status(), began.elapsed())
    };
    let other = async {
        sleep(Duration::from_millis(500)).await;
        let answer = ask(&replica, "other", "msg-1").await;
        (answer.status(), began.elapsed(), replica.printed())
    };
    let ((status, took), (other_status, other_took, printed)) = tokio::join!(first, other);
    assert_eq!(other_status, 503, "no such group");
    assert!(other_took < Duration::from_secs(3), "it waited for another request: {other_took:?}");
    assert!(!printed.contains("it may have begun"), "{printed}");
    assert!(status == 503 && took < Duration::from_millis(5_500), "{status} after {took:?}");
    // The call continues meanwhile, and a repetition of the request gets its result.
    let again = ask(&replica, "deploy", "msg-1").await;
    assert_eq!(again.status(), 200, "{}", replica.printed());
    assert_eq!(sandbox.shared.look(|models| models.aws().0.refreshes(ASG).len()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_answer_to_a_refresh_that_is_being_started() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let mut replica = replica(&sandbox, &file).await;
    // Longer than the stop waits for a client.
    let late = Rule::next(1, "StartInstanceRefresh", WireFault::Late(4_500));
    sandbox.shared.set_faults(FaultPlan::new(vec![late], 0));
    let given_up = tokio::time::timeout(Duration::from_millis(700), ask(&replica, "deploy", "msg-1")).await;
    assert!(given_up.is_err(), "it was answered before AWS had answered");
    assert_eq!(replica.stop().await.code(), Some(0));
    assert!(replica.printed().contains("a refresh of web was started"), "{}", replica.printed());
}
