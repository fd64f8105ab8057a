//! `decamp check`: reads a whole group while no instance leaves, and reports what a departure would cost and what would not work.

mod facts;
mod foreseen;
mod own_job;
mod passes;
mod print;
mod rules;
mod selection;
mod stops;
mod unavailable;
mod visibility;
mod warm_up;

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use decamp_aws::Roster;
use decamp_config::Settings;
use decamp_core::decide::{Budget, Cause, Departure, Lifecycle, LifecycleAction, Policy, Snapshot, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn};
use decamp_core::runbook;
use decamp_core::world::World;
use decamp_hashicorp::nomad::{self, Server};
use futures_util::{StreamExt, stream};

use self::rules::Verdict;
use super::connect::{Connected, connect};
use super::exit;
use super::out::say_json;
use super::styled::say_styled;
use super::survey::survey;

/// How many instances are read concurrently.
const CONCURRENT_INSTANCES: usize = 8;
/// How many times an unfinished scan is continued. Each call scans for some seconds.
const MOST_SCAN_CALLS: usize = 60;

fn help() -> String {
    format!("{}\n\nWhat to do about each finding: {}", exit::help("check"), runbook::page("findings"))
}

/// Check whole groups while no instance leaves: hooks, target groups, nodes, jobs and tokens.
///
/// The verdict comes first, then what to change, the worst first. With several groups the exit code is that of the worst one.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    /// One Auto Scaling group; else those of DECAMP_GROUPS, else all that have a terminating lifecycle hook
    #[arg(long, value_name = "NAME")]
    asg: Option<String>,
    /// Also print what was found, layer by layer, and the time budget
    #[arg(long, short)]
    verbose: bool,
    /// Print one JSON object per group instead of text
    #[arg(long)]
    json: bool,
}

/// Everything that was read of one group.
pub(super) struct Inspection<'a> {
    pub(super) asg: Arc<str>,
    pub(super) settings: &'a Settings,
    /// The policy of this group.
    pub(super) policy: Cow<'a, Policy>,
    pub(super) roster: Roster,
    /// Each instance that is not past its hook, as a departure that begins now would see it.
    pub(super) looks: Vec<(Departure, Snapshot)>,
    /// Target groups that list the group's instances, by a scan of all target groups; or why the scan failed.
    pub(super) scanned: Result<Vec<TargetGroupArn>, Unseen>,
    pub(super) servers: Result<Vec<Server>, Unseen>,
    /// The ended allocations of the jobs on its nodes.
    pub(super) past: Vec<stops::PastStops>,
    /// When a refresh counts a new instance, and when that takes traffic.
    pub(super) replacing: warm_up::Replacing,
}

impl Inspection<'_> {
    /// The budget of a departure that begins now, where the hook and the longest stop of any instance are known.
    pub(super) fn budget(&self) -> Option<Budget> {
        let budgets = self.looks.iter().map(|(departure, seen)| Budget::of(departure, seen, &self.policy));
        budgets.max_by_key(|budget| budget.balancers + budget.longest_stop)
    }
}

pub(crate) async fn check(arguments: Arguments) -> Result<u8> {
    let at = connect().await?;
    let selection = selection::select(&at, arguments.asg.as_deref()).await?;
    let mut reports = Vec::new();
    for asg in &selection.groups {
        let roster = at.live.auto_scaling().roster(asg).await.map_err(|why| at.cannot_ask(&why))?;
        let Some(roster) = roster else { return Err(at.no_such_group(asg).await) };
        let inspection = inspect(&at, at.cluster(asg)?.nomad(), Arc::clone(asg), roster).await;
        reports.push(rules::report(&inspection));
    }
    if arguments.json {
        reports.iter().for_each(say_json);
        for (name, near) in &selection.missing {
            say_json(
                &serde_json::json!({ "asg.name": name, "verdict": Verdict::Unknown, "missing": true, "did_you_mean": near }),
            );
        }
    } else {
        print::all(&selection, &reports, &at.region, arguments.verbose).iter().for_each(say_styled);
    }
    let worst = reports.iter().map(|report| report.verdict).max();
    let missing = (!selection.missing.is_empty()).then_some(Verdict::Unknown);
    // If no group has a hook, no instance ever waits for decamp.
    Ok(worst.max(missing).unwrap_or(Verdict::WouldNotWork).exit_code())
}

async fn inspect<'a>(at: &'a Connected, nomad: &nomad::Client, asg: Arc<str>, roster: Roster) -> Inspection<'a> {
    let policy = at.settings.policy_of(&asg);
    let not_past = |lifecycle: &Lifecycle| !matches!(lifecycle, Lifecycle::Past | Lifecycle::Gone | Lifecycle::Retained);
    let instances: Vec<InstanceId> = roster.instances.iter().filter(|(_, l)| not_past(l)).map(|(id, _)| *id).collect();
    let scanned = scan(at, nomad, &instances).await;
    let found = scanned.as_deref().unwrap_or_default();
    let servers = nomad.servers().await;
    let (now, rules) = (at.live.now(), &*policy);
    let looks = instances.iter().map(|&instance| {
        let action = LifecycleAction { began: Some(now), ..LifecycleAction::default() };
        let departure = Departure { instance, asg: Arc::clone(&asg), cause: Cause::Lifecycle(action) };
        async move {
            let seen = survey(&at.live, &departure, rules, found).await;
            (departure, seen)
        }
    });
    let looks: Vec<_> = stream::iter(looks).buffered(CONCURRENT_INSTANCES).collect().await;
    let past = stops::read(nomad, &looks, at.live.now()).await;
    let checks = warm_up::health_checks(at.live.load_balancers(), &looks).await;
    let preferences = at.live.auto_scaling().last_preferences(&asg).await;
    let replacing = warm_up::Replacing { checks, preferences };
    Inspection { asg, settings: &at.settings, policy, roster, looks, scanned, servers, past, replacing }
}

/// Every target group that lists one of these instances.
async fn scan(at: &Connected, nomad: &nomad::Client, instances: &[InstanceId]) -> Result<Vec<TargetGroupArn>, Unseen> {
    let mut found: Vec<TargetGroupArn> = Vec::new();
    for &instance in instances {
        // Without Nomad, target groups are found by the instance's id alone. The report names the unavailable Nomad elsewhere.
        let addresses = nomad.look(instance, None).await.map(|nomad| nomad.addresses()).unwrap_or_default();
        let mut calls = 0;
        let groups = loop {
            calls += 1;
            match at.live.load_balancers().scan(instance, &addresses).await {
                Ok(groups) => break groups,
                Err(Unseen::Denied(why)) => return Err(Unseen::Denied(why)),
                // The next call continues the scan; a big account takes several.
                Err(_) if calls < MOST_SCAN_CALLS => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
                Err(why) => return Err(why),
            }
        };
        for group in groups {
            if !found.contains(&group) {
                found.push(group);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
