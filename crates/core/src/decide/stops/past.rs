//! What the last stops of a job foresee of its next one, before anything leaves.

use std::sync::Arc;
use std::time::Duration;

use super::{Cost, Reach, StopKind, advice};
use crate::decide::Policy;
use crate::decide::findings::{Finding, Layer, Loss};
use crate::decide::snapshot::{PastAllocation, Process, Stop, Task, TaskEnd, TaskGroup, TaskRole};
use crate::time::plain;

/// How old an ended allocation may be to count.
pub const PAST: Duration = Duration::from_hours(7 * 24);

/// What is foreseen of a group's stops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// What the evidence shows.
    pub findings: Vec<Finding>,
    /// What a setting suggests and no evidence confirms, and what costs nothing as far as the settings show.
    pub hints: Vec<Finding>,
    /// How the tasks stopped so far, as sentences.
    pub facts: Vec<String>,
}

/// How a group's tasks will stop, by the ended allocations of its job. `released`: a load balancer sends to it directly.
#[must_use]
pub fn foreseen_stops(
    group: &TaskGroup,
    past: &[PastAllocation],
    released: bool,
    forgets: Duration,
    policy: &Policy,
) -> Foreseen {
    let mut foreseen = Foreseen::default();
    let reach = Reach { released, forgets, policy };
    let stopped = |task: &&Task| matches!(task.role, TaskRole::Leader | TaskRole::Main | TaskRole::Sidecar);
    for task in group.tasks.iter().filter(stopped) {
        of_a_task(&mut foreseen, group, task, &Evidence::of(group, task, past), reach);
    }
    foreseen
}

/// The stops of one task in the past.
#[derive(Debug, Default)]
struct Evidence<'a> {
    stops: Vec<(StopKind, &'a Stop)>,
    unreadable: Option<&'a Arc<str>>,
    version: Option<u64>,
}

impl<'a> Evidence<'a> {
    /// Only those of the newest version that has any: the job may have been mended since.
    fn of(group: &TaskGroup, task: &Task, past: &'a [PastAllocation]) -> Self {
        let of_group = past.iter().filter(|allocation| allocation.group == group.name);
        let ends =
            of_group.flat_map(|a| a.ends.iter().map(move |end| (a.version, end))).filter(|(_, end)| *end.task() == task.name);
        let ends: Vec<(u64, &TaskEnd)> = ends.collect();
        let version = ends.iter().map(|(version, _)| *version).max();
        let mut evidence = Self { version, ..Self::default() };
        for (_, end) in ends.into_iter().filter(|(of, _)| Some(*of) == version) {
            match end {
                TaskEnd::Stopped(stop) => evidence.stops.push((StopKind::of(stop, &task.process), stop)),
                TaskEnd::Unreadable { why, .. } => evidence.unreadable = Some(why),
            }
        }
        evidence
    }

    fn of_kind(&self, kind: StopKind) -> impl Iterator<Item = &'a Stop> {
        self.stops.iter().filter(move |(of, _)| *of == kind).map(|(_, stop)| *stop)
    }

    /// The stops of which something is said: some of all.
    fn some(&self, some: usize) -> String {
        let of = if self.stops.len() == 1 { String::new() } else { format!("{some} of ") };
        format!("{of}{}", self.all())
    }

    fn all(&self) -> String {
        let version = self.version.unwrap_or_default();
        match self.stops.len() {
            1 => format!("the last stop (job version {version})"),
            all => format!("the last {all} stops (job version {version})"),
        }
    }
}

fn of_a_task(foreseen: &mut Foreseen, group: &TaskGroup, task: &Task, evidence: &Evidence<'_>, reach: Reach<'_>) {
    let object: Arc<str> = [&*group.title(), "/", &*task.name].concat().into();
    let finding = |loss, value: String, needed: &str, why: String, line: String| Finding {
        layer: Layer::Container,
        loss,
        object: Arc::clone(&object),
        value,
        needed: needed.to_owned(),
        why,
        line,
    };
    foreseen.facts.push(format!("{}: {}", task.name, fact(evidence)));
    let deaf: Vec<&Stop> = evidence.of_kind(StopKind::Deaf).collect();
    if let Some(stop) = deaf.iter().min_by_key(|stop| stop.took) {
        let cost = Cost::of(group, stop, reach);
        let value = format!("{} ended by SIGKILL at its kill_timeout of {}", evidence.some(deaf.len()), plain(stop.kill_timeout));
        let why = format!("it does not stop on {}; {}", task.process.signal(), expected(cost));
        let line = advice::line(StopKind::Deaf, &task.process, stop, cost, reach);
        let found = finding(Loss::DeafTask, value, advice::NEEDED, why, line);
        // What costs nothing as far as the settings show is no warning.
        let place = if cost.is_finding(StopKind::Deaf) { &mut foreseen.findings } else { &mut foreseen.hints };
        place.push(found);
    }
    let abrupt: Vec<&Stop> = evidence.of_kind(StopKind::Abrupt).collect();
    if let Some(stop) = abrupt.iter().min_by_key(|stop| stop.took) {
        let cost = Cost::of(group, stop, reach);
        if cost.is_finding(StopKind::Abrupt) {
            let value =
                format!("{} ended by {} within {}", evidence.some(abrupt.len()), task.process.signal(), plain(super::AT_ONCE));
            let why = format!("it dies of its signal with everything that it holds; {}", expected(cost));
            let line = advice::line(StopKind::Abrupt, &task.process, stop, cost, reach);
            foreseen.findings.push(finding(Loss::AbruptTask, value, advice::NEEDED, why, line));
        }
    }
    let slow: Vec<&Stop> = evidence.of_kind(StopKind::Slow).collect();
    if let Some(stop) = slow.iter().max_by_key(|stop| stop.took) {
        let longest = (stop.took * 5 / 4).as_secs_f64().ceil();
        let value = format!(
            "{} took more than 80 % of kill_timeout: up to {} of {}",
            evidence.some(slow.len()),
            plain(stop.took),
            plain(stop.kill_timeout)
        );
        let why = "a stop that takes a little longer is killed, with the requests in progress".to_owned();
        foreseen.findings.push(finding(
            Loss::SlowStop,
            value,
            &format!("{longest}s"),
            why,
            format!("kill_timeout = \"{longest}s\""),
        ));
    }
    if let Some(shell) = task.process.shell.as_ref().filter(|_| evidence.stops.is_empty()) {
        foreseen.hints.push(finding(
            Loss::DeafTask,
            format!("a shell starts it: {shell}"),
            advice::NEEDED,
            suspicion(&task.process),
            advice::of_a_deaf_one(&task.process),
        ));
    }
}

/// What the next stop may cost.
fn expected(cost: Cost) -> String {
    match cost {
        Cost::Requests(span) => format!("each stop may cut {} of requests", plain(span)),
        Cost::Nothing => {
            "no request is in progress any more when it is gone, unless it takes longer than DECAMP_LONGEST_REQUEST".to_owned()
        }
        Cost::OnKeptConnections => {
            "load balancers have released it by then, so only requests on connections that clients keep through a \
             Network Load Balancer are cut"
                .to_owned()
        }
        Cost::Work => "it serves no requests, and each stop cuts what it is working on".to_owned(),
    }
}

/// What a shell in front may mean.
fn suspicion(process: &Process) -> String {
    format!(
        "a shell passes {} on to no child, unless it runs the server with exec or has a trap; no ended allocation shows how it stops",
        process.signal()
    )
}

/// How a task stopped so far.
fn fact(evidence: &Evidence<'_>) -> String {
    if let (true, Some(why)) = (evidence.stops.is_empty(), evidence.unreadable) {
        return format!("how it stops is unknown: {why}");
    }
    let Some((_, first)) = evidence.stops.first() else {
        return format!(
            "no allocation of it was stopped in the last {} days, so how it stops is not known",
            PAST.as_secs() / 86_400
        );
    };
    let longest = evidence.stops.iter().map(|(_, stop)| stop.took).max().unwrap_or_default();
    let mut counts = Vec::new();
    let words = [
        (StopKind::Deaf, "ended by SIGKILL at kill_timeout"),
        (StopKind::Abrupt, "died of the signal"),
        (StopKind::OutOfMemory, "ran out of memory"),
        (StopKind::KilledEarly, "killed before kill_timeout"),
    ];
    for (kind, word) in words {
        let count = evidence.of_kind(kind).count();
        if 0 < count {
            counts.push(format!("{count} {word}"));
        }
    }
    let counts = if counts.is_empty() { "all in order".to_owned() } else { counts.join(", ") };
    format!("{}: {counts}; took up to {} of {}", evidence.all(), plain(longest), plain(first.kill_timeout))
}
