//! What was seen to happen, and that no reported finding explains.

use std::sync::Arc;

use super::copies::Copies;
use super::evidence::{NO_DISK, cut_by_a_deadline, none_left, still_listed};
use super::{Compared, Match, drained_before, knows_all_that_was_reported};
use crate::decide::Cause;
use crate::decide::case::Case;
use crate::decide::disks;
use crate::decide::findings::{Finding, Loss, ingress_forgets, of_a_stop};
use crate::decide::snapshot::TaskGroup;
use crate::decide::stops::{Cut, StopKind, was_a_target};
use crate::time::Time;

/// Each loss that was seen and that none of the reported findings names.
pub(super) fn unforeseen(case: &Case<'_>, copies: &Copies<'_>, reported: &[Finding]) -> Vec<Compared> {
    // A lack of time explains everything that was cut. An earlier worker reported it from what this one sees too.
    let too_short = case.budget.misfit().is_some() || matches!(case.departure.cause, Cause::Interruption { .. });
    let by_time = reported.iter().any(|finding| matches!(finding.loss, Loss::DoesNotFit | Loss::Interrupted))
        || too_short && !knows_all_that_was_reported(case.seen);
    let mut all = Vec::new();
    let explained =
        |title: &str, losses: &[Loss]| reported.iter().any(|finding| *finding.object == *title && losses.contains(&finding.loss));
    for cut in copies.cuts.iter().filter(|cut| cut.is_finding) {
        let by_group = explained(&cut.group, &[Loss::KilledWithRequests, Loss::LeavesBeforeForgotten, Loss::CutAtDeadline]);
        let by_task = explained(&cut.task, &[Loss::DeafTask, Loss::AbruptTask, Loss::SlowStop]);
        if !by_group && !by_task && !by_time {
            all.push(of_a_cut(case, copies, cut));
        }
    }
    for group in copies.groups() {
        let title: Arc<str> = group.title().into();
        let of_group = || copies.of_group(group);
        if let Some(at) = of_group().filter_map(|copy| copy.listed_after).min()
            && !explained(&title, &[Loss::LeavesBeforeForgotten])
        {
            all.push(row(case, Loss::LeavesBeforeForgotten, Arc::clone(&title), still_listed(at), Some(at)));
        }
        if let Some((from, to)) = copies.none_left(group).filter(|_| is_behind_an_ingress(case, group))
            && !explained(&title, &[Loss::NoCopyLeft, Loss::NeverMigrates])
            && !by_time
        {
            let what = none_left(group.count, from, to);
            all.push(row(case, Loss::NoCopyLeft, Arc::clone(&title), what, Some(from)));
        }
        let cut = of_group().filter(|copy| copy.cut).count();
        if 0 < cut && !explained(&title, &[Loss::CutAtDeadline, Loss::NeverMigrates]) && !by_time {
            all.push(row(case, Loss::CutAtDeadline, title, cut_by_a_deadline(cut, of_group().count()), None));
        }
    }
    let left = if case.seen.nomad.fresh_at().is_some() { disks::titles(case) } else { Arc::default() };
    for title in left.iter().filter(|title| !explained(title, &[Loss::DiskCut])) {
        all.push(row(case, Loss::DiskCut, Arc::clone(title), NO_DISK.to_owned(), case.seen.nomad.at()));
    }
    all
}

/// Whether only an ingress sends to the copies of a group.
pub(super) fn is_behind_an_ingress(case: &Case<'_>, group: &TaskGroup) -> bool {
    group.is_found_by_an_ingress() && !was_a_target(case, group)
}

/// A task that was cut. Its group's settings may show that, and then they should have been named. Otherwise only an earlier stop could have
/// shown it, and a departure reads none.
fn of_a_cut(case: &Case<'_>, copies: &Copies<'_>, cut: &Cut) -> Compared {
    let group = copies.groups().into_iter().find(|group| group.is_titled(&cut.group) && is_behind_an_ingress(case, group));
    let by_settings = group.map(|group| of_a_stop(case, group, ingress_forgets(case.seen, case.policy))).unwrap_or_default();
    if let Some(finding) = by_settings.first() {
        return row(case, finding.loss, cut.group.as_str().into(), cut.what.clone(), Some(cut.at));
    }
    let loss = if cut.kind == StopKind::Abrupt { Loss::AbruptTask } else { Loss::DeafTask };
    let mut row = row(case, loss, Arc::clone(&cut.task), cut.what.clone(), Some(cut.at));
    if row.result == Match::SeenNotForeseen {
        row.result = Match::SeenShownByNoSetting;
    }
    row
}

/// One of them. A worker that comes later knows by the settings of the groups what an earlier one reported.
fn row(case: &Case<'_>, loss: Loss, object: Arc<str>, seen: String, at: Option<Time>) -> Compared {
    let known = knows_all_that_was_reported(case.seen) || drained_before(case);
    let result = if known { Match::SeenNotForeseen } else { Match::SeenBegunByAnother };
    Compared { result, loss: Some(loss), object, seen, at }
}
