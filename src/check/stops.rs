//! How tasks of the group's jobs stopped so far, and what that foresees of a departure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Departure, Finding, Foreseen, JobKind, PAST, PastAllocation, Snapshot, TaskEnd, TaskGroup, Unseen, foreseen_stops,
    ingress_forgets,
};
use decamp_core::time::Time;
use decamp_hashicorp::nomad;
use futures_util::{StreamExt, stream};

use super::Inspection;
use super::rules::{Notice, Verdict};
use crate::survey::ours;

/// The most jobs whose ended allocations are read. Each takes one request.
const MOST_JOBS: usize = 200;
/// How many jobs are read concurrently.
const CONCURRENT_JOBS: usize = 8;

/// The namespace and the name of a job.
type Job = (Arc<str>, Arc<str>);

/// The ended allocations of one job, or why they could not be read.
pub(crate) struct PastStops {
    pub(super) namespace: Arc<str>,
    pub(super) job: Arc<str>,
    pub(super) ended: Result<Vec<PastAllocation>, Unseen>,
}

/// A task group that runs on the group's nodes, and one of the looks that show it.
struct Shown<'a> {
    group: &'a Arc<TaskGroup>,
    look: &'a (Departure, Snapshot),
    /// Whether a load balancer sends to one of its allocations directly.
    released: bool,
}

/// Each service and system job's groups that run on the nodes, once.
fn shown(looks: &[(Departure, Snapshot)]) -> Vec<Shown<'_>> {
    let mut all: BTreeMap<(&str, String), Shown<'_>> = BTreeMap::new();
    for look in looks {
        let (departure, seen) = look;
        let targets: Vec<u16> = seen
            .balancers
            .iter()
            .filter_map(|balancer| balancer.sight.last())
            .flat_map(|group| ours(departure, seen, group))
            .map(|target| target.port)
            .collect();
        for allocation in seen.allocations().filter(|a| !a.client.is_over()) {
            let group = &allocation.group;
            if !matches!(group.kind, JobKind::Service | JobKind::System) || group.csi_plugin {
                continue;
            }
            let released = allocation.ports.iter().any(|port| targets.contains(port));
            let shown = all.entry((&*group.namespace, group.title())).or_insert(Shown { group, look, released });
            shown.released |= released;
        }
    }
    all.into_values().collect()
}

/// Reads the last ended allocations of each job on the nodes, wherever they were.
pub(super) async fn read(nomad: &nomad::Client, looks: &[(Departure, Snapshot)], now: Time) -> Vec<PastStops> {
    let mut jobs: BTreeMap<Job, Vec<Arc<TaskGroup>>> = BTreeMap::new();
    for Shown { group, .. } in shown(looks) {
        jobs.entry((Arc::clone(&group.namespace), Arc::clone(&group.job))).or_default().push(Arc::clone(group));
    }
    let each = jobs.into_iter().enumerate().map(|(place, ((namespace, job), groups))| async move {
        let ended = if place < MOST_JOBS {
            nomad.past_stops(&namespace, &job, &groups, now - PAST).await
        } else {
            Err(Unseen::Away(format!("only {MOST_JOBS} jobs are read").into()))
        };
        PastStops { namespace, job, ended }
    });
    stream::iter(each).buffered(CONCURRENT_JOBS).collect().await
}

/// What is foreseen of each group's stops, or why nothing is.
pub(super) fn foreseen<'a>(read: &'a Inspection<'_>) -> Vec<(&'a TaskGroup, Result<Foreseen, &'a Unseen>)> {
    let of = |shown: Shown<'a>| {
        let Shown { group, look: (_, seen), released } = shown;
        let past = read.past.iter().find(|past| past.job == group.job && past.namespace == group.namespace)?;
        let foresee = |ended: &Vec<PastAllocation>| {
            foreseen_stops(group, ended, released, ingress_forgets(seen, &read.policy), &read.policy)
        };
        Some((&**group, past.ended.as_ref().map(foresee)))
    };
    shown(&read.looks).into_iter().filter_map(of).collect()
}

/// Warnings where evidence shows that tasks do not stop in order, and hints where a setting suggests it.
pub(super) fn stop_notices(read: &Inspection<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    for foreseen in foreseen(read).into_iter().filter_map(|(_, foreseen)| foreseen.ok()) {
        notices.extend(foreseen.findings.into_iter().map(|finding| of_a_finding(Verdict::Warning, finding)));
        notices.extend(foreseen.hints.into_iter().map(|hint| of_a_finding(Verdict::Hint, hint)));
    }
    notices
}

fn of_a_finding(verdict: Verdict, finding: Finding) -> Notice {
    let Finding { layer, object, value, needed, why, line, .. } = finding;
    Notice { verdict, layer, object, value, needed, why, line }
}

/// How long the longest of the past stops really took, if any is known.
pub(super) fn longest_past_stop(read: &Inspection<'_>) -> Option<Duration> {
    let ended = read.past.iter().filter_map(|past| past.ended.as_ref().ok()).flatten();
    let stops = ended.flat_map(|allocation| &allocation.ends).filter_map(|end| match end {
        TaskEnd::Stopped(stop) => Some(stop.took),
        TaskEnd::Unreadable { .. } => None,
    });
    stops.max()
}
