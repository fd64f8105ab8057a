//! Mistakes about findings: the mutant departs as decamp does, and does not report a loss that the cluster's own settings cause.

use super::Mistake::Omits;
use super::WrongDriver;
use crate::faults::Fault;
use decamp_core::decide::Loss;

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "forgets-kept-connections",
        mistake: "It does not report connections that clients keep through a Network Load Balancer.",
        faults: &[Fault::KeptConnections],
        kind: Omits(Loss::KeptConnections),
    },
    WrongDriver {
        name: "promises-no-margin",
        mistake: "It does not report services that stop before an ingress under load forgets them.",
        faults: &[Fault::IngressUnderLoad],
        kind: Omits(Loss::LeavesBeforeForgotten),
    },
    WrongDriver {
        name: "forgets-disks",
        mistake: "It does not report disks whose copy is cut when the machine stops.",
        faults: &[],
        kind: Omits(Loss::DiskCut),
    },
];
