//! The binary against a sandbox: its requests, output and exit codes.
#[path = "cli_live/batch.rs"]
mod batch;
#[path = "cli_live/check.rs"]
mod check;
#[path = "cli_live/clusters.rs"]
mod clusters;
#[path = "cli_live/credentials.rs"]
mod credentials;
#[path = "cli_live/init.rs"]
mod init;
#[path = "cli_live/look_back.rs"]
mod look_back;
#[path = "cli_live/plan.rs"]
mod plan;
#[path = "cli_live/refresh.rs"]
mod refresh;
#[path = "cli_live/silence.rs"]
mod silence;
#[path = "cli_live/terminal.rs"]
mod terminal;

use std::process::{Output, Stdio};
use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_sandbox::wire::{FaultPlan, Rule, Tokens, WireFault};
use decamp_sandbox::{ASG, CONSUL_TOKEN, NOMAD_TOKEN, Options, Sandbox, serve};
use decamp_sim::{consul, nomad};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Short delays, so that a departure takes about ten seconds.
fn quick() -> Options {
    Options {
        delay: Duration::from_secs(3),
        lag: Duration::from_secs(1),
        shutdown_delay: Duration::from_secs(3),
        longest_request: Duration::from_millis(700),
        heartbeat_timeout: Duration::from_secs(900),
        replacements: false,
        ..Options::default()
    }
}

fn decamp(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().args(arguments).envs(sandbox.variables());
    command.env("DECAMP_GUARD_ALB", "2s").env("DECAMP_LONGEST_REQUEST", "1s").env("AWS_EC2_METADATA_DISABLED", "true");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    decamp(sandbox, arguments).output().await.expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Begins a termination and waits until the instance is in its hook.
async fn terminate(sandbox: &Sandbox, instance: InstanceId) {
    sandbox.terminate_these(&[instance]).await.expect("it is in service");
}

fn failed_requests(sandbox: &Sandbox) -> Value {
    sandbox.shared.look(|models| models.more())["requests"]["last_failures"].clone()
}

/// Whether JSON lists the reasons of a decision, its own first, by this field.
fn has_its_reasons(json: &Value, own: &Value, field: &str) -> bool {
    own.is_string() && json["reasons"][0][field] == *own
}

/// Whether a report of `check` finds nothing to change but hints. The sandbox's group has no warm-up.
fn has_only_hints(report: &Value) -> bool {
    report["notices"].as_array().is_some_and(|all| all.iter().all(|notice| notice["verdict"] == "hint"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departure_is_checked_planned_listed_and_run_without_a_failed_request() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    let id = instance.to_string();

    let check = run(&sandbox, &["check", "--asg", ASG, "--json"]).await;
    let report: Value = serde_json::from_slice(&check.stdout).expect("JSON");
    assert_eq!(code(&check), Some(0), "{report:#}");
    assert!(has_only_hints(&report), "{report:#}");
    let layers: Vec<&str> = report["found"].as_array().expect("a list").iter().filter_map(|f| f["layer"].as_str()).collect();
    for layer in ["container", "service", "ingress", "load-balancer", "node", "hook", "group"] {
        assert!(layers.contains(&layer), "{layer} is not in {report:#}");
    }

    let quiet = run(&sandbox, &["status"]).await;
    assert_eq!(text(&quiet.stdout).trim(), "no instance is leaving");

    let too_early = run(&sandbox, &["run", "--instance", &id]).await;
    let printed = text(&too_early.stdout);
    assert_eq!(code(&too_early), Some(19), "{printed}");
    assert!(printed.ends_with("/docs/outcomes.md#not-leaving\n"), "it does not end with the runbook's address:\n{printed}");

    terminate(&sandbox, instance).await;
    let plan = run(&sandbox, &["plan", "--instance", &id]).await;
    assert_eq!(code(&plan), Some(0), "{}", text(&plan.stderr));
    let plan = text(&plan.stdout);
    assert!(plan.contains("Nothing was written") && plan.contains("ineligible"), "{plan}");

    let observed = decamp(&sandbox, &["run", "--instance", &id]).env("DECAMP_MODE", "observe").output().await.expect("it starts");
    assert_eq!(code(&observed), Some(4), "{}", text(&observed.stdout));

    let status = run(&sandbox, &["status", "--asg", ASG, "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let row = &status["leaving"][0];
    assert_eq!(
        (row["instance.id"].as_str(), row["step"].as_str()),
        (Some(&*id), Some("not begun")),
        "the observing run wrote something: {row}"
    );
    assert!(
        row["time_left_s"].as_u64() > Some(60) && row["next"].as_str().is_some_and(|next| next.contains("ineligible")),
        "{row}"
    );

    assert!(has_its_reasons(row, &row["reason"], "because"), "{row:#}");
    let whole: Value = serde_json::from_slice(&run(&sandbox, &["plan", "--instance", &id, "--json"]).await.stdout).expect("JSON");
    assert!(has_its_reasons(&whole, &whole["decision"]["reason"]["reason"], "reason"), "{whole:#}");

    let departed = run(&sandbox, &["run", "--instance", &id, "--json"]).await;
    let stdout = text(&departed.stdout);
    assert_eq!(code(&departed), Some(0), "{stdout}\n{}", text(&departed.stderr));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let end = lines.last().expect("a report");
    assert_eq!((end["kind"].as_str(), end["outcome"].as_str()), (Some("end"), Some("departed")), "{end}");
    let decisions: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "decision").collect();
    assert!(decisions.iter().all(|one| has_its_reasons(one, &one["reason"], "reason")), "{decisions:#?}");
    let many = |one: &&&Value| one["action"] == "wait" && one["reasons"].as_array().is_some_and(|all| 1 < all.len());
    assert!(decisions.iter().any(|one| many(&one)), "no wait says what else it waits for: {decisions:#?}");
    assert!(end["evidence"].as_array().is_some_and(|all| all.len() >= 4) && end["runbook"].is_null(), "{end:#}");
    assert_eq!(failed_requests(&sandbox), Value::Array(vec![]), "{stdout}");
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN] {
        assert!(!stdout.contains(secret) && !text(&departed.stderr).contains(secret), "a token was printed");
    }

    let again = run(&sandbox, &["run", "--instance", &id, "--asg", ASG]).await;
    let stdout = text(&again.stdout);
    assert!(matches!(code(&again), Some(16 | 18)), "{stdout}");
    assert!(!stdout.contains("(because"), "the reason only repeats the outcome: {stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ended_by_a_signal_prints_how_to_continue_and_the_next_run_does() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[1];
    let id = instance.to_string();
    terminate(&sandbox, instance).await;
    for (signal, expected) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = decamp(&sandbox, &["run", "--instance", &id]).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        // At its first wait, the run is in the middle of the departure.
        let mut first = String::new();
        while !first.contains("  wait ") {
            assert!(0 < stdout.read_line(&mut first).await.expect("text"), "it ended: {first}");
        }
        let pid = child.id().expect("it runs").to_string();
        let killed = Command::new("kill").args([signal, &pid]).status().await.expect("kill starts");
        assert!(killed.success());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).await.expect("text");
        let status = child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(expected), "{first}{rest}");
        assert!(rest.contains(&format!("decamp run --instance {id} --asg {ASG}")), "{rest}");
        assert!(rest.contains("its hook waits for another") && rest.contains("node ip-"), "{rest}");
    }
    let events = sandbox.shared.events().len();
    let departed = run(&sandbox, &["run", "--instance", &id]).await;
    assert_eq!(code(&departed), Some(0), "{}", text(&departed.stdout));
    assert_eq!(sandbox.shared.events().len(), events, "it began a second departure");
    assert_eq!(failed_requests(&sandbox), Value::Array(vec![]), "{}", text(&departed.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_first_query_is_retried() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let (instance, other) = (sandbox.instances[0], sandbox.instances[1]);
    terminate(&sandbox, instance).await;
    // Each look makes three attempts, so the first two looks fail.
    let throttled = Rule::next(6, "DescribeAutoScalingInstances", WireFault::Throttled);
    sandbox.shared.set_faults(FaultPlan::new(vec![throttled], 1));
    let output = run(&sandbox, &["run", "--instance", &instance.to_string(), "--json"]).await;
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), Some(0), "{stderr}");
    assert!(
        stderr.contains("cannot query") && stderr.contains("retrying in 1s") && stderr.contains("retrying in 2s"),
        "{stderr}"
    );
    assert_eq!(failed_requests(&sandbox), Value::Array(vec![]));
    // A denied call is not retried, because a person has to change the permissions.
    sandbox.shared.set_faults(FaultPlan::new(vec![Rule::next(u32::MAX, "DescribeAuto", WireFault::Denied)], 1));
    let output = run(&sandbox, &["run", "--instance", &other.to_string()]).await;
    assert_eq!(code(&output), Some(3));
    assert!(text(&output.stderr).contains("check the credentials"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_may_come_from_the_credential_process_of_a_profile() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    let keys = r#"{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret-canary"}"#;
    let text = format!("[profile people]\ncredential_process = echo '{keys}'\nregion = eu-west-1\n");
    std::fs::write(&config, text).expect("the folder is writable");
    let mut command = decamp(&sandbox, &["status", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_SESSION_TOKEN");
    command.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "people").env("PATH", "/usr/bin:/bin");
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));

    // The error for a missing session of IAM Identity Center names SSO, not a missing feature of the build.
    let sso = "[profile people]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\nregion = eu-west-1\n\
               [sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://example.awsapps.com/start\n";
    std::fs::write(&config, sso).expect("the folder is writable");
    let mut command = decamp(&sandbox, &["status", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_SESSION_TOKEN");
    command.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "people").env("HOME", folder.path());
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(3));
    let printed = text_of(&output);
    assert!(printed.to_ascii_lowercase().contains("sso") && !printed.contains("feature"), "{printed}");
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_sees_too_little_is_refused_before_the_first_write_and_check_says_why() {
    let sandbox = serve(&Options { acls: true, ..quick() }).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    let id = instance.to_string();
    assert_eq!(code(&run(&sandbox, &["check", "--asg", ASG]).await), Some(0), "the token with the documented policy works");
    let short = nomad::Policy { node: nomad::NodeRule::Read, ..nomad::Policy::decamp() };
    sandbox.shared.set_tokens(Tokens {
        nomad: Some([(NOMAD_TOKEN.to_owned(), nomad::Token::Client(vec![short]))].into()),
        consul: Some([(CONSUL_TOKEN.to_owned(), consul::Token::Full)].into()),
    });
    let check = run(&sandbox, &["check", "--asg", ASG]).await;
    assert_eq!(code(&check), Some(2), "{}", text(&check.stdout));
    assert!(text(&check.stdout).contains("would not work: node: the Nomad token"), "{}", text(&check.stdout));
    terminate(&sandbox, instance).await;
    let refused = run(&sandbox, &["run", "--instance", &id]).await;
    let stdout = text(&refused.stdout);
    assert_eq!(code(&refused), Some(22), "{stdout}");
    assert!(!stdout.contains("deregister") && !stdout.contains("ineligible") && !stdout.contains("drain node"), "{stdout}");
    let status = run(&sandbox, &["status"]).await;
    assert!(text(&status.stdout).contains("not begun, in its hook for "), "{}", text(&status.stdout));
    // Both print that a run would refuse this token, and neither that it would wait for a better one.
    let plan = run(&sandbox, &["plan", "--instance", &id]).await;
    for (command, output) in [("status", &status), ("plan", &plan)] {
        let stdout = text(&output.stdout);
        let refused = stdout.contains("the Nomad token cannot see enough") && stdout.contains("refuse");
        assert!(refused && !stdout.contains("  wait "), "{command}: {stdout}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_for_a_missing_group_or_instance_names_it() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let cases: [(&[&str], &str); 3] = [
        (&["check", "--asg", "nobody"], "nobody"),
        (&["status", "--asg", "nobody"], "there is no Auto Scaling group nobody"),
        (&["run", "--instance", "i-0fffffffffffffff0"], "lists no instance i-0fffffffffffffff0"),
    ];
    for (arguments, why) in cases {
        let output = decamp(&sandbox, arguments).env_remove("DECAMP_GROUPS").output().await.expect("the binary starts");
        assert_eq!(code(&output), Some(3), "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_prints_exports_for_the_other_commands() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_decamp"))
        .env_clear()
        .args(["sandbox", "--nodes", "2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut variables = Vec::new();
    while let Some(line) = stdout.next_line().await.expect("text") {
        match line.strip_prefix("export ").and_then(|export| export.split_once('=')) {
            Some((name, value)) => variables.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    assert!(variables.iter().any(|(name, _)| name == "NOMAD_ADDR"), "{variables:?}");
    let check = Command::new(env!("CARGO_BIN_EXE_decamp"))
        .env_clear()
        .envs(variables)
        .args(["check", "--asg", ASG, "--json"])
        .output()
        .await
        .expect("the binary starts");
    let report: Value = serde_json::from_slice(&check.stdout).expect("JSON");
    assert_eq!(report["asg.name"], ASG, "{report:#}");
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill starts").success());
    assert_eq!(child.wait().await.expect("it ends").code(), Some(143));
}
