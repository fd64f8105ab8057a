//! The facts that were found, layer by layer, as text.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use decamp_core::decide::{Layer, Provider, TaskGroup, TokenAccess};
use decamp_core::ids::TargetId;
use decamp_core::time::plain;
use serde::Serialize;

use super::Inspection;
use super::stops::foreseen;
use super::warm_up::warm_up_facts;
use crate::describe;
use crate::survey::{balancer_kind, ours};

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    pub(crate) layer: Layer,
    pub(crate) object: String,
    pub(crate) text: String,
}

/// All facts of a group.
pub(super) fn facts(read: &Inspection<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |layer, object: &str, text: String| facts.push(Fact { layer, object: object.to_owned(), text });
    let groups = task_groups(read);
    for group in groups.values() {
        let kills: Vec<String> =
            group.tasks.iter().map(|t| format!("{} kill_timeout {}", t.name, plain(t.kill_timeout))).collect();
        let longest = plain(read.policy.longest_stop(group));
        add(Layer::Container, &group.title(), format!("{}; stops within {longest}", kills.join(", ")));
    }
    for (group, foreseen) in foreseen(read) {
        match foreseen {
            Ok(foreseen) => foreseen.facts.into_iter().for_each(|fact| add(Layer::Container, &group.title(), fact)),
            Err(why) => {
                let text = format!("how it stopped so far is unknown, because its ended allocations cannot be read: {why}");
                add(Layer::Container, &group.title(), text);
            }
        }
    }
    for group in groups.values().filter(|group| !group.services.is_empty()) {
        let names: Vec<String> = group.services.iter().map(|s| format!("{} in {}", s.name, provider(s.provider))).collect();
        let copies = if group.max_parallel.is_some() { format!("{} copies, ", group.count) } else { String::new() };
        let serves = plain(group.serves_on());
        add(
            Layer::Service,
            &group.title(),
            format!("{copies}registers {}; keeps serving for {serves} after Nomad tells it to stop", names.join(", ")),
        );
    }
    let ingresses: Vec<_> = groups.values().filter_map(|group| Some((group, group.ingress.as_ref()?))).collect();
    for (group, ingress) in &ingresses {
        add(
            Layer::Ingress,
            &group.title(),
            format!(
                "{}; should drop a service within {}; DECAMP_INGRESS_MARGIN adds {} for its own work, which takes longer under load",
                ingress.how,
                plain(ingress.forgets_after),
                plain(read.policy.ingress_margin)
            ),
        );
    }
    let nomad_was_seen = !read.looks.is_empty() && read.looks.iter().all(|(_, seen)| seen.nomad.last().is_some());
    if ingresses.is_empty() && nomad_was_seen {
        let forgets = plain(read.policy.ingress_forgets);
        add(Layer::Ingress, "-", format!("no job on these nodes looks like one; DECAMP_INGRESS_FORGETS applies: {forgets}"));
    }
    target_groups(read, &mut add);
    nodes(read, &mut add);
    for hook in super::rules::hooks(read) {
        let (beat, whole) = (plain(hook.heartbeat_timeout), plain(hook.global_timeout));
        let named = hook.target_groups.len();
        add(
            Layer::Hook,
            &hook.name,
            format!(
                "heartbeat time-out {beat}, at most {whole}, names {named} target {}",
                if named == 1 { "group" } else { "groups" }
            ),
        );
    }
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for (_, lifecycle) in &read.roster.instances {
        *states.entry(describe::lifecycle(lifecycle)).or_default() += 1;
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let healthy = match read.roster.healthy_percentages {
        Some((least, most)) => format!("; between {least} and {most} percent healthy while it replaces"),
        None => "; no maintenance policy, so each instance refresh decides how many leave at a time".to_owned(),
    };
    let states = if states.is_empty() { "no instances".to_owned() } else { states.join(", ") };
    add(Layer::Group, &read.asg, format!("{states}{healthy}"));
    facts.extend(warm_up_facts(read));
    facts
}

fn provider(provider: Provider) -> &'static str {
    match provider {
        Provider::Consul => "Consul",
        Provider::Nomad => "Nomad",
    }
}

/// Each task group that runs on the group's nodes, listed once.
fn task_groups<'a>(read: &'a Inspection<'_>) -> BTreeMap<String, &'a TaskGroup> {
    let known = read.looks.iter().flat_map(|(_, seen)| &seen.history.known).filter(|k| !k.over);
    known.map(|k| (format!("{}/{}", k.group.namespace, k.group.title()), &*k.group)).collect()
}

fn target_groups(read: &Inspection<'_>, add: &mut impl FnMut(Layer, &str, String)) {
    let mut reported: BTreeMap<String, (String, String, usize)> = BTreeMap::new();
    for (departure, seen) in &read.looks {
        for (balancer, group) in seen.balancers.iter().filter_map(|b| Some((b, b.sight.last()?))) {
            let targets = group.targets.as_ref().map_or(0, |targets| targets.len());
            let text = format!("{}, {targets} targets", balancer_kind(group, seen));
            let row = reported.entry(balancer.arn.to_string()).or_insert_with(|| (balancer.arn.name().to_owned(), text, 0));
            row.2 += ours(departure, seen, group).len();
        }
    }
    // Only Nomad knows which instance has an address.
    let nomad_was_seen = read.looks.iter().all(|(_, seen)| seen.nomad.last().is_some());
    let by_address = |arn: &str| {
        let groups = read.looks.iter().flat_map(|(_, seen)| &seen.balancers).filter(|b| b.arn.to_string() == arn);
        groups.filter_map(|b| b.sight.last()).flat_map(|g| g.listed()).any(|target| matches!(target.id, TargetId::Ip(_)))
    };
    for (arn, (name, text, of_ours)) in &reported {
        let whose = if nomad_was_seen || !by_address(arn) {
            format!("{of_ours} of them this group's")
        } else {
            "how many of them are this group's is unknown".to_owned()
        };
        add(Layer::LoadBalancer, name, format!("{text}, {whose}"));
    }
    for balancer in read.looks.iter().flat_map(|(_, seen)| &seen.balancers) {
        if let Entry::Vacant(unseen) = reported.entry(balancer.arn.to_string()) {
            unseen.insert(Default::default());
            add(Layer::LoadBalancer, balancer.arn.name(), "unknown: it could not be seen".to_owned());
        }
    }
    match &read.scanned {
        Ok(found) => {
            add(Layer::LoadBalancer, "-", format!("a scan of all target groups found {} that list its instances", found.len()));
        }
        Err(why) => add(Layer::LoadBalancer, "-", format!("whether others list its instances is unknown: {why}")),
    }
}

fn nodes(read: &Inspection<'_>, add: &mut impl FnMut(Layer, &str, String)) {
    // The report says once, with the reason, that Nomad could not be read.
    if read.looks.iter().all(|(_, seen)| seen.nomad.last().is_none()) {
        return;
    }
    for (departure, seen) in &read.looks {
        if seen.nomad.last().is_none() {
            add(Layer::Node, &departure.instance.to_string(), "unknown: Nomad could not be seen".to_owned());
        }
        for node in seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes) {
            let running = node.allocations.iter().filter(|a| !a.client.is_over()).count();
            let status = format!("{:?}", node.status).to_lowercase();
            let eligible = if node.eligible { "eligible" } else { "ineligible" };
            let registered = match (seen.consul.last(), read.policy.consul) {
                (Some(registered), _) => {
                    let text = registered.said_of_hands();
                    let by_hand = if text.is_empty() { text } else { format!(" and {text}") };
                    format!(", {}{by_hand}", describe::counted(registered.services.len() as u64, "service in Consul"))
                }
                (None, true) => ", services in Consul unknown".to_owned(),
                (None, false) => String::new(),
            };
            let running = describe::counted(running as u64, "allocation");
            let text = format!("{} {status}, {eligible}, Nomad {}, {running}{registered}", node.name, node.version);
            add(Layer::Node, &departure.instance.to_string(), text);
        }
    }
    match &read.servers {
        Ok(servers) => {
            let each: Vec<String> = servers.iter().map(|s| format!("{} {}", s.name, s.version)).collect();
            add(Layer::Node, "Nomad's servers", each.join(", "));
        }
        Err(why) => {
            add(Layer::Node, "Nomad's servers", format!("this token cannot list them ({why}); decamp does not need them"))
        }
    }
    if let Some(TokenAccess::Full) = read.looks.iter().find_map(|(_, seen)| seen.nomad_token.last()) {
        add(Layer::Node, "the Nomad token", "can read everything that is needed, and may drain".to_owned());
    }
}
