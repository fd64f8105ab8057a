//! Departures with faults on the wire to one system. None may lose a request or take a wrong answer for the end.

use decamp_core::decide::Outcome;
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use futures_util::future::join_all;

use super::rig::{Rig, quick};

const FAULTS: [WireFault; 13] = [
    WireFault::ResetBefore,
    WireFault::ResetAfter,
    WireFault::ResetMidway,
    WireFault::Truncated,
    WireFault::HtmlGateway,
    WireFault::HtmlOk,
    WireFault::Error500,
    WireFault::AppliedError500,
    WireFault::SlowBody(400),
    WireFault::Late(700),
    WireFault::WrongContentType,
    WireFault::Redirect,
    WireFault::Throttled,
];

/// The most requests that meet a fault: every fault ends at some time, and pauses after failures grow.
const MOST: u32 = 15;

/// Some departures meet their faults at once, others during the drain or the last looks.
async fn under(side: Side, fault: WireFault, seed: u64) {
    let what = format!("{fault:?} at {side:?}");
    let rig = Rig::start(&quick()).await;
    let skip = u32::try_from(seed % 3).unwrap_or(0) * 5;
    let rule = Rule { side: Some(side), skip, one_in: 3, ..Rule::next(MOST, "", fault) };
    rig.sandbox.shared.set_faults(FaultPlan::new(vec![rule], seed));
    let (outcome, story) = rig.leaves_without_loss(&what, rig.sandbox.instances[0]).await;
    // If Consul could not be read while services stopped, the outcome says so.
    let named = side == Side::Consul && matches!(outcome, Outcome::Unconfirmed { unseen: Some(_), .. });
    assert!(named || outcome == Outcome::Departed { waiting_for: None }, "{what}: {outcome:?}\n{story}");
    println!("{what}: {:?}, {} calls of AWS", story.lasted, rig.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_on_the_wire_to_any_side_costs_a_request() {
    let sides = [Side::Aws, Side::Nomad, Side::Consul];
    let all = sides.into_iter().flat_map(|side| FAULTS.map(|fault| (side, fault)));
    join_all((0..).zip(all).map(|(seed, (side, fault))| under(side, fault, seed))).await;
}
