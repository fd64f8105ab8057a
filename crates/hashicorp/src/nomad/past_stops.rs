//! How the last ended allocations of a job stopped. Only checks ask for it, and never for the jobs themselves: a list of stubs is bounded
//! by the servers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Client, stops, translate, wire};
use decamp_core::decide::{PastAllocation, Stop, TaskEnd, TaskGroup, Unseen};
use decamp_core::time::Time;
use decamp_net::http::{RequestFailure, Rows};

/// The most ended allocations of one job that are read: those that were created last. Servers list them in the order of creation, and with
/// `reverse` the last first (Nomad's `nomad/alloc_endpoint.go`).
const MOST: usize = 50;

/// The most bytes of such a list. A stub with the events of its tasks has some 10 KiB. Servers before 1.3 ignore the filter and the limit,
/// and list all allocations of the namespace.
const LARGEST: usize = 16 * 1024 * 1024;

impl Client {
    /// How the last ended allocations of a job stopped, on whatever node they were, the newest first. Allocations none of whose tasks was
    /// told to stop since then are left out. `groups` are the job's groups, which say how long its tasks delay a signal.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn past_stops(
        &self,
        namespace: &str,
        job: &str,
        groups: &[Arc<TaskGroup>],
        since: Time,
    ) -> Result<Vec<PastAllocation>, Unseen> {
        if job.contains(['"', '\\']) {
            return Err(Unseen::Away("the job's name cannot be written in a filter".into()));
        }
        let ahead = self.ahead.load(Ordering::Relaxed);
        let mut newest: Vec<(u64, PastAllocation)> = Vec::new();
        let mut rows = Rows::new(LARGEST, |row: Option<wire::AllocationStub>| {
            match row {
                None => newest.clear(),
                Some(stub) if stub.job_id == job && stub.namespace == namespace => {
                    let modified = stub.modify_index;
                    newest.extend(past(stub, groups, ahead, since)?.map(|past| (modified, past)));
                    if 2 * MOST <= newest.len() {
                        keep_the_newest(&mut newest);
                    }
                }
                // A server that ignores the filter.
                Some(_) => {}
            }
            Ok(())
        });
        let ended = |status| format!("JobID == \"{job}\" and ClientStatus == \"{status}\"");
        let filter = format!("{} or {}", ended("complete"), ended("failed"));
        let most = MOST.to_string();
        let query = [("namespace", namespace), ("filter", filter.as_str()), ("per_page", most.as_str()), ("reverse", "true")];
        self.http.get_rows("/v1/allocations", &query, &mut rows).await.map_err(RequestFailure::unseen)?;
        drop(rows);
        keep_the_newest(&mut newest);
        Ok(newest.into_iter().map(|(_, past)| past).collect())
    }
}

fn keep_the_newest(allocations: &mut Vec<(u64, PastAllocation)>) {
    allocations.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
    allocations.truncate(MOST);
}

/// An ended allocation, if one of its tasks was told to stop since then.
fn past(
    stub: wire::AllocationStub,
    groups: &[Arc<TaskGroup>],
    ahead: i64,
    since: Time,
) -> Result<Option<PastAllocation>, RequestFailure> {
    if !translate::client_status(&stub.client).is_over() {
        return Ok(None);
    }
    let group = groups.iter().find(|group| *group.name == *stub.task_group);
    let by_our_clock = |time: Time| Time(time.0.saturating_add_signed(ahead));
    let ends = stops::ends(&stub.states, group.map(|group| &**group), stub.transition.no_shutdown_delay).into_iter();
    let ends: Vec<TaskEnd> = ends
        .map(|end| match end {
            TaskEnd::Stopped(stop) => TaskEnd::Stopped(Stop { signalled: by_our_clock(stop.signalled), ..stop }),
            TaskEnd::Unreadable { .. } => end,
        })
        .filter(|end| match end {
            TaskEnd::Stopped(stop) => since <= stop.signalled,
            TaskEnd::Unreadable { .. } => true,
        })
        .collect();
    if ends.is_empty() {
        return Ok(None);
    }
    let id = stub.id.parse().map_err(|why| RequestFailure::Nonsense(format!("listed an allocation whose id is {why}").into()))?;
    Ok(Some(PastAllocation { id, group: stub.task_group.into(), version: stub.job_version, ends }))
}
