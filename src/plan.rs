//! `decamp plan`: looks at one instance, says what would be done and what that would cost, and writes nothing.

use anyhow::Result;
use clap::Args;
use decamp_core::decide::{Budget, Decision, Departure, Finding, Policy, Refusal, Snapshot, foreseen_losses};
use decamp_core::ids::InstanceId;
use decamp_core::run::{How, Manner, Tell, run};
use decamp_core::time::Time;
use decamp_core::world::World;
use serde_json::json;

use super::connect::{connect, named_by_a_person};
use super::out::{say, say_json};
use super::survey::{lines, survey};
use super::words;

/// Show what decamp would do next for one instance; writes nothing.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The instance, such as i-0123456789abcdef0
    #[arg(long, value_name = "ID")]
    instance: InstanceId,
    /// Its Auto Scaling group; Auto Scaling is asked if it is not given
    #[arg(long, value_name = "NAME")]
    asg: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Keeps the last decision.
#[derive(Default)]
pub(crate) struct LastDecision(pub(crate) Option<Decision>);

impl Tell for LastDecision {
    fn decided(&mut self, _: &Departure, decision: &Decision, _: &Snapshot, _: Time) {
        self.0 = Some(decision.clone());
    }
    fn wrote(&mut self, _: &Departure, _: &decamp_core::decide::Effect, _: &Result<(), Refusal>, _: Time) {}
}

/// Looks and decides until a write or a wait is next.
pub(crate) async fn next_step<W: World>(world: &W, departure: &Departure, policy: &Policy) -> (Option<Decision>, Snapshot) {
    let mut last = LastDecision::default();
    let manner = Manner { observe: true, never_wait: true, ..Manner::default() };
    let ending = run(world, departure, policy, manner, &mut last).await;
    match ending.how {
        How::Observed(decision) => (Some(decision), ending.seen),
        How::Ended(..) | How::HandedBack => (last.0, ending.seen),
    }
}

pub(crate) async fn plan(arguments: Arguments) -> Result<u8> {
    let mut at = connect().await?;
    at.settings.policy.refuse_without_sight = true;
    let departure = at.departure(arguments.instance, arguments.asg.as_deref(), named_by_a_person()).await?;
    let policy = &*at.settings.policy_of(&departure.asg);
    // First all that can be seen, leaving or not; then what the rules would do.
    let surveyed = survey(&at.live, &departure, policy, &[]).await;
    let (decision, seen) = next_step(&at.live, &departure, policy).await;
    let now = at.live.now();
    // The rules look no further than they must, so what they saw is less than all.
    let budget = Budget::of(&departure, &surveyed, policy);
    let known = words::Known::of(&surveyed);
    let findings: Vec<Finding> = foreseen_losses(&departure, &surveyed, policy);
    if arguments.json {
        say_json(
            &json!({ "departure": departure, "snapshot": surveyed, "budget": known.budget_json(&budget), "foreseen": findings, "decision": decision }),
        );
        return Ok(0);
    }
    lines(&departure, &surveyed).iter().for_each(say);
    say("");
    say("Time budget, from the entry into the hook");
    for (what, how_long) in words::budget(&budget, known) {
        say(format!("  {what:<34} {how_long}"));
    }
    if let Some(misfit) = budget.misfit() {
        say(format!("  does not fit: {}", misfit.sentence));
    }
    say("");
    say("Foreseen losses");
    for finding in &findings {
        words::finding(finding).iter().for_each(|line| say(format!("  {line}")));
    }
    if findings.is_empty() {
        say("  none");
    }
    say("");
    say("Next");
    match decision {
        Some(decision) => say(format!("  {}, because {}", decision.action.title(now), words::because(&decision, &seen))),
        None => say("  nothing was decided"),
    }
    say("Nothing was written. `decamp run` with the same arguments does it.");
    Ok(0)
}
