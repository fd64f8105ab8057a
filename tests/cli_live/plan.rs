//! What `decamp plan` foresees, against what `decamp run` then does.

use serde_json::Value;

use super::{code, decamp, quick, run, terminate, text};
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, Options, serve};

/// A departure on a busy machine takes this much longer than one in virtual time.
const SLACK: f64 = 5.0;

fn seconds(range: &Value, which: &str) -> f64 {
    range[which].as_f64().unwrap_or_else(|| panic!("{which} of {range}"))
}

/// The forecast of an instance, as `--json` has it.
async fn forecast(sandbox: &decamp_sandbox::Sandbox, id: &str) -> Value {
    let output = run(sandbox, &["plan", "--instance", id, "--json"]).await;
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    plan["forecast"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_that_are_foreseen_of_an_instance_in_service_are_taken_when_they_were_foreseen() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
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
    let said = text(&ran.stdout);
    let mut lines = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let end = lines.next().expect("a report");
    let timeline: Vec<&Value> = end["timeline"].as_array().expect("a timeline").iter().collect();
    let is_upkeep = |what: &str| what.starts_with("note ");
    let wrote: Vec<(&str, f64)> = timeline
        .iter()
        .filter_map(|moment| Some((moment["what"].as_str()?, moment["seconds"].as_f64()?)))
        .filter(|(what, _)| !is_upkeep(what))
        .collect();
    assert_eq!(wrote.len(), steps.len(), "{steps:#?}\n{wrote:#?}");
    let verbs = [("make node ", "make node "), ("deregister ", "deregister "), ("drain ", "drain "), ("complete", "complete")];
    for (verb, words) in verbs {
        let planned: Vec<&Value> =
            steps.iter().filter(|step| step["what"].as_str().is_some_and(|what| what.starts_with(words))).collect();
        let made: Vec<f64> = wrote.iter().filter(|(what, _)| what.starts_with(verb)).map(|(_, at)| *at).collect();
        assert!(!made.is_empty() && planned.len() == made.len(), "{verb}: {planned:#?} {wrote:#?}");
        for (step, at) in planned.iter().zip(made) {
            let (earliest, latest) = (seconds(&step["at_s"], "earliest"), seconds(&step["at_s"], "latest"));
            assert!(earliest - 1.0 <= at && at <= latest + SLACK, "{verb} after {at} s: {step}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_fits_a_terminal_has_no_colour_off_one_and_says_why_when_asked() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let id = sandbox.instances[0].to_string();
    let brief = run(&sandbox, &["plan", "--instance", &id]).await;
    let full = run(&sandbox, &["plan", "--instance", &id, "--why"]).await;
    let (brief, full) = (text(&brief.stdout), text(&full.stdout));
    let chart = |said: &str| said.lines().filter(|line| line.contains("#")).map(str::to_owned).collect::<Vec<_>>();
    assert!(4 < chart(&brief).len() && chart(&brief).iter().all(|line| line.chars().count() <= 80), "{brief}");
    assert!(!brief.contains('\u{1b}') && !full.contains('\u{1b}'));
    assert!(brief.contains("It would end after ") && brief.contains("departed"), "{brief}");
    let reasons = |said: &str| said.matches("because ").count();
    assert!(reasons(&brief) + 4 <= reasons(&full), "{full}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nomad_cannot_be_seen_the_rest_is_unknown_and_nothing_is_guessed() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let id = sandbox.instances[0].to_string();
    let away = Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) };
    sandbox.shared.set_faults(FaultPlan::new(vec![away], 1));
    let foreseen = forecast(&sandbox, &id).await;
    assert_eq!(
        (&foreseen["latest"]["outcome"], foreseen["latest"]["system"].as_str()),
        (&Value::Null, Some("nomad")),
        "{foreseen:#}"
    );
    let drains = |step: &Value| step["what"].as_str().is_some_and(|what| what.starts_with("drain"));
    assert!(!foreseen["steps"].as_array().expect("steps").iter().any(drains), "{foreseen:#}");
    let said = text(&run(&sandbox, &["plan", "--instance", &id]).await.stdout);
    assert!(said.contains("it is unknown what happens: Nomad cannot be seen"), "{said}");
    assert!(said.contains("Foreseen losses\n  ") && !said.contains("\n  none\n"), "{said}");
    assert!(said.contains("  unknown: Nomad"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_instance_that_is_past_its_hook_nothing_is_foreseen() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
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

/// What `plan` prints for the first instance of such a cluster, with these settings.
async fn printed(options: &Options, settings: &[(&str, &str)]) -> String {
    let sandbox = serve(options).await.expect("loopback is there");
    if settings.is_empty() {
        let hold = ("decamp:hold".into(), "".into());
        sandbox.shared.with(|stage| stage.aws().0.change_group(ASG, |setup| setup.tags.push(hold)));
    }
    let mut command = decamp(&sandbox, &["plan", "--instance", &sandbox.instances[0].to_string(), "--why"]);
    command.envs(settings.iter().copied());
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    // A sentence may go over several lines.
    text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_load_balancer_and_a_batch_job_and_a_hold_are_in_the_forecast() {
    let network = printed(&Options { network: true, ..quick() }, &[("DECAMP_GUARD_NLB", "2m")]).await;
    assert!(network.contains("It would end after 2m ") && network.contains("; needed: another healthy target"), "{network}");
    let batch = printed(&Options { batch: true, ..quick() }, &[("DECAMP_MAX_DEPARTURE", "10m")]).await;
    assert!(batch.contains(", departed, if batch jobs end by themselves now"), "{batch}");
    assert!(batch.contains(", forced, if they run to the deadline"), "{batch}");
    let held = printed(&quick(), &[]).await;
    assert!(held.contains("hook now, once the tag decamp:hold is deleted, by") && held.contains(", departed"), "{held}");
}
