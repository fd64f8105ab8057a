//! Reasons: every action and every wait has one.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strum::{EnumDiscriminants, EnumIter, IntoStaticStr, VariantNames};

use super::observed::System;
use super::snapshot::{LEAVE_LOCAL_DATA, LOCAL_DATA_KEY};
use crate::ids::{AllocationId, NodeId, TargetGroupArn};
use crate::time::Time;

/// Why an action is taken, or why decamp waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, EnumDiscriminants)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "detail")]
#[strum_discriminants(
    name(ReasonKind),
    doc = "Which reason it is, without what it names.",
    derive(Serialize, IntoStaticStr, VariantNames, EnumIter),
    serde(rename_all = "kebab-case"),
    strum(serialize_all = "kebab-case")
)]
pub enum Reason {
    // Looking.
    /// This run has not read it yet.
    NotKnownYet,
    /// decamp or somebody else may have changed it since it was last read.
    MayHaveChanged,
    /// What is about to be concluded is looked at once more.
    MustConfirm,
    /// A system cannot be seen. It is waited for, never concluded from.
    CannotSee(System),

    // Writing.
    /// A third of the heartbeat time-out has passed.
    HeartbeatDue,
    /// Nomad may still place new work on the node.
    TakesNewWork,
    /// A load balancer may still send new requests to the instance.
    TakesRequests,
    /// Targets are registered although they were deregistered: somebody put them back.
    RegisteredAgain(TargetGroupArn),
    /// Nothing that a load balancer may still send to is stopped by draining the services now.
    SafeBesideTheDelay,
    /// No load balancer sends to the node any more, and work is left on it.
    WorkLeft,
    /// An allocation landed on the node after its drain was complete.
    LandedAfterDrain,
    /// Nomad's drain goes on for ever although all is over; sent again with the time that is left.
    DrainHangs,
    /// What is left must be told to stop now, to be over in time.
    TimeIsShort,
    /// Nothing is left on the instance.
    NothingLeft,
    /// Nothing is known to run on the instance, and not all of it could be seen to be gone.
    NoneKnownToRun,
    /// The time is up.
    TimeIsUp,
    /// The next worker has to know since when something is waited for.
    NextMustKnow,
    /// A write failed, and may have worked; it is tried again after a pause.
    WriteFailed(Arc<str>),

    // Waiting.
    /// The instance is leaving, but its hook has not begun.
    HookNotBegun,
    /// The group is held by its tag `decamp:hold`.
    Held {
        /// Since when, as far as this run saw.
        since: Time,
        /// When the instance begins to leave all the same, to be gone in order before its hook ends.
        until: Time,
    },
    /// Its root volume is to be replaced, and it comes back: nothing can bring it back in order yet.
    RootVolume,
    /// Our Nomad token cannot see enough to prove anything.
    NoSight(Arc<str>),
    /// No Nomad node is this instance, yet.
    NoNodeYet,
    /// No Nomad node is this instance, although it should have one: what runs on it is not seen.
    NodeMissing,
    /// A load balancer may still send to the instance.
    LoadBalancerDelay {
        /// The group that is waited for longest.
        group: TargetGroupArn,
        /// Until when.
        until: Time,
    },
    /// The scan of all target groups found none that lists it; one that did a moment before may still send to it.
    NowhereListed {
        /// Until when.
        until: Time,
    },
    /// A target that may be the instance's: nobody is known to have its address.
    UnknownTarget {
        /// The group that lists it.
        group: TargetGroupArn,
        /// Its address.
        address: std::net::IpAddr,
        /// Until when it is waited for.
        until: Time,
    },
    /// Ours is the last healthy target of this group.
    LastHealthyTarget(TargetGroupArn),
    /// Ours is the last healthy target of this group in its zone, and load balancing does not cross zones.
    LastOfItsZone {
        /// The group.
        group: TargetGroupArn,
        /// The zone.
        zone: Arc<str>,
    },
    /// Allocations are not over.
    AllocationsLeft {
        /// How many.
        count: u32,
        /// The first of them, and what it belongs to.
        example: AllocationId,
        /// Its job and group.
        title: Arc<str>,
    },
    /// Replacements copy the disks of what has stopped on the node, from the node.
    DiskCopying {
        /// How many.
        count: u32,
        /// The job and group of the first.
        title: Arc<str>,
        /// Its replacement.
        replacement: AllocationId,
    },
    /// Nomad placed no replacement that would copy the disk of what has stopped on the node.
    DiskUnplaced {
        /// How many.
        count: u32,
        /// The job and group of the first.
        title: Arc<str>,
    },
    /// Nomad has not released the claims of CSI volumes of what has stopped on the node.
    VolumeClaimed {
        /// How many.
        count: u32,
        /// The first volume.
        volume: Arc<str>,
        /// The job and group that claims it.
        title: Arc<str>,
    },
    /// Data in host volumes goes with the machine, and the settings hold it (`DECAMP_LOCAL_DATA`).
    LocalData {
        /// How many allocations use such data.
        count: u32,
        /// The job and group of the first.
        title: Arc<str>,
        /// Its host volumes.
        volumes: Arc<str>,
        /// The node.
        node: NodeId,
        /// When the instance begins to leave all the same, to be gone in order before its hook ends.
        until: Time,
    },
    /// Consul cannot be seen, and what an ingress finds there stops.
    StopsUnseen {
        /// How many allocations.
        count: u32,
        /// The job and group of the first.
        title: Arc<str>,
    },
    /// An allocation vanished from the list before it was seen over; it may run for this much longer.
    Vanished {
        /// Which.
        allocation: Option<AllocationId>,
        /// Until when it counts as running.
        until: Time,
    },
    /// Nomad's agent on the node is dead; its processes may serve on.
    AgentDead {
        /// Until when it is waited for.
        until: Time,
    },
    /// Nomad has lost the node's agent, and its processes live.
    AgentLost {
        /// A service of the node that passes its checks.
        service: Arc<str>,
        /// Until when it is waited for.
        until: Time,
    },
    /// Somebody cancelled our drain.
    DrainCancelled,
    /// An allocation runs, and Consul does not list its services yet.
    NotRegisteredYet {
        /// Its job and group.
        title: Arc<str>,
        /// Until when it is waited for.
        until: Time,
    },
    /// Services that were registered by hand are still in discovery.
    RegisteredByHand {
        /// How many.
        count: u32,
        /// The first of them.
        service: Arc<str>,
    },
    /// Registrations are left in service discovery.
    StillRegistered {
        /// How many.
        count: u32,
        /// The first of them.
        service: Arc<str>,
    },

    // Ending.
    /// Auto Scaling does not list the instance.
    NotListed,
    /// The live look says that it is not leaving: its state.
    InState(Arc<str>),
    /// It is past its hook.
    PastItsHook,
    /// None of the hooks that the group has is ours.
    NoHookOfOurs,
    /// The group has several hooks, and nobody has said which is ours.
    WhichHook,
    /// The action was completed, and accepted.
    ActionCompleted,
}

impl Reason {
    /// All names.
    pub const WORDS: &'static [&'static str] = ReasonKind::VARIANTS;

    /// The kind, without the details.
    #[must_use]
    pub fn kind(&self) -> ReasonKind {
        self.into()
    }

    /// The system that cannot be read, if that is the reason.
    #[must_use]
    pub fn unseen_system(&self) -> Option<System> {
        if let Self::CannotSee(system) = self {
            return Some(*system);
        }
        matches!(self, Self::StopsUnseen { .. }).then_some(System::Consul)
    }

    /// The name alone, for metrics and searches.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.kind().word()
    }
}

impl ReasonKind {
    /// The name for logs, metrics and searches.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKnownYet => f.write_str("it is not known yet"),
            Self::MayHaveChanged => f.write_str("it may have changed since it was last read"),
            Self::MustConfirm => f.write_str("it is confirmed before anything is concluded"),
            Self::CannotSee(system) => write!(f, "{system} cannot be seen"),
            Self::HeartbeatDue => f.write_str("a third of the heartbeat time-out has passed"),
            Self::TakesNewWork => f.write_str("Nomad may still place new work on it"),
            Self::TakesRequests => f.write_str("a load balancer may still send new requests to it"),
            Self::RegisteredAgain(group) => write!(f, "somebody registered it again in {}", group.name()),
            Self::SafeBesideTheDelay => f.write_str("nothing that a load balancer still sends to is stopped by it"),
            Self::WorkLeft => f.write_str("no load balancer sends to it any more, and work is left on it"),
            Self::LandedAfterDrain => f.write_str("an allocation landed after the drain was complete"),
            Self::DrainHangs => f.write_str("the drain hangs although all is over"),
            Self::TimeIsShort => f.write_str("what is left must stop now to be over in time"),
            Self::NothingLeft => f.write_str("nothing is left on the instance"),
            Self::NoneKnownToRun => f.write_str("nothing is known to run on it, and not everything could be seen to be gone"),
            Self::TimeIsUp => f.write_str("the time is up"),
            Self::NextMustKnow => f.write_str("the next worker has to know when this wait began"),
            Self::WriteFailed(why) => write!(f, "the last try failed ({why})"),
            Self::HookNotBegun => f.write_str("its hook has not begun"),
            Self::RootVolume => f.write_str(
                "its root volume is to be replaced and it comes back, which decamp cannot do in order: it is only kept alive; \
                 empty its node, then complete the lifecycle action",
            ),
            Self::Held { since, until: Time::NEVER } => write!(f, "its group is held by the tag decamp:hold since {since}"),
            Self::Held { since, until } => {
                write!(
                    f,
                    "its group is held by the tag decamp:hold since {since}; it leaves at {until} even so, before its hook ends"
                )
            }
            Self::NoSight(missing) => write!(f, "the Nomad token cannot see enough: {missing}"),
            Self::NoNodeYet => f.write_str("no Nomad node is this instance, yet"),
            Self::NodeMissing => f.write_str(
                "no Nomad node is this instance, which has had time to join: its node does not tell its instance id, or another region \
                 or cluster is asked (DECAMP_WITHOUT_NOMAD names groups that run no Nomad)",
            ),
            Self::LoadBalancerDelay { group, until } => write!(f, "{} may still send to it until {until}", group.name()),
            Self::NowhereListed { until } => write!(f, "a target group that no longer lists it may send to it until {until}"),
            Self::UnknownTarget { group, address, until } => {
                write!(f, "{} lists {address}, which may be its own and which nobody is known to have; waited for until {until}", group.name())
            }
            Self::LastHealthyTarget(group) => write!(f, "it is the last healthy target of {}", group.name()),
            Self::LastOfItsZone { group, zone } => write!(f, "it is the last healthy target of {} in {zone}", group.name()),
            Self::AllocationsLeft { count: 1, example, title } => write!(f, "1 allocation is not over: {title} ({example})"),
            Self::AllocationsLeft { count, example, title } => {
                write!(f, "{count} allocations are not over, {title} ({example}) among them")
            }
            Self::DiskCopying { count: 1, title, replacement } => {
                write!(f, "the replacement of {title} ({replacement}) does not have its disk yet")
            }
            Self::DiskCopying { count, title, replacement } => {
                write!(f, "{count} replacements do not have their disks yet, that of {title} ({replacement}) among them")
            }
            Self::DiskUnplaced { count: 1, title } => {
                write!(f, "Nomad placed no replacement of {title}, so nothing copies its disk from here; save the data by hand")
            }
            Self::DiskUnplaced { count, title } => write!(
                f,
                "Nomad placed no replacement for {count} allocations, {title} among them, so nothing copies their disks from here; \
                 save the data by hand"
            ),
            Self::VolumeClaimed { count: 1, volume, title } => {
                write!(f, "Nomad has not released the claim of {title} on the volume {volume}")
            }
            Self::VolumeClaimed { count, volume, title } => {
                write!(f, "Nomad has not released {count} claims on volumes, that of {title} on {volume} among them")
            }
            Self::LocalData { count, title, volumes, node, until } => {
                let more = if *count == 1 { String::new() } else { format!(" ({count} allocations use such data)") };
                write!(
                    f,
                    "{title} has data in the host volume {volumes}{more}, which goes with the machine; save it, then nomad node meta \
                     apply -node-id {node} {LOCAL_DATA_KEY}={LEAVE_LOCAL_DATA}; it leaves at {until} even so, before its hook ends"
                )
            }
            Self::StopsUnseen { count: 1, title } => {
                write!(f, "Consul cannot be seen while {title} stops, and an ingress may go on sending to it")
            }
            Self::StopsUnseen { count, title } => {
                write!(
                    f,
                    "Consul cannot be seen while {count} allocations stop, {title} among them, and an ingress may go on sending to them"
                )
            }
            Self::Vanished { allocation: Some(id), until } => {
                write!(f, "allocation {id} vanished from the list and may run until {until}")
            }
            Self::Vanished { allocation: None, until } => {
                write!(f, "an allocation of its drain is missing and may run until {until}")
            }
            Self::AgentDead { until } => write!(f, "Nomad's agent on it is dead; waited for until {until}"),
            Self::AgentLost { service, until } => {
                write!(f, "Nomad has lost its agent, and Consul shows {service} passing; waited for until {until}")
            }
            Self::DrainCancelled => f.write_str("somebody cancelled the drain"),
            Self::NotRegisteredYet { title, until } => {
                write!(f, "{title} runs, and Consul does not list its services yet; waited for until {until}")
            }
            Self::RegisteredByHand { count: 1, service } => {
                write!(f, "{service}, which was registered by hand, is still in service discovery")
            }
            Self::RegisteredByHand { count, service } => {
                write!(f, "{count} services that were registered by hand are still in service discovery, {service} among them")
            }
            Self::StillRegistered { count: 1, service } => write!(f, "{service} is still registered in service discovery"),
            Self::StillRegistered { count, service } => {
                write!(f, "{count} services are still registered in service discovery, {service} among them")
            }
            Self::NotListed => f.write_str("Auto Scaling does not list it"),
            Self::InState(state) => write!(f, "it is {state}"),
            Self::PastItsHook => f.write_str("it is past its hook"),
            Self::NoHookOfOurs => f.write_str("it waits in no hook of ours"),
            Self::WhichHook => f.write_str("its group has several terminating hooks; DECAMP_HOOKS must name the one that is decamp's"),
            Self::ActionCompleted => f.write_str("its lifecycle action is completed"),
        }
    }
}
