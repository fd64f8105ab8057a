//! Who is to blame for a failed request: nobody decides after the fact, what was foreseen was named before the first write.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clients::BALANCER;
use super::ingress::AWAY;
use super::ledger::{Account, Failed, Failure};
use super::plan::Chaos;
use decamp_core::decide::{Finding, Loss};

/// The failed requests by who is to blame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Nothing that was named explains these: they are the driver's.
    pub attributable: usize,
    /// A setting explains these that was named, with its object, before the first write.
    pub foreseen: usize,
    /// The same by setting.
    pub by_finding: BTreeMap<String, usize>,
    /// Under chaos with Consul away for all: an ingress sent these by a catalog that it could not renew (ADR 0024).
    pub older_catalog: usize,
    /// These did not even reach the load balancer, which no driver stops: this machine did not keep up.
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
                None if failure.how == Failed::Connection && failure.cause.starts_with(BALANCER) => judged.rig += 1,
                None if chaos == Some(Chaos::ConsulForAll) && failure.cause.contains(AWAY) => judged.older_catalog += 1,
                None => judged.attributable += 1,
            }
        }
        judged
    }
}

/// Stands in the cause of what a load balancer cut; a Network Load Balancer's goes on with the group.
const CUT: &str = "at the end of the deregistration delay";

/// Whether a finding explains a failure: it must be about the very service, and about how it failed.
fn explains(finding: &Finding, failure: &Failure) -> bool {
    let of_service = finding.object.split('/').next() == Some(&*failure.service);
    let behind_the_ingress = failure.cause.starts_with("the ingress on ");
    let sent = behind_the_ingress && failure.cause.contains(" sent it to ");
    match finding.loss {
        Loss::LeavesBeforeForgotten | Loss::KilledWithRequests => of_service && sent,
        Loss::NoCopyLeft => of_service && behind_the_ingress,
        Loss::DelayTooShort => failure.cause.contains(CUT),
        Loss::KeptConnections => {
            failure.cause.split_once(CUT).is_some_and(|(_, of)| of.starts_with(&format!(" of group {}", finding.object)))
        }
        Loss::LastHealthyTarget
        | Loss::CutAtDeadline
        | Loss::NeverMigrates
        | Loss::DiskCut
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
