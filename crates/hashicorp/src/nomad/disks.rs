//! Where the disks of a node's ended allocations are: which allocation replaces each, and whether that one has its tasks. A replacement's
//! client copies the disk first, so the first task event (`Received`) is the proof (recorded: disk-migrates).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, must_know_leader, translate, wire};
use decamp_core::decide::{Allocation, ClientStatus, Disk, JobKind, Node, Unseen};
use decamp_core::ids::AllocationId;
use decamp_net::http::RequestFailure;

/// The most replacements of replacements that are followed.
const LONGEST_CHAIN: usize = 8;

impl Client {
    /// The node with the data that its ended allocations left: disks that have to move, and volumes that they claim.
    pub(super) async fn follow_data(&self, node: Node, rows: &[wire::Allocation]) -> Result<Node, Unseen> {
        let node = self.follow_disks(node, rows).await?;
        self.follow_claims(node, rows).await
    }

    /// The node with the whereabouts of its allocations' disks. `rows` are its allocations as Nomad listed them, in the same order. A
    /// replacement that has its disk is not read again.
    async fn follow_disks(&self, node: Node, rows: &[wire::Allocation]) -> Result<Node, Unseen> {
        let moved = node.allocations.iter().zip(rows).enumerate().filter(|(_, (read, row))| is_moved(read, row));
        let followed = moved.map(|(place, (read, row))| async move { Ok((place, self.replaced(read, row).await?)) });
        let followed: Vec<(usize, Option<Disk>)> = stream::iter(followed).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        if followed.is_empty() {
            return Ok(node);
        }
        // Many allocations may have ended without a replacement. Each of their jobs is read once.
        let unplaced = followed.iter().filter(|(_, disk)| disk.is_none()).map(|(place, _)| job_of(&rows[*place]));
        let jobs = unplaced.collect::<BTreeSet<_>>().into_iter();
        let jobs = jobs.map(|(namespace, id)| async move { Ok(((namespace, id), self.job(namespace, id).await?)) });
        let jobs: BTreeMap<_, _> = stream::iter(jobs).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        let mut allocations = node.allocations.to_vec();
        for (place, disk) in followed {
            let row = &rows[place];
            let wants = || jobs.get(&job_of(row)).and_then(Option::as_ref).is_some_and(|job| job.wants(row));
            allocations[place].disk = disk.unwrap_or_else(|| if wants() { Disk::Unplaced } else { Disk::Stays });
        }
        Ok(Node { allocations: Arc::from(allocations), ..node })
    }

    /// Where the disk of a replaced allocation is; `None` if there is no replacement. Nomad writes the id of a replacement together with the
    /// replacement. One that is placed later has no predecessor.
    async fn replaced(&self, read: &Allocation, row: &wire::Allocation) -> Result<Option<Disk>, Unseen> {
        if self.moved.get(&read.id).is_some() {
            return Ok(Some(Disk::Moved));
        }
        let mut next = row.next.clone();
        for _ in 0..LONGEST_CHAIN {
            if next.is_empty() {
                break;
            }
            let Some(replacement) = self.replacement(&next).await? else { return Ok(Some(self.has_moved(read.id))) };
            let status = translate::client_status(&replacement.client);
            let is_last = replacement.next.is_empty();
            if replacement.has_events() || status == ClientStatus::Running || is_last && status.is_over() {
                return Ok(Some(self.has_moved(read.id)));
            }
            if is_last && status != ClientStatus::Lost {
                let id =
                    next.parse().map_err(|why| Unseen::Away(format!("Nomad names a replacement whose id is {why}").into()))?;
                return Ok(Some(Disk::Copying(id)));
            }
            // It was lost or replaced before it had the disk.
            next = replacement.next;
        }
        Ok(None)
    }

    fn has_moved(&self, id: AllocationId) -> Disk {
        self.moved.put(id, ());
        Disk::Moved
    }

    /// A replacement; `None` if Nomad no longer lists it.
    async fn replacement(&self, id: &str) -> Result<Option<wire::Replacement>, Unseen> {
        let Some(answer) = self.get_if_there(&format!("/v1/allocation/{id}"), &[]).await? else { return Ok(None) };
        must_know_leader(&answer)?;
        let replacement: wire::Replacement = answer.json().map_err(RequestFailure::unseen)?;
        if replacement.id != id {
            return Err(Unseen::Away(format!("asked for allocation {id}, Nomad answered with another").into()));
        }
        Ok(Some(replacement))
    }

    /// A job as it is now; `None` if it was purged. The job in an allocation is the one with which it was placed.
    async fn job(&self, namespace: &str, id: &str) -> Result<Option<wire::JobState>, Unseen> {
        let Some(answer) = self.get_if_there(&format!("/v1/job/{}", in_path(id)), &[("namespace", namespace)]).await? else {
            return Ok(None);
        };
        must_know_leader(&answer)?;
        let job: wire::JobState = answer.json().map_err(RequestFailure::unseen)?;
        if job.id != id {
            return Err(Unseen::Away(format!("asked for job {id}, Nomad answered with another").into()));
        }
        Ok(Some(job))
    }
}

/// The namespace and the id of an allocation's job.
fn job_of(row: &wire::Allocation) -> (&str, &str) {
    (&row.namespace, &row.job_id)
}

impl wire::JobState {
    /// Whether Nomad still wants such an allocation. Of a job that was stopped or scaled down it wants none.
    fn wants(&self, row: &wire::Allocation) -> bool {
        !self.stop && self.has_room_for(row)
    }

    /// Whether a group has an allocation of this name: Nomad numbers them from 0 to one less than the count, and a group that is scaled
    /// down loses the highest. Unknown counts as yes.
    fn has_room_for(&self, row: &wire::Allocation) -> bool {
        let number = number_of(&row.name);
        let group = self.groups.iter().find(|group| group.name == row.task_group);
        match group {
            Some(group) => group.count.zip(number).is_none_or(|(count, number)| number < count),
            None => self.groups.is_empty(),
        }
    }
}

/// Whether an allocation ended because somebody asked Nomad to move it, and its disk moves with it.
fn is_moved(read: &Allocation, row: &wire::Allocation) -> bool {
    let moves = matches!(read.group.kind, JobKind::Service | JobKind::Batch) && read.group.migrates_disk;
    moves && read.client.is_over() && !read.wanted && row.transition.migrate
}

/// The number in an allocation's name: 2 of `app.web[2]`.
pub(super) fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(']').and_then(|name| name.rsplit_once('[')?.1.parse().ok())
}

/// A job's or a volume's id as part of a path. Nomad reads a slash in it as it is.
pub(super) fn in_path(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_id_is_written_in_a_path() {
        assert_eq!(in_path("nightly/dispatch-1"), "nightly/dispatch-1");
        assert_eq!(in_path("a b?c%ü"), "a%20b%3Fc%25%C3%BC");
    }
}
