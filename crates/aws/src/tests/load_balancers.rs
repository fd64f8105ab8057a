//! How the answers and errors of Elastic Load Balancing are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wire::{Answer, Call, Server, group, health, instance, some_groups};
use crate::coalescing::InFlight;
use crate::load_balancers::LoadBalancers;
use decamp_core::decide::{BalancerKind, Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::TargetId;

pub(super) async fn balancers(server: &Server) -> LoadBalancers {
    LoadBalancers::new(&server.aws().await, &Arc::new(InFlight::default()))
}

#[tokio::test]
async fn a_group_is_seen_with_all_its_targets_and_ports() {
    let server = Server::start(some_groups).await;
    let balancers = balancers(&server).await;
    let looks = balancers.look(&[(group("web-a"), true), (group("tcp-b"), false)], false).await;
    let web = looks[0].1.as_ref().expect("it is seen");
    assert_eq!((web.attached, web.kind, web.delay), (true, BalancerKind::Alb, Some(Duration::from_secs(20))));
    let targets: Vec<_> = web.targets.iter().flat_map(|t| t.iter()).map(|t| (t.id.to_string(), t.port, t.health)).collect();
    assert_eq!(
        targets,
        [
            (instance(1).to_string(), 8080, TargetHealth::Healthy),
            (instance(1).to_string(), 8443, TargetHealth::Draining),
            ("10.0.0.7".to_owned(), 9000, TargetHealth::RegisteredUnused),
        ]
    );
    let tcp = looks[1].1.as_ref().expect("it is seen");
    assert_eq!((tcp.attached, tcp.kind, tcp.delay), (false, BalancerKind::Nlb, Some(Duration::from_secs(90))));
    assert_eq!((web.connection_termination, tcp.connection_termination), (None, Some(true)));
    assert_eq!(server.asked("DescribeTargetGroups").len(), 1, "both in one call");
    assert_eq!(server.count(), 5);
    assert!(server.asked("DescribeTargetHealth").iter().all(|call| call.field("Targets.member.1.Id").is_empty()), "all targets");

    balancers.look(&[(group("web-a"), true), (group("tcp-b"), false)], false).await;
    assert_eq!(server.count(), 7, "a warm worker reads only the targets");
    balancers.look(&[(group("web-a"), true)], true).await;
    assert_eq!(server.asked("DescribeTargetGroupAttributes").len(), 3, "unless the attributes are requested again");
}

#[tokio::test]
async fn a_deleted_group_has_no_targets_and_does_not_affect_other_groups() {
    let server = Server::start(some_groups).await;
    let looks = balancers(&server).await.look(&[(group("web-a"), false), (group("gone"), false)], false).await;
    assert_eq!(looks[0].1.as_ref().expect("it is seen").kind, BalancerKind::Alb);
    assert_eq!(looks[1].1.as_ref().map(|seen| seen.targets.clone()), Ok(None));
}

#[tokio::test]
async fn a_group_whose_kind_may_not_be_read_counts_as_the_slower_kind() {
    let server = Server::start(|call: &Call| match call.action() {
        "DescribeTargetHealth" => some_groups(call),
        _ => Answer::error(403, "AccessDenied", "not authorized"),
    })
    .await;
    let looks = balancers(&server).await.look(&[(group("web-a"), false)], false).await;
    let seen = looks[0].1.as_ref().expect("the targets are seen");
    assert_eq!((seen.kind, seen.delay), (BalancerKind::Nlb, None));
}

#[tokio::test]
async fn a_group_whose_kind_is_throttled_does_not_count_as_the_slower_kind() {
    for action in ["DescribeTargetGroups", "DescribeTargetGroupAttributes"] {
        let busy = Arc::new(AtomicBool::new(true));
        let throttles = Arc::clone(&busy);
        let server = Server::start(move |call: &Call| {
            if call.action() == action && throttles.load(Ordering::Relaxed) {
                return Answer::error(400, "ThrottlingException", "Rate exceeded");
            }
            some_groups(call)
        })
        .await;
        let balancers = balancers(&server).await;
        let looks = balancers.look(&[(group("web-a"), false)], false).await;
        assert_eq!(looks[0].1, Err(Unseen::Throttled), "{action}");
        busy.store(false, Ordering::Relaxed);
        let looks = balancers.look(&[(group("web-a"), false)], false).await;
        let seen = looks[0].1.as_ref().expect("it is seen");
        assert_eq!((seen.kind, seen.delay), (BalancerKind::Alb, Some(Duration::from_secs(20))), "{action}");
    }
}

#[tokio::test]
async fn targets_that_cannot_be_listed_are_unseen_with_the_reason() {
    for (status, code, expected) in [
        (400, "ThrottlingException", Unseen::Throttled),
        (403, "AccessDenied", Unseen::Denied("AccessDenied: why".into())),
        (500, "InternalFailure", Unseen::Away("InternalFailure: why".into())),
        (400, "ValidationError", Unseen::Away("ValidationError: why".into())),
    ] {
        let server = Server::start(move |call: &Call| match call.action() {
            "DescribeTargetHealth" => Answer::error(status, code, "why"),
            _ => some_groups(call),
        })
        .await;
        let looks = balancers(&server).await.look(&[(group("web-a"), false)], false).await;
        assert_eq!(looks[0].1, Err(expected));
    }
}

fn target(id: TargetId, port: u16, zone: Option<&str>) -> Target {
    Target { id, port, zone: zone.map(Into::into), health: TargetHealth::Healthy }
}

#[tokio::test]
async fn exactly_the_given_targets_are_deregistered_with_port_and_zone() {
    let server = Server::start(some_groups).await;
    let ip = TargetId::Ip("10.0.0.7".parse().expect("an address"));
    let targets = [target(TargetId::Instance(instance(1)), 8080, None), target(ip, 9000, Some("all"))];
    assert_eq!(balancers(&server).await.deregister(&group("web-a"), &targets).await, Ok(()));
    let call = &server.asked("DeregisterTargets")[0];
    let field = |n: u32, name: &str| call.field(&format!("Targets.member.{n}.{name}")).to_owned();
    assert_eq!(
        (field(1, "Id"), field(1, "Port"), field(1, "AvailabilityZone")),
        (instance(1).to_string(), "8080".into(), String::new())
    );
    assert_eq!(
        (field(2, "Id"), field(2, "Port"), field(2, "AvailabilityZone")),
        ("10.0.0.7".into(), "9000".into(), "all".into())
    );
    assert_eq!(field(3, "Id"), "");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn one_target_that_aws_rejects_does_not_keep_another_registered() {
    let bad = instance(2).to_string();
    let server = Server::start(move |call: &Call| {
        if call.0.values().any(|value| *value == bad) {
            return Answer::error(400, "InvalidTarget", "not registered");
        }
        some_groups(call)
    })
    .await;
    let balancers = balancers(&server).await;
    let (web, one, two) = (
        group("web-a"),
        [target(TargetId::Instance(instance(1)), 80, None)],
        [target(TargetId::Instance(instance(2)), 80, None)],
    );
    let (good, bad) = tokio::join!(balancers.deregister(&web, &one), balancers.deregister(&web, &two));
    assert_eq!(good, Ok(()));
    assert!(matches!(bad, Err(Refusal::Rejected(_))), "{bad:?}");
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_deregistration_from_a_deleted_group_is_missing() {
    let server = Server::start(some_groups).await;
    let answer = balancers(&server).await.deregister(&group("gone"), &[target(TargetId::Instance(instance(1)), 80, None)]).await;
    assert_eq!(answer, Err(Refusal::Missing));
}

#[tokio::test]
async fn one_scan_finds_the_groups_of_all_instances() {
    let server = Server::start(|call: &Call| match call.action() {
        "DescribeTargetGroups" => {
            let page = if call.field("Marker").is_empty() { 0..6 } else { 6..12 };
            let next = if page.start == 0 { "<NextMarker>2</NextMarker>" } else { "" };
            let row = |n| {
                let kind = if n == 9 { "ip" } else { "instance" };
                format!(
                    "<member><TargetGroupArn>{}</TargetGroupArn><TargetType>{kind}</TargetType></member>",
                    group(&format!("web-{n}"))
                )
            };
            Answer::result(call.action(), &format!("<TargetGroups>{}</TargetGroups>{next}", page.map(row).collect::<String>()))
        }
        "DescribeTargetHealth" => {
            let lists = call.field("TargetGroupArn").contains("web-7/");
            let id = match call.field("TargetGroupArn").contains("web-9/") {
                true => "10.0.0.7".to_owned(),
                false => instance(if lists { 1 } else { 2 }).to_string(),
            };
            let rows = health(&id, 80, "healthy", "");
            Answer::result(call.action(), &format!("<TargetHealthDescriptions>{rows}</TargetHealthDescriptions>"))
        }
        other => Answer::error(400, "InvalidAction", other),
    })
    .await;
    let balancers = balancers(&server).await;
    let (one, two, none) =
        tokio::join!(balancers.scan(instance(1), &[]), balancers.scan(instance(2), &[]), balancers.scan(instance(3), &[]));
    assert_eq!(one, Ok(vec![group("web-7")]));
    assert_eq!(two.map(|found| found.len()), Ok(10));
    assert_eq!(none, Ok(Vec::new()));
    let by_address = balancers.scan(instance(3), &["10.0.0.7".parse().expect("an address")]).await;
    assert_eq!(by_address, Ok(vec![group("web-9")]));
    assert_eq!(server.count(), 14, "two pages and twelve groups");
}

#[tokio::test]
async fn a_health_check_is_read_with_the_slow_start_and_without_it_nothing_is_guessed() {
    let arn = group("web-a");
    let answers = |check: &'static str| {
        let arn = arn.clone();
        move |call: &Call| match call.action() {
            "DescribeTargetGroups" => {
                let row = format!("<member><TargetGroupArn>{arn}</TargetGroupArn><Protocol>HTTP</Protocol>{check}</member>");
                Answer::result("DescribeTargetGroups", &format!("<TargetGroups>{row}</TargetGroups>"))
            }
            _ => {
                let row = "<member><Key>slow_start.duration_seconds</Key><Value>60</Value></member>";
                Answer::result(call.action(), &format!("<Attributes>{row}</Attributes>"))
            }
        }
    };
    let whole = "<HealthCheckIntervalSeconds>10</HealthCheckIntervalSeconds><HealthyThresholdCount>3</HealthyThresholdCount>\
                 <UnhealthyThresholdCount>2</UnhealthyThresholdCount>";
    let server = Server::start(answers(whole)).await;
    let check = balancers(&server).await.health_check(&arn).await.expect("it is read").expect("it is there");
    assert_eq!((check.interval, check.healthy_threshold, check.unhealthy_threshold), (Duration::from_secs(10), 3, 2));
    assert_eq!(check.takes_traffic_after(), Duration::from_secs(90));
    let server = Server::start(answers("")).await;
    assert_eq!(balancers(&server).await.health_check(&arn).await, Ok(None));
}
