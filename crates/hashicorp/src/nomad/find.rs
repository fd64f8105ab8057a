//! Which Nomad nodes are an EC2 instance: by the instance id that the node itself found out, else by an id that
//! its `Meta`, its name or its hostname carries.

use super::{marks, translate, wire};
use decamp_core::decide::{NodeStatus, Twin, Unseen, set_aside};
use decamp_core::ids::{InstanceId, NodeId};

/// The attribute that Nomad's fingerprint of EC2 sets.
pub(super) const INSTANCE_ID: &str = "unique.platform.aws.instance-id";

/// The attribute that holds a node's hostname, which AWS derives from the instance id where a subnet is set to resource names
/// (`i-0123….eu-west-1.compute.internal`).
const HOSTNAME: &str = "unique.hostname";

/// A filter for nodes with one of these instance ids. The guard keeps old servers from failing on a node without the attribute.
pub(super) fn by_instance_id(instances: &[InstanceId]) -> String {
    let each: Vec<String> = instances.iter().map(|id| format!("Attributes[\"{INSTANCE_ID}\"] == \"{id}\"")).collect();
    format!("\"{INSTANCE_ID}\" in Attributes and ({})", each.join(" or "))
}

/// A filter for nodes that do not tell which instance they are. A server can filter by no value of `Meta` whose key is not known, so that
/// each of them is read.
pub(super) fn that_do_not_tell() -> String {
    format!("\"{INSTANCE_ID}\" not in Attributes")
}

/// What a look for an instance's nodes showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The nodes that are the instance.
    pub(super) nodes: Vec<NodeId>,
    /// Nodes with its id that are down while another is ready (ADR 0005), and that decamp has not drained.
    pub(super) set_aside: Vec<NodeId>,
}

/// Among nodes that were read whole, those that know themselves to be the instance.
pub(super) fn that_know(instance: InstanceId, nodes: &[(NodeId, wire::Node)]) -> Found {
    let id = instance.to_string();
    let twins: Vec<Twin> = nodes
        .iter()
        .filter(|(_, node)| node.attribute(INSTANCE_ID) == Some(&id))
        .map(|(id, node)| Twin { id: *id, status: translate::status(&node.status), drained_by_us: is_drained_by_us(node) })
        .collect();
    let (nodes, set_aside) = set_aside(&twins);
    Found { nodes, set_aside }
}

/// Whether a node carries exactly this instance id in its `Meta`, under whatever key, in its name or in its hostname. Operators write it
/// there where EC2's metadata cannot be had.
fn carries(node: &wire::Node, id: &str) -> bool {
    let is_first_label = |name: &str| name.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let names = [Some(node.name.as_str()), node.attribute(HOSTNAME), node.attribute("unique.consul.name")];
    node.meta.values().any(|value| value == id) || names.into_iter().flatten().any(is_first_label)
}

/// Among nodes that were read whole, the one that carries the instance's id although its fingerprint of EC2 does not tell it.
///
/// Dead nodes stay listed for a day: one that is down counts only if decamp drains it or `known` says that this run saw it before. One that
/// knows itself to be another instance is none.
///
/// # Errors
///
/// If several do: then nobody can say which.
pub(super) fn that_carries(
    instance: InstanceId,
    nodes: &[(NodeId, wire::Node)],
    known: impl Fn(NodeId) -> bool,
) -> Result<Option<NodeId>, Unseen> {
    let text = instance.to_string();
    let in_sight =
        |id: NodeId, n: &wire::Node| translate::status(&n.status) != NodeStatus::Down || is_drained_by_us(n) || known(id);
    let is = |n: &wire::Node| n.attribute(INSTANCE_ID).is_none() && carries(n, &text);
    let mut hits = nodes.iter().filter(|(id, n)| is(n) && in_sight(*id, n)).map(|(id, n)| (*id, &n.name));
    match (hits.next(), hits.next()) {
        (one, None) => Ok(one.map(|(id, _)| id)),
        (Some((one, name)), Some((other, another))) => {
            Err(Unseen::Away(format!("nodes {name} ({one}) and {another} ({other}) both carry the id {instance}").into()))
        }
        (None, Some(_)) => Ok(None),
    }
}

/// Whether the last drain of a node is one of decamp's.
fn is_drained_by_us(node: &wire::Node) -> bool {
    node.last_drain.as_ref().is_some_and(|last| marks::read(&last.meta).is_some())
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
        assert_eq!(that_do_not_tell(), "\"unique.platform.aws.instance-id\" not in Attributes");
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
            unproved: false,
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

    const NOT_SEEN: fn(NodeId) -> bool = |_| false;

    #[test]
    fn a_node_that_carries_the_id_is_the_instance() {
        let attribute = |name: &'static str, value: &'static str| {
            move |n: &mut wire::Node| drop(n.attributes.insert(name.to_owned(), value.to_owned()))
        };
        let carrying = [
            node(1, "ready", |n| n.name = INSTANCE.to_owned()),
            node(1, "ready", |n| n.name = format!("{INSTANCE}.eu-west-1.compute.internal")),
            node(1, "ready", |n| drop(n.meta.insert("whatever".to_owned(), INSTANCE.to_owned()))),
            node(1, "ready", attribute("unique.hostname", INSTANCE)),
            node(1, "ready", attribute("unique.hostname", "i-0123456789abcdef0.eu-west-1.compute.internal")),
            node(1, "ready", attribute("unique.consul.name", INSTANCE)),
            node(1, "initializing", |n| n.name = INSTANCE.to_owned()),
        ];
        for one in carrying {
            let others = [node(2, "ready", |_| {}), one.clone()];
            assert_eq!(that_carries(instance(), &others, NOT_SEEN), Ok(Some(NodeId(1))), "{one:?}");
        }
    }

    #[test]
    fn what_only_looks_like_the_id_ties_nothing() {
        for name in ["i-0123456789abcdef01", "x-i-0123456789abcdef0", "i-0123456789abcdef0-old", "ip-10-0-0-1", ""] {
            let named = node(1, "ready", |n| n.name = name.to_owned());
            assert_eq!(that_carries(instance(), &[named], NOT_SEEN), Ok(None), "{name}");
        }
        let meta = node(1, "ready", |n| drop(n.meta.insert("note".to_owned(), format!("was {INSTANCE}"))));
        assert_eq!(that_carries(instance(), &[meta], NOT_SEEN), Ok(None));
    }

    #[test]
    fn a_node_that_is_down_or_knows_itself_to_be_another_is_none() {
        let name = |n: &mut wire::Node| n.name = INSTANCE.to_owned();
        let other = node(2, "ready", |n| {
            name(n);
            knows("i-0aaaaaaaaaaaaaaaa")(n);
        });
        let nodes = [node(1, "down", name), other];
        assert_eq!(that_carries(instance(), &nodes, NOT_SEEN), Ok(None));
        // Its processes may still run, and this run was at it.
        assert_eq!(that_carries(instance(), &nodes, |id| id == NodeId(1)), Ok(Some(NodeId(1))));
    }

    #[test]
    fn two_that_carry_the_id_are_named_and_none_is_taken() {
        let nodes = [
            node(1, "ready", |n| n.name = INSTANCE.to_owned()),
            node(2, "ready", |n| drop(n.meta.insert("id".to_owned(), INSTANCE.to_owned()))),
        ];
        assert!(matches!(that_carries(instance(), &nodes, NOT_SEEN), Err(Unseen::Away(why)) if why.contains(INSTANCE)));
    }
}
