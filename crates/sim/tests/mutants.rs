//! The simulator catches every wrong driver. A survivor would show a gap in the simulator.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use decamp_sim::drivers::{Driver, Mutant};
use decamp_sim::run::RunReport;
use decamp_sim::simulate::play_seed;

/// Each wrong driver must be caught within this many seeds.
const SEEDS: u64 = 100_000;

/// Each wrong driver in docs/claims.md must break the rule of its claim within this many seeds. It may break other rules before.
const SEEDS_OF_A_CLAIM: u64 = 5_000;

/// How a wrong driver was caught.
struct Caught {
    seeds: u64,
    by: String,
}

/// The first rule that a departure broke, or a request that the driver lost.
fn broken(report: &RunReport) -> Option<String> {
    let violation = report.violations.first().map(|v| format!("{}: {}", v.rule, v.what));
    let lost = || format!("S2: lost a request, {}", report.requests.example.clone().unwrap_or_default());
    violation.or_else(|| (0 < report.requests.attributable).then(lost))
}

/// Runs seeds until the mutant breaks a rule and decamp, with the same seed, breaks none.
fn catch(mutant: Mutant) -> Option<Caught> {
    (0..SEEDS).find_map(|seed| {
        let by = broken(&play_seed(seed, mutant.draw(), &Driver::Mutant(mutant), false))?;
        let decamps = broken(&play_seed(seed, mutant.draw(), &Driver::Decamp, false));
        decamps.is_none().then_some(Caught { seeds: seed + 1, by })
    })
}

#[test]
fn there_are_at_least_thirty_wrong_drivers_and_no_two_of_one_name() {
    let mut names: Vec<_> = Mutant::all().map(Mutant::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Mutant::all().count());
    assert!(30 <= names.len(), "only {}", names.len());
}

/// All rules that a departure broke.
fn rules_broken(report: &RunReport) -> Vec<&'static str> {
    let lost = (0 < report.requests.attributable).then_some("S2");
    report.violations.iter().map(|violation| violation.rule).chain(lost).collect()
}

/// The rules of the judge and the wrong drivers in each row of docs/claims.md.
fn named_together() -> Vec<(String, Vec<String>, Vec<Mutant>)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/claims.md");
    let text = std::fs::read_to_string(page).expect("the claims are there");
    let mut rows = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains("`judge: ") && line.contains("`wrong driver: "))
    {
        let (claim, shown_by) = row.trim_start_matches("| ").split_once(" | ").expect("two cells");
        let named = |kind: &str| -> Vec<String> {
            shown_by.split('`').filter_map(|named| named.strip_prefix(kind)).map(str::to_owned).collect()
        };
        let drivers =
            named("wrong driver: ").iter().map(|name| Mutant::named(name).expect("tests/tidy holds the names")).collect();
        rows.push((claim.to_owned(), named("judge: "), drivers));
    }
    rows
}

/// Each wrong driver in a claim breaks one of the claim's rules, and decamp, with the same seed, breaks none of them.
#[test]
fn every_claim_that_names_a_wrong_driver_is_broken_by_it() {
    let rows = named_together();
    assert!(10 < rows.len(), "the claims are found");
    let mut known: Vec<(Mutant, Vec<String>)> = Vec::new();
    let mut unproved = Vec::new();
    for (claim, rules, drivers) in rows {
        for mutant in drivers {
            if known.iter().any(|(driver, proved)| *driver == mutant && *proved == rules) {
                continue;
            }
            let breaks = |report: &RunReport| rules_broken(report).iter().any(|rule| rules.iter().any(|named| named == rule));
            let found = (0..SEEDS_OF_A_CLAIM).any(|seed| {
                breaks(&play_seed(seed, mutant.draw(), &Driver::Mutant(mutant), false))
                    && !breaks(&play_seed(seed, mutant.draw(), &Driver::Decamp, false))
            });
            if !found {
                unproved.push(format!("{}: {claim} ({})", mutant.name(), rules.join(", ")));
            }
            known.push((mutant, rules.clone()));
        }
    }
    assert!(
        unproved.is_empty(),
        "within {SEEDS_OF_A_CLAIM} seeds these break none of the rules beside them:\n  {}",
        unproved.join("\n  ")
    );
}

#[test]
fn every_wrong_driver_is_caught() {
    // `MUTANTS` selects mutants by a part of their name.
    #[expect(clippy::disallowed_methods, reason = "a test reads it, and not decamp")]
    let only = std::env::var("MUTANTS").unwrap_or_default();
    let mutants: Vec<Mutant> = Mutant::all().filter(|mutant| mutant.name().contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let caught = catch(*mutant);
            rows.lock().expect("no thread panics with it").push((*mutant, caught));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().expect("no thread panics with it");
    rows.sort_by_key(|(mutant, _)| mutant.name());
    println!("{:<32} {:>7}  how it was caught", "wrong driver", "seeds");
    for (mutant, caught) in &rows {
        match caught {
            Some(Caught { seeds, by }) => println!("{:<32} {seeds:>7}  {by}", mutant.name()),
            None => println!("{:<32} {:>7}  SURVIVES: {}", mutant.name(), "-", mutant.mistake()),
        }
    }
    let survivors: Vec<_> = rows.iter().filter(|(_, caught)| caught.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(survivors.is_empty(), "not caught within {SEEDS} seeds: {}", survivors.join(", "));
}
