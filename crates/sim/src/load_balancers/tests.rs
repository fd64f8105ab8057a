//! What facts/aws.md, section 3, says about target groups, held against the model.

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

/// One ALB group on port 80 with a delay of 30 s and a lag of 4 s, and instance 1 on ports 80 and 8080.
fn calm() -> (LoadBalancers, TargetGroupArn) {
    let mut world = LoadBalancers::new(START, 1, Limit::None, Limit::None);
    let setup = GroupSetup { delay: SECOND * 30, lag: (SECOND * 4, SECOND * 4), ..GroupSetup::new(arn("web"), Kind::Alb, 80) };
    world.add_group(setup);
    world.put_targets(&arn("web"), [80, 8080].map(|port| (instance(1), port, None)));
    (world, arn("web"))
}

fn health(world: &mut LoadBalancers, group: &TargetGroupArn, port: u16) -> Option<TargetHealth> {
    let shown = world.targets(group).expect("the group is there");
    shown.iter().find(|target| target.port == port).map(|target| target.health)
}

#[test]
fn a_deregistered_target_stays_draining_for_the_whole_delay_and_is_then_absent() {
    let (mut world, web) = calm();
    world.deregister(&web, &[named(instance(1), Some(8080))]).expect("it is let through");
    for second in [0, 29] {
        world.advance(seconds(second));
        assert_eq!(health(&mut world, &web, 8080), Some(TargetHealth::Draining), "{second} s");
    }
    world.advance(seconds(30));
    assert_eq!((health(&mut world, &web, 8080), health(&mut world, &web, 80)), (None, Some(TargetHealth::Healthy)));
}

#[test]
fn without_a_port_or_with_a_wrong_one_nothing_but_the_groups_own_port_leaves() {
    let (mut world, web) = calm();
    let silly = [named(instance(1), Some(81)), named(instance(2), None), named(instance(2), Some(80))];
    world.deregister(&web, &silly).expect("AWS answers 200");
    assert!([80, 8080].iter().all(|&port| health(&mut world, &web, port) == Some(TargetHealth::Healthy)));
    world.deregister(&web, &[named(instance(1), None)]).expect("AWS answers 200");
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::Draining));
    assert_eq!(health(&mut world, &web, 8080), Some(TargetHealth::Healthy));
}

#[test]
fn routing_lags_a_deregistration_even_when_the_delay_is_shorter() {
    let (mut world, web) = calm();
    world.set_delay(&web, SECOND);
    world.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    world.advance(seconds(3));
    assert_eq!(health(&mut world, &web, 80), None);
    assert!(world.is_routed(&web, &instance(1), 80));
    let version = world.routes_version(&web);
    world.advance(seconds(4));
    assert!(!world.is_routed(&web, &instance(1), 80));
    assert_ne!(world.routes_version(&web), version);
    assert!(world.is_routed(&web, &instance(1), 8080));
    assert_eq!(world.next_event(), Time::NEVER);
}

#[test]
fn a_second_deregistration_does_not_start_the_delay_anew() {
    let (mut world, web) = calm();
    world.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    world.advance(seconds(20));
    world.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    world.advance(seconds(30));
    assert_eq!(health(&mut world, &web, 80), None);
}

#[test]
fn a_delay_that_an_operator_raises_holds_for_targets_that_are_draining() {
    let (mut world, web) = calm();
    world.deregister_instance(&web, InstanceId::from_number(1));
    world.advance(seconds(10));
    world.set_delay(&web, SECOND * 60);
    world.advance(seconds(59));
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::Draining));
    assert_eq!(world.delay(&web), Ok(SECOND * 60));
    world.advance(seconds(60));
    assert_eq!(health(&mut world, &web, 80), None);
}

#[test]
fn a_draining_instance_can_be_registered_again_and_an_address_cannot() {
    let (mut world, web) = calm();
    world.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    world.register(&web, &[named(instance(1), Some(80))]).expect("an instance comes back");
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::Registered));
    world.advance(seconds(20));
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::Healthy));

    let ip = TargetId::read("10.0.0.7");
    world.add_group(GroupSetup { target_type: TargetType::Ip, ..GroupSetup::new(arn("ip"), Kind::Nlb, 80) });
    world.put_target(&arn("ip"), ip.clone(), 80, Some("all".into()));
    world.deregister(&arn("ip"), &[named(ip.clone(), Some(80))]).expect("it is let through");
    let again = world.register(&arn("ip"), &[named(ip, Some(80))]);
    assert!(matches!(again, Err(ApiError::InvalidTarget(_))), "{again:?}");
    assert!(world.register(&arn("ip"), &[named(instance(1), Some(80))]).is_err());
}

#[test]
fn unused_is_not_the_same_as_gone() {
    let (mut world, web) = calm();
    world.set_in_use(&web, false);
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::RegisteredUnused));
    assert!(world.routes(&web).is_empty());
    world.set_in_use(&web, true);
    world.machine_stopped(InstanceId::from_number(1));
    assert_eq!(health(&mut world, &web, 80), Some(TargetHealth::RegisteredUnused));
    let reasons: Vec<_> = world.inside(&web).iter().map(|row| row.state.reason).collect();
    assert_eq!(reasons, [Some("Target.InvalidState"); 2]);
}

#[test]
fn a_new_target_passes_through_every_state_before_it_is_routed_to() {
    let (mut world, web) = calm();
    world.register(&web, &[named(instance(2), None)]).expect("it is let through");
    let mut seen = Vec::new();
    for second in 0..15 {
        world.advance(seconds(second));
        let state = world.inside(&web).last().expect("it is listed").state;
        let row = (state.state, state.reason, world.is_routed(&web, &instance(2), 80));
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
fn a_target_that_fails_its_checks_is_left_unless_no_other_is_left() {
    let (mut world, web) = calm();
    world.set_answers(&web, &instance(1), 80, false);
    assert!(world.is_routed(&web, &instance(1), 80), "the checks take their time");
    world.advance(seconds(10));
    assert_eq!(world.routes(&web), [Route { id: instance(1), port: 8080 }]);
    world.set_answers(&web, &instance(1), 8080, false);
    world.advance(seconds(20));
    assert_eq!(world.routes(&web).len(), 2, "balancers fail open");
    world.set_answers(&web, &instance(1), 80, true);
    world.advance(seconds(30));
    assert_eq!(world.routes(&web), [Route { id: instance(1), port: 80 }]);
}

#[test]
fn a_network_balancer_lets_an_unhealthy_target_drain_first() {
    let mut world = LoadBalancers::new(START, 1, Limit::None, Limit::None);
    let health = HealthTimes { unhealthy_draining: SECOND * 5, ..HealthTimes::default() };
    world.add_group(GroupSetup { health, ..GroupSetup::new(arn("nlb"), Kind::Nlb, 80) });
    world.put_target(&arn("nlb"), instance(1), 80, None);
    world.set_answers(&arn("nlb"), &instance(1), 80, false);
    let state = |world: &LoadBalancers| world.inside(&arn("nlb"))[0].state.state;
    world.advance(seconds(10));
    assert_eq!(state(&world), "unhealthy.draining");
    world.advance(seconds(15));
    assert_eq!(state(&world), "unhealthy");
}

#[test]
fn looks_cost_calls_and_blindness_is_never_an_answer() {
    let limit = Limit::Calls { size: 3, refill: 1 };
    let mut world = LoadBalancers::new(START, 1, limit, Limit::Calls { size: 1, refill: 1 });
    world.add_group(GroupSetup::new(arn("web"), Kind::Alb, 80));
    let look = world.look_group(&arn("web"), true, None).expect("two calls are there");
    assert_eq!((look.delay, look.kind, look.attached), (Some(SECOND * 300), Kind::Alb, true));
    let known = Some(Known { kind: look.kind, delay: look.delay, connection_termination: None, crosses_zones: Some(true) });
    assert!(world.look_group(&arn("web"), true, known).is_ok());
    assert_eq!(world.look_group(&arn("web"), true, known), Err(decamp_core::decide::Unseen::Throttled));
    assert_eq!(world.calls(), [(3, 1), (0, 0)]);
    world.advance(seconds(5));
    world.set_attributes_unreadable(&arn("web"), true);
    assert_eq!(world.look_group(&arn("web"), true, None).map(|look| look.delay), Ok(None));
    world.set_denied(&arn("web"), true, true);
    assert!(matches!(world.look_group(&arn("web"), true, known), Err(decamp_core::decide::Unseen::Denied(_))));
    assert_eq!(world.deregister(&arn("web"), &[]), Err(ApiError::AccessDenied));
    assert_eq!(world.deregister(&arn("web"), &[]), Err(ApiError::Throttled));
}

#[test]
fn a_deleted_group_has_no_targets_and_is_no_error() {
    let (mut world, web) = calm();
    world.delete_group(&web);
    assert_eq!(world.look_group(&web, false, None).map(|look| look.targets), Ok(None));
    assert_eq!(world.deregister(&web, &[]), Err(ApiError::TargetGroupNotFound));
    assert!(world.routes(&web).is_empty());
}

#[test]
fn the_list_that_a_look_shows_is_shared_until_something_changes() {
    let (mut world, web) = calm();
    let shown = |world: &mut LoadBalancers| -> Arc<[Target]> { world.targets(&web).expect("the group is there") };
    let (one, two) = (shown(&mut world), shown(&mut world));
    assert!(Arc::ptr_eq(&one, &two));
    world.deregister(&web, &[named(instance(1), Some(80))]).expect("it is let through");
    assert_ne!(shown(&mut world), one);
}
