//! The kind of a target group's load balancer, and the kind that is assumed if AWS does not say it. (ADR 0008.)

use decamp_core::decide::{BalancerKind, Policy, Unseen, guard};

use crate::facts::{attached, target_group};

#[test]
fn only_http_and_https_are_of_the_faster_kind() {
    for protocol in ["HTTP", "HTTPS"] {
        assert_eq!(BalancerKind::of_protocol(Some(protocol)), BalancerKind::Alb, "{protocol}");
    }
    for protocol in ["TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC", "GENEVE", "http", "HTTP3", ""] {
        assert_eq!(BalancerKind::of_protocol(Some(protocol)), BalancerKind::ASSUMED, "{protocol}");
    }
    assert_eq!(BalancerKind::of_protocol(None), BalancerKind::ASSUMED);
}

#[test]
fn a_kind_is_assumed_only_if_aws_denies_the_look() {
    let rows = [
        (Unseen::Denied("no elasticloadbalancing:DescribeTargetGroups".into()), Some(BalancerKind::ASSUMED)),
        (Unseen::Away("no answer".into()), None),
        (Unseen::Throttled, None),
        (Unseen::Stale, None),
    ];
    for (why, assumed) in rows {
        assert_eq!(BalancerKind::assumed_without(&why), assumed, "{why:?}");
    }
}

#[test]
fn a_load_balancer_of_an_unknown_kind_is_taken_for_the_slower_kind() {
    let policy = Policy::default();
    let mut group = target_group(attached(), true);
    group.kind = BalancerKind::ASSUMED;
    assert_eq!(guard(&group, &policy), policy.longest_guard());
}
