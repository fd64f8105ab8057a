//! The allocations that Nomad lists for a node: in full if the list is short, as stubs if Nomad keeps thousands of ended ones.
//!
//! A node's list embeds a job of some 20 KiB in each allocation, and Nomad keeps ended allocations for a day. A long list is therefore read
//! as stubs, which the servers filter. Only the allocations that matter are read in full, and again only when they have changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, must_know_leader, translate, wire};
use decamp_core::decide::Unseen;
use decamp_core::ids::NodeId;
use decamp_net::http::{Answer, RequestFailure, Rows};
use decamp_net::ttl_map::TtlMap;

/// A longer list of a node is read as stubs. This is the size of some 400 allocations with their jobs.
const LONG: usize = 8 * 1024 * 1024;

/// The most bytes of a node's list if the servers cannot filter stubs. The time limit of a call ends it sooner.
const LONGEST: usize = 1024 * 1024 * 1024;

/// The most bytes of a list of stubs: some 300,000 of them.
const LONGEST_STUBS: usize = 256 * 1024 * 1024;

/// How many of the last ended allocations of a long list are read in full, because they may have ended during the departure.
const ENDED_LAST: usize = 32;

/// For how many groups of ended services one allocation is read in full, because their services may still be registered.
const ENDED_GROUPS: usize = 64;

/// How long a list counts as long after it was last read.
const STAYS_LONG: Duration = Duration::from_mins(10);

/// The long lists.
pub(super) struct Lists {
    /// Nodes whose list is long, with the allocations that were read in full, by id.
    long: TtlMap<NodeId, Arc<HashMap<String, wire::Allocation>>>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { long: TtlMap::with_ttl(STAYS_LONG) }
    }
}

impl Lists {
    /// Whether a node's list is known to be long.
    pub(super) fn is_long(&self, id: NodeId) -> bool {
        self.long.get(&id).is_some()
    }
}

/// Jobs, each held once for all allocations of the same version. For ended allocations the job is held without its tasks' configuration.
#[derive(Default)]
struct Jobs(HashMap<(String, String, u64, u64, bool), Arc<wire::Job>>);

impl Jobs {
    fn share(&mut self, allocation: &mut wire::Allocation) {
        let Some(job) = allocation.job.take() else { return };
        let ended = is_over(&allocation.client);
        // Thousands of these may be listed. Nothing asks for the ports of batch work that has ended, which a stub does not have either.
        if ended && matches!(job.kind.as_str(), "batch" | "sysbatch") {
            allocation.resources = wire::AllocatedResources::default();
            allocation.network = wire::NetworkStatus::default();
        }
        let key = (allocation.namespace.clone(), allocation.job_id.clone(), job.version, job.modify_index, ended);
        let shared = self.0.entry(key).or_insert_with(|| if ended { Arc::new(job.without_configuration()) } else { job });
        allocation.job = Some(Arc::clone(shared));
    }
}

fn is_over(client: &str) -> bool {
    translate::client_status(client).is_over()
}

impl Client {
    /// All allocations that Nomad lists for a node with this version.
    pub(super) async fn list(&self, id: NodeId, version: &str) -> Result<Vec<wire::Allocation>, Unseen> {
        let stubs = has_filters(version);
        if stubs && self.lists.is_long(id) {
            return self.stubs(id).await;
        }
        match self.whole(id, if stubs { LONG } else { LONGEST }, None).await {
            Err(RequestFailure::TooLarge(_)) if stubs => self.stubs(id).await,
            Err(failure) => {
                // The list may be too long for the servers to write in time.
                if stubs && failure.is_late() {
                    self.lists.long.put(id, Arc::default());
                }
                Err(failure.unseen())
            }
            Ok((allocations, answer)) => {
                self.note_index(id, &answer)?;
                Ok(allocations)
            }
        }
    }

    /// A node's list after a change that is newer than `index`. A list that has become long is not read.
    pub(super) async fn list_newer(
        &self,
        id: NodeId,
        version: &str,
        index: u64,
        wait: Duration,
    ) -> Result<Vec<wire::Allocation>, Unseen> {
        let stubs = has_filters(version);
        match self.whole(id, if stubs { LONG } else { LONGEST }, Some((index, wait))).await {
            Ok((allocations, answer)) => {
                self.note_index(id, &answer)?;
                Ok(allocations)
            }
            Err(failure) => {
                if stubs && matches!(failure, RequestFailure::TooLarge(_)) {
                    self.lists.long.put(id, Arc::default());
                }
                Err(failure.unseen())
            }
        }
    }

    /// A node's list with its jobs, at once or after a change that is newer than an index.
    async fn whole(
        &self,
        id: NodeId,
        largest: usize,
        newer: Option<(u64, Duration)>,
    ) -> Result<(Vec<wire::Allocation>, Answer), RequestFailure> {
        let path = format!("/v1/node/{id}/allocations");
        let (mut all, mut jobs) = (Vec::new(), Jobs::default());
        let mut rows = Rows::new(largest, |row: Option<wire::Allocation>| {
            match row {
                None => all.clear(),
                Some(mut allocation) => {
                    jobs.share(&mut allocation);
                    all.push(allocation);
                }
            }
            Ok(())
        });
        let answer = match newer {
            None => self.http.get_rows(&path, &[], &mut rows).await?,
            Some((index, wait)) => self.http.get_newer(&path, &[], index, wait, Some(&mut rows)).await?,
        };
        Ok((all, answer))
    }

    /// A long list: all allocations as stubs, and those that matter in full.
    async fn stubs(&self, id: NodeId) -> Result<Vec<wire::Allocation>, Unseen> {
        let (text, filter) = (id.to_string(), format!("NodeID == \"{id}\""));
        let mut stubs = Vec::new();
        let mut rows = Rows::new(LONGEST_STUBS, |row: Option<wire::AllocationStub>| {
            match row {
                None => stubs.clear(),
                Some(stub) if stub.node == text => stubs.push(stub),
                Some(_) => {
                    return Err(RequestFailure::Nonsense("listed another node's allocation in spite of the filter".into()));
                }
            }
            Ok(())
        });
        // Without the states of tasks a stub is much smaller.
        let query = [("namespace", "*"), ("task_states", "false"), ("filter", filter.as_str())];
        let answer = self.http.get_rows("/v1/allocations", &query, &mut rows).await.map_err(RequestFailure::unseen)?;
        drop(rows);
        must_know_leader(&answer)?;
        let held = self.lists.long.get(&id).unwrap_or_default();
        let matter = those_that_matter(&stubs, |id| held.get(id).is_some_and(|before| !is_over(&before.client)));
        let read = stubs.iter().filter(|stub| matter.contains(stub.id.as_str())).map(|stub| {
            let before = held.get(&stub.id).filter(|a| a.modify_index == stub.modify_index);
            async move {
                match before {
                    Some(allocation) => Ok(Some(allocation.clone())),
                    None => self.one(stub).await,
                }
            }
        });
        let read: Vec<Option<wire::Allocation>> = stream::iter(read).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        let mut jobs = Jobs::default();
        let mut whole: HashMap<String, wire::Allocation> = HashMap::new();
        for mut allocation in read.into_iter().flatten() {
            jobs.share(&mut allocation);
            whole.insert(allocation.id.clone(), allocation);
        }
        // An allocation that Nomad garbage-collected since it was listed is left out.
        let gone: HashSet<String> = matter.iter().filter(|id| !whole.contains_key(**id)).map(|id| (*id).to_owned()).collect();
        let known = known_groups(&whole);
        let there = stubs.into_iter().filter(|stub| !gone.contains(&stub.id));
        let all = there.map(|stub| whole.get(&stub.id).cloned().unwrap_or_else(|| ended(stub, &known))).collect();
        self.lists.long.put(id, Arc::new(whole));
        Ok(all)
    }

    /// One allocation in full; `None` if it no longer exists.
    async fn one(&self, stub: &wire::AllocationStub) -> Result<Option<wire::Allocation>, Unseen> {
        let Some(answer) = self.get_if_there(&format!("/v1/allocation/{}", stub.id), &[]).await? else { return Ok(None) };
        let allocation: wire::Allocation = answer.json().map_err(RequestFailure::unseen)?;
        if allocation.id != stub.id {
            return Err(Unseen::Away(format!("asked for allocation {}, Nomad answered with another", stub.id).into()));
        }
        if allocation.modify_index < stub.modify_index {
            return Err(Unseen::Stale);
        }
        Ok(Some(allocation))
    }

    /// Notes the index after which a blocking query waits for a change.
    fn note_index(&self, id: NodeId, answer: &Answer) -> Result<(), Unseen> {
        must_know_leader(answer)?;
        if let Some(index) = answer.number("x-nomad-index") {
            self.allocations_index.put(id, index);
        }
        Ok(())
    }
}

/// Whether a node's servers filter lists, as they do since 1.3. Servers are never older than their clients.
fn has_filters(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (1, 3) <= (major, minor))
}

/// Which of these are read in full: all that have not ended, those that ended last or since the last look, and one of each group of ended
/// services.
fn those_that_matter(stubs: &[wire::AllocationStub], ran: impl Fn(&str) -> bool) -> HashSet<&str> {
    let (mut ended, running): (Vec<_>, Vec<_>) = stubs.iter().partition(|stub| is_over(&stub.client));
    ended.sort_by_key(|stub| std::cmp::Reverse(stub.modify_index));
    let mut groups = HashSet::new();
    let services = ended.iter().filter(|stub| !matches!(stub.job_type.as_str(), "batch" | "sysbatch"));
    let first_of_each = services.filter(|stub| groups.insert(group_of(stub))).take(ENDED_GROUPS);
    let since = ended.iter().filter(|stub| ran(&stub.id));
    let matter = running.iter().chain(ended.iter().take(ENDED_LAST)).chain(since).chain(first_of_each);
    matter.map(|stub| stub.id.as_str()).collect()
}

fn group_of(stub: &wire::AllocationStub) -> (&str, &str, u64, &str) {
    (&stub.namespace, &stub.job_id, stub.job_version, &stub.task_group)
}

/// The jobs of the allocations that were read in full, by namespace, id and version.
fn known_groups(whole: &HashMap<String, wire::Allocation>) -> HashMap<(String, String, u64), Arc<wire::Job>> {
    let known = whole.values().filter_map(|allocation| {
        let job = allocation.job.as_ref()?;
        Some(((allocation.namespace.clone(), allocation.job_id.clone(), job.version), Arc::clone(job)))
    });
    known.collect()
}

/// An ended allocation from its stub. How it would stop no longer matters.
fn ended(stub: wire::AllocationStub, known: &HashMap<(String, String, u64), Arc<wire::Job>>) -> wire::Allocation {
    let key = (stub.namespace, stub.job_id, stub.job_version);
    let job = known.get(&key).map_or_else(
        || {
            let group = wire::Group { name: stub.task_group.clone(), ..wire::Group::default() };
            let (kind, version) = (stub.job_type, stub.job_version);
            Arc::new(wire::Job { kind, version, groups: vec![group], ..wire::Job::default() })
        },
        Arc::clone,
    );
    let (namespace, job_id, _) = key;
    wire::Allocation {
        id: stub.id,
        name: stub.name,
        namespace,
        job_id,
        task_group: stub.task_group,
        desired: stub.desired,
        client: stub.client,
        modify_index: stub.modify_index,
        job: Some(job),
        transition: stub.transition,
        next: stub.next,
        ..wire::Allocation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stub(id: usize, client: &str, kind: &str, job: &str) -> wire::AllocationStub {
        wire::AllocationStub {
            id: id.to_string(),
            client: client.to_owned(),
            job_type: kind.to_owned(),
            job_id: job.to_owned(),
            modify_index: u64::try_from(id).expect("it is small"),
            ..wire::AllocationStub::default()
        }
    }

    #[test]
    fn all_that_have_not_ended_are_read_in_full_and_only_few_of_the_others() {
        let mut stubs: Vec<_> = (0..9_000).map(|n| stub(n, "complete", "batch", &format!("nightly/dispatch-{n}"))).collect();
        stubs.extend((9_000..9_500).map(|n| stub(n, "failed", "service", "flaps")));
        stubs.extend((9_500..9_600).map(|n| stub(n, "complete", "batch", "late")));
        for (place, status) in ["running", "pending", "lost", "unknown", ""].into_iter().enumerate() {
            stubs.insert(place * 1_000, stub(20_000 + place, status, "service", "web"));
        }
        let matter = those_that_matter(&stubs, |id| id == "5");
        assert!((20_000..20_005).all(|n| matter.contains(n.to_string().as_str())));
        assert!((9_568..9_600).all(|n| matter.contains(n.to_string().as_str())), "those that ended last");
        assert!(matter.contains("9499"), "the last of the service");
        assert!(matter.contains("5"), "it ran at the last look");
        assert_eq!(matter.len(), 5 + ENDED_LAST + 2);
    }

    #[test]
    fn servers_filter_since_1_3() {
        for (version, filters) in
            [("1.3.0", true), ("1.10.5", true), ("2.0.5+ent", true), ("1.2.16", false), ("0.12.9", false), ("", false)]
        {
            assert_eq!(has_filters(version), filters, "{version}");
        }
    }
}
