//! How tasks stop, by evidence: Nomad's task events show which of them heard their signal, and which were killed or died of it. Evidence
//! never changes what a departure does. It changes what is reported of it.

mod advice;
mod past;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use strum::IntoStaticStr;

pub use self::past::{Foreseen, PAST, foreseen_stops};
use super::case::Case;
use super::findings::{Finding, Layer, Loss, ingress_forgets};
use super::snapshot::{Allocation, JobKind, Process, Snapshot, Stop, Task, TaskEnd, TaskGroup, TaskRole};
use super::{Departure, Policy};
use crate::time::{Time, plain};

/// SIGKILL, and the exit code of a process that it ended: 128 and the signal.
const SIGKILL: i64 = 9;
const KILLED: i64 = 128 + SIGKILL;

/// A task that the signal's default action ends is gone within this time. Recorded: 45 to 183 ms. What it held was cut.
const AT_ONCE: Duration = Duration::from_millis(250);

/// A client sends SIGKILL at `kill_timeout`, and records times of its own clock. Both are never this far apart.
const CLOSE: Duration = Duration::from_millis(100);

/// How a task stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum StopKind {
    /// By itself, in its time.
    InOrder,
    /// By itself, and it took more than 80 % of its `kill_timeout`.
    Slow,
    /// It did not react to its signal, and was killed at its `kill_timeout`.
    Deaf,
    /// Its signal ended it at once, with everything that it held.
    Abrupt,
    /// The kernel killed it, because its memory was used up.
    OutOfMemory,
    /// Something killed it before its `kill_timeout`.
    KilledEarly,
}

impl StopKind {
    /// The kinds that a metric counts: those that may have cut something.
    pub const CUT: [Self; 4] = [Self::Deaf, Self::Abrupt, Self::OutOfMemory, Self::KilledEarly];

    /// The name for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// How a task of this process stopped.
    #[must_use]
    pub fn of(stop: &Stop, process: &Process) -> Self {
        if stop.out_of_memory {
            return Self::OutOfMemory;
        }
        // Docker reports no signal, the other drivers do.
        if stop.signal == SIGKILL || stop.exit_code == KILLED {
            return if stop.kill_timeout <= stop.took + CLOSE { Self::Deaf } else { Self::KilledEarly };
        }
        if stop.took < AT_ONCE && is_default_action(stop, process) {
            return Self::Abrupt;
        }
        if stop.kill_timeout * 4 / 5 < stop.took { Self::Slow } else { Self::InOrder }
    }
}

/// Whether the signal itself ended the process: SIGTERM, SIGINT, or the one that the job names.
fn is_default_action(stop: &Stop, process: &Process) -> bool {
    let ended_by = |number: i64| stop.signal == number || stop.exit_code == 128 + number;
    let named = process.kill_signal.as_deref().and_then(number);
    [Some(15), Some(2), named].into_iter().flatten().any(ended_by)
}

/// The number of a signal on Linux (`signal(7)`). SIGKILL and signals that end no process by default are left out.
fn number(signal: &str) -> Option<i64> {
    Some(match signal.trim_start_matches("SIG") {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => 15,
        _ => return None,
    })
}

/// Who may send to the copies of a group, and for how long.
#[derive(Debug, Clone, Copy)]
struct Reach<'a> {
    /// A load balancer sends to it directly, and has released it before it is stopped.
    released: bool,
    /// How long the ingress sends to a service that has left discovery.
    forgets: Duration,
    policy: &'a Policy,
}

/// What a stop may have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Requests that came within this time may have been in progress.
    Requests(Duration),
    /// No request could be in progress any more.
    Nothing,
    /// The load balancer had released it. Requests on connections that clients keep may have been cut.
    OnKeptConnections,
    /// It serves no requests. Its work was cut.
    Work,
}

impl Cost {
    fn of(group: &TaskGroup, stop: &Stop, reach: Reach<'_>) -> Self {
        let Reach { released, forgets, policy } = reach;
        if released || group.ingress.is_some() {
            return Self::OnKeptConnections;
        }
        if group.services.is_empty() || group.kind != JobKind::Service {
            return Self::Work;
        }
        let task = group.tasks.iter().find(|task| task.name == stop.task);
        let serves = |task: &Task| matches!(task.role, TaskRole::Leader | TaskRole::Main);
        if task.is_some_and(|task| !serves(task)) && group.tasks.iter().any(serves) {
            // A sidecar is stopped when the tasks that serve are over.
            return Self::Nothing;
        }
        // The ingress sends until it has forgotten the service, and each request takes as long as the longest.
        let gone = group.shutdown_delay + task.map(|task| task.shutdown_delay).unwrap_or_default() + stop.took;
        let in_progress = (forgets + policy.longest_request).saturating_sub(gone).min(policy.longest_request);
        if in_progress.is_zero() { Self::Nothing } else { Self::Requests(in_progress) }
    }

    fn sentence(self) -> String {
        match self {
            Self::Requests(span) => format!("{} of requests may have been cut", plain(span)),
            Self::Nothing => {
                "no request could be in progress by then, unless it takes longer than DECAMP_LONGEST_REQUEST".to_owned()
            }
            Self::OnKeptConnections => {
                "load balancers had released it, so only requests on connections that clients keep through a Network \
                 Load Balancer may have been cut"
                    .to_owned()
            }
            Self::Work => "it serves no requests, and what it was working on was cut".to_owned(),
        }
    }

    /// Whether a finding names a stop of this kind. What costs nothing is evidence only, and so is a target of a load balancer that its
    /// signal ended after it was released.
    fn is_finding(self, kind: StopKind) -> bool {
        match self {
            Self::Requests(_) | Self::Work => true,
            Self::Nothing => false,
            Self::OnKeptConnections => kind == StopKind::Deaf,
        }
    }
}

/// How the copies of one task stopped in a departure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskStops {
    /// `job/group/task`.
    pub task: Arc<str>,
    /// Each stop, with its kind.
    pub stops: Vec<(StopKind, Stop)>,
    /// Why the stops of some copies are unknown, if their events cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<Arc<str>>,
    #[serde(skip)]
    group: Arc<TaskGroup>,
    #[serde(skip)]
    released: bool,
}

impl TaskStops {
    /// How many stops were of this kind.
    #[must_use]
    pub fn count(&self, kind: StopKind) -> usize {
        self.stops.iter().filter(|(of, _)| *of == kind).count()
    }

    fn process(&self) -> Process {
        process(&self.group, self.stops.first().map_or("", |(_, stop)| &stop.task))
    }

    /// The longest that a stop really took.
    fn longest(&self) -> Duration {
        self.stops.iter().map(|(_, stop)| stop.took).max().unwrap_or_default()
    }

    /// The evidence: a sentence for each way in which copies were cut, otherwise one for all.
    fn lines(&self, reach: Reach<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        let all = self.stops.len();
        for kind in StopKind::CUT {
            if let Some((stop, some)) = self.worst(kind) {
                let cost = Cost::of(&self.group, stop, reach).sentence();
                lines.push(format!("{}: {}; {cost}", self.task, happened(kind, stop, &self.process(), some, all)));
            }
        }
        if lines.is_empty()
            && let Some((_, stop)) = self.stops.first()
        {
            let (longest, may) = (plain(self.longest()), plain(stop.kill_timeout));
            lines.push(match all {
                1 => format!("{}: it stopped in order after {longest}; it may take {may}", self.task),
                _ => format!("{}: {all} copies stopped in order, the slowest after {longest}; each may take {may}", self.task),
            });
        }
        if let Some(why) = &self.unreadable {
            lines.push(format!("{}: how it stopped is unknown, and so is whether requests were cut: {why}", self.task));
        }
        lines
    }

    /// The stop of a kind that was over first, which may have cut most, and how many there were.
    fn worst(&self, kind: StopKind) -> Option<(&Stop, usize)> {
        let of_kind = || self.stops.iter().filter(|(of, _)| *of == kind).map(|(_, stop)| stop);
        Some((of_kind().min_by_key(|stop| stop.took)?, of_kind().count()))
    }

    fn reach<'p>(&self, forgets: Duration, policy: &'p Policy) -> Reach<'p> {
        Reach { released: self.released, forgets, policy }
    }

    /// The findings: what was killed at its `kill_timeout`, or died of the signal, while requests or work could be cut.
    fn findings(&self, reach: Reach<'_>) -> Vec<Finding> {
        let kinds = [(StopKind::Deaf, Loss::DeafTask), (StopKind::Abrupt, Loss::AbruptTask)];
        let each = kinds.into_iter().filter_map(|(kind, loss)| {
            let (stop, some) = self.worst(kind)?;
            let cost = Cost::of(&self.group, stop, reach);
            let process = self.process();
            cost.is_finding(kind).then(|| Finding {
                layer: Layer::Container,
                loss,
                object: Arc::clone(&self.task),
                value: happened(kind, stop, &process, some, self.stops.len()),
                needed: advice::NEEDED.to_owned(),
                why: cost.sentence(),
                line: advice::line(kind, &process, stop, cost, reach),
            })
        });
        each.collect()
    }
}

/// What happened to some of the copies, as a sentence.
fn happened(kind: StopKind, stop: &Stop, process: &Process, some: usize, all: usize) -> String {
    let copies = if all == 1 { String::new() } else { format!("{some} of {all} copies: ") };
    let signal = process.signal();
    let what = match kind {
        StopKind::Deaf => format!("it did not stop on {signal} within {} and was killed", plain(stop.kill_timeout)),
        StopKind::Abrupt => format!("{signal} ended it after {}, before it could finish anything", plain(stop.took)),
        StopKind::OutOfMemory => "it was killed while it stopped, because its memory was used up".to_owned(),
        StopKind::KilledEarly => {
            format!("it was killed after {} of the {} that it may take", plain(stop.took), plain(stop.kill_timeout))
        }
        StopKind::Slow | StopKind::InOrder => {
            format!("it stopped after {} of the {} that it may take", plain(stop.took), plain(stop.kill_timeout))
        }
    };
    format!("{copies}{what}")
}

/// How the process of this task is started. Unknown if the job has no task of this name.
fn process(group: &TaskGroup, task: &str) -> Process {
    group.tasks.iter().find(|known| *known.name == *task).map(|known| known.process.clone()).unwrap_or_default()
}

/// How the tasks stopped that this departure stopped, one entry for each task of a group.
#[must_use]
pub fn stops(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<TaskStops> {
    of_departure(&Case::new(departure, seen, policy, seen.history.began))
}

/// The same, of a case.
pub(super) fn of_departure(case: &Case<'_>) -> Vec<TaskStops> {
    let mut all: Vec<TaskStops> = Vec::new();
    for (group, ends) in stopped(case) {
        for end in ends.iter() {
            add(case, &mut all, group, end);
        }
    }
    all.sort_by(|one, other| one.task.cmp(&other.task));
    all
}

fn add(case: &Case<'_>, all: &mut Vec<TaskStops>, group: &Arc<TaskGroup>, end: &TaskEnd) {
    let title: Arc<str> = [&*group.job, "/", &*group.name, "/", end.task()].concat().into();
    let of_this = |known: &TaskStops| known.task == title && known.group.namespace == group.namespace;
    let place = all.iter().position(of_this).unwrap_or_else(|| {
        let released = was_a_target(case, group);
        all.push(TaskStops { task: title, stops: Vec::new(), unreadable: None, group: Arc::clone(group), released });
        all.len() - 1
    });
    match end {
        TaskEnd::Stopped(stop) => {
            let kind = StopKind::of(stop, &process(group, &stop.task));
            all[place].stops.push((kind, stop.clone()));
        }
        TaskEnd::Unreadable { why, .. } => all[place].unreadable = Some(Arc::clone(why)),
    }
}

/// The ends of the allocations that this departure stopped: those that this run saw before they were over, and those that got their signal
/// after the departure began, which an earlier worker may have seen.
fn stopped<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (&'a Arc<TaskGroup>, &'a Arc<[TaskEnd]>)> {
    let known = case.seen.history.known.iter().filter(|known| known.over).map(|known| (&known.group, &known.ends));
    known.chain(stopped_before(case).map(|allocation| (&allocation.group, &allocation.ends)))
}

/// The allocations that got their signal after the departure began, and that were over before this run saw them.
pub(super) fn stopped_before<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Allocation> {
    let began = if case.budget.began_is_known { Some(case.budget.began) } else { drained_since(case) };
    let known = &case.seen.history.known;
    let since = move |end: &TaskEnd| match end {
        TaskEnd::Stopped(stop) => began.is_some_and(|began| began <= stop.signalled),
        TaskEnd::Unreadable { .. } => false,
    };
    case.allocations().filter(move |a| !known.iter().any(|k| k.id == a.id) && a.ends.iter().any(since))
}

/// When the first drain of this action began, by Nomad's record of it.
pub(super) fn drained_since(case: &Case<'_>) -> Option<Time> {
    let ours = case.nodes().iter().filter_map(|node| node.last_drain.as_ref());
    let ours = ours.filter(|last| last.meta.as_ref().is_some_and(|meta| meta.action == *case.drain_marker()));
    ours.filter_map(|last| last.started).min()
}

/// Whether a load balancer sent to copies of this group directly: one of their ports is a target's. Other instances' targets show that as
/// well, after ours have left the list.
pub(super) fn was_a_target(case: &Case<'_>, group: &TaskGroup) -> bool {
    let mut ports = case.allocations().filter(|a| a.group.is_same(group)).flat_map(|a| a.ports.iter());
    let listed =
        |port: u16| case.seen.balancers.iter().filter_map(|b| b.sight.last()).flat_map(|g| g.listed()).any(|t| t.port == port);
    let taken_out = |port: u16| case.seen.balancers.iter().any(|balancer| balancer.taken_out.iter().any(|(_, of)| *of == port));
    ports.any(|port| taken_out(*port) || listed(*port))
}

/// How copies of one task were cut while they could hold requests or work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// `job/group/task`.
    pub(super) task: Arc<str>,
    /// `job/group`.
    pub(super) group: String,
    pub(super) kind: StopKind,
    /// What happened, as a sentence.
    pub(super) what: String,
    /// When the first of them was over.
    pub(super) at: Time,
    /// Whether a finding names it: requests or work may have been cut, and a setting mends it.
    pub(super) is_finding: bool,
}

/// The stops of a departure that may have cut something, one for each task and kind.
pub(super) fn cuts(case: &Case<'_>, stops: &[TaskStops]) -> Vec<Cut> {
    let forgets = ingress_forgets(case.seen, case.policy);
    let mut all = Vec::new();
    for stops in stops {
        for kind in StopKind::CUT {
            let Some((stop, some)) = stops.worst(kind) else { continue };
            let cost = Cost::of(&stops.group, stop, stops.reach(forgets, case.policy));
            if cost == Cost::Nothing {
                continue;
            }
            all.push(Cut {
                task: Arc::clone(&stops.task),
                group: stops.group.title(),
                kind,
                what: format!("{}: {}", stop.task, happened(kind, stop, &stops.process(), some, stops.stops.len())),
                at: stop.signalled + stop.took,
                is_finding: matches!(kind, StopKind::Deaf | StopKind::Abrupt) && cost.is_finding(kind),
            });
        }
    }
    all
}

/// What the stops of a departure show that cost requests, one finding for each task and kind. They are known at its end.
#[must_use]
pub fn stop_findings(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<Finding> {
    let forgets = ingress_forgets(seen, policy);
    stops(departure, seen, policy).iter().flat_map(|stops| stops.findings(stops.reach(forgets, policy))).collect()
}

/// The evidence of how each task stopped, for reports.
#[must_use]
pub fn stop_evidence(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<String> {
    let forgets = ingress_forgets(seen, policy);
    stops(departure, seen, policy).iter().flat_map(|stops| stops.lines(stops.reach(forgets, policy))).collect()
}
