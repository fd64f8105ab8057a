//! What a rehearsal came to, in a line for each driver and one table for all.

use decamp_rehearse::is_decamp;
use decamp_rehearse::report::grouped;
use decamp_rehearse::{Kept, Null, Plan, Run};

/// What one driver came to.
pub(super) fn line(run: &Run) -> String {
    let account = &run.account;
    let end = if run.refresh_ended.is_some() { "" } else { "; its refresh did not end" };
    let requests = grouped(account.requests);
    format!("{}: {requests} requests, {} failed, in {:.0} s{end}", run.driver, many(account.failed), run.seconds)
}

/// What the machine carries, straight to the services.
pub(super) fn carries(null: &Null) -> String {
    let Null { asked, sustained, late_p99, short_p99 } = null;
    let enough = if null.is_enough() {
        "the rehearsal itself is no bottleneck here"
    } else {
        "this machine is too busy: what is said of latencies below means little"
    };
    format!(
        "straight to the services: {sustained:.0} of {asked} requests/s, leaving within {late_p99:.1} ms of when they were due \
         (p99), short ones answered within {short_p99:.1} ms (p99): {enough}"
    )
}

/// A count, in groups.
fn many(count: usize) -> String {
    grouped(u64::try_from(count).unwrap_or(u64::MAX))
}

type Cell = Box<dyn Fn(&Run) -> String>;

/// The middle one; nothing if there is none.
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
        ("failed".to_owned(), Box::new(|run| many(run.account.failed))),
    ];
    let mut kinds: Vec<&'static str> = runs.iter().flat_map(|run| run.account.failed_by_kind.keys().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let cell: Cell = Box::new(move |run| many(run.account.failed_by_kind.get(kind).copied().unwrap_or(0)));
        rows.push((format!("  {kind}"), cell));
    }
    if runs.iter().any(|run| 0 < run.judged.foreseen) {
        rows.push(("  foreseen, and named before".to_owned(), Box::new(|run| many(run.judged.foreseen))));
    }
    if runs.iter().any(|run| 0 < run.judged.older_catalog) {
        rows.push(("  sent by an older catalog".to_owned(), Box::new(|run| many(run.judged.older_catalog))));
    }
    if runs.iter().any(|run| 0 < run.judged.rig) {
        rows.push(("  of this machine's making".to_owned(), Box::new(|run| many(run.judged.rig))));
    }
    if runs.iter().any(|run| 0 < run.kills) {
        rows.push(("killed in the middle of it".to_owned(), Box::new(|run| format!("{} times", run.kills))));
    }
    if runs.iter().any(|run| run.account.kept.is_some()) {
        let of = |of: fn(Kept) -> u64| -> Cell { Box::new(move |run| grouped(run.account.kept.map_or(0, of))) };
        rows.push(("on kept connections".to_owned(), of(|kept| kept.requests)));
        rows.push(("  failed on them".to_owned(), of(|kept| kept.failed)));
        rows.push(("  sent again, closed in order".to_owned(), of(|kept| kept.again)));
    }
    let more: [(&str, Cell); 9] = [
        ("moved (closed in order, back in 1 s)", Box::new(|run| run.account.moved.to_string())),
        ("short requests, p50", Box::new(|run| format!("{:.1} ms", run.account.short.p50))),
        ("short requests, p99", Box::new(|run| format!("{:.1} ms", run.account.short.p99))),
        ("  the same in the calm before", Box::new(|run| format!("{:.1} ms", run.account.calm.p99))),
        ("all requests, longest", Box::new(|run| format!("{:.0} ms", run.account.all.max))),
        (
            "longest a service went without",
            Box::new(|run| seconds(run.account.longest_gap.values().copied().max_by(f64::total_cmp))),
        ),
        ("a node's departure, median", Box::new(|run| seconds(median(run.strips.iter().filter_map(|s| s.departure).collect())))),
        ("above the floor, median", Box::new(|run| seconds(median(run.strips.iter().filter_map(|s| s.above_floor).collect())))),
        ("left after due, p99", Box::new(|run| format!("{:.1} ms", run.account.late_p99))),
    ];
    rows.extend(more.into_iter().map(|(name, cell)| (name.to_owned(), cell)));
    rows
}

/// The table's rows, for the report.
pub(super) fn cells(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    rows(runs).into_iter().map(|(name, cell)| (name, runs.iter().map(&*cell).collect())).collect()
}

/// The table, and what it says in a sentence.
pub(super) fn lines(plan: &Plan, runs: &[Run]) -> Vec<String> {
    let rows = rows(runs);
    let first = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let width = |run: &Run| rows.iter().map(|(_, cell)| cell(run).len()).max().unwrap_or(0).max(run.driver.len());
    let widths: Vec<usize> = runs.iter().map(width).collect();
    let mut lines = vec![String::new(), format!("{:first$}", "")];
    for (run, width) in runs.iter().zip(&widths) {
        lines[1].push_str(&format!("  {:>width$}", run.driver));
    }
    for (name, cell) in &rows {
        let mut line = format!("{name:first$}");
        for (run, width) in runs.iter().zip(&widths) {
            line.push_str(&format!("  {:>width$}", cell(run)));
        }
        lines.push(line);
    }
    lines.push(String::new());
    if let Some(real) = runs.first().map(|run| run.real.join(", ")).filter(|real| !real.is_empty()) {
        lines.push(format!("real beside decamp, requests and sockets: {real}"));
    }
    lines.extend(verdict(plan, runs));
    lines
}

/// Where the rehearsal itself may be to blame.
fn warnings(runs: &[Run]) -> Vec<String> {
    let warning = |run: &Run| Some(format!("warning: {}: {}", run.driver, run.bottleneck.as_ref()?));
    runs.iter().filter_map(warning).collect()
}

/// What a newcomer takes away.
fn verdict(plan: &Plan, runs: &[Run]) -> Vec<String> {
    let mut lines = warnings(runs);
    if let Some(decamp) = runs.iter().find(|run| is_decamp(run.driver)) {
        let (failed, requests, nodes) = (decamp.account.failed, grouped(decamp.account.requests), plan.nodes * plan.rounds);
        lines.push(match failed {
            0 => format!("decamp replaced {nodes} instances under {requests} requests, and not one of them failed."),
            _ => format!("decamp replaced {nodes} instances under {requests} requests; {failed} failed."),
        });
        for (finding, failures) in &decamp.judged.by_finding {
            lines.push(format!("  {failures} of them were foreseen, and named before the first write: {finding}"));
        }
        if 0 < decamp.judged.older_catalog {
            let many = decamp.judged.older_catalog;
            lines
                .push(format!("  {many} of them an ingress sent by a catalog that it could not renew: Consul was away for all."));
        }
        if 0 < decamp.judged.rig {
            lines.push(format!("  {} of them did not even reach the load balancer.", decamp.judged.rig));
        }
        if 0 < decamp.judged.attributable {
            lines.push(format!("  {} of them nothing explains: they are decamp's. The first ones:", decamp.judged.attributable));
            let first = decamp.account.failures.iter().take(10);
            lines.extend(first.map(|f| format!("  {:6.1} s  {} for {}: {}", f.at, f.how.word(), f.service, f.cause)));
        }
    }
    lines
}
