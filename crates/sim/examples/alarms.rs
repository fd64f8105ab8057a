//! Counts the findings that never cost a request: `cargo run --release --example alarms -- [CLUSTERS] [RUNS]`.

use decamp_sim::simulate::false_alarms;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().unwrap_or(0));
    let (clusters, runs) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(1_000));
    println!("{clusters} clusters without a fault, each run up to {runs} times");
    println!("{:<24} {:>8} {:>8} {:>8}", "finding", "named", "idle", "share");
    let (mut named, mut idle) = (0, 0);
    for (loss, alarms) in false_alarms(clusters, runs) {
        row(&format!("{loss:?}"), alarms.named, alarms.idle);
        named += alarms.named;
        idle += alarms.idle;
    }
    row("all", named, idle);
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn row(name: &str, named: u64, idle: u64) {
    println!("{name:<24} {named:>8} {idle:>8} {:>7.1}%", idle as f64 / named.max(1) as f64 * 100.0);
}
