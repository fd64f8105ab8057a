//! Which CSI volumes a node's ended allocations still claim. Each volume that they name is read by itself: the list of a node's volumes
//! leaves out those of allocations that have stopped (Nomad's `nomad/csi_endpoint.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::disks::{in_path, number_of};
use super::{CONCURRENT_REQUESTS, Client, must_know_leader, wire};
use decamp_core::decide::{Allocation, Claims, Node, Unseen};
use decamp_net::http::RequestFailure;

/// A volume's namespace and id.
type Key = (Arc<str>, Arc<str>);

/// What Nomad shows of a volume.
enum Volume {
    /// These allocations claim it, by id. Empty if there is no such volume.
    Claimed(BTreeSet<String>),
    /// Nomad does not show it.
    Denied(Arc<str>),
}

impl Client {
    /// The node with the claims of its ended allocations. `rows` are its allocations as Nomad listed them, in the same order. A volume whose
    /// claim was released is not read again for that allocation.
    pub(super) async fn follow_claims(&self, node: Node, rows: &[wire::Allocation]) -> Result<Node, Unseen> {
        let ended = |(_, (read, _)): &(usize, (&Allocation, &wire::Allocation))| {
            read.client.is_over() && read.group.claims_volumes() && self.released.get(&read.id).is_none()
        };
        let ended: Vec<(usize, Vec<Key>)> = (node.allocations.iter().zip(rows).enumerate().filter(ended))
            .map(|(place, (read, row))| (place, named(read, row)))
            .collect();
        if ended.is_empty() {
            return Ok(node);
        }
        let keys: BTreeSet<&Key> = ended.iter().flat_map(|(_, keys)| keys).collect();
        let volumes = keys.into_iter().map(|key| async move { Ok((key, self.volume(key).await?)) });
        let volumes: BTreeMap<&Key, Volume> = stream::iter(volumes).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        let mut allocations = node.allocations.to_vec();
        for (place, keys) in &ended {
            let allocation = &mut allocations[*place];
            allocation.claims = claims(&allocation.id.to_string(), keys, &volumes);
            if allocation.claims == Claims::default() {
                self.released.put(allocation.id, ());
            }
        }
        Ok(Node { allocations: Arc::from(allocations), ..node })
    }

    async fn volume(&self, (namespace, id): &Key) -> Result<Volume, Unseen> {
        // Nomad takes the rest of such a path for an action, and answers "not found".
        if id.contains('/') {
            return Ok(Volume::Denied("Nomad's API cannot read a volume whose id has a slash".into()));
        }
        let path = format!("/v1/volume/csi/{}", in_path(id));
        let answer = match self.get_if_there(&path, &[("namespace", namespace)]).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Volume::Claimed(BTreeSet::new())),
            Err(Unseen::Denied(why)) => return Ok(Volume::Denied(why)),
            Err(unseen) => return Err(unseen),
        };
        must_know_leader(&answer)?;
        let volume: wire::CsiVolume = answer.json().map_err(RequestFailure::unseen)?;
        if volume.id != **id {
            return Err(Unseen::Away(format!("asked for volume {id}, Nomad answered with another").into()));
        }
        let listed = volume.allocations.into_iter().map(|allocation| allocation.id);
        Ok(Volume::Claimed(listed.chain(volume.readers.into_keys()).chain(volume.writers.into_keys()).collect()))
    }
}

/// The volumes that an allocation names, each once.
fn named(read: &Allocation, row: &wire::Allocation) -> Vec<Key> {
    let mut keys: Vec<Key> =
        read.group.csi_volumes(number_of(&row.name)).map(|id| (Arc::clone(&read.group.namespace), id)).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn claims(allocation: &str, keys: &[Key], volumes: &BTreeMap<&Key, Volume>) -> Claims {
    let (mut held, mut unread, mut denied) = (Vec::new(), Vec::new(), None);
    for key in keys {
        match volumes.get(key) {
            Some(Volume::Claimed(by)) if by.contains(allocation) => held.push(Arc::clone(&key.1)),
            Some(Volume::Claimed(_)) | None => {}
            Some(Volume::Denied(why)) => {
                unread.push(Arc::clone(&key.1));
                denied = Some(Arc::clone(why));
            }
        }
    }
    Claims { held: held.into(), unread: unread.into(), denied }
}
