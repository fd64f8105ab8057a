//! Shows the progress of a run: a line for each node on a terminal, otherwise one line every ten seconds.

use std::convert::Infallible;
use std::time::Duration;

use decamp_rehearse::report::grouped;
use decamp_rehearse::{Phase, Progress};
use tokio::sync::watch;

use crate::out::{is_interactive, report_progress};
use crate::screen::Screen;

/// The interval of the lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows every change for as long as it is polled, unless the output is JSON.
pub(super) async fn show(driver: &str, seen: watch::Receiver<Progress>, text: bool) -> Infallible {
    match (text, is_interactive()) {
        (false, _) => std::future::pending().await,
        (true, true) => redrawn(driver, seen).await,
        (true, false) => lines(driver, seen).await,
    }
}

async fn lines(driver: &str, seen: watch::Receiver<Progress>) -> Infallible {
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        report_progress(head(driver, &seen.borrow()));
    }
}

fn head(driver: &str, progress: &Progress) -> String {
    let (requests, failed) = progress.requests;
    let what = if progress.what.is_empty() { "the cluster starts" } else { progress.what };
    format!("{driver}: {:.0} s, {what}; {} requests, {failed} failed", progress.seconds, grouped(requests))
}

async fn redrawn(driver: &str, mut seen: watch::Receiver<Progress>) -> Infallible {
    let mut screen = Screen::new();
    loop {
        let progress = seen.borrow_and_update().clone();
        let phases = |phases: &[Phase]| match phases {
            [] => "serves".to_owned(),
            phases => phases.iter().map(|phase| phase.word()).collect::<Vec<_>>().join(", "),
        };
        let nodes = progress.nodes.iter().filter(|(node, _)| !node.is_empty());
        let mut texts = vec![head(driver, &progress)];
        texts.extend(nodes.map(|(node, now)| format!("  {node:<8} {}", phases(now))));
        screen.put(texts);
        if seen.changed().await.is_err() {
            // The run has ended, and the caller drops this future next.
            std::future::pending::<()>().await;
        }
    }
}
