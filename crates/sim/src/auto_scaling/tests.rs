//! Tests of the model against facts/aws.md, section 2, about lifecycle hooks.

use std::time::Duration;

use super::*;
use crate::load_balancers;
use crate::load_balancers::Kind;
use decamp_core::decide::LifecycleResult::{Abandon, Continue};
use decamp_core::decide::{Lifecycle, LifecycleResult};
use decamp_core::ids::{ActionToken, TargetGroupArn, TargetId};

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time(1_000_000);
const ME: u64 = 7;

fn me() -> InstanceId {
    InstanceId::from_number(ME)
}

fn web() -> TargetGroupArn {
    let text = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
    text.parse().expect("it fits the grammar")
}

fn seconds(count: u32) -> Time {
    START + SECOND * count
}

struct Account {
    asg: AutoScaling,
    elb: LoadBalancers,
}

/// A group `asg` with these hooks of 60 s, one instance, and one target group with a delay of 20 s, not attached.
fn account(hooks: &[&str], change: impl FnOnce(&mut GroupSetup)) -> Account {
    let mut elb = LoadBalancers::new(START, 1, Limit::None, Limit::None);
    elb.add_group(load_balancers::GroupSetup { delay: SECOND * 20, ..load_balancers::GroupSetup::new(web(), Kind::Alb, 80) });
    elb.put_target(&web(), TargetId::Instance(me()), 80, None);
    let mut asg = AutoScaling::new(START, 2, Limit::None);
    let hooks = hooks.iter().map(|&name| HookSetup::terminating(name.into(), SECOND * 60)).collect();
    let mut setup = GroupSetup { hooks, ..GroupSetup::new("asg".into()) };
    change(&mut setup);
    asg.add_group(setup);
    asg.put_instance("asg", me(), "eu-west-1a".into(), LifecycleState::InService);
    Account { asg, elb }
}

impl Account {
    fn advance(&mut self, to: Time) -> &mut Self {
        self.asg.advance(to, &mut self.elb);
        self
    }

    fn terminate(&mut self) -> &mut Self {
        self.asg.terminate(me(), &mut self.elb).expect("it is in service");
        self
    }

    fn state(&self) -> &'static str {
        self.asg.instance(me()).map_or("gone", |instance| instance.state.name())
    }

    fn token(&mut self, hook: &str) -> ActionToken {
        let actions = &self.asg.instance(me()).expect("it is listed").actions;
        actions.iter().find(|action| *action.hook == *hook).expect("it waits there").token.clone()
    }

    fn complete(&mut self, hook: &str, result: LifecycleResult) -> Result<(), ApiError> {
        self.asg.complete("asg", hook, None, Some(me()), result)
    }

    fn heartbeat(&mut self, hook: &str) -> Result<(), ApiError> {
        self.asg.heartbeat("asg", hook, None, Some(me()))
    }

    fn states(&mut self) -> Vec<&'static str> {
        let states = self.asg.take_instance_events().into_iter().filter_map(|(_, what)| match what {
            InstanceEvent::State { state, .. } => Some(state.name()),
            InstanceEvent::MachineStopped(_) => Some("(machine stops)"),
            InstanceEvent::Delisted(_) => Some("(gone)"),
            InstanceEvent::ActionBegan { .. }
            | InstanceEvent::ActionEnded { .. }
            | InstanceEvent::MachineStarted(_)
            | InstanceEvent::Launched(_) => None,
        });
        states.collect()
    }
}

#[test]
fn an_instance_waits_in_its_hook_until_it_is_completed_and_is_then_terminated() {
    let mut account = account(&["ours"], |_| ());
    account.terminate();
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Waiting);
    account.advance(seconds(50));
    account.complete("ours", Continue).expect("it waits");
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Past);
    account.advance(seconds(100));
    let expected = ["Terminating", "Terminating:Wait", "Terminating:Proceed", "(machine stops)", "Terminated", "(gone)"];
    assert_eq!(account.states(), expected);
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Gone);
    assert_eq!(account.elb.inside(&web())[0].state.reason, Some("Target.InvalidState"));
}

#[test]
fn an_instance_leaves_attached_target_groups_and_waits_for_their_delay_before_its_hook_begins() {
    let mut account = account(&["ours"], |setup| setup.attached.push(web()));
    account.terminate().advance(seconds(19));
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Terminating);
    assert!(account.asg.take_events().is_empty());
    let (_, _, progress) = account.asg.activities("asg")[0];
    assert_eq!(progress.name(), "WaitingForELBConnectionDraining");
    assert_eq!(account.elb.inside(&web())[0].state.state, "draining");
    account.advance(seconds(20));
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Waiting);
    assert_eq!(account.asg.take_events().first().map(|event| event.time), Some(seconds(20)));
    assert_eq!(account.asg.activity_began(me()), Some(START));
    assert!(account.elb.inside(&web()).is_empty());
}

#[test]
fn a_group_that_does_not_wait_begins_the_hook_while_its_targets_drain() {
    let change = |setup: &mut GroupSetup| (setup.attached, setup.waits_for_deregistration) = (vec![web()], false);
    let mut account = account(&["ours"], change);
    assert_eq!(account.terminate().state(), "Terminating:Wait");
    assert_eq!(account.elb.inside(&web())[0].state.state, "draining");
}

#[test]
fn a_heartbeat_restarts_the_timeout_and_nothing_moves_the_global_end() {
    let mut account = account(&["ours"], |_| ());
    account.terminate();
    for beat in 1..120 {
        account.advance(seconds(beat * 50));
        account.heartbeat("ours").expect("it lives");
    }
    assert_eq!(account.advance(seconds(5_999)).state(), "Terminating:Wait");
    assert_eq!(account.advance(seconds(6_000)).state(), "Terminating:Proceed");
    let ended = account.asg.instance(me()).and_then(|instance| instance.actions[0].ending);
    assert_eq!(ended, Some(Ending::GlobalTimeout(Continue)));
}

#[test]
fn without_a_heartbeat_the_hooks_default_acts() {
    for (default, retains, end) in [
        (Continue, true, "Terminating:Proceed"),
        (Abandon, true, "Terminating:Retained"),
        (Abandon, false, "Terminating:Proceed"),
    ] {
        let mut account = account(&["ours"], |setup| {
            setup.retains = retains;
            setup.hooks[0].default_result = default;
        });
        assert_eq!(account.terminate().advance(seconds(59)).state(), "Terminating:Wait");
        assert_eq!(account.advance(seconds(60)).state(), end);
    }
}

#[test]
fn every_hook_has_its_own_token_and_the_instance_waits_for_all_of_them() {
    let mut account = account(&["ours", "theirs"], |_| ());
    account.terminate();
    let (ours, theirs) = (account.token("ours"), account.token("theirs"));
    assert_ne!(ours, theirs);
    let wrong =
        account.asg.complete("asg", "ours", Some(&theirs), Some(me()), Continue).expect_err("the token is of another hook");
    assert_eq!(wrong.to_string(), format!("No active Lifecycle Action found with token {}", theirs.expose()));
    account.asg.complete("asg", "ours", Some(&ours), None, Continue).expect("it waits");
    assert_eq!(account.state(), "Terminating:Wait");
    account.asg.complete("asg", "theirs", Some(&theirs), None, Continue).expect("it waits");
    assert_eq!(account.state(), "Terminating:Proceed");
}

#[test]
fn abandoning_one_hook_skips_the_others() {
    let mut account = account(&["ours", "theirs"], |_| ());
    account.terminate();
    account.complete("ours", Abandon).expect("it waits");
    assert_eq!(account.state(), "Terminating:Proceed");
    let other = account.asg.instance(me()).and_then(|instance| instance.actions[1].ending);
    assert_eq!(other, Some(Ending::Skipped));
    assert!(matches!(account.complete("theirs", Continue), Err(ApiError::NoActiveAction(_))));
}

#[test]
fn a_retained_instance_stays_until_it_is_terminated_again() {
    let mut account = account(&["ours"], |setup| setup.retains = true);
    account.terminate();
    account.complete("ours", Abandon).expect("it waits");
    account.advance(seconds(100_000));
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::Retained);
    assert!(account.asg.instance(me()).is_some_and(|instance| instance.runs));
    account.terminate().advance(seconds(200_000));
    assert_eq!(account.state(), "gone");
}

#[test]
fn an_action_that_is_over_is_refused_in_awss_own_words() {
    let mut account = account(&["ours"], |_| ());
    account.terminate();
    let token = account.token("ours");
    account.complete("ours", Continue).expect("it waits");
    let by_token = account.asg.heartbeat("asg", "ours", Some(&token), Some(me())).expect_err("it is over");
    assert_eq!(by_token.to_string(), format!("No active Lifecycle Action found with token {}", token.expose()));
    let by_instance = account.heartbeat("ours").expect_err("it is over");
    assert_eq!(by_instance.to_string(), format!("No active Lifecycle Action found with instance ID {}", me()));
    assert_eq!((by_instance.code(), by_instance.status()), ("ValidationError", 400));
    for (asg, hook) in [("asg", "other"), ("other", "ours")] {
        let error = account.asg.heartbeat(asg, hook, None, Some(me())).expect_err("it is not there");
        assert!(matches!(error, ApiError::Validation(_)), "{error}");
    }
}

#[test]
fn scaling_in_to_a_warm_pool_waits_in_the_terminating_hook_and_the_instance_comes_back() {
    let pool = WarmPool { reuse_on_scale_in: true, rests: LifecycleState::WarmedStopped };
    let mut account = account(&["ours"], |setup| setup.warm_pool = Some(pool));
    account.asg.scale_in(me(), &mut account.elb).expect("it is in service");
    assert_eq!(account.asg.lifecycle(me()), Lifecycle::WaitingForWarmPool);
    let first = account.asg.take_events().remove(0);
    assert_eq!((first.origin.name(), first.destination.name()), ("AutoScalingGroup", "WarmPool"));
    account.complete("ours", Continue).expect("it waits");
    assert_eq!(account.advance(seconds(10)).state(), "Warmed:Stopped");
    account.asg.take_from_pool(me(), &mut account.elb).expect("it rests");
    assert_eq!(account.advance(seconds(100)).state(), "InService");
    account.terminate();
    assert_ne!(account.token("ours"), first.token);
    assert_eq!(account.state(), "Terminating:Wait");
}

#[test]
fn an_instance_that_leaves_the_warm_pool_for_good_waits_in_the_hook_too() {
    let pool = WarmPool { reuse_on_scale_in: true, rests: LifecycleState::WarmedRunning };
    let mut account = account(&["ours"], |setup| (setup.warm_pool, setup.retains) = (Some(pool), true));
    account.asg.scale_in(me(), &mut account.elb).expect("it is in service");
    account.complete("ours", Continue).expect("it waits");
    account.advance(seconds(10)).terminate();
    assert_eq!(account.state(), "Warmed:Terminating:Wait");
    account.complete("ours", Abandon).expect("it waits");
    assert_eq!(account.state(), "Warmed:Terminating:Retained");
}

#[test]
fn a_machine_that_another_party_terminates_still_goes_through_its_hook() {
    let mut account = account(&["ours"], |_| ());
    account.asg.machine_dies(me(), &mut account.elb);
    assert_eq!((account.state(), account.elb.inside(&web())[0].state.reason), ("InService", Some("Target.InvalidState")));
    assert_eq!(account.advance(seconds(60)).state(), "Terminating:Wait");
    account.complete("ours", Continue).expect("it waits");
    account.advance(seconds(1_000));
    let expected = ["(machine stops)", "Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminated", "(gone)"];
    assert_eq!(account.states(), expected);
}

#[test]
fn deleting_the_hook_continues_its_actions_and_deleting_the_group_drops_them() {
    let mut hook = account(&["ours"], |_| ());
    hook.terminate().asg.delete_hook("asg", "ours");
    assert_eq!(hook.state(), "Terminating:Proceed");
    assert!(matches!(hook.complete("ours", Continue), Err(ApiError::Validation(_))));

    let mut group = account(&["ours"], |_| ());
    group.terminate();
    let Account { asg, elb } = &mut group;
    asg.delete_group("asg", elb);
    assert_eq!(group.state(), "gone");
    assert_eq!(group.asg.look_group("asg", None).map(|seen| seen.hooks.len()), Ok(0));
}

#[test]
fn detaching_and_standby_end_the_wait_without_ending_the_machine() {
    for (detach, end) in [(true, "gone"), (false, "Standby")] {
        let mut account = account(&["ours"], |_| ());
        account.terminate();
        let Account { asg, elb } = &mut account;
        if detach {
            asg.detach(me(), elb)
        } else {
            asg.stand_by(me(), elb)
        }
        assert_eq!(account.advance(seconds(10)).state(), end);
        assert!(!account.states().contains(&"(machine stops)"));
        assert!(matches!(account.complete("ours", Continue), Err(ApiError::NoActiveAction(_))));
    }
}

#[test]
fn a_launch_waits_in_its_hook_and_an_abandoned_one_never_serves() {
    for (result, end) in [(Continue, "InService"), (Abandon, "gone")] {
        let mut account = account(&[], |setup| {
            let hook = HookSetup { transition: Transition::Launching, ..HookSetup::terminating("up".into(), SECOND * 600) };
            (setup.hooks, setup.attached) = (vec![hook], vec![web()]);
        });
        let new = InstanceId::from_number(8);
        account.asg.launch("asg", new, "eu-west-1b".into()).expect("the group is there");
        account.advance(seconds(30));
        assert_eq!(account.asg.instance(new).map(|instance| instance.state.name()), Some("Pending:Wait"));
        account.asg.complete("asg", "up", None, Some(new), result).expect("it waits");
        account.advance(seconds(200));
        assert_eq!(account.asg.instance(new).map_or("gone", |instance| instance.state.name()), end);
        assert_eq!(account.elb.is_routed(&web(), &TargetId::Instance(new), 80), result == Continue);
    }
}

#[test]
fn looks_share_one_bucket_with_writes_and_fifty_instances_cost_one_call() {
    let mut account = account(&["ours"], |_| ());
    account.asg.bucket = Bucket::full(Limit::Calls { size: 8, refill: 1 });
    assert!(account.asg.look_group("asg", Some(me())).is_ok());
    let many: Vec<InstanceId> = (0..101).map(InstanceId::from_number).collect();
    let seen = account.asg.look_lifecycles(&many).expect("three calls are there");
    assert_eq!(seen.iter().filter(|&state| *state != Lifecycle::Gone).count(), 1);
    assert!(matches!(account.heartbeat("ours"), Err(ApiError::NoActiveAction(_))));
    assert_eq!(account.heartbeat("ours"), Err(ApiError::Throttled));
    assert_eq!(account.asg.look_lifecycle(me()), Err(decamp_core::decide::Unseen::Throttled));
    assert_eq!(account.asg.calls(), (8, 2));
}

#[test]
fn a_contended_group_refuses_writes_for_a_while_and_answers_looks() {
    let mut account = account(&["ours"], |_| ());
    account.terminate().asg.contend(seconds(5));
    assert_eq!(account.complete("ours", Continue).map_err(|error| error.status()), Err(500));
    assert_eq!(account.asg.look_lifecycle(me()), Ok(Lifecycle::Waiting));
    assert_eq!(account.advance(seconds(5)).complete("ours", Continue), Ok(()));
}

#[test]
fn a_group_shows_its_hooks_its_tag_and_its_retention() {
    let mut account = account(&["ours"], |setup| {
        setup.tags.push(("decamp:hold".into(), "".into()));
        setup.attached.push(web());
        setup.hooks.push(HookSetup { transition: Transition::Launching, ..setup.hooks[0].clone() });
    });
    let seen = account.asg.look_group("asg", None).expect("it is let through");
    assert_eq!((seen.hooks.len(), seen.held, seen.retains, &seen.attached[..]), (1, true, false, &[web()][..]));
    assert_eq!(seen.hooks[0].global_timeout, SECOND * 6_000);
}

#[test]
fn an_event_has_the_format_that_event_bridge_sends() {
    let mut account = account(&["ours"], |setup| setup.hooks[0].metadata = Some("{}".into()));
    account.terminate();
    let event = account.asg.take_events().remove(0).event_bridge("eu-west-1", "123456789012");
    assert_eq!(event["detail-type"], "EC2 Instance-terminate Lifecycle Action");
    assert_eq!(event["time"], "1970-01-01T00:16:40Z");
    assert_eq!(event["detail"]["EC2InstanceId"], me().to_string());
    assert_eq!(event["detail"]["LifecycleActionToken"], account.token("ours").expose());
    assert_eq!(event["detail"]["NotificationMetadata"], "{}");
    assert_eq!(event["id"].as_str().map(str::len), Some(36));
}
