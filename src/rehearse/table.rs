//! The results of a rehearsal: a line for each driver, and one table for all.

use decamp_rehearse::is_decamp;
use decamp_rehearse::report::grouped;
use decamp_rehearse::{ControlRun, Kept, Plan, Run};

use crate::out::wrapped;
use crate::styled::{Style, StyledLine};

/// The result of one driver.
pub(super) fn line(run: &Run) -> StyledLine {
    let account = &run.account;
    let end = if run.refresh_ended.is_some() { "" } else { "; its refresh did not end" };
    let requests = grouped(account.requests);
    let line = StyledLine::plain(format!("{}: {requests} requests, ", run.driver));
    line.then(of_failed(account.failed), format!("{} failed", many(account.failed)))
        .then(Style::Plain, format!(", in {:.0} s{end}", run.seconds))
}

fn of_failed(failed: usize) -> Style {
    if failed == 0 { Style::Good } else { Style::Error }
}

/// The capacity of the machine, as the first line of the JSON.
pub(super) fn capacity_json(control: &ControlRun) -> serde_json::Value {
    serde_json::json!({ "kind": "machine", "requests_asked": control.asked, "requests_sustained": control.sustained,
        "late_p99_ms": control.late_p99, "short_p99_ms": control.short_p99, "is_enough": control.is_enough() })
}

/// The capacity of the machine, measured with requests sent directly to the services.
pub(super) fn capacity(control: &ControlRun) -> String {
    let ControlRun { asked, sustained, late_p99, short_p99 } = control;
    let enough = if control.is_enough() {
        "it is fast enough"
    } else {
        "it is busy now; if it stays busy, it may cause failures below, and the result will say so"
    };
    format!(
        "this machine, sending directly to the services: {sustained:.0} of {asked} requests/s, sent within {late_p99:.1} ms of their due \
         time (p99), short ones answered within {short_p99:.1} ms (p99): {enough}"
    )
}

/// A count with its thousands separated.
fn many(count: usize) -> String {
    grouped(u64::try_from(count).unwrap_or(u64::MAX))
}

type Cell = Box<dyn Fn(&Run) -> String>;

/// The median, if there is any value.
fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} s"))
}

fn rows(runs: &[Run]) -> Vec<(String, Cell)> {
    let mut rows: Vec<(String, Cell)> = vec![
        ("requests".to_owned(), Box::new(|run| grouped(run.account.requests))),
        (FAILED.to_owned(), Box::new(|run| many(run.account.failed))),
    ];
    let mut kinds: Vec<&'static str> = runs.iter().flat_map(|run| run.account.failed_by_kind.keys().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let cell: Cell = Box::new(move |run| many(run.account.failed_by_kind.get(kind).copied().unwrap_or(0)));
        rows.push((format!("  {kind}"), cell));
    }
    if runs.iter().any(|run| 0 < run.judged.foreseen) {
        rows.push(("  explained by a finding".to_owned(), Box::new(|run| many(run.judged.foreseen))));
    }
    if runs.iter().any(|run| 0 < run.judged.older_catalog) {
        rows.push(("  sent by an older catalog".to_owned(), Box::new(|run| many(run.judged.older_catalog))));
    }
    if runs.iter().any(|run| 0 < run.judged.rig) {
        rows.push(("  caused by this machine".to_owned(), Box::new(|run| many(run.judged.rig))));
    }
    if runs.iter().any(|run| 0 < run.kills) {
        rows.push(("decamp killed".to_owned(), Box::new(|run| format!("{} times", run.kills))));
    }
    if runs.iter().any(|run| run.account.kept.is_some()) {
        let of = |of: fn(Kept) -> u64| -> Cell { Box::new(move |run| grouped(run.account.kept.map_or(0, of))) };
        rows.push(("on kept connections".to_owned(), of(|kept| kept.requests)));
        rows.push(("  failed on them".to_owned(), of(|kept| kept.failed)));
        rows.push(("  sent again, closed in order".to_owned(), of(|kept| kept.again)));
    }
    let more: [(&str, Cell); 9] = [
        ("moved", Box::new(|run| run.account.moved.to_string())),
        ("short requests, p50", Box::new(|run| format!("{:.1} ms", run.account.short.p50))),
        ("short requests, p99", Box::new(|run| format!("{:.1} ms", run.account.short.p99))),
        ("  the same before the refresh", Box::new(|run| format!("{:.1} ms", run.account.calm.p99))),
        ("all requests, longest", Box::new(|run| format!("{:.0} ms", run.account.all.max))),
        (
            "longest outage of a service",
            Box::new(|run| seconds(run.account.longest_gap.values().copied().max_by(f64::total_cmp))),
        ),
        ("a node's departure, median", Box::new(|run| seconds(median(run.strips.iter().filter_map(|s| s.departure).collect())))),
        ("above the floor, median", Box::new(|run| seconds(median(run.strips.iter().filter_map(|s| s.above_floor).collect())))),
        ("sent after due, p99", Box::new(|run| format!("{:.1} ms", run.account.late_p99))),
    ];
    rows.extend(more.into_iter().map(|(name, cell)| (name.to_owned(), cell)));
    rows
}

/// The table's rows for the report, which has no room for explanations below the table.
pub(super) fn cells(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let explained = |name: String| match name.as_str() {
        "moved" => "moved (closed in order, back in 1 s)".to_owned(),
        "above the floor, median" => "  of it neither delay nor stops, median".to_owned(),
        "sent after due, p99" => "sent late by the rehearsal itself, p99".to_owned(),
        _ => name,
    };
    rows(runs).into_iter().map(|(name, cell)| (explained(name), runs.iter().map(&*cell).collect())).collect()
}

/// The table, the explanations of its rows, and the verdict.
pub(super) fn lines(plan: &Plan, runs: &[Run], control: &ControlRun) -> Vec<StyledLine> {
    let rows = rows(runs);
    let first = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let width = |run: &Run| rows.iter().map(|(_, cell)| cell(run).len()).max().unwrap_or(0).max(run.driver.len());
    let widths: Vec<usize> = runs.iter().map(width).collect();
    let mut heads = StyledLine::plain(format!("{:first$}", ""));
    for (run, width) in runs.iter().zip(&widths) {
        heads = heads.then(Style::Heading, format!("  {:>width$}", run.driver));
    }
    let mut lines = vec![StyledLine::plain(""), heads];
    for (name, cell) in &rows {
        let mut line = StyledLine::plain(format!("{name:first$}"));
        for (run, width) in runs.iter().zip(&widths) {
            let style = if name == FAILED { of_failed(run.account.failed) } else { Style::Plain };
            line = line.then(style, format!("  {:>width$}", cell(run)));
        }
        lines.push(line);
    }
    lines.push(StyledLine::plain(""));
    for (row, meaning) in EXPLANATIONS {
        let head = format!("{row}: ");
        lines.extend(wrapped(&head, meaning, 2).into_iter().map(|line| StyledLine::of(Style::Muted, line)));
    }
    lines.push(StyledLine::plain(""));
    if let Some(real) = runs.first().map(|run| run.real.join(", ")).filter(|real| !real.is_empty()) {
        let text = format!("real besides decamp, the requests and the sockets: {real}");
        lines.extend(wrapped("", &text, 2).into_iter().map(StyledLine::plain));
    }
    lines.extend(
        warnings(runs, control)
            .into_iter()
            .flat_map(|line| wrapped("", &line, 2))
            .map(|line| StyledLine::of(Style::Warning, line)),
    );
    let failed = runs.iter().find(|run| is_decamp(run.driver)).map_or(0, |run| run.account.failed);
    lines.extend(
        verdict(plan, runs)
            .into_iter()
            .flat_map(|(head, text)| wrapped(&head, &text, 4))
            .map(|line| StyledLine::of(of_failed(failed), line)),
    );
    lines
}

/// The row whose numbers are coloured.
const FAILED: &str = "failed";

/// The meaning of the rows that only a rehearsal has.
const EXPLANATIONS: [(&str, &str); 3] = [
    (
        "moved",
        "sockets that were closed in order, or by the load balancer at the end of its delay, and open again within 1 s; not failed",
    ),
    (
        "above the floor",
        "the part of a departure that was neither the load balancers' delay nor the stops of its allocations, which no tool can shorten",
    ),
    ("sent after due", "how late the rehearsal itself sent its requests: more than some ms means that this machine was busy"),
];

/// Results that the machine itself may have caused. A machine that was busy only before the drivers ran did not affect them.
fn warnings(runs: &[Run], control: &ControlRun) -> Vec<String> {
    let warning = |run: &Run| Some(format!("warning: {}: {}", run.driver, run.bottleneck.as_ref()?));
    let mut lines: Vec<String> = runs.iter().filter_map(warning).collect();
    if lines.is_empty() && !control.is_enough() {
        lines.push("This machine was busy only before the first driver ran; it did not affect the results above.".to_owned());
    }
    lines
}

/// The result in sentences, each with its indentation.
fn verdict(plan: &Plan, runs: &[Run]) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let own = |text: String| (String::new(), text);
    let below = |text: String| ("  ".to_owned(), text);
    if let Some(decamp) = runs.iter().find(|run| is_decamp(run.driver)) {
        let (failed, requests, nodes) = (decamp.account.failed, grouped(decamp.account.requests), plan.nodes * plan.rounds);
        lines.push(own(match failed {
            0 => format!("decamp replaced {nodes} instances under {requests} requests, and not one of them failed."),
            _ => format!("decamp replaced {nodes} instances under {requests} requests; {failed} failed."),
        }));
        for (finding, failures) in &decamp.judged.by_finding {
            lines.push(below(format!("decamp named the cause of {failures} of them: {finding}")));
        }
        if 0 < decamp.judged.older_catalog {
            let many = decamp.judged.older_catalog;
            lines.push(below(format!(
                "An ingress sent {many} of them by a stale catalog, while Consul was unavailable to everybody."
            )));
        }
        if 0 < decamp.judged.rig {
            lines.push(below(format!("{} of them did not even reach the load balancer.", decamp.judged.rig)));
        }
        if 0 < decamp.judged.attributable {
            let many = decamp.judged.attributable;
            lines.push(below(match decamp.bottleneck {
                None => format!("{many} of them are unexplained, so they count as decamp's. The first ones:"),
                Some(_) => format!(
                    "{many} of them are unexplained, and this machine was too busy. The run shows nothing for or against decamp. Rehearse \
                     again when the machine is idle, or with a lower --rate. The first ones:"
                ),
            }));
            let first = decamp.account.failures.iter().take(10);
            lines.extend(first.map(|f| below(format!("{:.1} s: {} for {}: {}", f.at, f.how.word(), f.service, f.cause))));
        }
    }
    lines
}
