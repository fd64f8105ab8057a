//! The `check` event: reads everything that a departure needs, from where the function runs, and returns a report. It writes nothing.

use std::sync::Arc;
use std::time::Duration;

use decamp_config::Settings;
use decamp_core::decide::{Group, Hook, Registrations, TargetGroup, TokenAccess, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn};
use decamp_core::time::plain;
use decamp_hashicorp::nomad::Listed;
use decamp_live::{Cluster, Live};
use futures_util::future::{join, join_all};
use serde::Serialize;
use tracing::{info, warn};

/// The time of the function that is reserved for the answer.
const RESERVED_FOR_ANSWER: Duration = Duration::from_secs(1);
/// For how many nodes Consul is queried. One listed node proves the token. Three are queried, because a new node may not be registered yet.
const NODES: usize = 3;
/// A name that no node has. If no node is known, Consul's answer about it shows that Consul can be reached.
const NO_NODE: &str = "decamp-check";

/// The report, as `aws lambda invoke` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// `check`, by which a script recognises the report.
    decamp: &'static str,
    /// The version of the program.
    version: &'static str,
    /// Whether a departure would work, as far as reading can tell.
    ready: bool,
    /// One entry for each part that was checked.
    checks: Vec<Check>,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    /// The system: `decamp`, `Auto Scaling`, `Elastic Load Balancing`, `Nomad` or `Consul`.
    system: &'static str,
    /// The cluster, if the settings have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Arc<str>>,
    /// The part of the system.
    what: String,
    ok: bool,
    /// The facts, or why they could not be read.
    seen: String,
    /// What a person should do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_do: Option<String>,
}

impl Check {
    fn good(system: &'static str, what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { system, cluster: None, what: what.into(), ok: true, seen: seen.into(), to_do: None }
    }

    fn bad(system: &'static str, what: impl Into<String>, seen: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { system, cluster: None, what: what.into(), ok: false, seen: seen.into(), to_do: Some(to_do.into()) }
    }

    /// A part that could not be read.
    fn unseen(system: &'static str, what: impl Into<String>, why: &Unseen) -> Self {
        let to_do = match (why, system) {
            (Unseen::Denied(_), "Nomad" | "Consul") => "check the token and its policies",
            (Unseen::Denied(_), _) => {
                "check the role's policy (output role_policy_json), its boundary and the VPC endpoint's policy"
            }
            (Unseen::Throttled, _) => "try again in a minute",
            (Unseen::Away(_) | Unseen::Stale, "Nomad" | "Consul") => {
                "check the address, that its name resolves in the function's subnets, the security groups on both sides, and the CA certificate"
            }
            (Unseen::Away(_) | Unseen::Stale, _) => {
                "check that the function's subnets can reach AWS, through a NAT gateway or VPC endpoints"
            }
        };
        Self::bad(system, what, why.to_string(), to_do)
    }
}

/// Checks all systems. A system that has not answered when the time is up is reported as unseen.
pub(crate) async fn check(live: &Live, settings: &Settings, left: Duration) -> Report {
    let ends = tokio::time::Instant::now() + left.saturating_sub(RESERVED_FOR_ANSWER);
    let late =
        |system| vec![Check::unseen(system, "an answer", &Unseen::Away("no answer before the function's time was up".into()))];
    let aws = tokio::time::timeout_at(ends, aws(live, settings));
    // Each cluster is checked separately, so that one that hangs does not hide the others.
    let nomads = live.clusters().iter().map(async |cluster| {
        let seen = tokio::time::timeout_at(ends, nomad(cluster)).await;
        of(cluster, seen.unwrap_or_else(|_| late("Nomad")))
    });
    let (aws, nomads) = join(aws, join_all(nomads)).await;
    let (mut checks, instances) = aws.unwrap_or_else(|_| (late("Auto Scaling"), Vec::new()));
    checks.splice(0..0, of_settings(settings));
    checks.extend(nomads.into_iter().flatten());
    let rests = live.clusters().iter().map(async |cluster| {
        let own: Vec<InstanceId> = instances.iter().filter(|(group, _)| cluster.has(group)).map(|(_, id)| *id).collect();
        let seen = tokio::time::timeout_at(ends, nodes_and_consul(cluster, &own)).await;
        of(cluster, seen.unwrap_or_else(|_| late("Consul")))
    });
    checks.extend(join_all(rests).await.into_iter().flatten());
    let ready = checks.iter().all(|check| check.ok);
    for check in &checks {
        let Check { system, cluster, what, ok: _, seen, to_do } = check;
        let cluster = cluster.as_deref();
        let of = cluster.map_or_else(String::new, |cluster| format!(" of {cluster}"));
        match to_do {
            None => info!(event = "check", system, cluster, "{system}{of}, {what}: {seen}"),
            Some(to_do) => warn!(event = "check", system, cluster, to_do, "{system}{of}, {what}: {seen}; {to_do}"),
        }
    }
    Report { decamp: "check", version: env!("CARGO_PKG_VERSION"), ready, checks }
}

/// The checks with their cluster's name.
fn of(cluster: &Cluster, mut checks: Vec<Check>) -> Vec<Check> {
    checks.iter_mut().for_each(|check| check.cluster = cluster.name().cloned());
    checks
}

/// The checks of the settings alone.
fn of_settings(settings: &Settings) -> Vec<Check> {
    let mode = if settings.only_observes() { "observe: nothing is written" } else { "act" };
    let mut checks = vec![Check::good("decamp", "mode", mode)];
    if let Some(why) = settings.names_no_group() {
        checks.push(Check::bad("decamp", "settings", why, "set DECAMP_GROUPS"));
    }
    let warnings = settings.warnings.iter();
    checks.extend(warnings.map(|warning| Check::good("decamp", "settings", warning)));
    checks
}

/// The checks of Auto Scaling and the load balancers, and the instances of the groups, each with its group.
async fn aws(live: &Live, settings: &Settings) -> (Vec<Check>, Vec<(Arc<str>, InstanceId)>) {
    let named = match groups(live, settings).await {
        Ok(named) => named,
        Err(why) => return (vec![Check::unseen("Auto Scaling", "the groups", &why)], Vec::new()),
    };
    if named.is_empty() {
        let to_do = "check DECAMP_GROUPS and the Region";
        return (vec![Check::bad("Auto Scaling", "the groups", "no group has such a name", to_do)], Vec::new());
    }
    let looks = join_all(named.iter().map(|name| group(live, settings, name))).await;
    let (mut checks, mut instances, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (name, (check, of_group, more)) in named.iter().zip(looks) {
        checks.push(check);
        instances.extend(of_group.into_iter().map(|instance| (Arc::clone(name), instance)));
        targets.extend(more);
    }
    targets.extend(settings.policy.target_groups.iter().map(|arn| (arn.clone(), false)));
    targets.sort_by(|(one, _), (other, _)| one.cmp(other));
    targets.dedup_by(|(one, _), (other, _)| one == other);
    if targets.is_empty() && !settings.policy.scan {
        checks.push(Check::good("Elastic Load Balancing", "the target groups", "none is attached or named, so none was read"));
    }
    let looks = live.load_balancers().look(&targets, false).await;
    checks.extend(looks.into_iter().map(|(arn, look)| target_group(&arn, look)));
    if settings.policy.scan {
        // Any instance will do, because the scan lists all target groups.
        if let Some((_, any)) = instances.first().cloned() {
            checks.push(match live.load_balancers().scan(any, &[]).await {
                Ok(found) => {
                    Check::good("Elastic Load Balancing", "the scan", format!("{} of the target groups list {any}", found.len()))
                }
                // An unfinished scan was allowed, and the next call continues it.
                Err(Unseen::Away(why)) => Check::good("Elastic Load Balancing", "the scan", format!("not finished yet: {why}")),
                Err(why) => Check::unseen("Elastic Load Balancing", "the scan", &why),
            });
        }
    }
    (checks, instances)
}

/// The names of the groups that the settings allow. Names without `*` are taken from the settings.
async fn groups(live: &Live, settings: &Settings) -> Result<Vec<Arc<str>>, Unseen> {
    let named = settings.allowed.named_groups();
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let mut all = live.auto_scaling().names().await?;
    all.retain(|name| settings.allowed.group(name));
    Ok(all)
}

/// The check of one group, with its instances and target groups.
async fn group(live: &Live, settings: &Settings, name: &Arc<str>) -> (Check, Vec<InstanceId>, Vec<(TargetGroupArn, bool)>) {
    let what = format!("the group {name}");
    let none = |check| (check, Vec::new(), Vec::new());
    let roster = match live.auto_scaling().roster(name).await {
        Ok(Some(roster)) => roster,
        Ok(None) => {
            return none(Check::bad("Auto Scaling", what, "there is no such group", "check its name and the Region"));
        }
        Err(why) => return none(Check::unseen("Auto Scaling", what, &why)),
    };
    let set = match live.auto_scaling().settings_of(name).await {
        Ok(set) => set,
        Err(why) => return none(Check::unseen("Auto Scaling", what, &why)),
    };
    let instances: Vec<InstanceId> = roster.instances.iter().map(|(id, _)| *id).collect();
    let attached = set.attached.iter().map(|arn| (arn.clone(), true));
    let named = set.hooks.iter().flat_map(|hook| &hook.target_groups).map(|arn| (arn.clone(), false));
    let targets = attached.chain(named).collect();
    (hooks(settings, what, &set, instances.len()), instances, targets)
}

/// Whether the group has decamp's hook.
fn hooks(settings: &Settings, what: String, set: &Group, instances: usize) -> Check {
    let ours = |hook: &&Hook| settings.policy.hooks.is_empty() || settings.policy.hooks.contains(&hook.name);
    let Some(hook) = set.hooks.iter().find(ours) else {
        let to_do = "create the hook, or name it in DECAMP_HOOKS";
        return Check::bad("Auto Scaling", what, format!("{instances} instances, but no terminating hook of decamp's"), to_do);
    };
    if let Some(fault) = hook.misnamed.first() {
        return Check::bad(
            "Auto Scaling",
            what,
            format!("hook {}: {fault}", hook.name),
            "correct the hook's notification metadata",
        );
    }
    let held = if set.held { ", held by its tag decamp:hold" } else { "" };
    let seen = format!("{instances} instances, hook {} with {}{held}", hook.name, plain(hook.heartbeat_timeout));
    Check::good("Auto Scaling", what, seen)
}

fn target_group(arn: &TargetGroupArn, look: Result<TargetGroup, Unseen>) -> Check {
    let what = format!("the target group {}", arn.name());
    match look {
        Err(why) => Check::unseen("Elastic Load Balancing", what, &why),
        Ok(TargetGroup { targets: None, .. }) => {
            Check::bad("Elastic Load Balancing", what, "it does not exist", "remove it from the settings or the hook's metadata")
        }
        Ok(group) => {
            let delay = group.delay.map_or_else(|| "unreadable".to_owned(), plain);
            Check::good(
                "Elastic Load Balancing",
                what,
                format!("{} targets, deregistration delay {delay}", group.listed().count()),
            )
        }
    }
}

/// Whether Nomad answers, and whether its token may read enough.
async fn nomad(cluster: &Cluster) -> Vec<Check> {
    vec![match cluster.nomad().token_access().await {
        Ok(TokenAccess::Full) => Check::good("Nomad", "the token", "it can read everything that is needed"),
        Ok(TokenAccess::Insufficient(missing)) => {
            Check::bad("Nomad", "the token", missing.to_string(), "give it the policy in infra/policies/nomad.hcl")
        }
        Err(why) => Check::unseen("Nomad", "the token", &why),
    }]
}

/// The checks of the nodes of a cluster's groups, and of its Consul.
async fn nodes_and_consul(cluster: &Cluster, instances: &[InstanceId]) -> Vec<Check> {
    let listed = cluster.nomad().nodes_of(instances).await;
    let mut checks = vec![nodes(instances, &listed)];
    if let Some(consul) = cluster.consul() {
        let names: Vec<&str> = listed.iter().flatten().filter_map(|node| node.consul_name.as_deref()).take(NODES).collect();
        checks.push(if names.is_empty() {
            reached(&consul.look(NO_NODE).await)
        } else {
            shown(&join_all(names.into_iter().map(|name| consul.look(name))).await)
        });
    }
    checks
}

fn nodes(instances: &[InstanceId], listed: &Result<Vec<Listed>, Unseen>) -> Check {
    let what = "the groups' nodes";
    let found = match listed {
        Ok(found) => found,
        Err(why) => return Check::unseen("Nomad", what, why),
    };
    let without = instances.iter().filter(|instance| found.iter().all(|node| node.instance != **instance)).count();
    let seen = format!("{} of {} instances are nodes", instances.len() - without, instances.len());
    if 0 < without && without == instances.len() {
        return Check::bad("Nomad", what, seen, "check NOMAD_ADDR and NOMAD_REGION: this may be another cluster");
    }
    Check::good("Nomad", what, seen)
}

fn reached(look: &Result<Registrations, Unseen>) -> Check {
    match look {
        Ok(_) => Check::good("Consul", "an answer", "it answers; without a known node its token cannot be checked"),
        Err(why) => Check::unseen("Consul", "an answer", why),
    }
}

/// Whether the token can read a node and all of its services.
fn shown(looks: &[Result<Registrations, Unseen>]) -> Check {
    let what = "the token";
    if looks.iter().flatten().any(|registered| registered.whole) {
        return Check::good("Consul", what, "it can read nodes and their services");
    }
    match looks.iter().find_map(|look| look.as_ref().err()) {
        Some(why) => Check::unseen("Consul", what, why),
        None => {
            let seen = "Consul lists none of the nodes, or cannot prove that it lists all of their services";
            Check::bad(
                "Consul",
                what,
                seen,
                "give it the policy in infra/policies/consul.hcl, and check that the nodes are registered",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_can_read_no_node_is_not_ready_and_one_that_can_read_one_of_three_is() {
        let whole = |whole| Ok(Registrations { by_hand: [].into(), whole, agent_dead: false, services: [].into() });
        assert!(!shown(&[whole(false), whole(false)]).ok);
        assert!(shown(&[whole(false), whole(true), Err(Unseen::Throttled)]).ok);
        let denied = shown(&[Err(Unseen::Denied("ACL not found".into()))]);
        assert!(!denied.ok && denied.to_do.is_some_and(|to_do| to_do.contains("token")), "{}", denied.seen);
    }

    #[test]
    fn instances_without_a_node_in_this_cluster_are_not_ready() {
        let instance: InstanceId = "i-0123456789abcdef0".parse().expect("an id");
        assert!(!nodes(&[instance], &Ok(Vec::new())).ok);
        assert!(nodes(&[], &Ok(Vec::new())).ok, "an empty group proves nothing");
    }
}
