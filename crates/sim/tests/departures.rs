//! Whole simulated departures: stories that people can read, the same seed twice, and every crash point.

mod stories;

use std::sync::atomic::{AtomicU64, Ordering};

use decamp_core::decide::{Loss, Outcome};
use decamp_sim::drivers::Driver;
use decamp_sim::run::{CrashPoint, Run, RunReport, run_departure};
use decamp_sim::simulate::{Draw, faults_of, play_seed};

use stories::{all_stories, seed_of};

#[test]
fn every_story_is_played_as_it_is_kept() {
    for story in all_stories() {
        let kept = std::fs::read_to_string(story.path()).unwrap_or_else(|why| panic!("{}: {why}", story.path().display()));
        let seed = seed_of(&kept).expect("the second line names the seed");
        let report = story.run(seed);
        assert!(story.is_shown_by(&report), "{} no longer shows: {}\n{}", story.name, story.about, story.text(seed, &report));
        let now = story.text(seed, &report);
        let differs = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
        assert!(kept == now, "{} changed, at {differs:?}; if the new one is right: just stories", story.name);
    }
}

#[test]
fn every_file_is_a_story() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    for entry in std::fs::read_dir(folder).expect("the stories are there").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(all_stories().any(|story| story.path() == path), "{} is no story's", path.display());
        }
    }
}

#[test]
fn the_same_seed_is_the_same_departure() {
    for seed in 0..300 {
        let (one, other) = (play_seed(seed, Draw::All, &Driver::Decamp, true), play_seed(seed, Draw::All, &Driver::Decamp, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(summary(&one), summary(&other), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_departure() {
    let mut marks: Vec<u64> = (0..300).map(|seed| play_seed(seed, Draw::All, &Driver::Decamp, false).mark).collect();
    marks.sort_unstable();
    marks.dedup();
    assert!(290 < marks.len(), "{} of 300 differ", marks.len());
}

#[test]
fn a_trace_changes_nothing() {
    for seed in 0..50 {
        let (quiet, traced) =
            (play_seed(seed, Draw::All, &Driver::Decamp, false), play_seed(seed, Draw::All, &Driver::Decamp, true));
        assert_eq!(summary(&quiet), summary(&traced), "seed {seed}");
    }
}

/// The number of seeds with faults, few enough for a debug build.
const CLEAN: u64 = 3_000;

#[test]
fn no_departure_breaks_an_invariant_or_loses_a_request_that_it_had_not_foreseen() {
    for seed in 0..CLEAN {
        let report = play_seed(seed, Draw::All, &Driver::Decamp, false);
        assert_eq!(report.violations, [], "seed {seed}");
        assert_eq!(report.requests.attributable, 0, "seed {seed}: {:?}", report.requests.example);
    }
}

#[test]
fn one_outage_of_consul_neither_ends_another_nor_hides_it() {
    let both = "consul-away,consul-vanishes".parse().expect("these are faults");
    for seed in 0..300 {
        let report = play_seed(seed, both, &Driver::Decamp, false);
        assert_eq!(report.violations, [], "seed {seed}");
        assert_eq!(report.requests.attributable, 0, "seed {seed}: {:?}", report.requests.example);
    }
}

#[test]
fn a_disk_is_lost_only_where_nothing_replaces_its_allocation_and_the_outcome_names_it() {
    let no_room = "no-room-elsewhere".parse().expect("it is a fault");
    let lost = |seed: u64, draw: Draw| {
        let report = play_seed(seed, draw, &Driver::Decamp, false);
        let cost = |place: usize| report.requests.costly & 1 << place != 0;
        let mut findings = report.findings.iter().take(64).enumerate();
        findings.any(|(place, finding)| finding.loss == Loss::DiskCut && cost(place)).then_some(report.outcome)
    };
    assert!((0..CLEAN).all(|seed| lost(seed, Draw::None).is_none()), "decamp waits for every copy");
    let outcomes: Vec<_> = (0..CLEAN).filter_map(|seed| lost(seed, no_room)).flatten().collect();
    let named = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::DataLeft { .. })).count();
    // If other allocations never moved either, the time was up for those, too.
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::DataLeft { .. } | Outcome::TimedOut)), "{outcomes:?}");
    assert!(outcomes.len() < 2 * named, "{outcomes:?}");
}

fn summary(report: &RunReport) -> (u64, String, Option<String>, u64, u32) {
    let outcome = report.outcome.as_ref().map(ToString::to_string);
    (report.mark, report.final_state.clone(), outcome, report.requests.sent, report.effects)
}

fn crashing(seed: u64, crashes: Vec<CrashPoint>) -> RunReport {
    run_departure(&Driver::Decamp, &Run { seed, crashes, ..Run::default() })
}

/// Asserts what must be the same with any number of crashes.
#[track_caller]
fn same_in_the_end(calm: &RunReport, crashed: &RunReport, what: &str) {
    assert_eq!(crashed.violations, [], "{what}");
    assert_eq!(crashed.requests.attributable, 0, "{what}: {:?}", crashed.requests.example);
    // Auto Scaling stops listing an instance some time after its termination, and after a crash the next worker comes later.
    let state = |report: &RunReport| report.final_state.replacen("Gone,", "Past,", 1);
    assert_eq!(state(crashed), state(calm), "{what}");
    let outcomes = (calm.outcome.as_ref().map(|o| o.word()), crashed.outcome.as_ref().map(|o| o.word()));
    assert_eq!(outcomes.0, Some("departed"), "{what}");
    // If a worker dies right after the completion, no worker knows that it was accepted, and nothing is left to do. A worker that starts
    // after the drain has no earlier look at an old Consul, whose empty answers alone prove nothing (ADR 0011).
    assert!(matches!(outcomes.1, Some("departed" | "already-past" | "gone" | "unconfirmed")), "{what}: {outcomes:?}");
}

fn points(effects: u32) -> impl Iterator<Item = CrashPoint> {
    (0..effects).flat_map(|effect| [false, true].map(|after| CrashPoint { effect, after }))
}

/// Seeds without faults whose departures end in order.
fn calm_seeds(many: usize) -> Vec<(u64, RunReport)> {
    let departs = |report: &RunReport| report.outcome.as_ref().is_some_and(|o| o.word() == "departed");
    (0..).map(|seed| (seed, crashing(seed, Vec::new()))).filter(|(_, report)| departs(report)).take(many).collect()
}

#[test]
fn whatever_single_effect_a_worker_is_killed_at_the_end_is_the_same() {
    let tried = AtomicU64::new(0);
    for (seed, calm) in calm_seeds(150) {
        for point in points(calm.effects) {
            same_in_the_end(&calm, &crashing(seed, vec![point]), &format!("seed {seed}, killed at {point:?}"));
            tried.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert!(1_000 < tried.load(Ordering::Relaxed), "every effect of every seed, before and after");
}

#[test]
fn whatever_two_effects_workers_are_killed_at_the_end_is_the_same() {
    for (seed, calm) in calm_seeds(12) {
        for first in points(calm.effects) {
            for second in points(calm.effects + 2).filter(|second| first.effect <= second.effect && *second != first) {
                let crashed = crashing(seed, vec![first, second]);
                same_in_the_end(&calm, &crashed, &format!("seed {seed}, killed at {first:?} and {second:?}"));
            }
        }
    }
}

#[test]
fn faults_are_drawn_from_the_seed_alone() {
    let all: Vec<_> = (0..2_000).map(|seed| faults_of(seed, Draw::All)).collect();
    assert_eq!(all, (0..2_000).map(|seed| faults_of(seed, Draw::All)).collect::<Vec<_>>());
    let never: Vec<_> = decamp_sim::faults::Fault::all().filter(|fault| !all.iter().any(|faults| faults.has(*fault))).collect();
    assert!(never.is_empty(), "never drawn in 2,000 seeds: {never:?}");
}
