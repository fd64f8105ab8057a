//! Simulates many departures on all cores. Each draws its cluster and its faults from its seed.

mod alarms;
mod sum;

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

pub use self::alarms::{Alarms, false_alarms};
pub use self::sum::{Broken, Sum};
use super::drivers::Driver;
use super::faults::{Fault, Faults};
use super::rng::Rng;
use super::run::{Run, RunReport, run_departure};

/// How many seeds a core takes at a time.
const STRETCH: u64 = 64;

/// Which faults may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// None.
    None,
    /// Any.
    All,
    /// Some of these, at least one.
    Among(Faults),
}

/// `all`, `none`, or the names of faults with commas.
impl FromStr for Draw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            names => {
                let read = |name: &str| {
                    Fault::named(name.trim())
                        .ok_or_else(|| format!("there is no fault {name:?}; `decamp simulate --faults list` lists them"))
                };
                let faults = names.split(',').map(read).collect::<Result<Vec<_>, _>>()?;
                Ok(Self::Among(faults.into_iter().fold(Faults::NONE, Faults::with)))
            }
        }
    }
}

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Simulation {
    /// How many departures.
    pub departures: u64,
    /// The first seed. The following departures have the next seeds.
    pub seed: u64,
    /// Which faults may be drawn.
    pub draw: Draw,
    /// The driver.
    pub driver: Driver,
    /// Whether to stop at the first departure that broke an invariant or in which the driver lost a request.
    pub stop_at_first: bool,
}

/// The faults of one seed.
#[must_use]
pub fn faults_of(seed: u64, draw: Draw) -> Faults {
    let mut rng = Rng::new(seed ^ 0x000f_a017_5000_0001);
    let (from, many) = match draw {
        Draw::None => return Faults::NONE,
        Draw::All => (Faults::every(), [0, 1, 1, 1, 2, 2, 2, 3, 3, 5][usize::try_from(rng.below(10)).unwrap_or(0)]),
        Draw::Among(faults) => (faults, 1 + rng.below(faults.len().max(1) as u64)),
    };
    let all: Vec<Fault> = from.iter().collect();
    let mut drawn = Faults::NONE;
    for _ in 0..many {
        if let Some(fault) = usize::try_from(rng.below(all.len() as u64)).ok().and_then(|place| all.get(place)) {
            drawn = drawn.with(*fault);
        }
    }
    drawn
}

/// Runs the departure of one seed, as the simulation does.
#[must_use]
pub fn play_seed(seed: u64, draw: Draw, driver: &Driver, trace: bool) -> RunReport {
    run_departure(driver, &Run { seed, faults: faults_of(seed, draw), trace, ..Run::default() })
}

/// Simulates on all cores. Calls `progress` from time to time with the number of finished departures, on the calling thread.
pub fn simulate(simulation: &Simulation, mut progress: impl FnMut(u64)) -> Sum {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let mut sums: Vec<Sum> = Vec::new();
    std::thread::scope(|scope| {
        let work = || {
            let mut sum = Sum::default();
            loop {
                let from = next.fetch_add(STRETCH, Ordering::Relaxed);
                if simulation.departures <= from || stop.load(Ordering::Relaxed) {
                    return sum;
                }
                for place in from..(from + STRETCH).min(simulation.departures) {
                    let seed = simulation.seed.wrapping_add(place);
                    let report = play_seed(seed, simulation.draw, &simulation.driver, false);
                    sum.add(seed, faults_of(seed, simulation.draw), &report);
                }
                done.fetch_add(STRETCH, Ordering::Relaxed);
                if simulation.stop_at_first && sum.is_broken() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(std::time::Duration::from_millis(50));
            progress(done.load(Ordering::Relaxed).min(simulation.departures));
        }
        sums = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    });
    let mut all = sums.into_iter().fold(Sum::default(), Sum::and);
    all.took = started.elapsed();
    all
}
