//! Where the disks of a node's ended allocations are: which allocation replaces each, and whether that one has its tasks. A replacement's
//! client copies the disk first, so the first task event (`Received`) is the proof (recorded: disk-migrates).

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, translate, wire};
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
        let followed = moved.map(|(place, (read, row))| async move { Ok((place, self.disk(read, row).await?)) });
        let followed: Vec<(usize, Disk)> = stream::iter(followed).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        if followed.is_empty() {
            return Ok(node);
        }
        let mut allocations = node.allocations.to_vec();
        for (place, disk) in followed {
            allocations[place].disk = disk;
        }
        Ok(Node { allocations: Arc::from(allocations), ..node })
    }

    async fn disk(&self, read: &Allocation, row: &wire::Allocation) -> Result<Disk, Unseen> {
        if self.moved.get(&read.id).is_some() {
            return Ok(Disk::Moved);
        }
        let mut next = row.next.clone();
        for _ in 0..LONGEST_CHAIN {
            if next.is_empty() {
                break;
            }
            let Some(replacement) = self.replacement(&next).await? else { return Ok(self.has_moved(read.id)) };
            let status = translate::client_status(&replacement.client);
            let is_last = replacement.next.is_empty();
            if replacement.has_events() || status == ClientStatus::Running || is_last && status.is_over() {
                return Ok(self.has_moved(read.id));
            }
            if is_last && status != ClientStatus::Lost {
                let id =
                    next.parse().map_err(|why| Unseen::Away(format!("Nomad names a replacement whose id is {why}").into()))?;
                return Ok(Disk::Copying(id));
            }
            // It was lost or replaced before it had the disk.
            next = replacement.next;
        }
        // Nomad writes the id of a replacement together with the replacement, so there is none. One that is placed later has no
        // predecessor. Of a job that was stopped, purged or scaled down none will be.
        Ok(if self.is_wanted(row).await? { Disk::Unplaced } else { Disk::Stays })
    }

    fn has_moved(&self, id: AllocationId) -> Disk {
        self.moved.put(id, ());
        Disk::Moved
    }

    /// A replacement; `None` if Nomad no longer lists it.
    async fn replacement(&self, id: &str) -> Result<Option<wire::Replacement>, Unseen> {
        let Some(answer) = self.get_if_there(&format!("/v1/allocation/{id}"), &[]).await? else { return Ok(None) };
        if answer.header("x-nomad-knownleader") == Some("false") {
            return Err(Unseen::Stale);
        }
        let replacement: wire::Replacement = answer.json().map_err(RequestFailure::unseen)?;
        if replacement.id != id {
            return Err(Unseen::Away(format!("asked for allocation {id}, Nomad answered with another").into()));
        }
        Ok(Some(replacement))
    }

    /// Whether Nomad still wants such an allocation. The job in the allocation is the one with which it was placed.
    async fn is_wanted(&self, row: &wire::Allocation) -> Result<bool, Unseen> {
        let path = format!("/v1/job/{}", in_path(&row.job_id));
        let Some(answer) = self.get_if_there(&path, &[("namespace", &row.namespace)]).await? else { return Ok(false) };
        let job: wire::JobState = answer.json().map_err(RequestFailure::unseen)?;
        if job.id != row.job_id {
            return Err(Unseen::Away(format!("asked for job {}, Nomad answered with another", row.job_id).into()));
        }
        Ok(!job.stop && job.has_room_for(row))
    }
}

impl wire::JobState {
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
