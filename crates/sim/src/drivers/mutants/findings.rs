//! Mistakes about findings: the mutant departs as decamp does, and does not report a loss that the cluster's own settings cause, or
//! misreads how tasks stopped.

use super::Mistake::{Omits, Reads};
use super::WrongDriver;
use crate::faults::Fault;
use decamp_core::decide::{Loss, Stop};
use decamp_core::time::Time;

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
        name: "forgets-deaf-tasks",
        mistake: "It does not say that a task had to be killed.",
        faults: &[Fault::StuckStop],
        kind: Omits(Loss::DeafTask),
    },
    WrongDriver {
        name: "forgets-abrupt-tasks",
        mistake: "It does not say that a task died of its signal.",
        faults: &[],
        kind: Omits(Loss::AbruptTask),
    },
    WrongDriver {
        name: "trusts-the-signal",
        mistake: "It takes the signal for what ended a task, which docker reports as 0, and ignores the exit code.",
        faults: &[Fault::StuckStop],
        kind: Reads(|stop| Stop { exit_code: stop.signal, ..stop.clone() }),
    },
    WrongDriver {
        name: "takes-any-137-for-memory",
        mistake: "It takes every task that ended by SIGKILL for one whose memory was used up.",
        faults: &[Fault::StuckStop],
        kind: Reads(|stop| Stop { out_of_memory: stop.exit_code == 137, ..stop.clone() }),
    },
    WrongDriver {
        name: "blames-every-quick-stop",
        mistake: "It takes a task that stops soon and in order for one that died of its signal.",
        faults: &[],
        kind: Reads(|stop| Stop { exit_code: 143, took: stop.took / 20, ..stop.clone() }),
    },
    WrongDriver {
        name: "reports-what-stopped-before",
        mistake: "It takes the stops of allocations that ended before the departure for stops of the departure.",
        faults: &[],
        kind: Reads(|stop| Stop { signalled: Time::NEVER, ..stop.clone() }),
    },
    WrongDriver {
        name: "forgets-disks",
        mistake: "It does not report disks that may be lost with the machine.",
        faults: &[Fault::NoRoomElsewhere],
        kind: Omits(Loss::DiskCut),
    },
];
