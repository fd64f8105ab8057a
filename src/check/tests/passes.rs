//! What `decamp check` reports of the Lambda's passes.

use std::time::Duration;

use super::{Calm, Verdict, calm, reported};
use decamp_core::decide::BalancerKind;

#[test]
fn without_notes_a_pass_has_to_outlast_the_longest_guard() {
    let with = |version: &'static str, kind, delay: u64, timeout: &str| {
        let change = |c: &mut Calm| {
            (c.kind, c.delay) = (kind, Duration::from_secs(delay));
            c.nomad.iter_mut().flatten().flat_map(|nomad| &mut nomad.nodes).for_each(|node| node.version = version.into());
            c.variables.push(("DECAMP_FUNCTION_TIMEOUT", timeout.to_owned()));
        };
        calm().change(change).report()
    };
    let (alb, nlb) = (BalancerKind::Alb, BalancerKind::Nlb);
    let report = with("1.4.14", nlb, 30, "60s");
    assert_eq!(reported(&report), (Verdict::WouldNotWork, vec!["a pass of 55s for a guard of 2m"]));
    assert!(report.notices[0].line.starts_with("function_timeout = 135, visibility_timeout = 810, heartbeat_timeout = 1620"));
    assert_eq!(reported(&with("1.4.14", alb, 5, "19s")).0, Verdict::WouldNotWork);
    let long_enough = [
        with("1.5.0", nlb, 30, "60s"),
        with("1.4.14", nlb, 120, "60s"),
        with("1.4.14", nlb, 30, "135s"),
        with("1.4.14", nlb, 30, "0s"),
        with("1.4.14", alb, 5, "60s"),
    ];
    for report in long_enough {
        assert_eq!(reported(&report), (Verdict::Works, vec![]));
    }
}
