//! The requests to Classic Load Balancers, and how their answers are read.

use std::time::Duration;

use super::load_balancers::balancers;
use super::wire::{Answer, Call, Server, instance, whole};
use decamp_core::decide::{BalancerKind, Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::{TargetGroupArn, TargetId};

pub(super) fn old_web() -> TargetGroupArn {
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/old-web".parse().expect("an ARN")
}

fn state(n: u64, state: &str, description: &str) -> String {
    let id = instance(n);
    format!(
        "<member><InstanceId>{id}</InstanceId><State>{state}</State><ReasonCode>N/A</ReasonCode><Description>{description}</Description></member>"
    )
}

fn listener(port: u16) -> String {
    format!("<member><Listener><Protocol>HTTP</Protocol><InstancePort>{port}</InstancePort></Listener><PolicyNames/></member>")
}

/// Instances in every state behind two listeners.
fn a_balancer(call: &Call) -> Answer {
    assert_eq!(call.field("Version"), "2012-06-01");
    if call.action() != "DescribeLoadBalancers" && call.field("LoadBalancerName") != "old-web" {
        return Answer::error(400, "LoadBalancerNotFound", "There is no ACTIVE Load Balancer named 'gone'");
    }
    let result = match call.action() {
        "DescribeInstanceHealth" => {
            let rows = [
                state(1, "InService", "N/A"),
                state(2, "InService", "Instance deregistration currently in progress."),
                state(
                    3,
                    "OutOfService",
                    "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
                ),
                state(4, "OutOfService", "Instance is not currently registered with the LoadBalancer."),
                state(5, "Unknown", "A transient error occurred."),
            ];
            format!("<InstanceStates>{}</InstanceStates>", rows.concat())
        }
        "DescribeLoadBalancers" => {
            let listeners = [8443, 8080, 8080].map(listener).concat();
            let described =
                format!("<LoadBalancerName>old-web</LoadBalancerName><ListenerDescriptions>{listeners}</ListenerDescriptions>");
            format!("<LoadBalancerDescriptions><member>{described}</member></LoadBalancerDescriptions>")
        }
        "DescribeLoadBalancerAttributes" => {
            let zones = "<CrossZoneLoadBalancing><Enabled>true</Enabled></CrossZoneLoadBalancing>";
            let draining = "<ConnectionDraining><Enabled>true</Enabled><Timeout>40</Timeout></ConnectionDraining>";
            format!("<LoadBalancerAttributes>{zones}{draining}</LoadBalancerAttributes>")
        }
        _ => "<Instances/>".to_owned(),
    };
    Answer::result(call.action(), &result)
}

#[tokio::test]
async fn each_instance_is_a_target_at_each_port_of_the_listeners() {
    let server = Server::start(a_balancer).await;
    let balancers = balancers(&server).await;
    let looks = balancers.look(&[(old_web(), true)], false).await;
    let seen = looks[0].1.as_ref().expect("it is seen");
    assert_eq!((seen.kind, seen.delay, seen.attached), (BalancerKind::Classic, Some(Duration::from_secs(40)), true));
    let expected = [
        (1, TargetHealth::Healthy),
        (2, TargetHealth::Draining),
        (3, TargetHealth::Registered),
        (4, TargetHealth::NotRegistered),
        (5, TargetHealth::Registered),
    ];
    let expected: Vec<_> = expected
        .iter()
        .flat_map(|(n, health)| [8080, 8443].map(|port| (TargetId::Instance(instance(*n)), port, *health)))
        .collect();
    assert_eq!(seen.listed().map(|t| (t.id.clone(), t.port, t.health)).collect::<Vec<_>>(), expected);
    assert_eq!(server.count(), 3);
    balancers.look(&[(old_web(), true)], false).await;
    assert_eq!(server.count(), 4, "its ports and its connection draining are cached");
}

#[tokio::test]
async fn a_balancer_without_connection_draining_has_no_delay() {
    let server = Server::start(|call: &Call| match call.action() {
        "DescribeLoadBalancerAttributes" => {
            let draining = "<ConnectionDraining><Enabled>false</Enabled><Timeout>300</Timeout></ConnectionDraining>";
            Answer::result(call.action(), &format!("<LoadBalancerAttributes>{draining}</LoadBalancerAttributes>"))
        }
        _ => a_balancer(call),
    })
    .await;
    let looks = balancers(&server).await.look(&[(old_web(), false)], false).await;
    assert_eq!(looks[0].1.as_ref().map(|seen| seen.delay), Ok(Some(Duration::ZERO)));
}

#[tokio::test]
async fn an_instance_with_several_ports_is_deregistered_once() {
    let server = Server::start(a_balancer).await;
    let target = |port| Target { id: TargetId::Instance(instance(1)), port, zone: None, health: TargetHealth::Healthy };
    let answer = balancers(&server).await.deregister(&old_web(), &[target(8080), target(8443)]).await;
    assert_eq!(answer, Ok(()));
    let calls = server.asked("DeregisterInstancesFromLoadBalancer");
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(call.field("LoadBalancerName"), "old-web");
    assert_eq!(call.field("Instances.member.1.InstanceId"), instance(1).to_string());
    assert_eq!(call.field("Instances.member.2.InstanceId"), "");
}

#[tokio::test]
async fn a_deleted_balancer_has_no_instances() {
    let gone: TargetGroupArn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/gone".parse().expect("an ARN");
    let server = Server::start(a_balancer).await;
    let looks = balancers(&server).await.look(&[(gone, false)], false).await;
    assert_eq!(looks[0].1.as_ref().map(|seen| seen.targets.clone()), Ok(None));
}

#[tokio::test]
async fn an_invalid_answer_is_not_an_empty_balancer() {
    let cut = whole("DescribeInstanceHealth", "<InstanceStates>").replace("</DescribeInstanceHealthResult>", "");
    for (status, body, expected) in [
        (200, "<html>proxy</html>".to_owned(), "not a complete answer to DescribeInstanceHealth"),
        (200, cut, "not a complete answer to DescribeInstanceHealth"),
        (200, String::new(), "not a complete answer to DescribeInstanceHealth"),
        (502, "<html>proxy</html>".to_owned(), "status 502, not from AWS"),
    ] {
        let server = Server::start(move |call: &Call| match call.action() {
            "DescribeInstanceHealth" => Answer::with(status, "text/xml", &body),
            _ => a_balancer(call),
        })
        .await;
        let looks = balancers(&server).await.look(&[(old_web(), false)], false).await;
        assert_eq!(looks[0].1, Err(Unseen::Away(expected.into())));
    }
}

#[tokio::test]
async fn a_refusal_repeats_the_message_of_aws() {
    for (status, code, expected) in [
        (403, "AccessDenied", Refusal::Denied("AccessDenied: why".into())),
        (400, "Throttling", Refusal::Throttled),
        (500, "InternalFailure", Refusal::Away("InternalFailure: why".into())),
    ] {
        let server = Server::start(move |_: &Call| Answer::error(status, code, "why")).await;
        let target = Target { id: TargetId::Instance(instance(1)), port: 80, zone: None, health: TargetHealth::Healthy };
        assert_eq!(balancers(&server).await.deregister(&old_web(), &[target]).await, Err(expected));
    }
}
