//! The findings that departures of the group would report: each alone, and several instances leaving together.

use decamp_core::decide::{Finding, JobKind, Layer, Loss, Snapshot, foreseen_losses};

use super::Inspection;
use super::rules::{Notice, Verdict};

/// The findings of all departures, each finding once.
pub(super) fn foreseen(read: &Inspection<'_>) -> Vec<Notice> {
    let mut findings: Vec<Finding> = Vec::new();
    // If the Consul token may not see everything, the report names the token instead.
    let token_is_named = |seen: &Snapshot, finding: &Finding| {
        finding.loss == Loss::NotInConsul && seen.consul.last().is_some_and(|registrations| !registrations.whole)
    };
    let each = read.looks.iter().flat_map(|(departure, seen)| {
        let findings = foreseen_losses(departure, seen, &read.policy).into_iter();
        findings.filter(move |finding| !token_is_named(seen, finding))
    });
    for finding in each.chain(if_several_leave(read)) {
        if !findings.iter().any(|known| known.repeats(&finding)) {
            findings.push(finding);
        }
    }
    let stops = |loss| matches!(loss, Loss::DoesNotFit | Loss::UnhandledSource);
    let verdict = |loss| if stops(loss) { Verdict::WouldNotWork } else { Verdict::Warning };
    let each = findings.into_iter().map(|f| Notice {
        verdict: verdict(f.loss),
        layer: f.layer,
        object: f.object,
        value: f.value,
        needed: f.needed,
        why: f.why,
        line: f.line,
    });
    each.collect()
}

/// Losses that no single departure causes: services whose copies all stop at once when the instances that run them leave together.
fn if_several_leave(read: &Inspection<'_>) -> Vec<Finding> {
    let allocations = read.looks.iter().flat_map(|(_, seen)| seen.allocations());
    let groups = allocations.filter(|a| !a.client.is_over()).map(|a| &a.group);
    let mut findings: Vec<Finding> = Vec::new();
    for group in
        groups.filter(|g| g.kind == JobKind::Service && 1 < g.count && g.max_parallel.is_some_and(|most| g.count <= most))
    {
        findings.push(Finding {
            layer: Layer::Service,
            loss: Loss::NoCopyLeft,
            object: group.title().into(),
            value: format!("count {} with max_parallel {}", group.count, group.max_parallel.unwrap_or(1)),
            needed: format!("max_parallel {} or less", group.count - 1),
            why: "instances that leave together may take every copy before a replacement serves".to_owned(),
            line: format!("migrate {{ max_parallel = {} }}", group.count - 1),
        });
    }
    findings
}
