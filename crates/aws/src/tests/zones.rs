//! How cross-zone load balancing and the zones of instances are read.

use std::sync::Arc;

use super::classic::old_web;
use super::load_balancers::balancers;
use super::wire::{Answer, Call, Server, group, instance};
use crate::auto_scaling::AutoScaling;
use crate::coalescing::InFlight;
use decamp_core::decide::Zones;

const KEY: &str = "load_balancing.cross_zone.enabled";

fn attributes(rows: &[(&str, &str)]) -> String {
    let row = |(key, value): &(&str, &str)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>");
    format!("<Attributes>{}</Attributes>", rows.iter().map(row).collect::<String>())
}

/// One target group with this protocol and attribute, behind `many` load balancers with this attribute.
fn set(protocol: &'static str, of_group: &'static str, many: usize, of_balancer: &'static str) -> impl Fn(&Call) -> Answer {
    move |call: &Call| {
        let result = match call.action() {
            "DescribeTargetGroups" => {
                let arns: String = (0..many).map(|place| format!("<member>balancer-{place}</member>")).collect();
                let arn = call.field("TargetGroupArns.member.1");
                format!(
                    "<TargetGroups><member><TargetGroupArn>{arn}</TargetGroupArn><Protocol>{protocol}</Protocol><LoadBalancerArns>{arns}</LoadBalancerArns></member></TargetGroups>"
                )
            }
            "DescribeTargetGroupAttributes" => attributes(&[(KEY, of_group), ("deregistration_delay.timeout_seconds", "20")]),
            "DescribeLoadBalancerAttributes" if of_balancer.is_empty() => {
                return Answer::error(403, "AccessDenied", "not authorized");
            }
            "DescribeLoadBalancerAttributes" => attributes(&[("deletion_protection.enabled", "true"), (KEY, of_balancer)]),
            _ => "<TargetHealthDescriptions/>".to_owned(),
        };
        Answer::result(call.action(), &result)
    }
}

#[tokio::test]
async fn the_load_balancer_is_read_only_if_the_group_of_a_network_load_balancer_refers_to_it() {
    const AS_IT: &str = "use_load_balancer_configuration";
    let apart = || Zones::Apart(Arc::default());
    let table = [
        (("HTTP", "false", 1, "true"), apart(), 0),
        (("HTTP", AS_IT, 1, "true"), Zones::Crossed, 0),
        (("HTTP", "of tomorrow", 1, "true"), Zones::Unknown, 0),
        (("TCP", "true", 1, "false"), Zones::Crossed, 0),
        (("TCP", "false", 1, "true"), apart(), 0),
        (("TCP", AS_IT, 1, "false"), apart(), 1),
        (("TCP", AS_IT, 1, "true"), Zones::Crossed, 1),
        (("TCP", AS_IT, 1, "of tomorrow"), Zones::Unknown, 1),
        (("TCP", AS_IT, 1, ""), Zones::Unknown, 1),
        (("TCP", AS_IT, 0, "false"), Zones::Unknown, 0),
        (("TCP", AS_IT, 2, "false"), Zones::Unknown, 0),
    ];
    for ((protocol, of_group, many, of_balancer), expected, asked) in table {
        let server = Server::start(set(protocol, of_group, many, of_balancer)).await;
        let balancers = balancers(&server).await;
        for look in 1..=2 {
            let looks = balancers.look(&[(group("web-a"), false)], false).await;
            let zones = looks[0].1.as_ref().map(|seen| &seen.zones);
            assert_eq!(zones, Ok(&expected), "{protocol} {of_group} {many} {of_balancer:?}, look {look}");
        }
        assert_eq!(server.asked("DescribeLoadBalancerAttributes").len(), asked, "{protocol} {of_group} {many} {of_balancer:?}");
    }
}

#[tokio::test]
async fn a_classic_load_balancer_needs_no_further_call() {
    for (enabled, expected) in [("true", Zones::Crossed), ("false", Zones::Apart(Arc::default()))] {
        let server = Server::start(move |call: &Call| {
            let result = match call.action() {
                "DescribeLoadBalancerAttributes" => format!(
                    "<LoadBalancerAttributes><CrossZoneLoadBalancing><Enabled>{enabled}</Enabled></CrossZoneLoadBalancing><ConnectionDraining><Enabled>false</Enabled></ConnectionDraining></LoadBalancerAttributes>"
                ),
                "DescribeInstanceHealth" => "<InstanceStates/>".to_owned(),
                _ => "<LoadBalancerDescriptions/>".to_owned(),
            };
            Answer::result(call.action(), &result)
        })
        .await;
        let looks = balancers(&server).await.look(&[(old_web(), true)], false).await;
        assert_eq!(looks[0].1.as_ref().map(|seen| &seen.zones), Ok(&expected));
        assert_eq!(server.asked("DescribeLoadBalancerAttributes").len(), 1);
    }
}

/// The zone of an instance follows from its number: every third instance is in the first zone. Those from 900 on are in no group.
fn in_zones(call: &Call) -> Answer {
    let row = |id: &&str| {
        let number = (0..1_000).find(|n| instance(*n).to_string() == **id).filter(|n| *n < 900)?;
        let zone = ["a", "b", "c"][usize::try_from(number % 3).expect("small")];
        Some(format!(
            "<member><InstanceId>{id}</InstanceId><AutoScalingGroupName>web</AutoScalingGroupName><AvailabilityZone>eu-west-1{zone}</AvailabilityZone><LifecycleState>InService</LifecycleState></member>"
        ))
    };
    let rows: String = call.members("InstanceIds").iter().filter_map(row).collect();
    Answer::result(call.action(), &format!("<AutoScalingInstances>{rows}</AutoScalingInstances>"))
}

#[tokio::test]
async fn zones_are_read_once_fifty_at_a_time_until_another_instance_of_the_zone_is_found() {
    let server = Server::start(in_zones).await;
    let asg = AutoScaling::new(&server.aws().await, &Arc::new(InFlight::default()));
    // None of them is in the zone of instance 0, so all have to be read.
    let others: Vec<_> = (1..90).filter(|n| n % 3 != 0).chain([901]).map(instance).collect();
    let zones = asg.zones_beside(instance(0), &others).await;
    assert_eq!((zones.len(), &*zones[0].1, &*zones[1].1), (61, "eu-west-1a", "eu-west-1b"), "the zone of 901 is unknown");
    assert_eq!(server.asked("DescribeAutoScalingInstances").len(), 2);
    assert_eq!(asg.zones_beside(instance(0), &others).await, zones);
    assert_eq!(server.asked("DescribeAutoScalingInstances").len(), 2, "they never change");
    // One other instance in its zone is enough.
    let more: Vec<_> = (200..400).map(instance).collect();
    let zones = asg.zones_beside(instance(0), &more).await;
    assert!(zones.iter().any(|(id, zone)| *id != instance(0) && &**zone == "eu-west-1a"));
    assert_eq!(server.asked("DescribeAutoScalingInstances").len(), 3, "of two hundred");
}

#[tokio::test]
async fn zones_that_cannot_be_read_are_unknown_and_no_error() {
    let server = Server::start(|_: &Call| Answer::error(403, "AccessDenied", "not authorized")).await;
    let asg = AutoScaling::new(&server.aws().await, &Arc::new(InFlight::default()));
    assert_eq!(asg.zones_beside(instance(0), &[instance(1)]).await, []);
}
