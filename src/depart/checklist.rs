//! A departure as a checklist: what is done, what is under way and for how much longer, and what is still to come. Pure: one snapshot, its
//! lines.

use std::time::Duration;

use decamp_core::decide::{
    Balancer, Budget, ClientStatus, Decision, Departure, JobKind, Lifecycle, Policy, Reason, Snapshot, may_send_for,
};
use decamp_core::time::{Time, plain};

use crate::out::wrapped_to;
use crate::paint::{Hue, Line};
use crate::{survey, words};

/// More allocations than this are counted, not named.
const MOST_NAMED: usize = 6;

/// How far one entry of the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Done,
    Busy,
    ToCome,
    Trouble,
}

/// What the list is made of.
pub(super) struct Checklist<'a> {
    pub(super) departure: &'a Departure,
    pub(super) seen: &'a Snapshot,
    pub(super) policy: &'a Policy,
    /// What is done or waited for now; `None` at the end.
    pub(super) now_does: Option<&'a Decision>,
    pub(super) heartbeats: u64,
    /// How wide the terminal is.
    pub(super) columns: usize,
    /// When the run began.
    pub(super) began: Time,
    pub(super) now: Time,
}

fn entry(mark: Mark, indent: usize, text: &str) -> Line {
    let (hue, sign) = match mark {
        Mark::Done => (Hue::Good, "✓"),
        Mark::Busy => (Hue::Busy, "▸"),
        Mark::ToCome => (Hue::Faint, "·"),
        Mark::Trouble => (Hue::Bad, "!"),
    };
    let rest = if mark == Mark::ToCome { Hue::Faint } else { Hue::Plain };
    Line::plain(" ".repeat(indent)).then(hue, sign).then(rest, format!(" {text}"))
}

impl Checklist<'_> {
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![self.head()];
        lines.push(self.hook());
        lines.push(self.node());
        lines.extend(self.balancers());
        lines.extend(self.allocations());
        lines.push(self.discovery());
        lines.push(self.completion());
        if let Some(decision) = self.now_does {
            let text = format!("{}, because {}", decision.action.title(self.now), words::because(decision, self.seen));
            let now = wrapped_to(self.columns, "  now: ", &with_short_ids(&text, self.seen), 7);
            lines.extend(now.into_iter().map(|line| Line::of(Hue::Busy, line)));
        }
        lines
    }

    fn head(&self) -> Line {
        let took = plain(Duration::from_secs(self.now.since(self.began).as_secs()));
        let left = Budget::of(self.departure, self.seen, self.policy).end.since(self.now);
        let ends = if self.now_does.is_some() { format!("{took}, {} left", plain(left)) } else { took };
        let head = Line::of(Hue::Strong, format!("{} of {}", self.departure.instance, self.departure.asg));
        head.then(Hue::Faint, format!("  {ends}"))
    }

    /// How long ago, in whole seconds.
    fn ago(&self, at: Time) -> String {
        plain(Duration::from_secs(self.now.since(at).as_secs()))
    }

    fn hook(&self) -> Line {
        let hook = decamp_core::decide::our_hook(self.departure, self.seen, self.policy);
        let name = hook.map_or_else(|| "hook".to_owned(), |hook| format!("hook {}", hook.name));
        let beats = match (self.heartbeats, self.seen.history.heartbeat) {
            (0, _) | (_, None) => String::new(),
            (sent, Some(at)) => format!("; {}, the last {} ago", words::counted(sent, "heartbeat"), self.ago(at)),
        };
        match self.seen.lifecycle.last() {
            None => entry(Mark::ToCome, 2, &name),
            Some(lifecycle @ (Lifecycle::Waiting | Lifecycle::ReplacingRootVolume | Lifecycle::WaitingForWarmPool)) => {
                entry(Mark::Done, 2, &format!("{name}: {}{beats}", words::lifecycle(lifecycle)))
            }
            Some(Lifecycle::Past | Lifecycle::Gone) => entry(Mark::Done, 2, &format!("{name}: it is past it")),
            Some(lifecycle) => entry(Mark::Busy, 2, &format!("{name}: {}{beats}", words::lifecycle(lifecycle))),
        }
    }

    fn node(&self) -> Line {
        let Some(nomad) = self.seen.nomad.last() else {
            return match self.seen.nomad.blind() {
                Some(blind) => entry(Mark::Trouble, 2, &format!("node: Nomad cannot be seen: {}", blind.why)),
                None => entry(Mark::ToCome, 2, "node"),
            };
        };
        if nomad.nodes.is_empty() {
            return entry(Mark::Trouble, 2, "node: no Nomad node is this instance");
        }
        let names = nomad.nodes.iter().map(|node| &*node.name).collect::<Vec<_>>().join(", ");
        let eligible = nomad.nodes.iter().any(|node| node.eligible);
        let draining = nomad.nodes.iter().any(|node| node.drain.is_some());
        let drained = nomad.nodes.iter().all(|node| node.last_drain.as_ref().is_some_and(|last| last.meta.is_some()));
        match (eligible, draining, drained) {
            (true, _, _) => entry(Mark::ToCome, 2, &format!("node {names}: takes new work")),
            (false, true, _) => entry(Mark::Busy, 2, &format!("node {names}: ineligible, draining")),
            (false, false, true) => entry(Mark::Done, 2, &format!("node {names}: ineligible, drained")),
            (false, false, false) => entry(Mark::Busy, 2, &format!("node {names}: ineligible")),
        }
    }

    fn balancers(&self) -> Vec<Line> {
        if self.seen.balancers.is_empty() {
            let none = self.seen.group.last().is_some() && self.seen.nomad.last().is_some();
            let mark = if none { Mark::Done } else { Mark::ToCome };
            return vec![entry(mark, 2, if none { "load balancers: none" } else { "load balancers" })];
        }
        let each: Vec<(Mark, String)> = self.seen.balancers.iter().map(|balancer| self.balancer(balancer)).collect();
        let done = each.iter().filter(|(mark, _)| *mark == Mark::Done).count();
        let mark = worst(each.iter().map(|(mark, _)| *mark));
        let mut lines = vec![entry(mark, 2, &format!("load balancers: {done} of {} send nothing", each.len()))];
        lines.extend(each.iter().map(|(mark, text)| entry(*mark, 4, text)));
        lines
    }

    fn balancer(&self, balancer: &Balancer) -> (Mark, String) {
        let name = balancer.arn.name();
        let Some(group) = balancer.sight.last() else {
            let why = balancer.sight.blind().map_or_else(String::new, |blind| format!(": cannot be seen: {}", blind.why));
            let mark = if why.is_empty() { Mark::ToCome } else { Mark::Trouble };
            return (mark, format!("{name}{why}"));
        };
        let ours = survey::ours(self.departure, self.seen, group);
        // While the delay runs nothing is looked at: the last look is older than our own write then.
        let written_since = balancer.deregistered.is_some_and(|at| balancer.sight.at() <= Some(at));
        if !written_since && ours.iter().any(|target| target.health.is_registered()) {
            return (Mark::ToCome, format!("{name}: registered"));
        }
        // What is waited for longest has a time of its own, which knows more than the delay.
        let waited = match self.now_does.map(|decision| &decision.reason) {
            Some(Reason::LoadBalancerDelay { group, until }) if *group == balancer.arn => Some(*until),
            _ => None,
        };
        let until = waited.or(balancer.deregistered.map(|at| at + may_send_for(group, self.policy)));
        let since = balancer.deregistered.map(|at| format!("deregistered {} ago", self.ago(at)));
        match until {
            Some(until) if self.now < until => {
                let left = plain(Duration::from_secs(until.since(self.now).as_secs() + 1));
                (Mark::Busy, format!("{name}: {}, may still send for {left}", since.unwrap_or_else(|| "draining".to_owned())))
            }
            _ if since.is_none() && ours.is_empty() => (Mark::Done, format!("{name}: does not list it")),
            _ => (Mark::Done, format!("{name}: {}, sends nothing", since.unwrap_or_else(|| "deregistered".to_owned()))),
        }
    }

    fn allocations(&self) -> Vec<Line> {
        let stays = |kind, plugin: bool| plugin || (self.policy.ignore_system_jobs && kind == JobKind::System);
        let known = || self.seen.history.known.iter().filter(|known| !stays(known.group.kind, known.group.csi_plugin));
        let (all, over) = (known().count(), known().filter(|known| known.over).count());
        if self.seen.nomad.last().is_none() {
            return vec![entry(Mark::ToCome, 2, "allocations")];
        }
        if all == over {
            let text =
                if all == 0 { "allocations: none runs".to_owned() } else { format!("allocations: {over} of {all} are over") };
            return vec![entry(Mark::Done, 2, &text)];
        }
        let told = known().any(|known| known.told.is_some());
        let mark = if told { Mark::Busy } else { Mark::ToCome };
        let mut lines = vec![entry(mark, 2, &format!("allocations: {over} of {all} are over"))];
        let nodes = self.seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        let lost = |id| nodes.iter().flat_map(|n| n.allocations.iter()).any(|a| a.id == id && a.client == ClientStatus::Lost);
        for known in known().filter(|known| !known.over).take(MOST_NAMED) {
            let id: String = known.id.to_string().chars().take(8).collect();
            let name = format!("{} {id}", known.group.title());
            let (mark, text) = match known.told {
                _ if lost(known.id) => (Mark::Trouble, format!("{name}: Nomad has lost sight of it")),
                Some(told) => {
                    let takes = plain(self.policy.longest_stop(&known.group));
                    (Mark::Busy, format!("{name}: told to stop {} ago, takes {takes} at most", self.ago(told)))
                }
                None => (Mark::ToCome, format!("{name}: runs{}", waits_for_system(known.group.kind))),
            };
            lines.push(entry(mark, 4, &text));
        }
        let more = (all - over).saturating_sub(MOST_NAMED);
        if 0 < more {
            lines.push(entry(mark, 4, &format!("and {more} more")));
        }
        lines
    }

    fn discovery(&self) -> Line {
        let consul = self.seen.consul.last().map(|registered| ("Consul", registered.services.len()));
        let nomad = self.seen.nomad_services.last().map(|registered| ("Nomad", registered.services.len()));
        let sights: Vec<(&str, usize)> = consul.into_iter().chain(nomad).collect();
        if let Some(blind) = self.seen.consul.blind().filter(|_| self.policy.consul) {
            return entry(Mark::Trouble, 2, &format!("discovery: Consul cannot be seen: {}", blind.why));
        }
        let left: usize = sights.iter().map(|(_, left)| left).sum();
        let over = self.seen.nomad.last().is_some() && self.seen.history.known.iter().all(|known| known.over);
        if sights.is_empty() || left == 0 && !over {
            return entry(Mark::ToCome, 2, "discovery");
        }
        let lists = |(name, left): &(&str, usize)| format!("{name} lists {}", words::counted(*left as u64, "service"));
        let text = format!("discovery: {}", sights.iter().map(lists).collect::<Vec<_>>().join(", "));
        let begun = self.seen.history.known.iter().any(|known| known.told.is_some());
        let mark = match (left, begun) {
            (0, _) => Mark::Done,
            (_, true) => Mark::Busy,
            (_, false) => Mark::ToCome,
        };
        entry(mark, 2, &text)
    }

    fn completion(&self) -> Line {
        match self.seen.history.completed {
            Some(at) => {
                let after = plain(Duration::from_secs(at.since(self.began).as_secs()));
                entry(Mark::Done, 2, &format!("lifecycle action completed after {after}"))
            }
            None => entry(Mark::ToCome, 2, "lifecycle action"),
        }
    }
}

/// A node by its name, and allocations as Nomad's own command shows them: nobody types what is shown so.
pub(super) fn with_short_ids(text: &str, seen: &Snapshot) -> String {
    let mut text = text.to_owned();
    for node in seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes) {
        text = text.replace(&format!("node {}", node.id), &format!("node {}", node.name));
    }
    for known in &seen.history.known {
        let id = known.id.to_string();
        text = text.replace(&id, &id[..8]);
    }
    text
}

/// Nomad's drain stops system jobs last.
fn waits_for_system(kind: JobKind) -> &'static str {
    match kind {
        JobKind::System => ", as a system job until the others are over",
        JobKind::Batch | JobKind::SysBatch => ", until it ends by itself or by the deadline",
        JobKind::Service => "",
    }
}

fn worst(marks: impl Iterator<Item = Mark>) -> Mark {
    let marks: Vec<Mark> = marks.collect();
    let is = |mark| marks.contains(&mark);
    match () {
        () if is(Mark::Trouble) => Mark::Trouble,
        () if is(Mark::Busy) => Mark::Busy,
        () if is(Mark::ToCome) => Mark::ToCome,
        () => Mark::Done,
    }
}
