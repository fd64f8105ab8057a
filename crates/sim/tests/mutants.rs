//! Every wrong driver is caught by the simulator, and with how many seeds: a survivor would be a hole in it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use decamp_sim::drivers::{Driver, Mutant};
use decamp_sim::play::Played;
use decamp_sim::simulate::play_seed;

/// Each is caught within this many seeds.
const SEEDS: u64 = 100_000;

/// How one was caught.
struct Caught {
    seeds: u64,
    by: String,
}

/// What a departure broke: a rule, or a request that the driver lost.
fn broken(played: &Played) -> Option<String> {
    let violation = played.violations.first().map(|v| format!("{}: {}", v.rule, v.what));
    let lost = || format!("S2: lost a request, {}", played.requests.example.clone().unwrap_or_default());
    violation.or_else(|| (0 < played.requests.attributable).then(lost))
}

/// Plays seeds until the mutant breaks something that decamp, with the same seed, does not.
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

#[test]
fn every_wrong_driver_is_caught() {
    let mutants: Vec<Mutant> = Mutant::all().collect();
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
    println!("{:<32} {:>7}  what gave it away", "wrong driver", "seeds");
    for (mutant, caught) in &rows {
        match caught {
            Some(Caught { seeds, by }) => println!("{:<32} {seeds:>7}  {by}", mutant.name()),
            None => println!("{:<32} {:>7}  SURVIVES: {}", mutant.name(), "-", mutant.mistake()),
        }
    }
    let survivors: Vec<_> = rows.iter().filter(|(_, caught)| caught.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(survivors.is_empty(), "not caught within {SEEDS} seeds: {}", survivors.join(", "));
}
