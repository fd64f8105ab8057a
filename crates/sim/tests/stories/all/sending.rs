//! Stories about the sources of requests: load balancers, addresses that are targets, and service discovery.

use decamp_sim::faults::Fault;
use decamp_sim::run::CrashPoint;

use super::{BESIDE, FORCE, passes, story};
use crate::stories::Story;

/// These stories, in the order for a reader.
pub(super) const STORIES: &[Story] = &[
    Story {
        shows: &["deregister", "drain all", "complete"],
        never: &[BESIDE, FORCE],
        ..story(
            "calm",
            "A calm departure: the load balancers first, then the node, then discovery, then the action.",
            &[],
            "departed",
        )
    },
    Story {
        shows: &[BESIDE, "drain all"],
        ..story(
            "beside-the-delay",
            "Services are drained beside the deregistration delay, because only a system job serves the targets.",
            &[],
            "departed",
        )
    },
    Story {
        shows: &["deregister 1 of group-0", "drain all"],
        never: &[FORCE],
        ..story(
            "kept-connections",
            "Clients keep connections through a Network Load Balancer: what listens there closes them when the drain stops it in order.",
            &[Fault::KeptConnections],
            "departed",
        )
    },
    Story {
        shows: &["deregister 1 of classic"],
        never: &[FORCE],
        ..story(
            "classic-balancer",
            "A load balancer is a Classic one: the instance is taken out of it, and its connection draining is waited for.",
            &[Fault::ClassicBalancer],
            "departed",
        )
    },
    Story {
        shows: &["it is the last healthy target of group-0 in eu-west-1a", "deregister 1 of group-0"],
        never: &[FORCE],
        ..story(
            "last-of-its-zone",
            "Load balancing does not cross zones, and nobody else stands in the instance's: it is held until another does.",
            &[Fault::LastOfItsZone],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        never: &[FORCE],
        ..story(
            "lattice-source",
            "Something is attached that decamp cannot leave: nothing is left on the instance, and the outcome does not say so.",
            &[Fault::LatticeSource],
            "unconfirmed",
        )
    },
    Story {
        shows: &["nobody is known to have", "unconfirmed"],
        never: &[BESIDE],
        ..story(
            "unknown-address",
            "A named group lists an address that nothing tells: it may be the instance's, and is waited for before anything is drained.",
            &[Fault::UnknownAddress],
            "unconfirmed",
        )
    },
    Story {
        shows: &["nobody is known to have"],
        ..story(
            "unknown-address-taken-out",
            "The same, and whoever registered the address takes it out: then nothing is in doubt.",
            &[Fault::UnknownAddress],
            "departed",
        )
    },
    Story {
        shows: &["the addresses of other nodes", "drain all"],
        never: &[BESIDE],
        ..story(
            "own-addresses",
            "A service is a target by addresses of its own: it is not drained before the load balancer has let go of them.",
            &[Fault::OwnAddresses],
            "departed",
        )
    },
    Story {
        shows: &["look at its target groups", "deregister 1 of group-0", "drain all"],
        never: &[BESIDE],
        ..story(
            "not-listed",
            "A target group that the hook names does not list the instance at the first look: it is looked at again before anything is drained.",
            &[Fault::NotListed],
            "departed",
        )
    },
    Story {
        shows: &["group-0 may still send to it", "drain all"],
        never: &["deregister 1 of group-0"],
        ..story(
            "never-listed",
            "It never does: the instance leaves in order, and the end says that nobody has seen it there.",
            &[Fault::NotListed],
            "unconfirmed",
        )
    },
    Story {
        shows: &["Consul does not list its services yet", "drain all"],
        ..story(
            "not-registered-yet",
            "A service came up a moment ago and is not in Consul yet: it is given the time before it is told to stop.",
            &[],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        never: &[BESIDE],
        ..story(
            "consul-elsewhere",
            "Consul lists nothing of what runs: nothing is drained beside the delay, and the end says that nobody has seen it leave.",
            &[Fault::ConsulElsewhere],
            "unconfirmed",
        )
    },
    Story {
        shows: &["which was registered by hand, is still in service discovery", "complete: Continue"],
        ..story(
            "by-hand",
            "A service was registered by hand, and is to be waited for: the instance goes when nobody routes to it any more.",
            &[Fault::ByHand],
            "departed",
        )
    },
    Story {
        shows: &["a target group that no longer lists it may send to it"],
        crash: Some(CrashPoint { effect: 3, after: true }),
        ..story(
            "nowhere-listed",
            "A scan finds no target group: a worker before it may have left one that still sends, so it is waited for that.",
            &[Fault::FoundByScan],
            "departed",
        )
    },
    Story {
        shows: &["deregister", "drain all"],
        never: &[FORCE],
        ..story(
            "strangers-address",
            "A target at an address that one of our allocations had belongs to another workload. decamp leaves it registered.",
            &[Fault::StrangersAddress],
            "departed",
        )
    },
    Story {
        work_mode: passes(55, false),
        shows: &["drain all"],
        never: &[FORCE],
        ..story(
            "consul-without-acls",
            "Consul has no ACLs, so it hides nothing. A later pass needs no other proof.",
            &[Fault::ConsulWithoutAcls],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        never: &[FORCE],
        ..story(
            "consul-namespaces",
            "Services are registered in Consul namespaces. decamp reads each namespace and waits for its services.",
            &[Fault::ConsulNamespaces],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        never: &[FORCE],
        ..story(
            "ingress-under-load",
            "The ingress is under load and forgets later than its throttle. Services that serve for longer lose no request.",
            &[Fault::IngressUnderLoad],
            "departed",
        )
    },
];
