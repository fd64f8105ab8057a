//! Which Nomad nodes are an EC2 instance: by the instance id in the node's fingerprint, otherwise by the id in its `Meta`, its name or its
//! hostname.

use super::{drain_meta, translate, wire};
use decamp_core::decide::{NodeStatus, Twin, Unseen, set_aside};
use decamp_core::ids::{InstanceId, NodeId};

/// The attribute that Nomad's EC2 fingerprint sets.
pub(super) const INSTANCE_ID: &str = "unique.platform.aws.instance-id";

/// The attribute with a node's hostname. AWS derives it from the instance id if the subnet uses resource names
/// (`i-0123….eu-west-1.compute.internal`).
const HOSTNAME: &str = "unique.hostname";

/// A filter for nodes with one of these instance ids. Without its first condition old servers fail on a node without the attribute.
pub(super) fn by_instance_id(instances: &[InstanceId]) -> String {
    let each: Vec<String> = instances.iter().map(|id| format!("Attributes[\"{INSTANCE_ID}\"] == \"{id}\"")).collect();
    format!("\"{INSTANCE_ID}\" in Attributes and ({})", each.join(" or "))
}

/// A filter for nodes without a fingerprint of EC2. Servers cannot filter by a value of `Meta` under an unknown key, so each of these
/// nodes has to be read.
pub(super) fn without_fingerprint() -> String {
    format!("\"{INSTANCE_ID}\" not in Attributes")
}

/// The nodes of an instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The nodes that are the instance.
    pub(super) nodes: Vec<NodeId>,
    /// Nodes with its id that are down while another is ready (ADR 0005), and that nobody has begun to take out of service.
    pub(super) set_aside: Vec<NodeId>,
}

/// The nodes whose fingerprint names the instance.
pub(super) fn by_fingerprint(instance: InstanceId, nodes: &[(NodeId, wire::Node)]) -> Found {
    let id = instance.to_string();
    let twins: Vec<Twin> = nodes
        .iter()
        .filter(|(_, node)| node.attribute(INSTANCE_ID) == Some(&id))
        .map(|(id, node)| Twin {
            id: *id,
            status: translate::status(&node.status),
            taken_out: !translate::is_eligible(&node.eligibility) || is_handled_by_us(node),
        })
        .collect();
    let (nodes, set_aside) = set_aside(&twins);
    Found { nodes, set_aside }
}

/// Whether a node has exactly this instance id in its `Meta` (under any key), its name or its hostname. Operators put it there if the node
/// cannot reach EC2's metadata service.
fn has_id(node: &wire::Node, id: &str) -> bool {
    let is_first_label = |name: &str| name.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let names = [Some(node.name.as_str()), node.attribute(HOSTNAME), node.attribute("unique.consul.name")];
    node.meta.values().any(|value| value == id) || names.into_iter().flatten().any(is_first_label)
}

/// The node without a fingerprint of EC2 that has the instance's id in its name or `Meta`.
///
/// Dead nodes stay listed for a day, so a node that is down counts only if decamp has drained it or noted something on it, or if this run saw
/// it before (`known`).
/// A node whose fingerprint names another instance does not count.
///
/// # Errors
///
/// Several nodes have the id.
pub(super) fn by_name_or_meta(
    instance: InstanceId,
    nodes: &[(NodeId, wire::Node)],
    known: impl Fn(NodeId) -> bool,
) -> Result<Option<NodeId>, Unseen> {
    let text = instance.to_string();
    let counts =
        |id: NodeId, n: &wire::Node| translate::status(&n.status) != NodeStatus::Down || is_handled_by_us(n) || known(id);
    let matches = |n: &wire::Node| n.attribute(INSTANCE_ID).is_none() && has_id(n, &text);
    let mut hits = nodes.iter().filter(|(id, n)| matches(n) && counts(*id, n)).map(|(id, n)| (*id, &n.name));
    match (hits.next(), hits.next()) {
        (one, None) => Ok(one.map(|(id, _)| id)),
        (Some((one, name)), Some((other, another))) => {
            Err(Unseen::Away(format!("nodes {name} ({one}) and {another} ({other}) both have the id {instance}").into()))
        }
        (None, Some(_)) => Ok(None),
    }
}

/// Whether the last drain of a node is one of decamp's, or its metadata has a note of decamp's.
fn is_handled_by_us(node: &wire::Node) -> bool {
    let drained = node.last_drain.as_ref().is_some_and(|last| drain_meta::read(&last.meta).is_some());
    drained || !drain_meta::notes(&node.meta).is_empty()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use decamp_core::decide::{Beginning, DrainMeta, Noted, Phase};
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

    fn fingerprint(id: &str) -> impl FnOnce(&mut wire::Node) {
        let id = id.to_owned();
        move |node| drop(node.attributes.insert(INSTANCE_ID.to_owned(), id))
    }

    #[test]
    fn the_filter_is_safe_for_nodes_without_the_attribute() {
        assert_eq!(
            by_instance_id(&[instance()]),
            "\"unique.platform.aws.instance-id\" in Attributes and \
             (Attributes[\"unique.platform.aws.instance-id\"] == \"i-0123456789abcdef0\")"
        );
        assert_eq!(without_fingerprint(), "\"unique.platform.aws.instance-id\" not in Attributes");
    }

    #[test]
    fn only_nodes_with_the_id_are_found_although_the_list_has_others() {
        // Servers before 1.3 ignore the filter and list all nodes.
        let nodes = [
            node(1, "ready", fingerprint("i-0aaaaaaaaaaaaaaaa")),
            node(2, "ready", fingerprint(INSTANCE)),
            node(3, "ready", |_| {}),
        ];
        assert_eq!(by_fingerprint(instance(), &nodes), Found { nodes: vec![NodeId(2)], set_aside: vec![] });
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
                drain_meta::write(&mark).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            meta.insert("tool".to_owned(), tool.to_owned());
            let last_drain = Some(wire::LastDrain { meta, ..wire::LastDrain::default() });
            let drained = node(1, "down", |n| {
                fingerprint(INSTANCE)(n);
                n.last_drain = last_drain;
            });
            assert_eq!(by_fingerprint(instance(), &[drained, node(2, "ready", fingerprint(INSTANCE))]).nodes, found, "{tool}");
        }
    }

    #[test]
    fn a_down_node_that_is_ineligible_or_has_a_note_of_decamps_is_never_set_aside() {
        let noted = |key: &'static str| {
            let value =
                Noted { what: Beginning::Departure, action: "0123456789ab".into(), since: Time(1_795_375_337_137), listed: 0 };
            node(1, "down", |n| {
                fingerprint(INSTANCE)(n);
                n.meta.insert(key.to_owned(), value.text());
            })
        };
        let ineligible = node(1, "down", |n| {
            fingerprint(INSTANCE)(n);
            n.eligibility = "ineligible".to_owned();
        });
        let found = by_fingerprint(instance(), &[ineligible, node(2, "ready", fingerprint(INSTANCE))]);
        assert_eq!(found.nodes, [NodeId(1), NodeId(2)], "decamp begins with this");
        for (key, found) in [(Beginning::Departure.key(), vec![NodeId(1), NodeId(2)]), ("began", vec![NodeId(2)])] {
            let nodes = [noted(key), node(2, "ready", fingerprint(INSTANCE))];
            assert_eq!(by_fingerprint(instance(), &nodes).nodes, found, "{key}");
        }
    }

    const NOT_SEEN: fn(NodeId) -> bool = |_| false;

    #[test]
    fn a_node_with_the_id_in_its_name_or_meta_is_the_instance() {
        let attribute = |name: &'static str, value: &'static str| {
            move |n: &mut wire::Node| drop(n.attributes.insert(name.to_owned(), value.to_owned()))
        };
        let with_the_id = [
            node(1, "ready", |n| n.name = INSTANCE.to_owned()),
            node(1, "ready", |n| n.name = format!("{INSTANCE}.eu-west-1.compute.internal")),
            node(1, "ready", |n| drop(n.meta.insert("whatever".to_owned(), INSTANCE.to_owned()))),
            node(1, "ready", attribute("unique.hostname", INSTANCE)),
            node(1, "ready", attribute("unique.hostname", "i-0123456789abcdef0.eu-west-1.compute.internal")),
            node(1, "ready", attribute("unique.consul.name", INSTANCE)),
            node(1, "initializing", |n| n.name = INSTANCE.to_owned()),
        ];
        for one in with_the_id {
            let others = [node(2, "ready", |_| {}), one.clone()];
            assert_eq!(by_name_or_meta(instance(), &others, NOT_SEEN), Ok(Some(NodeId(1))), "{one:?}");
        }
    }

    #[test]
    fn a_name_that_only_resembles_the_id_does_not_count() {
        for name in ["i-0123456789abcdef01", "x-i-0123456789abcdef0", "i-0123456789abcdef0-old", "ip-10-0-0-1", ""] {
            let named = node(1, "ready", |n| n.name = name.to_owned());
            assert_eq!(by_name_or_meta(instance(), &[named], NOT_SEEN), Ok(None), "{name}");
        }
        let meta = node(1, "ready", |n| drop(n.meta.insert("note".to_owned(), format!("was {INSTANCE}"))));
        assert_eq!(by_name_or_meta(instance(), &[meta], NOT_SEEN), Ok(None));
    }

    #[test]
    fn a_node_that_is_down_or_is_another_instance_does_not_count() {
        let name = |n: &mut wire::Node| n.name = INSTANCE.to_owned();
        let other = node(2, "ready", |n| {
            name(n);
            fingerprint("i-0aaaaaaaaaaaaaaaa")(n);
        });
        let nodes = [node(1, "down", name), other];
        assert_eq!(by_name_or_meta(instance(), &nodes, NOT_SEEN), Ok(None));
        // This run saw the node before it went down, and its processes may still run.
        assert_eq!(by_name_or_meta(instance(), &nodes, |id| id == NodeId(1)), Ok(Some(NodeId(1))));
    }

    #[test]
    fn two_nodes_with_the_id_are_an_error_that_names_it() {
        let nodes = [
            node(1, "ready", |n| n.name = INSTANCE.to_owned()),
            node(2, "ready", |n| drop(n.meta.insert("id".to_owned(), INSTANCE.to_owned()))),
        ];
        assert!(matches!(by_name_or_meta(instance(), &nodes, NOT_SEEN), Err(Unseen::Away(why)) if why.contains(INSTANCE)));
    }
}
