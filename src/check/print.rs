//! The report of `decamp check` for people: the verdict, then what to change, the worst first, then what was found.

use std::sync::Arc;

use decamp_core::decide::Layer;

use super::away::Away;
use super::rules::{Notice, Report, Verdict};
use super::which::Which;
use crate::out::wrapped;
use crate::paint::{Hue, Line};
use crate::words::{self, counted};

const LAYERS: [(Layer, &str); 7] = [
    (Layer::Container, "container"),
    (Layer::Service, "service"),
    (Layer::Ingress, "ingress"),
    (Layer::LoadBalancer, "load balancer"),
    (Layer::Node, "node"),
    (Layer::Hook, "hook"),
    (Layer::Group, "group"),
];

/// All of it.
pub(super) fn all(which: &Which, reports: &[Report], region: &str, verbose: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    if reports.len() != 1 || !which.missing.is_empty() || !which.without_hook.is_empty() {
        lines.extend(summary(which, reports, region));
    }
    // Said once for all groups, but for each cluster: another cluster's Nomad is away for a reason of its own.
    let mut away: Vec<&Away> = Vec::new();
    for one in reports.iter().flat_map(|report| &report.away) {
        if !away.contains(&one) {
            away.push(one);
        }
    }
    for one in away {
        lines.push(Line::of(Hue::Doubt, format!("{} cannot be seen", one.system)));
        lines.extend(plain(wrapped("  ", &one.why, 4)));
        lines.extend(plain(wrapped("  ", &format!("unknown because of it: {}", one.unknown), 4)));
        lines.extend(plain(wrapped("  ", &format!("set: {}", one.line), 4)));
    }
    for report in reports {
        if !lines.is_empty() {
            lines.push(Line::plain(""));
        }
        lines.extend(one(report, verbose));
    }
    lines
}

fn plain(lines: Vec<String>) -> impl Iterator<Item = Line> {
    lines.into_iter().map(Line::plain)
}

/// How many groups there are of each verdict, and what was not read.
fn summary(which: &Which, reports: &[Report], region: &str) -> Vec<Line> {
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
    lines.extend(wrapped("", &head, 2).into_iter().map(|line| Line::of(Hue::Strong, line)));
    for (name, near) in &which.missing {
        let near = near.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?"));
        let text = format!("DECAMP_GROUPS names {name}, and there is no such Auto Scaling group in {region}{near}");
        lines.extend(wrapped("  ", &text, 4).into_iter().map(|line| Line::of(Hue::Bad, line)));
    }
    if !which.without_hook.is_empty() {
        let names = which.without_hook.iter().map(Arc::as_ref).collect::<Vec<_>>().join(", ");
        let text =
            format!("not checked, because they have no terminating lifecycle hook: {names}; --asg checks one all the same");
        lines.extend(plain(wrapped("  ", &text, 4)));
    }
    lines
}

/// One group.
fn one(report: &Report, verbose: bool) -> Vec<Line> {
    let (head, hue) = verdict(report);
    let mut lines: Vec<Line> = wrapped("", &head, 2).into_iter().map(|line| Line::of(hue, line)).collect();
    let kinds = [
        (Verdict::WouldNotWork, "would not work", Hue::Bad),
        (Verdict::Unknown, "unknown", Hue::Doubt),
        (Verdict::Warning, "warning", Hue::Doubt),
    ];
    for (kind, word, hue) in kinds {
        for notice in report.notices.iter().filter(|notice| notice.verdict == kind) {
            lines.extend(of_notice(notice, word, hue));
        }
    }
    if !verbose {
        lines.push(Line::of(
            Hue::Faint,
            format!("What was found, and the time budget: decamp check --asg {} --verbose", report.asg),
        ));
        return lines;
    }
    lines.push(Line::plain(""));
    lines.extend(facts(report));
    lines
}

/// The verdict and the count.
fn verdict(report: &Report) -> (String, Hue) {
    let count = |verdict| report.notices.iter().filter(|notice| notice.verdict == verdict).count() as u64;
    let (problems, unknown, warnings) =
        (count(Verdict::WouldNotWork), count(Verdict::Unknown) + report.away.len() as u64, count(Verdict::Warning));
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
        Verdict::Works => {
            (format!("{}: a departure works, and no setting was found that costs a request", report.asg), Hue::Good)
        }
        Verdict::Warning => (format!("{}: a departure works, with {counts}", report.asg), Hue::Doubt),
        Verdict::Unknown => (format!("{}: it is not known whether a departure would work: {counts}", report.asg), Hue::Doubt),
        Verdict::WouldNotWork => (format!("{}: a departure would not work as it is: {counts}", report.asg), Hue::Bad),
    }
}

fn of_notice(notice: &Notice, word: &str, hue: Hue) -> Vec<Line> {
    let layer = LAYERS.iter().find(|(layer, _)| *layer == notice.layer).map_or("", |(_, name)| name);
    let text = format!("{word}: {layer}: {}: {}; needed: {}", notice.object, notice.value, notice.needed);
    let mut lines: Vec<Line> = wrapped("  ", &text, 6).into_iter().map(|line| Line::of(hue, line)).collect();
    lines.extend(plain(wrapped("    ", &format!("because {}", notice.why), 6)));
    // A line to set is copied: it is not broken.
    lines.push(Line::plain(format!("    set: {}", notice.line)));
    lines
}

/// What was found, layer by layer.
fn facts(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for (layer, name) in LAYERS {
        lines.push(Line::of(Hue::Strong, name));
        let found: Vec<_> = report.found.iter().filter(|fact| fact.layer == layer).collect();
        for fact in &found {
            lines.extend(plain(wrapped("  ", &format!("{}: {}", fact.object, fact.text), 4)));
        }
        if found.is_empty() {
            lines.push(Line::plain(if report.unseen.contains(&layer) { "  unknown" } else { "  nothing" }));
        }
    }
    if let Some((budget, known)) = &report.budget {
        lines.push(Line::plain(""));
        lines.push(Line::of(Hue::Strong, "Time budget of the longest departure, from the entry into the hook"));
        let rows = words::budget(budget, *known);
        lines.extend(rows.iter().map(|(what, how_long)| Line::plain(format!("  {what:<34} {how_long}"))));
    }
    lines
}
