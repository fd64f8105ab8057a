//! A group of three with a terminating hook, refreshed: who goes, when, and how it is told.

use super::*;
use crate::auto_scaling::{GroupSetup, HookSetup};
use crate::bucket::Limit;
use decamp_core::decide::LifecycleResult;

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time(1_000_000);

struct World {
    asg: AutoScaling,
    elb: LoadBalancers,
}

fn world() -> World {
    let mut asg = AutoScaling::new(START, 2, Limit::None);
    asg.add_group(GroupSetup {
        hooks: vec![HookSetup::terminating("ours".into(), SECOND * 600)],
        start_takes: SECOND * 10,
        next_instance: 10,
        ..GroupSetup::new("asg".into())
    });
    for number in 1..=3 {
        asg.put_instance("asg", InstanceId::from_number(number), "a".into(), LifecycleState::InService);
    }
    World { asg, elb: LoadBalancers::new(START, 1, Limit::None, Limit::None) }
}

/// One more than there are, before one goes.
fn ahead() -> Preferences {
    Preferences { min_healthy: Some(100), max_healthy: Some(134), warm_up: Some(SECOND * 2), ..Preferences::default() }
}

impl World {
    fn start(&mut self, preferences: Preferences, version: Option<u32>) -> Result<Arc<str>, ApiError> {
        self.asg.start_refresh("asg", preferences, version)
    }

    fn advance(&mut self, span: Duration) {
        self.asg.advance(self.asg.now() + span, &mut self.elb);
    }

    fn release(&mut self) {
        self.asg.change_group("asg", |setup| setup.version += 1);
    }

    fn last(&self) -> (Status, u32, u32) {
        let refresh = self.asg.refreshes("asg")[0];
        (refresh.status, refresh.percentage, refresh.to_update)
    }

    fn waiting(&self) -> Vec<InstanceId> {
        self.asg.instances().filter(|i| i.state == LifecycleState::TerminatingWait).map(|i| i.id).collect()
    }

    /// Completes whatever waits, second by second, until this status; how long that took.
    fn walk_out_until(&mut self, status: Status) -> Duration {
        let began = self.asg.now();
        while self.last().0 != status {
            assert!(self.asg.now().since(began) < SECOND * 600, "it stays {:?}", self.last());
            for id in self.waiting() {
                self.asg.complete("asg", "ours", None, Some(id), LifecycleResult::Continue).expect("it waits");
            }
            self.advance(SECOND);
        }
        self.asg.now().since(began)
    }

    fn versions(&self) -> Vec<u32> {
        self.asg.instances().filter(|i| i.state == LifecycleState::InService).map(|i| i.version).collect()
    }
}

#[test]
fn instances_that_match_are_left_alone_and_all_are_replaced_after_a_release() {
    let mut world = world();
    world.start(ahead(), None).expect("it starts");
    assert_eq!(world.last(), (Status::Pending, 0, 0));
    world.advance(SECOND);
    assert_eq!(world.last(), (Status::Successful, 100, 0));
    assert!(world.asg.instances().all(|i| i.state == LifecycleState::InService));

    world.release();
    world.start(ahead(), None).expect("the first is over");
    assert_eq!(world.last(), (Status::Pending, 0, 3));
    world.advance(SECOND * 11);
    assert_eq!((world.last(), world.waiting().len()), ((Status::InProgress, 0, 3), 0), "the new one is not warm");
    world.advance(SECOND * 3);
    assert_eq!(world.waiting(), [InstanceId::from_number(1)], "a hook holds it, and with it the refresh");
    world.advance(SECOND * 100);
    assert_eq!((world.last(), world.waiting().len()), ((Status::InProgress, 0, 3), 1));
    world.walk_out_until(Status::Successful);
    assert_eq!((world.last(), world.versions()), ((Status::Successful, 100, 0), vec![2, 2, 2]));
    assert_eq!(world.asg.refreshes("asg").len(), 2);
}

#[test]
fn progress_goes_up_one_instance_after_the_other() {
    let mut world = world();
    world.start(Preferences { skip_matching: false, ..ahead() }, None).expect("it starts");
    let mut seen = vec![world.last().1];
    while world.last().0 != Status::Successful {
        for id in world.waiting() {
            world.asg.complete("asg", "ours", None, Some(id), LifecycleResult::Continue).expect("it waits");
        }
        world.advance(SECOND);
        if seen.last() != Some(&world.last().1) {
            seen.push(world.last().1);
        }
    }
    assert_eq!(seen, [0, 33, 66, 100]);
}

#[test]
fn one_at_a_time_is_refreshed_and_what_is_not_under_way_cannot_be_stopped() {
    let mut world = world();
    assert_eq!(world.asg.cancel_refresh("asg", true), Err(ApiError::NoRefresh("asg".into())));
    assert_eq!(world.asg.roll_back_refresh("asg"), Err(ApiError::NoRefresh("asg".into())));
    assert!(matches!(world.asg.start_refresh("other", ahead(), None), Err(ApiError::Validation(_))));
    let wrong = Preferences { max_healthy: Some(300), ..ahead() };
    assert!(matches!(world.start(wrong, None), Err(ApiError::Validation(_))));
    world.start(ahead(), None).expect("it starts");
    assert_eq!(world.start(ahead(), None), Err(ApiError::RefreshInProgress));
    assert_eq!(world.asg.roll_back_refresh("asg"), Err(ApiError::IrreversibleRefresh), "it names no version");
}

#[test]
fn a_cancelled_refresh_waits_for_hooks_and_leaves_the_group_as_large_as_it_was() {
    let mut world = world();
    world.release();
    world.start(ahead(), None).expect("it starts");
    world.advance(SECOND * 14);
    assert_eq!(world.waiting().len(), 1);
    world.asg.cancel_refresh("asg", true).expect("it is under way");
    world.advance(SECOND * 60);
    assert_eq!(world.last().0, Status::Cancelling);
    assert_eq!(world.start(ahead(), None), Err(ApiError::RefreshInProgress));
    world.walk_out_until(Status::Cancelled);
    assert_eq!(world.versions(), [1, 1, 2], "what was replaced stays so");
    assert_eq!(world.asg.refreshes("asg")[0].reason.as_deref(), Some("Cancelled due to user request."));
    world.start(ahead(), None).expect("another may begin");
    world.asg.cancel_refresh("asg", false).expect("it is pending");
    assert_eq!(world.last().0, Status::Cancelled);
}

#[test]
fn a_refresh_to_a_version_is_rolled_back_and_only_a_successful_one_changes_the_group() {
    let mut world = world();
    let version = |world: &World| world.asg.group("asg").map(|setup| setup.version);
    world.start(ahead(), Some(7)).expect("it starts");
    while world.last().1 < 66 {
        world.waiting().into_iter().for_each(|id| {
            world.asg.complete("asg", "ours", None, Some(id), LifecycleResult::Continue).expect("it waits");
        });
        world.advance(SECOND);
    }
    world.asg.roll_back_refresh("asg").expect("it names a version");
    world.advance(SECOND);
    assert_eq!(world.last(), (Status::RollbackInProgress, 66, 1));
    world.walk_out_until(Status::RollbackSuccessful);
    assert_eq!((world.versions(), version(&world)), (vec![1, 1, 1], Some(1)));
    assert_eq!(world.last().1, 0);
    world.start(ahead(), Some(7)).expect("it starts");
    world.walk_out_until(Status::Successful);
    assert_eq!((world.versions(), version(&world)), (vec![7, 7, 7], Some(7)));
}

#[test]
fn a_refresh_that_fails_says_why_and_is_taken_back_where_that_was_asked_for() {
    let mut world = world();
    world.start(ahead(), Some(2)).expect("it starts");
    world.advance(SECOND * 14);
    world.asg.fail_refresh("asg", "an alarm went off");
    assert_eq!(world.last().0, Status::Failed);
    assert_eq!(world.asg.refreshes("asg")[0].reason.as_deref(), Some("an alarm went off"));
    world.start(Preferences { auto_rollback: true, ..ahead() }, Some(2)).expect("it starts");
    world.advance(SECOND * 14);
    world.asg.fail_refresh("asg", "an alarm went off");
    world.walk_out_until(Status::RollbackSuccessful);
}

#[test]
fn a_machine_that_never_starts_fails_the_refresh_after_an_hour() {
    let mut world = world();
    world.release();
    world.asg.change_group("asg", |setup| setup.start_takes = SECOND * 100_000);
    world.start(ahead(), None).expect("it starts");
    world.advance(SECOND * 3_599);
    assert_eq!(world.last().0, Status::InProgress);
    world.advance(SECOND * 3);
    assert_eq!(world.last().0, Status::Failed);
}

#[test]
fn after_the_last_one_it_bakes() {
    let mut world = world();
    world.release();
    world.start(Preferences { bake: Some(SECOND * 30), ..ahead() }, None).expect("it starts");
    world.walk_out_until(Status::Baking);
    let baked = world.walk_out_until(Status::Successful);
    assert!(SECOND * 28 <= baked && baked <= SECOND * 31, "{baked:?}");
}

#[test]
fn a_clone_goes_on_the_same_way() {
    let mut world = world();
    world.start(Preferences { skip_matching: false, ..ahead() }, None).expect("it starts");
    world.advance(SECOND * 20);
    let mut other = World { asg: world.asg.clone(), elb: LoadBalancers::new(world.asg.now(), 1, Limit::None, Limit::None) };
    assert_eq!(world.walk_out_until(Status::Successful), other.walk_out_until(Status::Successful));
}
