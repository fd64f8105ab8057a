//! The command line without a cluster: help, refusals, exit codes and JSON output.
#[path = "../src/exit/table.rs"]
#[expect(dead_code, reason = "the command prints the rows of one command, the reference those of all")]
mod exit_table;
#[path = "cli/packaged.rs"]
mod packaged;
#[path = "cli/reference.rs"]
mod reference;
#[path = "cli/sources.rs"]
mod sources;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// decamp without the caller's environment, and with an AWS endpoint where nothing listens.
fn decamp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "secret-canary")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn run(arguments: &[&str]) -> Output {
    decamp(arguments).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

/// With an event on standard input.
fn run_with_event(event: &str, variables: &[(&str, &str)]) -> Output {
    let mut child = decamp(&["run", "--event", "-"])
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("it is piped").write_all(event.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn help_names_every_command_and_shows_an_example() {
    let help = text(&run(&["--help"]).stdout);
    for word in [
        "check",
        "plan",
        "run",
        "status",
        "refresh",
        "serve",
        "simulate",
        "sandbox",
        "settings",
        "completions",
        "decamp run --instance i-",
        "NOMAD_ADDR",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

#[test]
fn help_of_run_documents_its_exit_codes() {
    let help = text(&run(&["run", "--help"]).stdout);
    for word in ["departed", "timed-out", "unconfirmed", "130", "143"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

#[test]
fn help_of_refresh_documents_its_exit_codes_and_shows_examples() {
    let help = text(&run(&["refresh", "start", "--help"]).stdout);
    for word in ["30   Failed", "34   no refresh", "--launch-template-version", "--no-wait", "130"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let help = text(&run(&["refresh", "--help"]).stdout);
    assert!(help.contains("decamp refresh cancel --asg web") && help.contains("33   RollbackFailed"), "{help}");
}

#[test]
fn preferences_that_aws_would_refuse_are_refused_before_any_request() {
    let cases: &[(&[&str], &str)] = &[
        (&["--max-healthy", "110"], "write both"),
        (&["--min-healthy", "101"], "write 0 to 100"),
        (&["--min-healthy", "90", "--max-healthy", "99"], "write 100 to 200"),
        (&["--checkpoint", "50,20"], "checkpoints ascend"),
        (&["--checkpoint-delay", "1m"], "needs checkpoints"),
        (&["--bake", "49h"], "48h at most"),
    ];
    for (arguments, why) in cases {
        let output = run(&[&["refresh", "start", "--asg", "web"], *arguments].concat());
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn an_invalid_command_line_exits_with_64_and_an_explanation() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["run"], "--instance"),
        (&["run", "--instance", "i-12"], "not an EC2 instance id such as i-0123456789abcdef0"),
        (&["run", "--instance", "i-0123456789abcdef0", "--event", "-"], "cannot be used with"),
        (&["check", "web"], "unexpected argument"),
        (&["simulate", "--faults", "gremlins"], "`decamp simulate --faults list` lists them"),
        (&["simulate", "--driver", "drain"], "choose one of terminate-at-once"),
        (&["simulate", "--departures", "0"], "0 is not in 1.."),
        (&["completions", "tcl"], "possible values"),
        (&["refresh"], "Usage"),
        (&["refresh", "start"], "--asg"),
        (&["refresh", "watch", "--asg", "web", "--every", "0"], "look at most once a second"),
        (&["refresh", "start", "--asg", "web", "--warm-up", "soon"], "not a span of time"),
        (&["refresh", "start", "--asg", "web", "--auto-rollback"], "--launch-template-version"),
        (&["refresh", "start", "--asg", "web", "--launch-template-version", "0"], "0 is not in 1.."),
        (&["sandbox", "--nodes", "1"], "1 is not in 2..=200"),
        (&["sandbox", "--listen", "here"], "invalid IP address"),
    ];
    for (arguments, why) in cases {
        let output = run(arguments);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn an_invalid_setting_is_refused_with_a_way_to_mend_it() {
    let cases = [
        ("NOMAD_ADDR", "nomad.example:4646", "write http://nomad.example:4646"),
        ("DECAMP_MODE", "dry", "none of act, observe"),
        ("DECAMP_MOED", "observe", "DECAMP_MODE"),
        ("DECAMP_RESERVE", "3h", "make the reserve shorter"),
        ("DECAMP_LOG", "loud", "none of error, warn, info, debug, trace"),
        ("DECAMP_LOG_FORMAT", "xml", "none of text, json"),
        ("AWS_ENDPOINT_URL", "localhost:4566", "write http://"),
        ("DECAMP_REGIONS", "us-east-1", "DECAMP_REGIONS does not allow the Region eu-west-1"),
    ];
    for (name, value, why) in cases {
        let output = decamp(&["run", "--instance", "i-0123456789abcdef0"]).env(name, value).output().expect("the binary starts");
        assert_eq!(code(&output), 3, "{name}");
        assert!(text(&output.stderr).contains(why), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn without_a_region_the_error_names_the_variable_to_set() {
    let output = decamp(&["status"]).env_remove("AWS_REGION").output().expect("the binary starts");
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("set AWS_REGION"), "{}", text(&output.stderr));
}

#[test]
fn a_group_that_is_not_allowed_is_refused_before_any_request() {
    let output = decamp(&["run", "--instance", "i-0123456789abcdef0", "--asg", "other"])
        .env("DECAMP_GROUPS", "web,api-*")
        .output()
        .expect("the binary starts");
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("DECAMP_GROUPS does not allow the group other"), "{}", text(&output.stderr));
}

#[test]
fn an_unreachable_aws_is_an_error_that_names_the_variable_to_check() {
    let cases: [&[&str]; 5] = [
        &["check"],
        &["plan", "--instance", "i-0123456789abcdef0"],
        &["check", "--asg", "web"],
        &["status"],
        &["refresh", "watch", "--asg", "web"],
    ];
    for arguments in cases {
        let output = run(arguments);
        assert_eq!(code(&output), 3, "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains("cannot query Auto Scaling in eu-west-1") && stderr.contains("AWS_ENDPOINT_URL"), "{stderr}");
        assert!(!stderr.contains("secret-canary"), "{stderr}");
    }
}

#[test]
fn an_invalid_event_is_refused_with_an_explanation() {
    for event in ["", "{", "[1,2]", "{\"source\":\"aws.ec2\"}", "null"] {
        let output = run_with_event(event, &[]);
        assert_eq!(code(&output), 3, "{event:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("decamp: the event"), "{event:?}: {stderr}");
    }
}

#[test]
fn an_event_of_another_group_is_refused() {
    let event = r#"{"version":"0","id":"e","account":"123456789012","region":"eu-west-1","time":"2026-11-22T19:22:17Z","source":"aws.autoscaling","resources":[],
        "detail-type":"EC2 Instance-terminate Lifecycle Action","detail":{"LifecycleActionToken":"87654321-4321-4321-4321-210987654321",
        "AutoScalingGroupName":"other","LifecycleHookName":"decamp","EC2InstanceId":"i-0123456789abcdef0",
        "LifecycleTransition":"autoscaling:EC2_INSTANCE_TERMINATING","Origin":"AutoScalingGroup","Destination":"EC2"}}"#;
    let output = run_with_event(event, &[("DECAMP_GROUPS", "web")]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("the event cannot be used"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("87654321-4321"), "a token was printed");
}

#[test]
fn the_error_for_a_missing_file_names_it() {
    let output = run(&["run", "--event", "no-such-file.json"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("open the event no-such-file.json"), "{}", text(&output.stderr));
}

#[test]
fn a_simulation_without_faults_exits_with_0_and_shows_the_baselines() {
    let output = run(&["simulate", "--departures", "40", "--faults", "none"]);
    let stdout = text(&output.stdout);
    assert_eq!(code(&output), 0, "{stdout}");
    for word in ["terminate-at-once", "drain-only", "drain-then-deregister", "naive-overlap", "above the floor"] {
        assert!(stdout.contains(word), "{word} is not in\n{stdout}");
    }
}

#[test]
fn a_driver_that_loses_requests_exits_with_5_and_its_seed_can_be_replayed() {
    let output = run(&["simulate", "--departures", "40", "--faults", "none", "--driver", "terminate-at-once"]);
    let stdout = text(&output.stdout);
    assert_eq!(code(&output), 5, "{stdout}");
    let replay = stdout.lines().map(str::trim).find(|line| line.starts_with("decamp simulate --seed")).expect("a replay line");
    let arguments: Vec<&str> = replay.split_whitespace().skip(1).collect();
    let story = run(&arguments);
    assert_eq!(code(&story), 5, "{}", text(&story.stdout));
    assert!(text(&story.stdout).contains("lost by the driver") || text(&story.stdout).contains("broken:"));
    assert_eq!(run(&arguments).stdout, story.stdout, "two replays of a seed differ");
}

#[test]
fn a_simulation_can_report_in_json() {
    let output = run(&["simulate", "--departures", "40", "--faults", "crash,two-workers", "--driver", "decamp", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let drivers = report["drivers"].as_array().expect("a list");
    assert_eq!(drivers.len(), 1);
    assert_eq!(drivers[0]["departures"], 40);
    assert!(drivers[0]["faults_drawn"]["crash"].as_u64() > Some(0), "{report}");
    assert_eq!(drivers[0]["faults_drawn"]["held"], 0, "a fault was drawn that was not requested");
    let story = run(&["simulate", "--seed", "7", "--trace", "--json"]);
    let story: Value = serde_json::from_slice(&story.stdout).expect("JSON");
    assert!(story["story"].as_array().is_some_and(|lines| !lines.is_empty()), "{story}");
}

#[test]
fn the_listed_fault_names_are_accepted() {
    let listed = text(&run(&["simulate", "--faults", "list"]).stdout);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"crash"), "{listed}");
    let all = names.join(",");
    assert_eq!(code(&run(&["simulate", "--departures", "1", "--driver", "decamp", "--faults", &all, "--json"])), 0);
}

#[test]
fn no_color_turns_colours_off() {
    for arguments in [&["simulate", "--departures", "3", "--driver", "decamp"] as &[&str], &["--help"], &["run"], &["settings"]] {
        let output = decamp(arguments).env("NO_COLOR", "1").env("TERM", "xterm-256color").output().expect("the binary starts");
        let all = [output.stdout, output.stderr].concat();
        assert!(!all.is_empty() && !all.contains(&0x1b), "{arguments:?}: {}", text(&all));
    }
}

#[test]
fn a_closed_standard_output_causes_no_panic() {
    let mut child = decamp(&["settings"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn every_setting_is_listed_as_text_and_as_json() {
    let listed: Value = serde_json::from_slice(&run(&["settings", "--json"]).stdout).expect("JSON");
    let stdout = text(&run(&["settings"]).stdout);
    let rows = listed.as_array().expect("a list");
    assert!(rows.len() > 40);
    for row in rows {
        let name = row["name"].as_str().expect("a name");
        assert!(stdout.contains(name), "{name}");
    }
}

#[test]
fn completions_are_written_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(text(&output.stdout).contains("simulate"), "{shell}");
    }
}

#[test]
fn the_service_needs_a_region() {
    let output = decamp(&["serve", "--check"]).env_remove("AWS_REGION").output().expect("the binary starts");
    assert_eq!(code(&output), 3, "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("no AWS Region is known"), "{}", text(&output.stderr));
}

#[test]
fn missing_credentials_are_one_sentence_without_output_of_libraries() {
    for level in ["warn", "debug", "trace"] {
        let mut command = decamp(&["status"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("DECAMP_LOG", level);
        let output = command.env("HOME", "/nonexistent").output().expect("the binary starts");
        assert_eq!(code(&output), 3);
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("no AWS credentials were found") && stderr.contains("aws sts get-caller-identity"),
            "{level}: {stderr}"
        );
        for of_library in ["load_config_file", "dispatch failure", "Attempted", "loading default partitions"] {
            assert!(!stderr.contains(of_library), "{level}: {stderr}");
        }
        assert_eq!(stderr.lines().filter(|line| line.contains("credentials")).count(), 1, "{level}: {stderr}");
    }
}
