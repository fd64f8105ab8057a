//! The cause of each failed request. A finding explains a failure only if decamp reported the finding before its first write.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clients::BALANCER;
use super::ingress::AWAY;
use super::ledger::{Account, FailedRequest, FailureKind};
use super::plan::Chaos;
use decamp_core::decide::{Finding, Loss};

/// The failed requests by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// No finding explains these: they are the driver's fault.
    pub attributable: usize,
    /// A finding that was reported before the first write explains these.
    pub foreseen: usize,
    /// The foreseen ones by finding.
    pub by_finding: BTreeMap<String, usize>,
    /// An ingress that had lost Consul sent these by an outdated catalog. Only with [`Chaos::ConsulForAll`] (ADR 0024).
    pub older_catalog: usize,
    /// These did not reach the load balancer, which no driver stops: this machine was too busy.
    pub rig: usize,
}

impl Judged {
    /// Judges every failure.
    #[must_use]
    pub fn of(account: &Account, findings: &[Finding], chaos: Option<Chaos>) -> Self {
        let mut judged = Self::default();
        for failure in &account.failures {
            match findings.iter().find(|finding| explains(finding, failure)) {
                Some(finding) => {
                    judged.foreseen += 1;
                    *judged.by_finding.entry(format!("{}: {}", finding.object, finding.value)).or_default() += 1;
                }
                None if failure.how == FailureKind::Connection && failure.cause.starts_with(BALANCER) => judged.rig += 1,
                None if chaos == Some(Chaos::ConsulForAll) && failure.cause.contains(AWAY) => judged.older_catalog += 1,
                None => judged.attributable += 1,
            }
        }
        judged
    }
}

/// Part of the cause when a load balancer closed a connection. With a Network Load Balancer the name of the group follows.
const CUT: &str = "at the end of the deregistration delay";

/// Whether a finding explains a failure: it must concern the same service or group, and this way of failing.
fn explains(finding: &Finding, failure: &FailedRequest) -> bool {
    let of_service = finding.object.split('/').next() == Some(&*failure.service);
    let behind_the_ingress = failure.cause.starts_with("the ingress on ");
    let sent = behind_the_ingress && failure.cause.contains(" sent it to ");
    match finding.loss {
        Loss::LeavesBeforeForgotten | Loss::KilledWithRequests | Loss::DeafTask | Loss::AbruptTask => of_service && sent,
        Loss::NoCopyLeft => of_service && behind_the_ingress,
        Loss::DelayTooShort => failure.cause.contains(CUT),
        Loss::KeptConnections => {
            failure.cause.split_once(CUT).is_some_and(|(_, of)| of.starts_with(&format!(" of group {}", finding.object)))
        }
        Loss::LastHealthyTarget
        | Loss::SlowStop
        | Loss::CutAtDeadline
        | Loss::NeverMigrates
        | Loss::DiskCut
        | Loss::LocalData
        | Loss::DoesNotFit
        | Loss::Interrupted
        | Loss::NoTargetGroup
        | Loss::UnhandledSource
        | Loss::UnknownTarget
        | Loss::NotATarget
        | Loss::NotInConsul
        | Loss::RegisteredByHand => false,
    }
}
