//! What was foreseen, compared with what could be seen (ADR 0048). It is known at the end of a departure, and decides nothing.

mod copies;
mod counts;
mod evidence;
mod unforeseen;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

use self::copies::Copies;
pub use self::counts::{Counted, LookBack, Minute, look_back, with_counts};
use self::evidence::{Evidence, evidence};
use super::case::Case;
use super::findings::{Finding, Loss, ingress_forgets, of_a_disk, of_a_drain, of_a_stop};
use super::snapshot::{Node, Snapshot};
use super::stops::drained_since;
use super::{Departure, Outcome, Policy};
use crate::time::Time;

/// How something that was foreseen compares with what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Match {
    /// It was reported before the first write, and there is evidence that it happened.
    ForeseenAndSeen,
    /// It was reported, and the systems that would show it show that it did not happen.
    ForeseenNotSeen,
    /// It was reported, and nothing that decamp reads shows whether it happened.
    ForeseenCannotBeSeen,
    /// It happened, and was not reported before, although a setting shows it. This is a defect of decamp.
    SeenNotForeseen,
    /// A task was killed or died of its signal, and no setting shows that it would. A departure reads no earlier stops, so it could not
    /// foresee that. The findings of stops name it.
    SeenShownByNoSetting,
    /// It happened, and another worker or an operator had begun the departure. What was known before that is unknown here.
    SeenBegunByAnother,
}

impl Match {
    /// All names.
    pub const WORDS: &'static [&'static str] = Self::VARIANTS;

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ForeseenAndSeen,
        Self::ForeseenNotSeen,
        Self::ForeseenCannotBeSeen,
        Self::SeenNotForeseen,
        Self::SeenShownByNoSetting,
        Self::SeenBegunByAnother,
    ];

    /// The name for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Whether there is evidence that it happened.
    #[must_use]
    pub fn is_seen(self) -> bool {
        match self {
            Self::ForeseenAndSeen | Self::SeenNotForeseen | Self::SeenShownByNoSetting | Self::SeenBegunByAnother => true,
            Self::ForeseenNotSeen | Self::ForeseenCannotBeSeen => false,
        }
    }

    /// Whether it was reported before the first write.
    #[must_use]
    pub fn is_foreseen(self) -> bool {
        match self {
            Self::ForeseenAndSeen | Self::ForeseenNotSeen | Self::ForeseenCannotBeSeen => true,
            Self::SeenNotForeseen | Self::SeenShownByNoSetting | Self::SeenBegunByAnother => false,
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ForeseenAndSeen => "foreseen and seen",
            Self::ForeseenNotSeen => "foreseen and not seen",
            Self::ForeseenCannotBeSeen => "foreseen, cannot be seen",
            Self::SeenNotForeseen => "seen and not foreseen",
            Self::SeenShownByNoSetting => "seen, and no setting shows it",
            Self::SeenBegunByAnother => "seen, and begun by another",
        }
    }
}

/// One finding, compared with what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The result.
    #[serde(rename = "match")]
    pub result: Match,
    /// The finding's rule, or the rule that should have found it. `None`: errors of a load balancer that no rule explains.
    #[serde(rename = "finding", serialize_with = "as_word")]
    pub loss: Option<Loss>,
    /// The object of the finding.
    pub object: Arc<str>,
    /// What was seen, or why nothing could be.
    pub seen: String,
    /// When it was seen to happen, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

impl Compared {
    /// What errors of a load balancer are called that no rule explains.
    pub const ERRORS: &'static str = "load-balancer-errors";

    /// The rule's name, for logs and metrics.
    #[must_use]
    pub fn finding(&self) -> &'static str {
        word(self.loss)
    }

    /// The comparisons for people: what was seen and not foreseen comes first, because nobody was warned of it.
    pub fn unforeseen_first(compared: &[Self]) -> impl Iterator<Item = &Self> {
        let of = |unforeseen: bool| move |one: &&Self| (one.result == Match::SeenNotForeseen) == unforeseen;
        compared.iter().filter(of(true)).chain(compared.iter().filter(of(false)))
    }
}

fn word(loss: Option<Loss>) -> &'static str {
    loss.map_or(Compared::ERRORS, Loss::word)
}

fn as_word<S: serde::Serializer>(loss: &Option<Loss>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(word(*loss))
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, object, seen, .. } = self;
        write!(f, "{}: {}: {object}: {seen}", result.title(), self.finding())
    }
}

/// What shows whether a finding came true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nomad's task events: a task of the group was killed, or died of its signal, while it could hold requests. Or discovery still listed a
    /// copy after it had stopped.
    Requests,
    /// Nomad's task events: a task of the group was killed, or died of its signal, while it could hold requests.
    Kills,
    /// Nomad's task events: how the task stopped.
    Stops,
    /// Nomad's task events: all copies that the job wants had stopped before any of them was over.
    Copies,
    /// Nomad's list: an allocation was told to stop before it had ended.
    ToldToStop,
    /// Nomad's list: an allocation was told to stop by a deadline.
    Deadline,
    /// Nomad's list: no replacement has the disk.
    Disks,
    /// The load balancer's list of targets: a look that shows no healthy one.
    Targets,
    /// Consul: it lists the service as routable in the last look.
    Registered,
    /// The outcome.
    Outcome,
    /// The outcome, where it names the local data that was left.
    LocalData,
    /// Nothing that decamp reads. The sentence says why.
    Nothing(&'static str),
}

impl Loss {
    /// What shows whether it came true. This is the one table of evidence.
    #[must_use]
    pub fn sign(self) -> Sign {
        match self {
            Self::LeavesBeforeForgotten => Sign::Requests,
            Self::KilledWithRequests => Sign::Kills,
            Self::DeafTask | Self::AbruptTask | Self::SlowStop => Sign::Stops,
            Self::NoCopyLeft => Sign::Copies,
            Self::CutAtDeadline => Sign::ToldToStop,
            Self::NeverMigrates => Sign::Deadline,
            Self::DiskCut => Sign::Disks,
            Self::LastHealthyTarget => Sign::Targets,
            Self::RegisteredByHand => Sign::Registered,
            Self::DoesNotFit | Self::Interrupted => Sign::Outcome,
            Self::LocalData => Sign::LocalData,
            Self::DelayTooShort => {
                Sign::Nothing("the load balancer's list does not show which requests were in progress at the end of the delay")
            }
            Self::KeptConnections => Sign::Nothing("no system that decamp reads counts the connections that were cut"),
            Self::NoTargetGroup | Self::UnhandledSource => {
                Sign::Nothing("what sends to the instance is not known, so it cannot be read")
            }
            Self::UnknownTarget => Sign::Nothing("nobody knows whose address it is"),
            Self::NotATarget => Sign::Nothing("the group does not list the instance, and nobody knows whether it should"),
            Self::NotInConsul => Sign::Nothing("Consul does not list it"),
        }
    }
}

/// Compares the findings that were reported with what was seen, at the end of a departure. `reported`: those of this run. `outcome`: how
/// the departure ended.
#[must_use]
pub fn compare(
    departure: &Departure,
    seen: &Snapshot,
    policy: &Policy,
    reported: &[Finding],
    outcome: &Outcome,
) -> Vec<Compared> {
    if !outcome.is_compared() {
        return Vec::new();
    }
    let case = &Case::new(departure, seen, policy, seen.history.began);
    let copies = &Copies::of(case);
    let mut foreseen = reported.to_vec();
    if !knows_all_that_was_reported(seen) && drained_before(case) {
        foreseen.extend(reported_by_another(case, copies, reported));
    }
    let mut all: Vec<Compared> = foreseen
        .iter()
        .map(|finding| {
            let (result, seen, at) = match evidence(case, copies, finding, outcome) {
                Evidence::Seen(what, at) => (Match::ForeseenAndSeen, what, at),
                Evidence::NotSeen(what) => (Match::ForeseenNotSeen, what, None),
                Evidence::Unknown(why) => (Match::ForeseenCannotBeSeen, why, None),
            };
            Compared { result, loss: Some(finding.loss), object: Arc::clone(&finding.object), seen, at }
        })
        .collect();
    all.extend(unforeseen::unforeseen(case, copies, &foreseen));
    sort(&mut all);
    all
}

/// By result, then by rule and object.
fn sort(compared: &mut [Compared]) {
    compared.sort_by(|one, other| (one.result, one.loss, &one.object).cmp(&(other.result, other.loss, &other.object)));
}

/// Whether this run began the departure and drained: it reported every finding itself.
pub(super) fn knows_all_that_was_reported(seen: &Snapshot) -> bool {
    seen.history.untouched.is_some() && !seen.history.drains.is_empty()
}

/// Whether another worker drained for this departure, and had seen every allocation that is listed now. Then it reported what their
/// settings cost.
pub(super) fn drained_before(case: &Case<'_>) -> bool {
    let metas = &case.seen.history.drain_metas;
    let saw_all = |node: &Node| {
        let listed = u32::try_from(node.allocations.len()).unwrap_or(u32::MAX);
        metas.iter().any(|(id, meta)| *id == node.id && meta.action == *case.drain_marker() && listed <= meta.allocations)
    };
    case.was_drained_before_us() && case.nodes().iter().all(saw_all)
}

/// What the worker that drained must have reported of the groups that it stopped: their settings show it.
fn reported_by_another(case: &Case<'_>, copies: &Copies<'_>, reported: &[Finding]) -> Vec<Finding> {
    let forgets = ingress_forgets(case.seen, case.policy);
    let mut findings: Vec<Finding> = Vec::new();
    // What had its signal before the drain, another party stopped, and nobody reported it.
    let since = drained_since(case).unwrap_or(case.budget.began);
    for group in copies.groups().into_iter().filter(|group| copies.of_group(group).any(|copy| copy.stopped_since(since))) {
        if unforeseen::is_behind_an_ingress(case, group) {
            findings.extend(of_a_stop(case, group, forgets));
        }
        findings.extend(of_a_drain(group));
        findings.extend(of_a_disk(group));
    }
    findings.retain(|finding| !reported.iter().any(|known| known.repeats(finding)));
    findings
}
