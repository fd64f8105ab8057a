//! Departures while something is wrong on the wire to one system: none may lose a request, none may take a lie for an end.

use decamp::sim::wire::{FaultPlan, Rule, Side, WireFault};
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

async fn under(side: Side, fault: WireFault, seed: u64) {
    let what = format!("{fault:?} at {side:?}");
    let rig = Rig::start(&quick()).await;
    let rule = Rule { side: Some(side), one_in: 3, ..Rule::next(u32::MAX, "", fault) };
    rig.sandbox.shared.set_faults(FaultPlan::new(vec![rule], seed));
    let story = rig.departs_without_loss(&what, rig.sandbox.instances[0]).await;
    println!("{what}: {:?}, {} calls of AWS", story.lasted, rig.calls());
    if story.lasted.as_secs() > 30 {
        println!("{story}");
    }
}

async fn under_all(side: Side) {
    join_all((0..).zip(FAULTS).map(|(seed, fault)| under(side, fault, seed))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_on_the_wire_to_aws_costs_a_request() {
    under_all(Side::Aws).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_on_the_wire_to_nomad_costs_a_request() {
    under_all(Side::Nomad).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_on_the_wire_to_consul_costs_a_request() {
    under_all(Side::Consul).await;
}
