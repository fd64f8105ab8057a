//! Shows how a run stands: a line for each node on a terminal, a line now and then where nobody watches.

use std::convert::Infallible;
use std::time::Duration;

use decamp_rehearse::report::grouped;
use decamp_rehearse::{Phase, Progress};
use tokio::sync::watch;

use crate::out::{is_watched, tell_progress};
use crate::screen::Screen;

/// Where nobody watches, a line so often.
const SAYS_EVERY: Duration = Duration::from_secs(10);

/// Shows every change, for as long as it is polled.
pub(super) async fn show(driver: &str, seen: watch::Receiver<Progress>, aloud: bool) -> Infallible {
    match (aloud, is_watched()) {
        (false, _) => std::future::pending().await,
        (true, true) => moving(driver, seen).await,
        (true, false) => lines(driver, seen).await,
    }
}

async fn lines(driver: &str, seen: watch::Receiver<Progress>) -> Infallible {
    loop {
        tokio::time::sleep(SAYS_EVERY).await;
        tell_progress(head(driver, &seen.borrow()));
    }
}

fn head(driver: &str, progress: &Progress) -> String {
    let (requests, failed) = progress.requests;
    let what = if progress.what.is_empty() { "the cluster starts" } else { progress.what };
    format!("{driver}: {:.0} s, {what}; {} requests, {failed} failed", progress.seconds, grouped(requests))
}

async fn moving(driver: &str, mut seen: watch::Receiver<Progress>) -> Infallible {
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
            // The run is over; whoever holds us drops us next.
            std::future::pending::<()>().await;
        }
    }
}
