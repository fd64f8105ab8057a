//! How tasks stopped, by Nomad's task events: what is said of a departure. What it does never changes (ADR 0045).

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Allocation, Claims, ClientStatus, Disk, EffectKind, Finding, JobKind, Layer, Loss, Outcome, Process, Snapshot, Stop,
    StopKind, Task, TaskEnd, TaskRole, stop_evidence, stop_findings, stops,
};
use decamp_core::ids::AllocationId;

use crate::decisions::completion;
use crate::facts::{API, BATCH, ENTRY, INGRESS, SHOP, allocation, secs, task_group};
use crate::scene::{Scene, calm, over};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn docker() -> Process {
    Process { driver: "docker".into(), ..Process::default() }
}

/// A stop of the task `server`, 40 s after the instance entered its hook.
fn stop(took: Duration, kill_timeout: u64, exit_code: i64, signal: i64) -> Stop {
    let signalled = ENTRY + secs(40);
    Stop { task: "server".into(), signalled, took, kill_timeout: secs(kill_timeout), exit_code, signal, out_of_memory: false }
}

fn deaf() -> Stop {
    stop(ms(3_080), 3, 137, 0)
}

fn abrupt() -> Stop {
    stop(ms(60), 3, 143, 0)
}

fn in_order() -> Stop {
    stop(ms(1_100), 5, 0, 0)
}

fn ends(stop: Stop) -> Arc<[TaskEnd]> {
    [TaskEnd::Stopped(stop)].into()
}

/// A departure in which one allocation stopped like this. It serves for 5 s after it left discovery, as long as the ingress remembers it.
fn departed(id: AllocationId, stop: &Stop, change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = over(|scene| {
        scene.task_group(id, |group| {
            group.shutdown_delay = secs(5);
            group.tasks[0].process = docker();
        });
        change(scene);
    });
    scene.allocation(id, |a| a.ends = ends(stop.clone()));
    scene.news_from_nomad();
    scene
}

fn findings(scene: &Scene) -> Vec<Finding> {
    stop_findings(&scene.departure, &scene.seen, &scene.policy)
}

fn evidence(scene: &Scene) -> Vec<String> {
    stop_evidence(&scene.departure, &scene.seen, &scene.policy)
}

#[track_caller]
fn only(scene: &Scene) -> Finding {
    match findings(scene).as_slice() {
        [finding] => finding.clone(),
        all => panic!("{all:?}"),
    }
}

#[test]
fn the_kind_of_a_stop_follows_from_its_time_its_code_and_its_signal() {
    let kind = |stop: Stop| StopKind::of(&stop, &docker());
    assert_eq!(kind(in_order()), StopKind::InOrder);
    assert_eq!(kind(stop(ms(60), 5, 0, 0)), StopKind::InOrder, "a quick handler");
    assert_eq!(kind(stop(ms(60), 5, 1, 0)), StopKind::InOrder, "its own code");
    assert_eq!(kind(deaf()), StopKind::Deaf);
    assert_eq!(kind(stop(ms(3_170), 3, 137, 9)), StopKind::Deaf, "raw_exec and exec report the signal");
    assert_eq!(kind(stop(ms(3_170), 3, 0, 9)), StopKind::Deaf);
    assert_eq!(kind(abrupt()), StopKind::Abrupt);
    assert_eq!(kind(stop(ms(45), 3, 130, 2)), StopKind::Abrupt, "SIGINT");
    assert_eq!(kind(stop(ms(249), 3, 143, 15)), StopKind::Abrupt);
    assert_eq!(kind(stop(ms(250), 3, 143, 15)), StopKind::InOrder, "it did something first, and then ended itself by the signal");
    assert_eq!(kind(stop(ms(1_200), 3, 137, 9)), StopKind::KilledEarly);
    assert_eq!(kind(Stop { out_of_memory: true, ..deaf() }), StopKind::OutOfMemory, "memory killed it, and not its kill_timeout");
    assert_eq!(kind(stop(ms(4_001), 5, 0, 0)), StopKind::Slow);
    assert_eq!(kind(stop(ms(4_000), 5, 0, 0)), StopKind::InOrder, "80 % is in time");
}

#[test]
fn the_signal_that_a_job_names_ends_a_task_as_sigterm_does() {
    let quit = |signal: Option<&str>| Process { kill_signal: signal.map(Into::into), ..docker() };
    let by_quit = stop(ms(30), 5, 131, 0);
    assert_eq!(StopKind::of(&by_quit, &quit(Some("SIGQUIT"))), StopKind::Abrupt);
    assert_eq!(StopKind::of(&by_quit, &quit(None)), StopKind::InOrder, "nobody sent it");
}

#[test]
fn a_task_that_had_to_be_killed_is_named_with_the_line_for_its_driver() {
    let finding = only(&departed(API, &deaf(), |_| ()));
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::Container, Loss::DeafTask, "api/group/server"));
    assert_eq!(finding.value, "it did not stop on SIGTERM within 3s and was killed");
    // Forgotten after 5 s, requests of 5 s, gone after 5 s and 3.08 s.
    assert_eq!(finding.why, "1s of requests may have been cut");
    assert!(finding.line.starts_with("config { init = true } # and a handler for SIGTERM"), "{}", finding.line);
    let line = |process: Process| {
        let change = |scene: &mut Scene| scene.task_group(API, |group| group.tasks[0].process = process.clone());
        only(&departed(API, &deaf(), change)).line
    };
    let of = |driver: &str| Process { driver: driver.into(), ..Process::default() };
    assert!(line(of("raw_exec")).starts_with("kill_signal = \"SIGTERM\" # the driver's default is SIGINT"));
    assert!(line(of("exec")).starts_with("kill_signal = \"SIGTERM\""));
    assert!(line(Process { init: true, ..docker() }).starts_with("# handle SIGTERM in the server"), "the init is there");
    let named = Process { kill_signal: Some("SIGQUIT".into()), ..docker() };
    assert!(line(named).ends_with("it does not handle SIGQUIT; a shell in front runs it with exec"));
}

#[test]
fn a_task_that_dies_of_its_signal_is_named_with_another_line() {
    let finding = only(&departed(API, &abrupt(), |_| ()));
    assert_eq!((finding.layer, finding.loss), (Layer::Container, Loss::AbruptTask));
    assert_eq!(finding.value, "SIGTERM ended it after 60ms, before it could finish anything");
    assert_eq!(finding.why, "4s of requests may have been cut");
    assert!(finding.line.starts_with("# handle SIGTERM in the server: finish requests, then exit"), "{}", finding.line);
    assert!(finding.line.ends_with("or, without a handler: shutdown_delay = \"10s\""), "{}", finding.line);
}

#[test]
fn a_task_that_nothing_reaches_any_more_may_die_of_its_signal() {
    let longer = |scene: &mut Scene| scene.task_group(API, |group| group.shutdown_delay = secs(10));
    assert_eq!(findings(&departed(API, &abrupt(), longer)), []);
    let a_little = |scene: &mut Scene| scene.task_group(API, |group| group.shutdown_delay = secs(9));
    assert_eq!(only(&departed(API, &abrupt(), a_little)).loss, Loss::AbruptTask);
}

#[test]
fn a_task_that_had_to_be_killed_is_named_even_if_it_cost_nothing() {
    let longer = |scene: &mut Scene| scene.task_group(API, |group| group.shutdown_delay = secs(20));
    let scene = departed(API, &deaf(), longer);
    assert_eq!(findings(&scene), [], "no setting costs requests");
    let said = "api/group/server: it did not stop on SIGTERM within 3s and was killed; no request could be in progress by then, unless \
                it takes longer than DECAMP_LONGEST_REQUEST";
    assert_eq!(evidence(&scene), [said]);
}

#[test]
fn what_a_load_balancer_sends_to_is_released_before_it_is_stopped() {
    let finding = only(&departed(INGRESS, &deaf(), |_| ()));
    assert_eq!(&*finding.object, "traefik/group/server");
    assert!(finding.why.starts_with("load balancers had released it"), "{}", finding.why);
    assert_eq!(findings(&departed(INGRESS, &abrupt(), |_| ())), []);
}

#[test]
fn work_without_requests_is_cut_as_well() {
    let add = |scene: &mut Scene| {
        let mut batch = task_group("nightly", JobKind::Service);
        batch.services.clear();
        scene.add_allocation(allocation(BATCH, batch, 0));
    };
    let mut scene = over(add);
    scene.allocation(BATCH, |a| a.ends = ends(abrupt()));
    scene.news_from_nomad();
    assert_eq!(only(&scene).why, "it serves no requests, and what it was working on was cut");
}

#[test]
fn a_sidecar_is_stopped_when_nothing_can_reach_it_any_more() {
    let sidecar = |scene: &mut Scene| {
        scene.task_group(API, |group| {
            let logs = Task { name: "logs".into(), role: TaskRole::Sidecar, ..group.tasks[0].clone() };
            group.tasks.push(logs);
        });
    };
    let scene = departed(API, &Stop { task: "logs".into(), ..abrupt() }, sidecar);
    assert_eq!(findings(&scene), []);
    assert_eq!(evidence(&scene).len(), 1, "it is evidence");
}

#[test]
fn copies_of_a_task_are_counted_together_and_other_tasks_alone() {
    let mut scene = departed(API, &deaf(), |scene| {
        scene.add_allocation(Allocation {
            ends: [].into(),
            moved: false,
            disk: Disk::Stays,
            claims: Claims::default(),
            ..allocation(AllocationId(9), task_group("api", JobKind::Service), 0)
        });
    });
    scene.allocation(AllocationId(9), |a| a.ends = ends(in_order()));
    scene.allocation(SHOP, |a| a.ends = ends(in_order()));
    scene.news_from_nomad();
    assert_eq!(only(&scene).value, "1 of 2 copies: it did not stop on SIGTERM within 3s and was killed");
    let all = evidence(&scene);
    assert_eq!(
        all,
        [
            "api/group/server: 1 of 2 copies: it did not stop on SIGTERM within 3s and was killed; 1s of requests may have been cut",
            "shop/group/server: it stopped in order after 1s; it may take 5s",
        ]
    );
    let counted = stops(&scene.departure, &scene.seen, &scene.policy);
    assert_eq!(counted.iter().map(|task| task.count(StopKind::Deaf)).sum::<usize>(), 1);
}

#[test]
fn a_stop_for_memory_or_by_somebody_else_is_evidence_and_blames_no_handler() {
    let memory = departed(API, &Stop { out_of_memory: true, ..deaf() }, |_| ());
    assert_eq!(findings(&memory), []);
    let said =
        "api/group/server: it was killed while it stopped, because its memory was used up; 1s of requests may have been cut";
    assert_eq!(evidence(&memory), [said]);
    let early = departed(API, &stop(ms(1_000), 5, 137, 9), |_| ());
    assert_eq!(findings(&early), []);
    let said = "api/group/server: it was killed after 1s of the 5s that it may take; 4s of requests may have been cut";
    assert_eq!(evidence(&early), [said]);
}

#[test]
fn the_outcome_stays_departed_whatever_the_stops_were() {
    for stop in [deaf(), abrupt(), in_order()] {
        let mut scene = departed(API, &stop, |_| ());
        let decision = scene.until_it_writes(EffectKind::Complete);
        assert_eq!(completion(&decision).1, Outcome::Departed { waiting_for: None }, "{stop:?}");
    }
}

#[test]
fn events_that_cannot_be_read_are_said_to_be_unknown_and_not_fine() {
    let mut scene = over(|_| ());
    let why: Arc<str> = "Nomad's event Killing has kill_timeout not at all".into();
    scene.allocation(API, |a| a.ends = [TaskEnd::Unreadable { task: "server".into(), why: Arc::clone(&why) }].into());
    scene.news_from_nomad();
    assert_eq!(findings(&scene), []);
    let said = format!("api/group/server: how it stopped is unknown, and so is whether requests were cut: {why}");
    assert_eq!(evidence(&scene), [said]);
}

#[test]
fn what_nomad_has_removed_since_is_remembered() {
    let mut scene = departed(API, &deaf(), |_| ());
    scene.purge(API);
    scene.news_from_nomad();
    assert_eq!(only(&scene).loss, Loss::DeafTask);
}

#[test]
fn a_worker_that_comes_later_names_what_the_departure_stopped_and_nothing_older() {
    let scene = departed(API, &deaf(), |scene| {
        let old = Stop { signalled: ENTRY - secs(60), ..deaf() };
        let mut ended = allocation(AllocationId(9), task_group("old", JobKind::Service), 0);
        (ended.client, ended.wanted, ended.ends) = (ClientStatus::Complete, false, ends(old));
        scene.add_allocation(ended);
    });
    let mut later = Scene { seen: Snapshot::begin(scene.departure.instance, scene.now), ..scene };
    later.until_it_writes(EffectKind::Complete);
    assert!(later.seen.history.known.is_empty(), "all was over when it came");
    assert_eq!(&*only(&later).object, "api/group/server");
}

#[test]
fn nothing_is_said_of_what_still_runs() {
    let mut scene = calm();
    scene.next();
    assert_eq!((findings(&scene), evidence(&scene)), (vec![], vec![]));
}
