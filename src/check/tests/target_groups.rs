//! What `decamp check` reports of target groups: attached, named, and neither.

use std::sync::Arc;
use std::time::Duration;

use super::{Calm, Verdict, arn, calm, instance, reported};
use decamp_core::decide::{Ingress, TrafficSource, Zones};

#[test]
fn a_target_group_that_the_settings_or_the_hook_name_makes_no_notice() {
    let other = arn("other");
    let in_settings = calm().change(|c| {
        c.scanned = Ok(vec![arn("front"), arn("other")]);
        c.variables.push(("DECAMP_TARGET_GROUPS", arn("other").to_string()));
    });
    let in_the_hook = calm().change(|c| {
        c.scanned = Ok(vec![arn("front"), other.clone()]);
        c.group.hooks[0].target_groups.push(other);
    });
    for group in [in_settings, in_the_hook] {
        assert_eq!(reported(&group.report()), (Verdict::Works, vec![]));
    }
}

#[test]
fn an_attached_target_group_is_reported_as_attached_whatever_a_scan_finds() {
    let report = calm().change(|c| c.scanned_again = true).report();
    let front = report.found.iter().find(|fact| fact.object == "front").expect("it is listed");
    assert!(front.text.contains(", attached,"), "{}", front.text);
}

#[test]
fn a_target_group_that_is_neither_attached_nor_named_makes_one_notice_with_one_line_to_set() {
    let behind_an_ingress = |c: &mut Calm| {
        c.group.attached.clear();
        for node in c.nomad.iter_mut().flatten().flat_map(|nomad| &mut nomad.nodes) {
            let mut all = node.allocations.to_vec();
            let ingress = Ingress { forgets_after: Duration::from_secs(2), how: "it watches".into() };
            all.iter_mut().for_each(|a| Arc::make_mut(&mut a.group).ingress = Some(ingress.clone()));
            node.allocations = all.into();
        }
    };
    let report = calm().change(behind_an_ingress).report();
    assert_eq!(reported(&report), (Verdict::WouldNotWork, vec!["neither attached nor named"]));
    assert_eq!(report.notices[0].line, format!("DECAMP_TARGET_GROUPS={}", arn("front")));
    // If the scan finds none either, the only notice is that no target group is attached or named.
    let blind = calm().change(behind_an_ingress).change(|c| c.scanned = Ok(vec![])).report();
    assert_eq!(reported(&blind).1, ["no target group, attached or named"]);
}

#[test]
fn each_zone_whose_last_target_would_leave_is_named() {
    let zones = [(instance(1), Arc::from("eu-west-1a")), (instance(2), Arc::from("eu-west-1b"))];
    let report = calm().change(|c| c.zones = Zones::Apart(zones.into())).report();
    let values = vec!["no other healthy target in eu-west-1a", "no other healthy target in eu-west-1b"];
    assert_eq!(reported(&report), (Verdict::Warning, values));
}

#[test]
fn a_traffic_source_that_decamp_cannot_leave_would_not_work() {
    let lattice = TrafficSource { kind: "vpc-lattice".into(), name: "tg-0123456789abcdef0".into() };
    let report = calm().change(|c| c.group.unhandled.push(lattice)).report();
    assert_eq!(reported(&report), (Verdict::WouldNotWork, vec!["a traffic source of type vpc-lattice"]));
    assert_ne!(report.verdict.exit_code(), 0);
}
