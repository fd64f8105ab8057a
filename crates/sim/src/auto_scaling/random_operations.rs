//! Random operations of operators, machines and clients, and what must hold in both models after each of them.

use std::time::Duration;

use super::*;
use crate::load_balancers;
use crate::load_balancers::{Kind, Named};
use decamp_core::decide::LifecycleResult;
use decamp_core::ids::{TargetGroupArn, TargetId};

const SEEDS: u64 = 400;
const STEPS: usize = 120;
const SECOND: Duration = Duration::from_secs(1);

fn arn(number: u64) -> TargetGroupArn {
    let text = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/g{number}/0123456789abcdef");
    text.parse().expect("it fits the grammar")
}

struct Account {
    asg: AutoScaling,
    elb: LoadBalancers,
    rng: Rng,
    /// How many instance ids were ever in the group.
    ids: u64,
}

fn account(seed: u64) -> Account {
    let mut rng = Rng::new(seed);
    let mut elb = LoadBalancers::new(Time(1), seed, Limit::None, Limit::None);
    let mut attached = Vec::new();
    for number in 0..3 {
        let kind = if rng.one_in(2) { Kind::Alb } else { Kind::Nlb };
        let delay = rng.span(Duration::ZERO, SECOND * 120);
        elb.add_group(load_balancers::GroupSetup { delay, ..load_balancers::GroupSetup::new(arn(number), kind, 80) });
        if rng.one_in(2) {
            attached.push(arn(number));
        }
    }
    let mut asg = AutoScaling::new(Time(1), seed, Limit::None);
    let hooks = ["a", "b"].map(|name| HookSetup {
        default_result: if rng.one_in(2) { LifecycleResult::Continue } else { LifecycleResult::Abandon },
        transition: if rng.one_in(4) { Transition::Launching } else { Transition::Terminating },
        ..HookSetup::terminating(name.into(), rng.span(SECOND * 30, SECOND * 300))
    });
    let pool = WarmPool { reuse_on_scale_in: true, rests: LifecycleState::WarmedStopped };
    asg.add_group(GroupSetup {
        hooks: hooks.into_iter().take(usize::try_from(rng.below(3)).expect("it is small")).collect(),
        attached,
        retains: rng.one_in(2),
        warm_pool: rng.one_in(2).then_some(pool),
        waits_for_deregistration: !rng.one_in(4),
        ..GroupSetup::new("asg".into())
    });
    let mut account = Account { asg, elb, rng, ids: 3 };
    for number in 0..account.ids {
        let id = InstanceId::from_number(number);
        account.asg.put_instance("asg", id, "a".into(), LifecycleState::InService);
        (0..3).for_each(|group| account.elb.put_target(&arn(group), TargetId::Instance(id), 80, None));
    }
    account
}

impl Account {
    /// Does one random operation. It may be refused, and may neither panic nor break what must hold.
    fn disturb(&mut self) {
        let id = InstanceId::from_number(self.rng.below(self.ids));
        let group = arn(self.rng.below(3));
        let target = || vec![Named { id: TargetId::Instance(id), port: Some(80), zone: None }];
        let hook = if self.rng.one_in(2) { "a" } else { "b" };
        let result = if self.rng.one_in(3) { LifecycleResult::Abandon } else { LifecycleResult::Continue };
        let Self { asg, elb, rng, ids } = self;
        match rng.below(20) {
            0..2 => drop(asg.terminate(id, elb)),
            2 => drop(asg.scale_in(id, elb)),
            3..6 => drop(asg.complete("asg", hook, None, Some(id), result)),
            6..9 => drop(asg.heartbeat("asg", hook, None, Some(id))),
            9 => asg.machine_dies(id, elb),
            10 => drop(asg.take_from_pool(id, elb)),
            11 => {
                asg.launch("asg", InstanceId::from_number(*ids), "a".into()).ok();
                *ids += 1;
            }
            12 if rng.one_in(8) => asg.detach(id, elb),
            13 if rng.one_in(4) => asg.stand_by(id, elb),
            14 if rng.one_in(20) => asg.delete_hook("asg", hook),
            15 if rng.one_in(100) => asg.delete_group("asg", elb),
            16 => drop(elb.deregister(&group, &target())),
            17 => drop(elb.register(&group, &target())),
            18 => elb.set_answers(&group, &TargetId::Instance(id), 80, rng.one_in(2)),
            19 => elb.set_delay(&group, rng.span(Duration::ZERO, SECOND * 90)),
            _ => {}
        }
    }

    fn check(&mut self, tokens: &mut Vec<String>) {
        let Self { asg, elb, .. } = self;
        assert!(asg.now() < asg.next_event() && elb.now() < elb.next_event(), "something due did not happen");
        assert_eq!(asg.now(), elb.now());
        for instance in asg.instances() {
            let open = instance.actions.iter().filter(|action| action.is_open()).count();
            let waits = instance.state.name().ends_with(":Wait");
            assert_eq!(waits, open != 0, "{} with {open} open actions", instance.state.name());
            let over = matches!(instance.state, LifecycleState::Terminated | LifecycleState::WarmedTerminated);
            assert!(!over || !instance.runs, "terminated, and its machine runs");
            let gone = asg.activity_began(instance.id).is_some();
            assert!(!waits || gone, "it waits without an activity");
        }
        for number in 0..3 {
            let views = elb.inside(&arn(number));
            let healthy = views.iter().filter(|view| view.state.state == "healthy").count();
            let routes = elb.routes(&arn(number)).len();
            assert!(healthy <= routes, "a healthy target that nothing is sent to");
            assert!(routes <= usize::try_from(self.ids).expect("it is small"));
        }
        for event in asg.take_events() {
            tokens.push(event.token.expose().to_owned());
        }
    }
}

#[test]
fn after_random_operations_every_wait_has_an_open_action_and_no_due_event_is_late() {
    for seed in 0..SEEDS {
        let mut account = account(seed);
        let mut tokens = Vec::new();
        for _ in 0..STEPS {
            account.disturb();
            let to = account.asg.now() + account.rng.span(Duration::from_millis(1), SECOND * 40);
            let Account { asg, elb, .. } = &mut account;
            asg.advance(to, elb);
            account.check(&mut tokens);
        }
        let drawn = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), drawn, "seed {seed}: two actions with one token");
    }
}

#[test]
fn without_further_operations_every_wait_ends() {
    for seed in 0..SEEDS {
        let mut account = account(seed);
        for _ in 0..STEPS {
            account.disturb();
            let Account { asg, elb, .. } = &mut account;
            asg.advance(asg.now() + SECOND, elb);
        }
        let Account { asg, elb, .. } = &mut account;
        asg.advance(asg.now() + SECOND * 200_000, elb);
        let settled = |instance: &Instance| instance.state.is_settled() || instance.state.is_retained();
        // Auto Scaling keeps waiting for an instance that another party has registered again. No operation registers it any more, and a
        // target that is still registered counts.
        let waits = |instance: &Instance| matches!(instance.state, LifecycleState::Terminating | LifecycleState::WarmedPending);
        let left: Vec<_> = asg.instances().filter(|i| !settled(i) && !waits(i)).map(|i| i.state.name()).collect();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let history = |seed| {
        let mut account = account(seed);
        let mut all = Vec::new();
        for _ in 0..STEPS {
            account.disturb();
            let Account { asg, elb, .. } = &mut account;
            asg.advance(asg.now() + SECOND * 7, elb);
            all.extend(account.asg.take_instance_events());
        }
        all
    };
    assert!((0..20).all(|seed| history(seed) == history(seed)));
    assert_ne!(history(1), history(2));
}

#[test]
fn old_instances_are_forgotten_and_listed_ones_never_are() {
    let mut account = account(1);
    let Account { asg, elb, .. } = &mut account;
    asg.change_group("asg", |setup| (setup.hooks.clear(), setup.attached.clear()).0);
    for number in 100..2_000 {
        let id = InstanceId::from_number(number);
        asg.put_instance("asg", id, "a".into(), LifecycleState::InService);
        asg.terminate(id, elb).expect("it is in service");
        asg.advance(asg.now() + SECOND * 60, elb);
    }
    assert_eq!(asg.instances().count(), 3);
    assert_eq!(asg.instances.len(), 3 + REMEMBERED);
}
