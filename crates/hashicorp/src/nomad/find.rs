//! Which Nomad nodes are an EC2 instance: by the instance id that the node itself found out, else by what an operator gave it.

use std::net::IpAddr;

use super::{marks, translate, wire};
use decamp_core::decide::{NodeStatus, Twin, Unseen, set_aside};
use decamp_core::ids::{InstanceId, NodeId};

/// The attribute that Nomad's fingerprint of EC2 sets.
pub(super) const INSTANCE_ID: &str = "unique.platform.aws.instance-id";

/// Where operators write the instance id if that fingerprint cannot be had.
const META_KEYS: [&str; 3] = ["instance_id", "instance-id", "aws_instance_id"];

/// A filter for nodes with one of these instance ids. The guard keeps old servers from failing on a node without the attribute.
pub(super) fn by_instance_id(instances: &[InstanceId]) -> String {
    let each: Vec<String> = instances.iter().map(|id| format!("Attributes[\"{INSTANCE_ID}\"] == \"{id}\"")).collect();
    format!("\"{INSTANCE_ID}\" in Attributes and ({})", each.join(" or "))
}

/// A filter for nodes that may be the instance although they do not know its id.
pub(super) fn by_other_means(instance: InstanceId, address: Option<IpAddr>) -> String {
    let meta = META_KEYS.iter().map(|key| format!("(\"{key}\" in Meta and Meta[\"{key}\"] == \"{instance}\")"));
    let name = format!("Name == \"{instance}\"");
    let address = address.map(|ip| {
        let host = if ip.is_ipv6() { format!("\\\\[{ip}\\\\]") } else { ip.to_string().replace('.', "\\\\.") };
        format!("HTTPAddr matches \"^{host}:\"")
    });
    meta.chain([name]).chain(address).collect::<Vec<_>>().join(" or ")
}

/// What a look for an instance's nodes showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The nodes that are the instance.
    pub(super) nodes: Vec<NodeId>,
    /// Nodes with its id that are down while another is ready (D5), and that decamp has not drained.
    pub(super) set_aside: Vec<NodeId>,
}

/// Among nodes that were read whole, those that know themselves to be the instance.
pub(super) fn that_know(instance: InstanceId, nodes: &[(NodeId, wire::Node)]) -> Found {
    let id = instance.to_string();
    let drained_by_us = |node: &wire::Node| node.last_drain.as_ref().is_some_and(|last| marks::read(&last.meta).is_some());
    let twins: Vec<Twin> = nodes
        .iter()
        .filter(|(_, node)| node.attribute(INSTANCE_ID) == Some(&id))
        .map(|(id, node)| Twin { id: *id, status: translate::status(&node.status), drained_by_us: drained_by_us(node) })
        .collect();
    let (nodes, set_aside) = set_aside(&twins);
    Found { nodes, set_aside }
}

/// How a node can be guessed to be an instance.
#[derive(Debug, Clone, Copy)]
enum Way {
    Address,
    Meta,
    Name,
}

/// Among nodes that were read whole, the one that is the instance by its address, its `Meta` or its name, in this order.
///
/// Addresses come back, and dead nodes stay listed for a day: a node that is down, or that knows itself to be another
/// instance, is none.
///
/// # Errors
///
/// If several are: then nobody can say which.
pub(super) fn by_guess(
    instance: InstanceId,
    address: Option<IpAddr>,
    nodes: &[(NodeId, wire::Node)],
) -> Result<Option<NodeId>, Unseen> {
    let id = instance.to_string();
    let may_be = |n: &wire::Node| translate::status(&n.status) != NodeStatus::Down && n.attribute(INSTANCE_ID).is_none();
    let ways = [Way::Address, Way::Meta, Way::Name];
    for way in ways {
        let is = |n: &wire::Node| match way {
            Way::Address => address.is_some_and(|ip| translate::addresses(n).contains(&ip)),
            Way::Meta => META_KEYS.iter().any(|key| n.meta.get(*key) == Some(&id)),
            Way::Name => n.name == id,
        };
        let mut hits = nodes.iter().filter(|(_, n)| may_be(n) && is(n)).map(|(id, _)| *id);
        match (hits.next(), hits.next()) {
            (None, _) => {}
            (Some(only), None) => return Ok(Some(only)),
            (Some(one), Some(other)) => {
                return Err(Unseen::Away(format!("nodes {one} and {other} are both {instance} by their {way:?}").into()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use decamp_core::decide::{DrainMeta, Phase};
    use decamp_core::time::Time;

    const INSTANCE: &str = "i-0123456789abcdef0";

    fn instance() -> InstanceId {
        INSTANCE.parse().expect("it fits")
    }

    fn node(number: u128, status: &str, change: impl FnOnce(&mut wire::Node)) -> (NodeId, wire::Node) {
        let mut node = wire::Node { status: status.to_owned(), ..wire::Node::default() };
        change(&mut node);
        (NodeId(number), node)
    }

    fn knows(id: &str) -> impl FnOnce(&mut wire::Node) {
        let id = id.to_owned();
        move |node| drop(node.attributes.insert(INSTANCE_ID.to_owned(), id))
    }

    #[test]
    fn the_filter_guards_against_nodes_without_the_attribute() {
        assert_eq!(
            by_instance_id(&[instance()]),
            "\"unique.platform.aws.instance-id\" in Attributes and \
             (Attributes[\"unique.platform.aws.instance-id\"] == \"i-0123456789abcdef0\")"
        );
        assert!(by_other_means(instance(), Some([10, 0, 0, 1].into())).ends_with(r#"or HTTPAddr matches "^10\\.0\\.0\\.1:""#));
    }

    #[test]
    fn only_nodes_that_know_the_id_are_found_whatever_the_list_held() {
        // Before 1.3 the filter is ignored, and all nodes come back.
        let nodes = [node(1, "ready", knows("i-0aaaaaaaaaaaaaaaa")), node(2, "ready", knows(INSTANCE)), node(3, "ready", |_| {})];
        assert_eq!(that_know(instance(), &nodes), Found { nodes: vec![NodeId(2)], set_aside: vec![] });
    }

    #[test]
    fn a_down_node_that_decamp_drains_is_never_set_aside() {
        let mark = DrainMeta {
            action: "0123456789ab".into(),
            phase: Phase::All,
            until: Time(1_795_375_337_137),
            longest_stop: Duration::from_secs(35),
            allocations: 4,
            warm: false,
        };
        for (tool, found) in [("decamp", vec![NodeId(1), NodeId(2)]), ("somebody else", vec![NodeId(2)])] {
            let mut meta: HashMap<String, String> =
                marks::write(&mark).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            meta.insert("tool".to_owned(), tool.to_owned());
            let last_drain = Some(wire::LastDrain { meta, ..wire::LastDrain::default() });
            let drained = node(1, "down", |n| {
                knows(INSTANCE)(n);
                n.last_drain = last_drain;
            });
            assert_eq!(that_know(instance(), &[drained, node(2, "ready", knows(INSTANCE))]).nodes, found, "{tool}");
        }
    }

    #[test]
    fn a_guess_takes_the_address_then_the_meta_then_the_name() {
        let named = || node(1, "ready", |n| n.name = INSTANCE.to_owned());
        let meta = || node(2, "ready", |n| drop(n.meta.insert("aws_instance_id".to_owned(), INSTANCE.to_owned())));
        let placed = || node(3, "ready", |n| n.http_address = "10.0.0.1:4646".to_owned());
        let address = Some([10, 0, 0, 1].into());
        assert_eq!(by_guess(instance(), address, &[named(), meta(), placed()]), Ok(Some(NodeId(3))));
        assert_eq!(by_guess(instance(), None, &[named(), meta(), placed()]), Ok(Some(NodeId(2))));
        assert_eq!(by_guess(instance(), address, &[named()]), Ok(Some(NodeId(1))));
        assert_eq!(by_guess(instance(), address, &[]), Ok(None));
    }

    #[test]
    fn a_guess_is_never_a_node_that_is_down_or_knows_itself_to_be_another() {
        let name = |n: &mut wire::Node| n.name = INSTANCE.to_owned();
        let other = node(2, "ready", |n| {
            name(n);
            knows("i-0aaaaaaaaaaaaaaaa")(n);
        });
        assert_eq!(by_guess(instance(), None, &[node(1, "down", name), other]), Ok(None));
    }

    #[test]
    fn two_guesses_are_none() {
        let name = |n: &mut wire::Node| n.name = INSTANCE.to_owned();
        let nodes = [node(1, "ready", name), node(2, "ready", name)];
        assert!(matches!(by_guess(instance(), None, &nodes), Err(Unseen::Away(_))));
    }
}
