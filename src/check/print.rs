//! The report of `decamp check` as text: the verdict, then what to change, the worst first, then the facts.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::Layer;

use super::rules::{Notice, Report, Verdict};
use super::selection::Selection;
use super::unavailable::Unavailable;
use crate::describe::{self, counted};
use crate::out::wrapped;
use crate::styled::{Style, StyledLine};

const LAYERS: [(Layer, &str); 7] = [
    (Layer::Container, "container"),
    (Layer::Service, "service"),
    (Layer::Ingress, "ingress"),
    (Layer::LoadBalancer, "load balancer"),
    (Layer::Node, "node"),
    (Layer::Hook, "hook"),
    (Layer::Group, "group"),
];

/// The whole report.
pub(super) fn all(selection: &Selection, reports: &[Report], region: &str, verbose: bool) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    if reports.len() != 1 || !selection.missing.is_empty() || !selection.without_hook.is_empty() {
        lines.extend(summary(selection, reports, region));
    }
    // Printed once for all groups that share it. Another cluster's Nomad is unavailable for a reason of its own.
    let mut unavailable: Vec<&Unavailable> = Vec::new();
    for one in reports.iter().flat_map(|report| &report.unavailable) {
        if !unavailable.contains(&one) {
            unavailable.push(one);
        }
    }
    for one in unavailable {
        lines.push(StyledLine::of(Style::Warning, format!("{} cannot be seen", one.system)));
        lines.extend(plain(wrapped("  ", &one.why, 4)));
        lines.extend(plain(wrapped("  ", &format!("unknown because of it: {}", one.unknown), 4)));
        lines.extend(plain(wrapped("  ", &format!("set: {}", one.line), 4)));
    }
    for report in reports {
        if !lines.is_empty() {
            lines.push(StyledLine::plain(""));
        }
        lines.extend(one(report, verbose));
    }
    lines
}

fn plain(lines: Vec<String>) -> impl Iterator<Item = StyledLine> {
    lines.into_iter().map(StyledLine::plain)
}

/// How many groups have each verdict, and which groups were not checked.
fn summary(selection: &Selection, reports: &[Report], region: &str) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    let of = |verdict: Verdict| reports.iter().filter(|report| report.verdict == verdict).count();
    let counts = [
        (Verdict::WouldNotWork, "would not work"),
        (Verdict::Unknown, "unknown"),
        (Verdict::Warning, "with warnings"),
        (Verdict::Works, "without a finding"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .map(|(verdict, word)| (of(*verdict), word))
        .filter(|(count, _)| 0 < *count)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let head = format!("{} checked in {region}{counts}", counted(reports.len() as u64, "group"));
    lines.extend(wrapped("", &head, 2).into_iter().map(|line| StyledLine::of(Style::Heading, line)));
    for (name, near) in &selection.missing {
        let near = near.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?"));
        let text = format!("DECAMP_GROUPS names {name}, but there is no such Auto Scaling group in {region}{near}");
        lines.extend(wrapped("  ", &text, 4).into_iter().map(|line| StyledLine::of(Style::Error, line)));
    }
    if !selection.without_hook.is_empty() {
        let names = selection.without_hook.iter().map(Arc::as_ref).collect::<Vec<_>>().join(", ");
        let text = format!("not checked, because they have no terminating lifecycle hook: {names}; --asg checks one anyway");
        lines.extend(plain(wrapped("  ", &text, 4)));
    }
    lines
}

/// One group.
fn one(report: &Report, verbose: bool) -> Vec<StyledLine> {
    let (head, style) = verdict(report);
    let mut lines: Vec<StyledLine> = wrapped("", &head, 2).into_iter().map(|line| StyledLine::of(style, line)).collect();
    let kinds = [
        (Verdict::WouldNotWork, "would not work", Style::Error),
        (Verdict::Unknown, "unknown", Style::Warning),
        (Verdict::Warning, "warning", Style::Warning),
        (Verdict::Hint, "hint", Style::Muted),
    ];
    for (kind, word, style) in kinds {
        for notice in report.notices.iter().filter(|notice| notice.verdict == kind) {
            lines.extend(notice_lines(notice, word, style));
        }
    }
    if !verbose {
        lines.push(StyledLine::of(
            Style::Muted,
            format!("For all facts and the time budget: decamp check --asg {} --verbose", report.asg),
        ));
        return lines;
    }
    lines.push(StyledLine::plain(""));
    lines.extend(facts(report));
    lines
}

/// The verdict and the count.
fn verdict(report: &Report) -> (String, Style) {
    let count = |verdict| report.notices.iter().filter(|notice| notice.verdict == verdict).count() as u64;
    let (problems, unknown, warnings) =
        (count(Verdict::WouldNotWork), count(Verdict::Unknown) + report.unavailable.len() as u64, count(Verdict::Warning));
    let mut counts = Vec::new();
    if 0 < problems {
        counts.push(counted(problems, "problem"));
    }
    if 0 < unknown {
        counts.push(format!("{} that could not be seen", counted(unknown, "thing")));
    }
    if 0 < warnings {
        counts.push(counted(warnings, "warning"));
    }
    let counts = counts.join(", ");
    match report.verdict {
        Verdict::Works | Verdict::Hint => {
            (format!("{}: a departure works, and no setting costs requests", report.asg), Style::Good)
        }
        Verdict::Warning => (format!("{}: a departure works, with {counts}", report.asg), Style::Warning),
        Verdict::Unknown => (format!("{}: cannot tell whether a departure would work: {counts}", report.asg), Style::Warning),
        Verdict::WouldNotWork => (format!("{}: a departure would not work: {counts}", report.asg), Style::Error),
    }
}

fn notice_lines(notice: &Notice, word: &str, style: Style) -> Vec<StyledLine> {
    let layer = LAYERS.iter().find(|(layer, _)| *layer == notice.layer).map_or("", |(_, name)| name);
    let text = format!("{word}: {layer}: {}: {}; needed: {}", notice.object, notice.value, notice.needed);
    let mut lines: Vec<StyledLine> = wrapped("  ", &text, 6).into_iter().map(|line| StyledLine::of(style, line)).collect();
    lines.extend(plain(wrapped("    ", &format!("because {}", notice.why), 6)));
    // People copy this line, so it is not wrapped.
    lines.push(StyledLine::plain(format!("    set: {}", notice.line)));
    lines
}

/// The facts, layer by layer.
fn facts(report: &Report) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    for (layer, name) in LAYERS {
        lines.push(StyledLine::of(Style::Heading, name));
        let found: Vec<_> = report.found.iter().filter(|fact| fact.layer == layer).collect();
        for fact in &found {
            lines.extend(plain(wrapped("  ", &format!("{}: {}", fact.object, fact.text), 4)));
        }
        if found.is_empty() {
            lines.push(StyledLine::plain(if report.unseen.contains(&layer) { "  unknown" } else { "  nothing" }));
        }
    }
    if let Some((budget, known)) = &report.budget {
        lines.push(StyledLine::plain(""));
        lines.push(StyledLine::of(Style::Heading, "Time budget of the longest departure, from when it enters its hook"));
        let rows = describe::budget(budget, *known);
        let row = |what: &str, how_long: &str| StyledLine::plain(format!("  {what:<34} {how_long}"));
        for (what, how_long) in &rows {
            lines.push(row(what, how_long));
            if *what == describe::LONGEST_STOP {
                let past = report.longest_past_stop.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let past = past.map_or_else(|| "unknown".to_owned(), decamp_core::time::plain);
                lines.push(row("longest of the past stops", &past));
            }
        }
    }
    lines
}
