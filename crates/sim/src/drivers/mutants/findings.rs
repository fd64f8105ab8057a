//! Wrong about what the cluster's own settings cost: it departs as decamp does, and does not name it first.

use super::How::KeepsQuietOf;
use super::Wrong;
use crate::faults::Fault;
use decamp_core::decide::Loss;

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "forgets-kept-connections",
        mistake: "It does not name connections that clients keep through a Network Load Balancer.",
        faults: &[Fault::KeptConnections],
        how: KeepsQuietOf(Loss::KeptConnections),
    },
    Wrong {
        name: "promises-no-margin",
        mistake: "It does not name services that stop before an ingress under load forgets them.",
        faults: &[Fault::IngressUnderLoad],
        how: KeepsQuietOf(Loss::LeavesBeforeForgotten),
    },
    Wrong {
        name: "forgets-disks",
        mistake: "It does not name disks whose copy the end of the machine cuts.",
        faults: &[],
        how: KeepsQuietOf(Loss::DiskCut),
    },
];
