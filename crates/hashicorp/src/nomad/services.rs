//! The registrations in Nomad's own service discovery of a node's allocations.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, wire};
use decamp_core::decide::{Allocation, Nomad, Provider, Registration, Registrations, Unseen};
use decamp_core::ids::NodeId;
use decamp_net::http::RequestFailure;

/// The most ended allocations that are queried one by one. If more have ended, their services are queried by name.
const ENDED_ONE_BY_ONE: usize = 32;

impl Client {
    /// The registrations of those allocations of an earlier look that declare services in Nomad. Nomad cannot list them by node, and a list
    /// over all namespaces omits entries with a 200 (facts/nomad.md 9.1), so each allocation is queried.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn services(&self, known: &Nomad) -> Result<Registrations, Unseen> {
        let all = known.nodes.iter().flat_map(|node| node.allocations.iter().map(move |a| (node.id, a)));
        let declaring = all.filter(|(_, a)| a.group.services.iter().any(|s| s.provider == Provider::Nomad));
        let (ended, running): (Vec<_>, Vec<_>) = declaring.partition(|(_, a)| a.client.is_over());
        let (one_by_one, named) = if ended.len() <= ENDED_ONE_BY_ONE {
            (running.iter().chain(&ended).map(|(_, a)| *a).collect(), BTreeSet::new())
        } else {
            let (unnamed, named) = by_name(&ended);
            (running.into_iter().map(|(_, a)| a).chain(unnamed).collect::<Vec<_>>(), named)
        };
        let of_allocations = one_by_one.into_iter().map(|allocation| self.services_of(allocation));
        let mut listed: Vec<Vec<Registration>> = stream::iter(of_allocations).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        let is_known = |one: &Registration| ended.iter().any(|(_, a)| a.id == one.allocation);
        let of_names = named.into_iter().map(|(node, namespace, name)| self.services_named(node, namespace, name));
        let of_names: Vec<Vec<Registration>> = stream::iter(of_names).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        listed.extend(of_names.into_iter().map(|found| found.into_iter().filter(is_known).collect()));
        Ok(Registrations { whole: true, agent_dead: false, services: listed.into_iter().flatten().collect(), by_hand: [].into() })
    }

    /// The registrations of one allocation.
    async fn services_of(&self, allocation: &Allocation) -> Result<Vec<Registration>, Unseen> {
        let path = format!("/v1/allocation/{}/services", allocation.id);
        let listed: Vec<wire::Registration> =
            match self.get_if_there(&path, &[("namespace", &allocation.group.namespace)]).await? {
                Some(answer) => answer.json().map_err(RequestFailure::unseen)?,
                // Nomad has garbage-collected the allocation, so it has no registrations.
                None => Vec::new(),
            };
        let registration =
            |r: wire::Registration| Registration { allocation: allocation.id, service: r.service.into(), critical: false };
        Ok(listed.into_iter().map(registration).collect())
    }

    /// The registrations of a node with one name.
    async fn services_named(&self, node: NodeId, namespace: &str, name: &str) -> Result<Vec<Registration>, Unseen> {
        let filter = format!("NodeID == \"{node}\"");
        let query = [("namespace", namespace), ("filter", filter.as_str())];
        let answer = self.http.get(&format!("/v1/service/{name}"), &query).await.map_err(RequestFailure::unseen)?;
        let listed: Vec<wire::Registration> = answer.json().map_err(RequestFailure::unseen)?;
        let registration = |r: wire::Registration| {
            Some(Registration { allocation: r.allocation.parse().ok()?, service: r.service.into(), critical: false })
        };
        Ok(listed.into_iter().filter_map(registration).collect())
    }
}

/// The names of the services that these allocations declare, by node and namespace; and the allocations with a name that is unknown before
/// the service is registered, or that is not one segment of a path.
fn by_name<'a>(ended: &[(NodeId, &'a Allocation)]) -> (Vec<&'a Allocation>, BTreeSet<(NodeId, &'a str, &'a str)>) {
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let (mut unnamed, mut names) = (Vec::new(), BTreeSet::new());
    for (node, allocation) in ended {
        let declared = allocation.group.services.iter().filter(|s| s.provider == Provider::Nomad);
        if declared.clone().all(|service| plain(&service.name)) {
            names.extend(declared.map(|service| (*node, &*allocation.group.namespace, &*service.name)));
        } else {
            unnamed.push(*allocation);
        }
    }
    (unnamed, names)
}
