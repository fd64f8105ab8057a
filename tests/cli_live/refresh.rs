//! `decamp refresh` in the sandbox, while a task completes each lifecycle action.

use std::sync::Arc;

use decamp_core::decide::LifecycleResult;
use decamp_core::refresh::Status;
use decamp_sandbox::HOOK;
use decamp_sandbox::wire::{FaultPlan, Shared};
use decamp_sim::auto_scaling::LifecycleState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

/// All three instances at once.
const AT_ONCE: [&str; 6] = ["--min-healthy", "0", "--max-healthy", "100", "--every", "1s"];

fn swift() -> Options {
    Options { starts_in: Duration::from_secs(1), delay: Duration::from_secs(1), ..quick() }
}

fn release(sandbox: &Sandbox) {
    sandbox.shared.with(|models| models.aws().0.change_group(ASG, |setup| setup.version += 1));
}

/// The last refresh's status, and the number of refreshes.
fn last(shared: &Shared) -> (Option<Status>, usize) {
    shared.look(|models| {
        let all = models.aws().0.refreshes(ASG);
        (all.first().map(|refresh| refresh.status), all.len())
    })
}

/// Completes each lifecycle action until it is dropped.
struct Completer(JoinHandle<()>);

impl Drop for Completer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn complete_actions(sandbox: &Sandbox) -> Completer {
    let shared = Arc::clone(&sandbox.shared);
    Completer(tokio::spawn(async move {
        loop {
            shared.with(|models| {
                let asg = models.aws().0;
                let waits = |i: &&decamp_sim::auto_scaling::Instance| i.state == LifecycleState::TerminatingWait;
                let waiting: Vec<InstanceId> = asg.instances().filter(waits).map(|i| i.id).collect();
                for id in waiting {
                    asg.complete(ASG, HOOK, None, Some(id), LifecycleResult::Continue).expect("it waits");
                }
            });
            sleep(Duration::from_millis(1_500)).await;
        }
    }))
}

fn arguments<'a>(what: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["refresh", what, "--asg", ASG][..], more].concat()
}

async fn order(sandbox: &Sandbox, what: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let output = run(sandbox, &arguments(what, more)).await;
    (code(&output), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_started_adopted_followed_and_its_end_is_reported() {
    let sandbox = serve(&swift()).await.expect("loopback has free ports");
    let (code, _, said) = order(&sandbox, "watch", &[]).await;
    assert!(code == Some(34) && said.contains("decamp refresh start --asg web"), "{code:?} {said}");
    let (code, _, said) = order(&sandbox, "cancel", &[]).await;
    assert!(code == Some(34) && said.contains("no refresh of the group is under way"), "{code:?} {said}");

    let (code, said, _) = order(&sandbox, "start", &["--every", "1s"]).await;
    assert!(code == Some(0) && said.contains("Successful"), "nothing changed, so all instances match: {said}");
    assert_eq!(last(&sandbox.shared), (Some(Status::Successful), 1));
    assert!(sandbox.shared.events().is_empty(), "an instance that matches was replaced");

    release(&sandbox);
    let _completer = complete_actions(&sandbox);
    let first = decamp(&sandbox, &arguments("start", &AT_ONCE)).spawn().expect("the binary starts");
    while last(&sandbox.shared) != (Some(Status::InProgress), 2) {
        sleep(Duration::from_millis(50)).await;
    }
    let (code, second, _) = order(&sandbox, "start", &["--no-wait", "--json"]).await;
    let adopted: Value = serde_json::from_str(&second).expect("JSON");
    assert_eq!((code, adopted["kind"].as_str()), (Some(0), Some("adopted")), "{second}");
    let watched = decamp(&sandbox, &arguments("watch", &["--json", "--every", "1s"])).spawn().expect("the binary starts");

    let first = first.wait_with_output().await.expect("it ends");
    let said = text(&first.stdout);
    assert_eq!(first.status.code(), Some(0), "{said}{}", text(&first.stderr));
    let id = adopted["refresh.id"].as_str().expect("an id");
    assert!(said.contains(&format!("refresh {id} of web was started")), "{said}");
    assert!(said.contains("0 % after") && said.contains("InProgress, 3 instances to update"), "{said}");
    assert!(said.contains(&format!("refresh {id} of web: Successful, every instance is as it should be")), "{said}");
    let leaves = sandbox.instances.iter().any(|instance| said.contains(&format!("  {instance}  ")));
    assert!(leaves, "the steps of a departing instance are printed: {said}");
    assert_eq!(sandbox.shared.events().len(), 3, "each of them left through its hook");

    let watched = watched.wait_with_output().await.expect("it ends");
    let lines: Vec<Value> =
        text(&watched.stdout).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let (end, looks) = lines.split_last().expect("at least the end");
    assert_eq!((end["kind"].as_str(), end["refresh"]["status"].as_str()), (Some("end"), Some("Successful")), "{end}");
    assert!(!looks.is_empty() && looks.iter().all(|look| look["kind"] == "look" && look["refresh"]["id"] == id), "{looks:?}");
    assert_eq!(last(&sandbox.shared), (Some(Status::Successful), 2), "a third refresh was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_signal_the_refresh_continues_and_the_output_says_how_to_watch_it() {
    let sandbox = serve(&swift()).await.expect("loopback has free ports");
    release(&sandbox);
    for (signal, expected) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = decamp(&sandbox, &arguments("start", &AT_ONCE)).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut first = String::new();
        while !first.contains("InProgress") {
            assert!(0 < stdout.read_line(&mut first).await.expect("text"), "it ended: {first}");
        }
        let pid = child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.expect("kill starts").success());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).await.expect("text");
        assert_eq!(child.wait().await.expect("it ends").code(), Some(expected), "{first}{rest}");
        assert!(rest.contains("the refresh continues") && rest.contains("decamp refresh watch --asg web"), "{rest}");
        assert_eq!(last(&sandbox.shared), (Some(Status::InProgress), 1));
    }
    let _completer = complete_actions(&sandbox);
    let (code, said, _) = order(&sandbox, "cancel", &["--every", "1s"]).await;
    assert!(
        code == Some(0) && said.contains("is being cancelled") && said.contains("Cancelled, it was stopped"),
        "{code:?} {said}"
    );
    let (code, said, _) = order(&sandbox, "watch", &[]).await;
    assert!(code == Some(31) && said.contains("Cancelled due to user request."), "{code:?} {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_refresh_to_a_given_version_can_be_rolled_back() {
    let sandbox = serve(&swift()).await.expect("loopback has free ports");
    let _completer = complete_actions(&sandbox);
    release(&sandbox);
    let (code, ..) = order(&sandbox, "start", &["--no-wait"]).await;
    assert_eq!(code, Some(0));
    let (code, _, said) = order(&sandbox, "rollback", &[]).await;
    assert!(code == Some(35) && said.contains("--launch-template-version"), "{code:?} {said}");
    assert_eq!(order(&sandbox, "cancel", &["--every", "1s"]).await.0, Some(0));

    let to_seven = ["--no-wait", "--launch-template-version", "7", "--min-healthy", "0", "--max-healthy", "100"];
    assert_eq!(order(&sandbox, "start", &to_seven).await.0, Some(0));
    let (code, said, _) = order(&sandbox, "rollback", &["--every", "1s"]).await;
    assert!(code == Some(0) && said.contains("RollbackSuccessful"), "{code:?} {said}");
    assert_eq!(order(&sandbox, "watch", &[]).await.0, Some(32));
    let serves = |i: &&decamp_sim::auto_scaling::Instance| i.state == LifecycleState::InService;
    let versions = sandbox.shared.look(|models| models.aws().0.instances().filter(serves).map(|i| i.version).collect::<Vec<_>>());
    assert!(versions.len() == 3 && !versions.contains(&7), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_a_bar_shows_the_progress_and_each_leaving_instance_has_a_line() {
    let sandbox = serve(&swift()).await.expect("loopback has free ports");
    release(&sandbox);
    let _completer = complete_actions(&sandbox);
    let folder = tempfile::tempdir().expect("a folder");
    let typescript = folder.path().join("typescript");
    let decamp = env!("CARGO_BIN_EXE_decamp");
    let command = format!("stty cols 90 rows 24; exec {decamp} {}", arguments("start", &AT_ONCE).join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command]).arg(&typescript).env("TERM", "xterm").envs(sandbox.variables());
    script.env("AWS_EC2_METADATA_DISABLED", "true").stdin(Stdio::null()).stdout(Stdio::null());
    let status = match script.status().await {
        Ok(status) => status,
        Err(why) => return eprintln!("script: skipped, it cannot be started: {why}"),
    };
    let said = text(&std::fs::read(&typescript).expect("it was written"));
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("[{}] 0 %  after", "-".repeat(30))), "there is no bar: {said}");
    assert!(said.contains("InProgress, 3 instances to update"), "{said}");
    for instance in &sandbox.instances {
        assert!(said.contains(&format!("  {instance}  ")), "{instance} has no line: {said}");
    }
    assert!(said.trim_end().contains("Successful, every instance is as it should be"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_error_says_what_to_do_and_has_its_exit_code() {
    let sandbox = serve(&swift()).await.expect("loopback has free ports");
    let observed = decamp(&sandbox, &arguments("start", &[])).env("DECAMP_MODE", "observe").output().await.expect("it starts");
    assert_eq!((code(&observed), last(&sandbox.shared).1), (Some(4), 0), "{}", text(&observed.stdout));
    let other = run(&sandbox, &["refresh", "start", "--asg", "other"]).await;
    assert_eq!(code(&other), Some(3));
    assert!(text(&other.stderr).contains("DECAMP_GROUPS does not allow the group other"), "{}", text(&other.stderr));
    for arguments in [&["refresh", "start", "--asg", "nobody"] as &[&str], &["refresh", "cancel", "--asg", "nobody"]] {
        let nobody = decamp(&sandbox, arguments).env_remove("DECAMP_GROUPS").output().await.expect("it starts");
        assert_eq!(code(&nobody), Some(3));
        let said = text(&nobody.stderr);
        assert!(said.contains("no such group: nobody") && said.contains("check the group's name"), "{said}");
    }
    let denied = serde_json::from_str(r#"[{"operation":"StartInstanceRefresh","fault":"denied"}]"#).expect("rules");
    sandbox.shared.set_faults(FaultPlan::new(denied, 0));
    let (code, _, said) = order(&sandbox, "start", &[]).await;
    assert!(code == Some(3) && said.contains("allow autoscaling:StartInstanceRefresh"), "{said}");
    sandbox.shared.set_faults(FaultPlan::default());

    release(&sandbox);
    let began = Instant::now();
    let failing = decamp(&sandbox, &arguments("start", &AT_ONCE)).spawn().expect("the binary starts");
    while last(&sandbox.shared).0 != Some(Status::InProgress) {
        assert!(began.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(50)).await;
    }
    sandbox.shared.with(|models| models.aws().0.fail_refresh(ASG, "an alarm went off"));
    let failed = failing.wait_with_output().await.expect("it ends");
    assert_eq!(failed.status.code(), Some(30));
    assert!(text(&failed.stdout).contains("Failed, it gave up (an alarm went off)"), "{}", text(&failed.stdout));
}
