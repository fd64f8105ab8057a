//! A departure as a checklist: what is done, what is in progress and for how much longer, and what is still to come. Pure: from a
//! snapshot to lines.

use std::time::Duration;

use decamp_core::decide::{
    Balancer, Budget, ClientStatus, Decision, Departure, JobKind, Lifecycle, Policy, Reason, Snapshot, may_send_for,
};
use decamp_core::time::{Time, plain};

use crate::out::wrapped_to;
use crate::styled::{Style, StyledLine};
use crate::{describe, survey};

/// How many allocations are listed by name. The others are counted.
const MOST_NAMED: usize = 6;

/// The state of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Done,
    InProgress,
    ToCome,
    Trouble,
}

/// The facts of the list.
pub(super) struct Checklist<'a> {
    pub(super) departure: &'a Departure,
    pub(super) seen: &'a Snapshot,
    pub(super) policy: &'a Policy,
    /// The last decision; `None` at the end.
    pub(super) now_does: Option<&'a Decision>,
    pub(super) heartbeats: u64,
    /// The columns of the terminal.
    pub(super) columns: usize,
    /// When the run began.
    pub(super) began: Time,
    pub(super) now: Time,
}

fn entry(mark: Mark, indent: usize, text: &str) -> StyledLine {
    let (style, sign) = match mark {
        Mark::Done => (Style::Good, "✓"),
        Mark::InProgress => (Style::InProgress, "▸"),
        Mark::ToCome => (Style::Muted, "·"),
        Mark::Trouble => (Style::Error, "!"),
    };
    let rest = if mark == Mark::ToCome { Style::Muted } else { Style::Plain };
    StyledLine::plain(" ".repeat(indent)).then(style, sign).then(rest, format!(" {text}"))
}

impl Checklist<'_> {
    pub(super) fn lines(&self) -> Vec<StyledLine> {
        let mut lines = vec![self.head()];
        lines.push(self.hook());
        lines.push(self.node());
        lines.extend(self.balancers());
        lines.extend(self.allocations());
        lines.push(self.discovery());
        lines.push(self.completion());
        if let Some(decision) = self.now_does {
            let text = format!("{}, because {}", decision.action.title(self.now), describe::because(decision, self.seen));
            let now = wrapped_to(self.columns, "  now: ", &with_short_ids(&text, self.seen), 7);
            lines.extend(now.into_iter().map(|line| StyledLine::of(Style::InProgress, line)));
        }
        lines
    }

    fn head(&self) -> StyledLine {
        let took = plain(Duration::from_secs(self.now.since(self.began).as_secs()));
        let left = Budget::of(self.departure, self.seen, self.policy).end.since(self.now);
        let ends = if self.now_does.is_some() { format!("{took}, {} left", plain(left)) } else { took };
        let head = StyledLine::of(Style::Heading, format!("{} of {}", self.departure.instance, self.departure.asg));
        head.then(Style::Muted, format!("  {ends}"))
    }

    /// How long ago a time was, in whole seconds.
    fn ago(&self, at: Time) -> String {
        plain(Duration::from_secs(self.now.since(at).as_secs()))
    }

    fn hook(&self) -> StyledLine {
        let hook = decamp_core::decide::our_hook(self.departure, self.seen, self.policy);
        let name = hook.map_or_else(|| "hook".to_owned(), |hook| format!("hook {}", hook.name));
        let beats = match (self.heartbeats, self.seen.history.heartbeat) {
            (0, _) | (_, None) => String::new(),
            (sent, Some(at)) => format!("; {}, the last {} ago", describe::counted(sent, "heartbeat"), self.ago(at)),
        };
        match self.seen.lifecycle.last() {
            None => entry(Mark::ToCome, 2, &name),
            Some(lifecycle @ (Lifecycle::Waiting | Lifecycle::ReplacingRootVolume | Lifecycle::WaitingForWarmPool)) => {
                entry(Mark::Done, 2, &format!("{name}: {}{beats}", describe::lifecycle(lifecycle)))
            }
            Some(Lifecycle::Past | Lifecycle::Gone) => entry(Mark::Done, 2, &format!("{name}: ended")),
            Some(lifecycle) => entry(Mark::InProgress, 2, &format!("{name}: {}{beats}", describe::lifecycle(lifecycle))),
        }
    }

    fn node(&self) -> StyledLine {
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
            (true, _, _) => entry(Mark::ToCome, 2, &format!("node {names}: eligible")),
            (false, true, _) => entry(Mark::InProgress, 2, &format!("node {names}: ineligible, draining")),
            (false, false, true) => entry(Mark::Done, 2, &format!("node {names}: ineligible, drained")),
            (false, false, false) => entry(Mark::InProgress, 2, &format!("node {names}: ineligible")),
        }
    }

    fn balancers(&self) -> Vec<StyledLine> {
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
        // decamp does not look at a target group while its delay runs, so the last look may be older than the deregistration.
        let written_since = balancer.deregistered.is_some_and(|at| balancer.sight.at() <= Some(at));
        if !written_since && ours.iter().any(|target| target.health.is_registered()) {
            return (Mark::ToCome, format!("{name}: registered"));
        }
        // The reason of the current wait has a more exact time than the delay.
        let waited = match self.now_does.map(|decision| &decision.reason) {
            Some(Reason::LoadBalancerDelay { group, until }) if *group == balancer.arn => Some(*until),
            _ => None,
        };
        let until = waited.or(balancer.deregistered.map(|at| at + may_send_for(group, self.policy)));
        let since = balancer.deregistered.map(|at| format!("deregistered {} ago", self.ago(at)));
        match until {
            Some(until) if self.now < until => {
                let left = plain(Duration::from_secs(until.since(self.now).as_secs() + 1));
                (
                    Mark::InProgress,
                    format!("{name}: {}, may still send for {left}", since.unwrap_or_else(|| "draining".to_owned())),
                )
            }
            _ if since.is_none() && ours.is_empty() => (Mark::Done, format!("{name}: does not list it")),
            _ => (Mark::Done, format!("{name}: {}, sends nothing", since.unwrap_or_else(|| "deregistered".to_owned()))),
        }
    }

    fn allocations(&self) -> Vec<StyledLine> {
        let exempt = |kind, plugin: bool| plugin || (self.policy.ignore_system_jobs && kind == JobKind::System);
        let known = || self.seen.history.known.iter().filter(|known| !exempt(known.group.kind, known.group.csi_plugin));
        let (all, over) = (known().count(), known().filter(|known| known.over).count());
        if self.seen.nomad.last().is_none() {
            return vec![entry(Mark::ToCome, 2, "allocations")];
        }
        if all == over {
            let text = if all == 0 { "allocations: none".to_owned() } else { format!("allocations: {over} of {all} stopped") };
            return vec![entry(Mark::Done, 2, &text)];
        }
        let begun = known().any(|known| known.told.is_some());
        let mark = if begun { Mark::InProgress } else { Mark::ToCome };
        let mut lines = vec![entry(mark, 2, &format!("allocations: {over} of {all} stopped"))];
        let lost = |id| self.seen.allocations().any(|a| a.id == id && a.client == ClientStatus::Lost);
        for known in known().filter(|known| !known.over).take(MOST_NAMED) {
            let id: String = known.id.to_string().chars().take(8).collect();
            let name = format!("{} {id}", known.group.title());
            let (mark, text) = match known.told {
                _ if lost(known.id) => (Mark::Trouble, format!("{name}: lost, says Nomad")),
                Some(since) => {
                    let takes = plain(self.policy.longest_stop(&known.group));
                    (Mark::InProgress, format!("{name}: told to stop {} ago, takes at most {takes}", self.ago(since)))
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

    fn discovery(&self) -> StyledLine {
        let consul = self.seen.consul.last().map(|registered| ("Consul", registered.services.len()));
        let nomad = self.seen.nomad_services.last().map(|registered| ("Nomad", registered.services.len()));
        let catalogs: Vec<(&str, usize)> = consul.into_iter().chain(nomad).collect();
        if let Some(blind) = self.seen.consul.blind().filter(|_| self.policy.consul) {
            return entry(Mark::Trouble, 2, &format!("discovery: Consul cannot be seen: {}", blind.why));
        }
        let left: usize = catalogs.iter().map(|(_, left)| left).sum();
        let over = self.seen.nomad.last().is_some() && self.seen.history.known.iter().all(|known| known.over);
        if catalogs.is_empty() || left == 0 && !over {
            return entry(Mark::ToCome, 2, "discovery");
        }
        let lists = |(name, left): &(&str, usize)| format!("{name} lists {}", describe::counted(*left as u64, "service"));
        let text = format!("discovery: {}", catalogs.iter().map(lists).collect::<Vec<_>>().join(", "));
        let begun = self.seen.history.known.iter().any(|known| known.told.is_some());
        let mark = match (left, begun) {
            (0, _) => Mark::Done,
            (_, true) => Mark::InProgress,
            (_, false) => Mark::ToCome,
        };
        entry(mark, 2, &text)
    }

    fn completion(&self) -> StyledLine {
        match self.seen.history.completed {
            Some(at) => {
                let after = plain(Duration::from_secs(at.since(self.began).as_secs()));
                entry(Mark::Done, 2, &format!("lifecycle action completed after {after}"))
            }
            None => entry(Mark::ToCome, 2, "lifecycle action"),
        }
    }
}

/// The text with nodes by their names, and allocation ids cut to eight characters as Nomad's command shows them.
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
        JobKind::System => ", as a system job until the others have stopped",
        JobKind::Batch | JobKind::SysBatch => ", until it ends by itself or by the deadline",
        JobKind::Service => "",
    }
}

fn worst(marks: impl Iterator<Item = Mark>) -> Mark {
    let marks: Vec<Mark> = marks.collect();
    let is = |mark| marks.contains(&mark);
    match () {
        () if is(Mark::Trouble) => Mark::Trouble,
        () if is(Mark::InProgress) => Mark::InProgress,
        () if is(Mark::ToCome) => Mark::ToCome,
        () => Mark::Done,
    }
}
