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
    if a.get(5).is_some() {
        // SLOW
        for x in seed..seed + n {
            let p = play_seed(x, draw, &driver, false);
            let over = p.calls.aws.saturating_sub(5 * p.groups as u32 + 6);
            if p.calls.aws + p.calls.nomad + p.calls.consul > 3000 {
                println!("{x} CALLS {:?} {:?}", p.calls, faults_of(x, draw).iter().map(|f| f.name()).collect::<Vec<_>>());
            }
            if draw == Draw::None && p.above_floor.is_some_and(|f| f.as_secs() > 3) || over > 0 {
                println!("{x} {:?} over {over} G {}", p.above_floor, p.groups);
            }
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
    let mut kinds = std::collections::BTreeMap::new();
    for b in &s.broken {
        for v in &b.violations {
            let w: String = v.what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            kinds.entry(format!("{} {}", v.rule, w)).or_insert_with(Vec::new).push(b.seed);
        }
        if let Some(e) = &b.example {
            let w: String = e.split(',').next().unwrap().chars().filter(|c| !c.is_ascii_digit()).take(50).collect();
            kinds.entry(w).or_insert_with(Vec::new).push(b.seed);
        }
    }
    for (k, v) in &kinds {
        println!(
            "{:5} {k} {:?}",
            v.len(),
            &v[..v.len().min(4)]
                .iter()
                .map(|s| (s, faults_of(*s, draw).iter().map(|f| f.name()).collect::<Vec<_>>().join("+")))
                .collect::<Vec<_>>()
        );
    }
}
