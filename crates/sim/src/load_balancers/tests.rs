//! Tests of the model against facts/aws.md, section 3, about target groups.

use super::*;
use decamp_core::decide::{Target, TargetHealth};

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time(1_000_000);

fn arn(name: &str) -> TargetGroupArn {
    let text = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef");
    text.parse().expect("it fits the grammar")
}

fn instance(number: u64) -> TargetId {
    TargetId::Instance(InstanceId::from_number(number))
}

fn named(id: TargetId, port: Option<u16>) -> Named {
    Named { id, port, zone: None }
}

fn seconds(count: u64) -> Time {
    START + SECOND * u32::try_from(count).expect("a small number")
}

/// An ALB group with port 80, a delay of 30 s and a lag of 4 s. Instance 1 is a target with ports 80 and 8080.
fn calm() -> (LoadBalancers, TargetGroupArn) {
    let mut balancers = LoadBalancers::new(START, 1, Limit::None, Limit::None);
    let setup = GroupSetup { delay: SECOND * 30, lag: (SECOND * 4, SECOND * 4), ..GroupSetup::new(arn("web"), Kind::Alb, 80) };
    balancers.add_group(setup);
    balancers.put_targets(&arn("web"), [80, 8080].map(|port| (instance(1), port, None)));
    (balancers, arn("web"))
}

fn health(balancers: &mut LoadBalancers, group: &TargetGroupArn, port: u16) -> Option<TargetHealth> {
    let shown = balancers.targets(group).expect("the group is there");
    shown.iter().find(|target| target.port == port).map(|target| target.health)
}

#[test]
fn a_deregistered_target_stays_draining_for_the_whole_delay_and_is_then_absent() {
    let (mut balancers, web) = calm();
    balancers.deregister(&web, &[named(instance(1), Some(8080))]).expect("it is let through");
    for second in [0, 29] {
        balancers.advance(seconds(second));
        assert_eq!(health(&mut balancers, &web, 8080), Some(TargetHealth::Draining), "{second} s");
    }
    balancers.advance(seconds(30));
    assert_eq!((health(&mut balancers, &web, 8080), health(&mut balancers, &web, 80)), (None, Some(TargetHealth::Healthy)));
}

#[test]
fn a_deregistration_without_a_port_means_the_groups_own_port_and_one_with_a_wrong_port_does_nothing() {
    let (mut balancers, web) = calm();
    let wrong = [named(instance(1), Some(81)), named(instance(2), None), named(instance(2), Some(80))];
    balancers.deregister(&web, &wrong).expect("AWS answers 200");
    assert!([80, 8080].iter().all(|&port| health(&mut balancers, &web, port) == Some(TargetHealth::Healthy)));
    balancers.deregister(&web, &[named(instance(1), None)]).expect("AWS answers 200");
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::Draining));
    assert_eq!(health(&mut balancers, &web, 8080), Some(TargetHealth::Healthy));
}

#[test]
fn routing_lags_a_deregistration_even_when_the_delay_is_shorter() {
    let (mut balancers, web) = calm();
    balancers.set_delay(&web, SECOND);
    balancers.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    balancers.advance(seconds(3));
    assert_eq!(health(&mut balancers, &web, 80), None);
    assert!(balancers.is_routed(&web, &instance(1), 80));
    let version = balancers.routes_version(&web);
    balancers.advance(seconds(4));
    assert!(!balancers.is_routed(&web, &instance(1), 80));
    assert_ne!(balancers.routes_version(&web), version);
    assert!(balancers.is_routed(&web, &instance(1), 8080));
    assert_eq!(balancers.next_event(), Time::NEVER);
}

#[test]
fn a_second_deregistration_does_not_restart_the_delay() {
    let (mut balancers, web) = calm();
    balancers.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    balancers.advance(seconds(20));
    balancers.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    balancers.advance(seconds(30));
    assert_eq!(health(&mut balancers, &web, 80), None);
}

#[test]
fn a_delay_that_an_operator_raises_applies_to_draining_targets() {
    let (mut balancers, web) = calm();
    balancers.deregister_instance(&web, InstanceId::from_number(1));
    balancers.advance(seconds(10));
    balancers.set_delay(&web, SECOND * 60);
    balancers.advance(seconds(59));
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::Draining));
    assert_eq!(balancers.delay(&web), Ok(SECOND * 60));
    balancers.advance(seconds(60));
    assert_eq!(health(&mut balancers, &web, 80), None);
}

#[test]
fn a_draining_instance_can_be_registered_again_and_an_address_cannot() {
    let (mut balancers, web) = calm();
    balancers.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    balancers.register(&web, &[named(instance(1), Some(80))]).expect("an instance comes back");
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::Registered));
    balancers.advance(seconds(20));
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::Healthy));

    let ip = TargetId::read("10.0.0.7");
    balancers.add_group(GroupSetup { target_type: TargetType::Ip, ..GroupSetup::new(arn("ip"), Kind::Nlb, 80) });
    balancers.put_target(&arn("ip"), ip.clone(), 80, Some("all".into()));
    balancers.deregister(&arn("ip"), &[named(ip.clone(), Some(80))]).expect("it is let through");
    let again = balancers.register(&arn("ip"), &[named(ip, Some(80))]);
    assert!(matches!(again, Err(ApiError::InvalidTarget(_))), "{again:?}");
    assert!(balancers.register(&arn("ip"), &[named(instance(1), Some(80))]).is_err());
}

#[test]
fn unused_is_not_the_same_as_gone() {
    let (mut balancers, web) = calm();
    balancers.set_in_use(&web, false);
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::RegisteredUnused));
    assert!(balancers.routes(&web).is_empty());
    balancers.set_in_use(&web, true);
    balancers.machine_stopped(InstanceId::from_number(1));
    assert_eq!(health(&mut balancers, &web, 80), Some(TargetHealth::RegisteredUnused));
    let reasons: Vec<_> = balancers.inside(&web).iter().map(|row| row.state.reason).collect();
    assert_eq!(reasons, [Some("Target.InvalidState"); 2]);
}

#[test]
fn a_new_target_passes_through_every_state_before_it_is_routed_to() {
    let (mut balancers, web) = calm();
    balancers.register(&web, &[named(instance(2), None)]).expect("it is let through");
    let mut seen = Vec::new();
    for second in 0..15 {
        balancers.advance(seconds(second));
        let state = balancers.inside(&web).last().expect("it is listed").state;
        let row = (state.state, state.reason, balancers.is_routed(&web, &instance(2), 80));
        if seen.last() != Some(&row) {
            seen.push(row);
        }
    }
    let expected = [
        ("initial", Some("Elb.RegistrationInProgress"), false),
        ("initial", Some("Elb.InitialHealthChecking"), false),
        ("healthy", None, true),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_target_that_fails_its_checks_gets_no_requests_unless_there_is_no_other() {
    let (mut balancers, web) = calm();
    balancers.set_answers(&web, &instance(1), 80, false);
    assert!(balancers.is_routed(&web, &instance(1), 80), "the checks take their time");
    balancers.advance(seconds(10));
    assert_eq!(balancers.routes(&web), [Route { id: instance(1), port: 8080 }]);
    balancers.set_answers(&web, &instance(1), 8080, false);
    balancers.advance(seconds(20));
    assert_eq!(balancers.routes(&web).len(), 2, "balancers fail open");
    balancers.set_answers(&web, &instance(1), 80, true);
    balancers.advance(seconds(30));
    assert_eq!(balancers.routes(&web), [Route { id: instance(1), port: 80 }]);
}

#[test]
fn a_network_balancer_lets_an_unhealthy_target_drain_first() {
    let mut balancers = LoadBalancers::new(START, 1, Limit::None, Limit::None);
    let health = HealthTimes { unhealthy_draining: SECOND * 5, ..HealthTimes::default() };
    balancers.add_group(GroupSetup { health, ..GroupSetup::new(arn("nlb"), Kind::Nlb, 80) });
    balancers.put_target(&arn("nlb"), instance(1), 80, None);
    balancers.set_answers(&arn("nlb"), &instance(1), 80, false);
    let state = |balancers: &LoadBalancers| balancers.inside(&arn("nlb"))[0].state.state;
    balancers.advance(seconds(10));
    assert_eq!(state(&balancers), "unhealthy.draining");
    balancers.advance(seconds(15));
    assert_eq!(state(&balancers), "unhealthy");
}

#[test]
fn looks_cost_calls_and_a_failed_look_is_never_an_answer() {
    let limit = Limit::Calls { size: 3, refill: 1 };
    let mut balancers = LoadBalancers::new(START, 1, limit, Limit::Calls { size: 1, refill: 1 });
    balancers.add_group(GroupSetup::new(arn("web"), Kind::Alb, 80));
    let look = balancers.look_group(&arn("web"), true, None).expect("two calls are there");
    assert_eq!((look.delay, look.kind, look.attached), (Some(SECOND * 300), Kind::Alb, true));
    let known = Some(Known { kind: look.kind, delay: look.delay, connection_termination: None, crosses_zones: Some(true) });
    assert!(balancers.look_group(&arn("web"), true, known).is_ok());
    assert_eq!(balancers.look_group(&arn("web"), true, known), Err(decamp_core::decide::Unseen::Throttled));
    assert_eq!(balancers.calls(), [(3, 1), (0, 0)]);
    balancers.advance(seconds(5));
    balancers.set_attributes_unreadable(&arn("web"), true);
    assert_eq!(balancers.look_group(&arn("web"), true, None).map(|look| look.delay), Ok(None));
    balancers.set_denied(&arn("web"), true, true);
    assert!(matches!(balancers.look_group(&arn("web"), true, known), Err(decamp_core::decide::Unseen::Denied(_))));
    assert_eq!(balancers.deregister(&arn("web"), &[]), Err(ApiError::AccessDenied));
    assert_eq!(balancers.deregister(&arn("web"), &[]), Err(ApiError::Throttled));
}

#[test]
fn a_deleted_group_has_no_targets_and_is_no_error() {
    let (mut balancers, web) = calm();
    balancers.delete_group(&web);
    assert_eq!(balancers.look_group(&web, false, None).map(|look| look.targets), Ok(None));
    assert_eq!(balancers.deregister(&web, &[]), Err(ApiError::TargetGroupNotFound));
    assert!(balancers.routes(&web).is_empty());
}

#[test]
fn the_list_that_a_look_shows_is_shared_until_something_changes() {
    let (mut balancers, web) = calm();
    let shown = |balancers: &mut LoadBalancers| -> Arc<[Target]> { balancers.targets(&web).expect("the group is there") };
    let (one, two) = (shown(&mut balancers), shown(&mut balancers));
    assert!(Arc::ptr_eq(&one, &two));
    balancers.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    assert_ne!(shown(&mut balancers), one);
}
