//! `decamp plan`: reads the facts about one instance, simulates its departure on them, and prints what it would do and cost. Writes
//! nothing.

mod foreseen;
mod json;

use anyhow::Result;
use clap::Args;
use decamp_core::decide::{
    Action, Budget, Decision, Departure, Finding, Lifecycle, LocalData, Observation, Outcome, Policy, Reason, Refusal, Snapshot,
    TargetGroup, TokenAccess, foreseen_losses, reasons,
};
use decamp_core::ids::InstanceId;
use decamp_core::run::{Ending, Observer, RunOptions, run};
use decamp_core::time::{Time, plain};
use decamp_core::world::World;
use decamp_sim::forecast::{Stops, forecast};
use serde_json::json;

use self::foreseen::Foreseen;
use super::connect::{connect, named_by_a_person};
use super::describe::{self, NamedReason};
use super::out::{say, say_json, wrapped};
use super::styled::{Style, StyledLine, say_styled};
use super::survey::{lines, ours, survey};

/// Show what decamp would do with one instance, with times, and what that would cost; writes nothing.
///
/// decamp simulates the departure on the facts of the live systems, by the rules of a real one and in virtual time. No API shows how long
/// tasks need to stop after their kill signal, so each time has an earliest and a latest value. Facts that cannot be read are unknown.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The instance, such as i-0123456789abcdef0
    #[arg(long, value_name = "ID")]
    instance: InstanceId,
    /// Its Auto Scaling group; by default decamp asks Auto Scaling
    #[arg(long, value_name = "NAME")]
    asg: Option<String>,
    /// Print the reason of each step and each wait
    #[arg(long)]
    why: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Records the last decision.
struct LastDecision<'a> {
    policy: &'a Policy,
    /// The decision with all its reasons.
    decision: Option<(Decision, Vec<Reason>)>,
}

impl Observer for LastDecision<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.decision = Some((decision.clone(), reasons(departure, seen, self.policy, now)));
    }
    fn wrote(&mut self, _: &Departure, _: &decamp_core::decide::Effect, _: &Result<(), Refusal>, _: Time) {}
}

/// The next step of a departure.
pub(crate) struct NextStep {
    /// A write, a wait or the end. `None`: no decision was reached.
    pub(crate) decision: Option<Decision>,
    /// Every reason of the decision, its own first.
    pub(crate) reasons: Vec<Reason>,
    /// The snapshot of the decision.
    pub(crate) seen: Snapshot,
}

/// Looks and decides until the next step is a write or a wait.
pub(crate) async fn next_step<W: World>(world: &W, departure: &Departure, policy: &Policy) -> NextStep {
    let mut last = LastDecision { policy, decision: None };
    let manner = RunOptions { observe: true, never_wait: true, ..RunOptions::default() };
    let Ending { seen, .. } = run(world, departure, policy, manner, &mut last).await;
    let (decision, reasons) = last.decision.map_or_else(Default::default, |(decision, reasons)| (Some(decision), reasons));
    NextStep { decision, reasons, seen }
}

pub(crate) async fn plan(arguments: Arguments) -> Result<u8> {
    let mut at = connect().await?;
    at.settings.policy.refuse_without_sight = true;
    let departure = at.departure(arguments.instance, arguments.asg.as_deref(), named_by_a_person()).await?;
    let policy = &*at.settings.policy_of(&departure.asg);
    // The survey reads everything, whether or not the instance is leaving. The rules read only as much as they need.
    let mut surveyed = survey(&at.live, &departure, policy, &[]).await;
    let NextStep { decision, reasons, seen } = next_step(&at.live, &departure, policy).await;
    let now = at.live.now();
    // Only the rules' look asks when the instance entered its hook.
    if let Some(group) = seen.group.last().filter(|group| group.activity_began.is_some()) {
        surveyed.take(now, Observation::Group(Ok(group.clone())));
    }
    let played = play(&departure, &surveyed, policy, now);
    // The survey knows more than the rules have read.
    let budget = Budget::of(&departure, &surveyed, policy);
    let known = describe::Known::of(&surveyed);
    let findings: Vec<Finding> = foreseen_losses(&departure, &surveyed, policy);
    if arguments.json {
        let forecast = played.as_ref().map(|played| json::forecast(played, &surveyed));
        let reasons = NamedReason::each(&reasons, &seen);
        say_json(
            &json!({ "departure": departure, "snapshot": surveyed, "budget": known.budget_json(&budget), "foreseen": findings, "decision": decision, "reasons": reasons, "forecast": forecast }),
        );
        return Ok(0);
    }
    for line in lines(&departure, &surveyed) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        wrapped(&line[..indent], text, indent + 2).iter().for_each(say);
    }
    say("");
    match &played {
        Some(played) => {
            let from = if is_waiting(&surveyed) { "from now on" } else { "if it entered its hook now" };
            let held = surveyed.group.last().is_some_and(|group| group.held);
            let holds_data = policy.local_data == LocalData::Hold && surveyed.local_data().next().is_some();
            let released = match (held, holds_data) {
                (true, _) => ", once the tag decamp:hold is deleted",
                (false, true) => ", once somebody lets its local data go",
                (false, false) => "",
            };
            let title = format!("What decamp would do {from}{released}");
            wrapped("", &title, 2).into_iter().for_each(|line| say_styled(&StyledLine::of(Style::Heading, line)));
            if let Some(text) = before_the_hook(&departure, &surveyed) {
                wrapped("  ", &text, 4).iter().for_each(say);
            }
            played.lines(&surveyed, arguments.why).iter().for_each(say_styled);
        }
        None => say_styled(&StyledLine::of(Style::Heading, format!("What decamp would do: {}", why_not_played(&surveyed)))),
    }
    say("");
    say_styled(&StyledLine::of(Style::Heading, "Time budget, from when it enters its hook"));
    for (what, how_long) in describe::budget(&budget, known) {
        say(format!("  {what:<34} {how_long}"));
    }
    if let Some(misfit) = budget.misfit() {
        wrapped("  ", &format!("does not fit: {}", misfit.sentence), 4).iter().for_each(say);
    }
    say("");
    say_styled(&StyledLine::of(Style::Heading, "Foreseen losses"));
    for line in findings.iter().flat_map(describe::finding) {
        wrapped("  ", &line, 4).iter().for_each(say);
    }
    let unseen = unseen_systems(&surveyed, policy);
    if !unseen.is_empty() {
        say(format!("  unknown: {} cannot be seen, so there may be others", unseen.join(", ")));
    } else if findings.is_empty() {
        say("  none");
    }
    say("");
    say_styled(&StyledLine::of(Style::Heading, "Next"));
    let next = match decision {
        Some(Decision { action: Action::End(Outcome::NotLeaving), reason }) => format!("nothing now, because {reason}"),
        Some(decision) => format!("{}, because {}", decision.action.title(now), describe::because(&decision, &seen)),
        None => "no decision was reached".to_owned(),
    };
    wrapped("  ", &next, 4).iter().for_each(say);
    say("Nothing was written. To do it, use `decamp run` with the same arguments.");
    Ok(0)
}

/// The systems that the findings depend on and that could not be read.
fn unseen_systems(seen: &Snapshot, policy: &Policy) -> Vec<&'static str> {
    let nomad = seen.nomad.last().is_some() && matches!(seen.nomad_token.last(), Some(TokenAccess::Full));
    let consul = !policy.consul || seen.consul.last().is_some();
    let balancers = seen.group.last().is_some() && seen.balancers.iter().all(|balancer| balancer.sight.last().is_some());
    let all = [("Nomad", nomad), ("Consul", consul), ("load balancers", balancers)];
    all.into_iter().filter(|(_, seen)| !seen).map(|(name, _)| name).collect()
}

/// The departure, simulated on the survey.
fn play(departure: &Departure, surveyed: &Snapshot, policy: &Policy, now: Time) -> Option<Foreseen> {
    let earliest = forecast(departure, surveyed, policy, Stops::AtTheSignal, now)?;
    let latest = forecast(departure, surveyed, policy, Stops::AtTheTimeout, now)?;
    Some(Foreseen { earliest, latest })
}

fn is_waiting(seen: &Snapshot) -> bool {
    matches!(seen.lifecycle.last(), Some(Lifecycle::Waiting))
}

/// What Auto Scaling does before an instance in service enters its hook (facts/aws.md 2.4).
fn before_the_hook(departure: &Departure, seen: &Snapshot) -> Option<String> {
    let attached = seen.group.last().map_or(&[][..], |group| &group.attached);
    let lists_it = |group: &&TargetGroup| attached.contains(&group.arn) && !ours(departure, seen, group).is_empty();
    let groups: Vec<&TargetGroup> = seen.balancers.iter().filter_map(|balancer| balancer.sight.last()).filter(lists_it).collect();
    let longest = groups.iter().map(|group| group.delay).max().flatten();
    let names = groups.iter().map(|group| group.arn.name()).collect::<Vec<_>>().join(", ");
    let delay = longest.map_or_else(|| "a delay that could not be read".to_owned(), plain);
    let leaves = !is_waiting(seen) && !groups.is_empty();
    leaves.then(|| format!("before that, Auto Scaling itself deregisters it from {names} and waits for the delay ({delay})"))
}

/// Why no departure can be simulated: the instance does not leave by a hook, or that is unknown.
fn why_not_played(seen: &Snapshot) -> String {
    match seen.lifecycle.last() {
        Some(lifecycle) => format!("nothing, it is {}", describe::lifecycle(lifecycle)),
        None => "unknown, because Auto Scaling cannot be seen".to_owned(),
    }
}
