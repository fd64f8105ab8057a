//! Compares the forecast of `decamp plan` with a `decamp run`.

use serde_json::Value;

use super::{code, decamp, quick, run, terminate, text};
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, Options, serve};

/// By how many seconds a step on a busy machine may be later than in virtual time.
const SLACK: f64 = 5.0;

fn seconds(range: &Value, which: &str) -> f64 {
    range[which].as_f64().unwrap_or_else(|| panic!("{which} of {range}"))
}

/// The forecast of an instance from `--json`.
async fn forecast(sandbox: &decamp_sandbox::Sandbox, id: &str) -> Value {
    let output = run(sandbox, &["plan", "--instance", id, "--json"]).await;
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    plan["forecast"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_takes_the_foreseen_steps_at_the_foreseen_times() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    let id = instance.to_string();
    let foreseen = forecast(&sandbox, &id).await;
    let steps = foreseen["steps"].as_array().expect("steps");
    for end in ["earliest", "latest"] {
        assert_eq!(foreseen[end]["outcome"], "departed", "{foreseen:#}");
    }
    terminate(&sandbox, instance).await;
    let ran = run(&sandbox, &["run", "--instance", &id, "--asg", ASG, "--json"]).await;
    assert_eq!(code(&ran), Some(0), "{}", text(&ran.stdout));
    let stdout = text(&ran.stdout);
    let mut lines = stdout.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let end = lines.next().expect("a report");
    let timeline: Vec<&Value> = end["timeline"].as_array().expect("a timeline").iter().collect();
    let is_note = |what: &str| what.starts_with("note ");
    let writes: Vec<(&str, f64)> = timeline
        .iter()
        .filter_map(|moment| Some((moment["what"].as_str()?, moment["seconds"].as_f64()?)))
        .filter(|(what, _)| !is_note(what))
        .collect();
    assert_eq!(writes.len(), steps.len(), "{steps:#?}\n{writes:#?}");
    for verb in ["make node ", "deregister ", "drain ", "complete"] {
        let planned: Vec<&Value> =
            steps.iter().filter(|step| step["what"].as_str().is_some_and(|what| what.starts_with(verb))).collect();
        let made: Vec<f64> = writes.iter().filter(|(what, _)| what.starts_with(verb)).map(|(_, at)| *at).collect();
        assert!(!made.is_empty() && planned.len() == made.len(), "{verb}: {planned:#?} {writes:#?}");
        for (step, at) in planned.iter().zip(made) {
            let (earliest, latest) = (seconds(&step["at_s"], "earliest"), seconds(&step["at_s"], "latest"));
            assert!(earliest - 1.0 <= at && at <= latest + SLACK, "{verb} after {at} s: {step}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_has_80_columns_no_colour_in_a_pipe_and_all_reasons_with_why() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let id = sandbox.instances[0].to_string();
    let brief = run(&sandbox, &["plan", "--instance", &id]).await;
    let full = run(&sandbox, &["plan", "--instance", &id, "--why"]).await;
    let (brief, full) = (text(&brief.stdout), text(&full.stdout));
    let chart = |plan: &str| plan.lines().filter(|line| line.contains("#")).map(str::to_owned).collect::<Vec<_>>();
    assert!(4 < chart(&brief).len() && chart(&brief).iter().all(|line| line.chars().count() <= 80), "{brief}");
    assert!(!brief.contains('\u{1b}') && !full.contains('\u{1b}'));
    assert!(brief.contains("It would end after ") && brief.contains("departed"), "{brief}");
    let reasons = |plan: &str| plan.matches("because ").count();
    assert!(reasons(&brief) + 4 <= reasons(&full), "{full}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_foreseen_beyond_a_step_that_needs_an_unavailable_nomad() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let id = sandbox.instances[0].to_string();
    let unavailable = Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) };
    sandbox.shared.set_faults(FaultPlan::new(vec![unavailable], 1));
    let foreseen = forecast(&sandbox, &id).await;
    assert_eq!(
        (&foreseen["latest"]["outcome"], foreseen["latest"]["system"].as_str()),
        (&Value::Null, Some("nomad")),
        "{foreseen:#}"
    );
    let drains = |step: &Value| step["what"].as_str().is_some_and(|what| what.starts_with("drain"));
    assert!(!foreseen["steps"].as_array().expect("steps").iter().any(drains), "{foreseen:#}");
    let stdout = text(&run(&sandbox, &["plan", "--instance", &id]).await.stdout);
    let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("a departure waits for Nomad, which cannot be seen"), "{stdout}");
    assert!(stdout.contains("Foreseen losses\n  ") && !stdout.contains("\n  none\n"), "{stdout}");
    assert!(stdout.contains("  unknown: Nomad"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_past_its_hook_has_no_forecast() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let id = instance.to_string();
    assert_eq!(code(&run(&sandbox, &["run", "--instance", &id, "--asg", ASG]).await), Some(0));
    assert_eq!(forecast_or_gone(&sandbox, &id).await, Value::Null);
}

async fn forecast_or_gone(sandbox: &decamp_sandbox::Sandbox, id: &str) -> Value {
    let output = run(sandbox, &["plan", "--instance", id, "--asg", ASG, "--json"]).await;
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    plan["forecast"].clone()
}

/// What `plan` prints for the first instance of a sandbox with these options. Without settings the group has the tag `decamp:hold`.
async fn printed(options: &Options, settings: &[(&str, &str)]) -> String {
    let sandbox = serve(options).await.expect("loopback is there");
    if settings.is_empty() {
        let hold = ("decamp:hold".into(), "".into());
        sandbox.shared.with(|models| models.aws().0.change_group(ASG, |setup| setup.tags.push(hold)));
    }
    let mut command = decamp(&sandbox, &["plan", "--instance", &sandbox.instances[0].to_string(), "--why"]);
    command.envs(settings.iter().copied());
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    // Sentences may be wrapped.
    text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forecast_covers_network_load_balancers_batch_jobs_and_holds() {
    let network = printed(&Options { network: true, ..quick() }, &[("DECAMP_GUARD_NLB", "2m")]).await;
    assert!(network.contains("It would end after 2m ") && network.contains("; needed: another healthy target"), "{network}");
    let batch = printed(&Options { batch: true, ..quick() }, &[("DECAMP_MAX_DEPARTURE", "10m")]).await;
    assert!(batch.contains(", departed, if batch jobs finish now"), "{batch}");
    assert!(batch.contains(", forced, if they run to the deadline"), "{batch}");
    let held = printed(&quick(), &[]).await;
    assert!(held.contains("hook now, once the tag decamp:hold is deleted") && held.contains(", departed"), "{held}");
}
