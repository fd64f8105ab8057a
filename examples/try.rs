//! scratch
use decamp::sim::{drivers::Driver, faults::*, simulate::*};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let draw = match a[1].as_str() {
        "none" => Draw::None,
        "all" => Draw::All,
        names => Draw::Among(names.split(',').fold(Faults::NONE, |f, n| f.with(Fault::named(n).expect(n)))),
    };
    let driver = Driver::NAMED.iter().find(|d| d.0 == a.get(4).map_or("decamp", |s| s.as_str())).unwrap().1;
    let seed: u64 = a[2].parse().unwrap();
    let n: u64 = a[3].parse().unwrap();
    if n == 0 {
        let p = play_seed(seed, draw, &driver, true);
        println!("faults {:?}", faults_of(seed, draw).iter().map(|f| f.name()).collect::<Vec<_>>());
        for l in &p.trace {
            println!("{l}");
        }
        println!(
            "{:?}\n{:?}\n{:?}\n{:?} {}\nfloor {:?} took {:?}",
            p.outcome, p.violations, p.requests, p.calls, p.final_state, p.above_floor, p.took
        );
        for f in &p.findings {
            println!("  {f}");
        }
        return;
    }
    let s = simulate(&Simulation { departures: n, seed, draw, driver, stop_at_first: false }, |_| ());
    println!(
        "{} in {:?}: {:.0}/min; requests {} ({:.0} each) failed {:?} violations {} broken {}",
        s.departures,
        s.took,
        s.departures as f64 / s.took.as_secs_f64() * 60.0,
        s.requests,
        s.requests as f64 / s.departures as f64,
        s.failed,
        s.violations,
        s.broken_count
    );
    println!("{:?}", s.outcomes);
    println!(
        "floor serial p50 {:?} p99 {:?}; overlap p50 {:?} p99 {:?}; calls over {} mean {:.1}",
        s.above_floor_at(false, 50),
        s.above_floor_at(false, 99),
        s.above_floor_at(true, 50),
        s.above_floor_at(true, 99),
        s.calls_over,
        s.aws_calls as f64 / s.departures as f64
    );
    for b in s.broken.iter().take(12) {
        println!(
            "seed {} {:?} {} {:?} {:?}",
            b.seed,
            b.violations.iter().map(|v| format!("{} {}", v.rule, v.what)).collect::<Vec<_>>(),
            b.attributable,
            b.example,
            faults_of(b.seed, draw).iter().map(|f| f.name()).collect::<Vec<_>>()
        );
    }
}
