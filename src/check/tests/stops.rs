//! What `decamp check` reports of how tasks stopped so far.

use std::sync::Arc;
use std::time::Duration;

use super::{Calm, NOW, Verdict, calm, printed, reported};
use crate::check::rules::Report;
use crate::check::stops::PastStops;
use decamp_core::decide::{PastAllocation, Process, Stop, TaskEnd, Unseen};
use decamp_core::ids::AllocationId;

fn stop(milliseconds: u64, exit_code: i64) -> PastAllocation {
    let stop = Stop {
        task: "srv".into(),
        signalled: NOW,
        took: Duration::from_millis(milliseconds),
        kill_timeout: Duration::from_secs(10),
        exit_code,
        signal: 0,
        out_of_memory: false,
    };
    of(stop)
}

/// It serves for 20 s, the ingress remembers it for 17 s, and requests take up to 5 s.
fn killed_soon() -> PastAllocation {
    let took = Duration::from_millis(1_050);
    let kill_timeout = Duration::from_secs(1);
    of(Stop { task: "srv".into(), signalled: NOW, took, kill_timeout, exit_code: 137, signal: 0, out_of_memory: false })
}

fn of(stop: Stop) -> PastAllocation {
    PastAllocation { id: AllocationId(1), group: "web".into(), version: 2, ends: vec![TaskEnd::Stopped(stop)] }
}

/// The printed report without its line breaks.
fn in_words(report: &Report) -> String {
    printed(report).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn past(ended: Result<Vec<PastAllocation>, Unseen>) -> impl FnOnce(&mut Calm) {
    |calm| calm.past.push(PastStops { namespace: "default".into(), job: "web".into(), ended })
}

fn a_shell_starts_it(calm: &mut Calm) {
    for node in calm.nomad.iter_mut().flatten().flat_map(|nomad| &mut nomad.nodes) {
        let mut all = node.allocations.to_vec();
        for allocation in &mut all {
            let process = Process { driver: "docker".into(), shell: Some("/bin/sh -c".into()), ..Process::default() };
            Arc::make_mut(&mut allocation.group).tasks[0].process = process;
        }
        node.allocations = all.into();
    }
}

#[test]
fn stops_that_ended_by_sigkill_are_a_warning_before_anything_leaves() {
    let report = calm().change(past(Ok(vec![killed_soon(), killed_soon(), stop(1_700, 0)]))).report();
    let value = "2 of the last 3 stops (job version 2) ended by SIGKILL at its kill_timeout of 1s";
    assert_eq!(reported(&report), (Verdict::Warning, vec![value]));
    assert_eq!(&*report.notices[0].object, "web/web/srv");
    let text = printed(&report);
    assert!(text.contains("longest stop of an allocation      30s\n  longest of the past stops          1s\n"), "{text}");
}

#[test]
fn stops_in_order_are_a_fact_and_no_notice() {
    let report = calm().change(past(Ok(vec![stop(700, 0)]))).report();
    assert_eq!(reported(&report), (Verdict::Works, vec![]));
    assert!(in_words(&report).contains("web/web: srv: the last stop (job version 2): all in order; took up to 700ms of 10s"));
}

#[test]
fn a_shell_in_front_is_a_hint_that_changes_no_verdict() {
    let report = calm().change(a_shell_starts_it).change(past(Ok(Vec::new()))).report();
    assert_eq!(reported(&report), (Verdict::Works, vec!["a shell starts it: /bin/sh -c"]));
    assert_eq!((report.notices[0].verdict, report.verdict.exit_code()), (Verdict::Hint, 0));
    let text = in_words(&report);
    assert!(text.contains("hint: container: web/web/srv: a shell starts it: /bin/sh -c;"), "{text}");
    let proved = calm().change(a_shell_starts_it).change(past(Ok(vec![stop(700, 0)]))).report();
    assert_eq!(reported(&proved), (Verdict::Works, vec![]));
}

#[test]
fn a_job_without_ended_allocations_or_with_unreadable_ones_says_so() {
    let none = in_words(&calm().change(past(Ok(Vec::new()))).report());
    assert!(none.contains("srv: no allocation of it was stopped in the last 7 days, so how it stops is not known"), "{none}");
    let unseen = calm().change(past(Err(Unseen::Denied("Permission denied".into())))).report();
    assert_eq!(reported(&unseen), (Verdict::Works, vec![]));
    let text = in_words(&unseen);
    assert!(text.contains("how it stopped so far is unknown, because its ended allocations cannot be read:"), "{text}");
    assert!(text.contains("longest of the past stops unknown"), "{text}");
}
