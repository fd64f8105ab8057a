//! What the last stops of a job foresee, before anything leaves.

use std::time::Duration;

use decamp_core::decide::{
    Foreseen, JobKind, Loss, PastAllocation, Policy, Process, Stop, TaskEnd, TaskGroup, TaskRole, foreseen_stops,
};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;

use crate::facts::{secs, task_group};

fn group(change: impl FnOnce(&mut TaskGroup)) -> TaskGroup {
    let mut group = task_group("web", JobKind::Service);
    group.shutdown_delay = secs(5);
    group.tasks[0].process = Process { driver: "docker".into(), ..Process::default() };
    change(&mut group);
    group
}

fn stop(milliseconds: u64, exit_code: i64) -> Stop {
    let took = Duration::from_millis(milliseconds);
    Stop { task: "server".into(), signalled: Time(0), took, kill_timeout: secs(10), exit_code, signal: 0, out_of_memory: false }
}

/// It was killed at a `kill_timeout` so short that requests were in progress.
fn deaf() -> Stop {
    Stop { kill_timeout: secs(3), ..stop(3_100, 137) }
}

fn past(version: u64, stop: Stop) -> PastAllocation {
    PastAllocation { id: AllocationId(1), group: "group".into(), version, ends: vec![TaskEnd::Stopped(stop)] }
}

fn foresee(group: &TaskGroup, past: &[PastAllocation]) -> Foreseen {
    foreseen_stops(group, past, false, secs(5), &Policy::default())
}

fn losses(foreseen: &Foreseen) -> Vec<Loss> {
    foreseen.findings.iter().map(|finding| finding.loss).collect()
}

#[test]
fn stops_that_ended_by_sigkill_are_counted_among_the_last_ones() {
    let all: Vec<_> = (0..3).map(|_| past(0, deaf())).chain([past(0, stop(900, 0))]).collect();
    let foreseen = foresee(&group(|_| ()), &all);
    let [finding] = foreseen.findings.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!((finding.loss, &*finding.object), (Loss::DeafTask, "web/group/server"));
    assert_eq!(finding.value, "3 of the last 4 stops (job version 0) ended by SIGKILL at its kill_timeout of 3s");
    assert!(finding.line.starts_with("config { init = true }"), "{}", finding.line);
    assert_eq!(foreseen.hints, []);
    assert_eq!(
        foreseen.facts,
        ["server: the last 4 stops (job version 0): 3 ended by SIGKILL at kill_timeout; took up to 3s of 3s"]
    );
}

#[test]
fn a_kill_that_cuts_no_request_as_far_as_the_settings_show_is_a_hint() {
    let foreseen = foresee(&group(|_| ()), &[past(0, stop(10_100, 137))]);
    assert_eq!(losses(&foreseen), []);
    let [hint] = foreseen.hints.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!(hint.loss, Loss::DeafTask);
    assert!(hint.why.contains("no request is in progress any more when it is gone"), "{}", hint.why);
}

#[test]
fn stops_by_the_signal_are_another_finding() {
    let foreseen = foresee(&group(|_| ()), &[past(0, stop(60, 143))]);
    let [finding] = foreseen.findings.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!(finding.loss, Loss::AbruptTask);
    assert_eq!(finding.value, "the last stop (job version 0) ended by SIGTERM within 250ms");
    assert!(finding.why.ends_with("each stop may cut 4s of requests"), "{}", finding.why);
    let out_of_reach = group(|group| group.shutdown_delay = secs(10));
    assert_eq!(losses(&foresee(&out_of_reach, &[past(0, stop(60, 143))])), []);
}

#[test]
fn a_stop_that_takes_most_of_its_time_is_named_with_a_longer_one() {
    let foreseen = foresee(&group(|_| ()), &[past(0, stop(8_400, 0)), past(0, stop(8_100, 0)), past(0, stop(1_000, 0))]);
    let [finding] = foreseen.findings.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!((finding.loss, &*finding.line), (Loss::SlowStop, "kill_timeout = \"11s\""));
    assert!(finding.value.starts_with("2 of the last 3 stops"), "{}", finding.value);
    assert_eq!(losses(&foresee(&group(|_| ()), &[past(0, stop(8_000, 0))])), []);
}

#[test]
fn only_the_newest_version_that_was_stopped_counts() {
    let mended = [past(4, stop(900, 0)), past(3, deaf()), past(3, deaf())];
    assert_eq!(losses(&foresee(&group(|_| ()), &mended)), []);
    let broken = [past(3, stop(900, 0)), past(4, deaf())];
    assert_eq!(losses(&foresee(&group(|_| ()), &broken)), [Loss::DeafTask]);
}

#[test]
fn a_job_with_no_ended_allocation_says_so() {
    let foreseen = foresee(&group(|_| ()), &[]);
    assert_eq!((foreseen.findings, foreseen.hints), (vec![], vec![]));
    assert_eq!(foreseen.facts, ["server: no allocation of it was stopped in the last 7 days, so how it stops is not known"]);
}

#[test]
fn a_shell_in_front_is_a_hint_only_without_evidence() {
    let shell = group(|group| group.tasks[0].process.shell = Some("/bin/sh -c".into()));
    let foreseen = foresee(&shell, &[]);
    assert_eq!(foreseen.findings, []);
    let [hint] = foreseen.hints.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!((hint.loss, &*hint.value), (Loss::DeafTask, "a shell starts it: /bin/sh -c"));
    assert_eq!(foresee(&shell, &[past(0, stop(900, 0))]).hints, [], "it has a trap, whatever starts it");
    let unread = TaskEnd::Unreadable { task: "server".into(), why: "it is odd".into() };
    let unknown = PastAllocation { ends: vec![unread], ..past(0, stop(0, 0)) };
    let foreseen = foresee(&shell, &[unknown]);
    assert_eq!((foreseen.hints.len(), &*foreseen.facts[0]), (1, "server: how it stops is unknown: it is odd"));
}

#[test]
fn stops_of_other_groups_and_of_tasks_that_stop_for_themselves_do_not_count() {
    let other = PastAllocation { group: "other".into(), ..past(0, deaf()) };
    assert_eq!(losses(&foresee(&group(|_| ()), &[other])), []);
    let init = group(|group| group.tasks[0].role = TaskRole::Finished);
    assert_eq!(foresee(&init, &[past(0, deaf())]), Foreseen::default());
}
