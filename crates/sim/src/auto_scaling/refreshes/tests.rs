//! Tests of refreshes of a group of three instances with a terminating hook.

use super::*;
use crate::auto_scaling::{GroupSetup, HookSetup};
use crate::bucket::Limit;
use decamp_core::decide::LifecycleResult;

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time(1_000_000);

struct Account {
    asg: AutoScaling,
    elb: LoadBalancers,
}

fn account() -> Account {
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
    Account { asg, elb: LoadBalancers::new(START, 1, Limit::None, Limit::None) }
}

/// Preferences that launch one instance before they terminate one.
fn ahead() -> Preferences {
    Preferences { min_healthy: Some(100), max_healthy: Some(134), warm_up: Some(SECOND * 2), ..Preferences::default() }
}

impl Account {
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

    /// Completes waiting actions each second until the refresh has this status. Returns how long that took.
    fn complete_actions_until(&mut self, status: Status) -> Duration {
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
    let mut account = account();
    account.start(ahead(), None).expect("it starts");
    assert_eq!(account.last(), (Status::Pending, 0, 0));
    account.advance(SECOND);
    assert_eq!(account.last(), (Status::Successful, 100, 0));
    assert!(account.asg.instances().all(|i| i.state == LifecycleState::InService));

    account.release();
    account.start(ahead(), None).expect("the first is over");
    assert_eq!(account.last(), (Status::Pending, 0, 3));
    account.advance(SECOND * 11);
    assert_eq!((account.last(), account.waiting().len()), ((Status::InProgress, 0, 3), 0), "the new one is not warm");
    account.advance(SECOND * 3);
    assert_eq!(account.waiting(), [InstanceId::from_number(1)], "a hook holds it, and with it the refresh");
    account.advance(SECOND * 100);
    assert_eq!((account.last(), account.waiting().len()), ((Status::InProgress, 0, 3), 1));
    account.complete_actions_until(Status::Successful);
    assert_eq!((account.last(), account.versions()), ((Status::Successful, 100, 0), vec![2, 2, 2]));
    assert_eq!(account.asg.refreshes("asg").len(), 2);
}

#[test]
fn progress_goes_up_one_instance_after_the_other() {
    let mut account = account();
    account.start(Preferences { skip_matching: false, ..ahead() }, None).expect("it starts");
    let mut seen = vec![account.last().1];
    while account.last().0 != Status::Successful {
        for id in account.waiting() {
            account.asg.complete("asg", "ours", None, Some(id), LifecycleResult::Continue).expect("it waits");
        }
        account.advance(SECOND);
        if seen.last() != Some(&account.last().1) {
            seen.push(account.last().1);
        }
    }
    assert_eq!(seen, [0, 33, 66, 100]);
}

#[test]
fn a_group_has_one_refresh_at_a_time_and_only_one_in_progress_can_be_stopped() {
    let mut account = account();
    assert_eq!(account.asg.cancel_refresh("asg", true), Err(ApiError::NoRefresh("asg".into())));
    assert_eq!(account.asg.roll_back_refresh("asg"), Err(ApiError::NoRefresh("asg".into())));
    assert!(matches!(account.asg.start_refresh("other", ahead(), None), Err(ApiError::Validation(_))));
    let wrong = Preferences { max_healthy: Some(300), ..ahead() };
    assert!(matches!(account.start(wrong, None), Err(ApiError::Validation(_))));
    account.start(ahead(), None).expect("it starts");
    assert_eq!(account.start(ahead(), None), Err(ApiError::RefreshInProgress));
    assert_eq!(account.asg.roll_back_refresh("asg"), Err(ApiError::IrreversibleRefresh), "it names no version");
}

#[test]
fn a_cancelled_refresh_waits_for_hooks_and_leaves_the_group_as_large_as_it_was() {
    let mut account = account();
    account.release();
    account.start(ahead(), None).expect("it starts");
    account.advance(SECOND * 14);
    assert_eq!(account.waiting().len(), 1);
    account.asg.cancel_refresh("asg", true).expect("it is under way");
    account.advance(SECOND * 60);
    assert_eq!(account.last().0, Status::Cancelling);
    assert_eq!(account.start(ahead(), None), Err(ApiError::RefreshInProgress));
    account.complete_actions_until(Status::Cancelled);
    assert_eq!(account.versions(), [1, 1, 2], "replaced instances stay replaced");
    assert_eq!(account.asg.refreshes("asg")[0].reason.as_deref(), Some("Cancelled due to user request."));
    account.start(ahead(), None).expect("another may begin");
    account.asg.cancel_refresh("asg", false).expect("it is pending");
    assert_eq!(account.last().0, Status::Cancelled);
}

#[test]
fn a_refresh_to_a_version_is_rolled_back_and_only_a_successful_one_changes_the_group() {
    let mut account = account();
    let version = |account: &Account| account.asg.group("asg").map(|setup| setup.version);
    account.start(ahead(), Some(7)).expect("it starts");
    while account.last().1 < 66 {
        account.waiting().into_iter().for_each(|id| {
            account.asg.complete("asg", "ours", None, Some(id), LifecycleResult::Continue).expect("it waits");
        });
        account.advance(SECOND);
    }
    account.asg.roll_back_refresh("asg").expect("it names a version");
    account.advance(SECOND);
    assert_eq!(account.last(), (Status::RollbackInProgress, 66, 1));
    account.complete_actions_until(Status::RollbackSuccessful);
    assert_eq!((account.versions(), version(&account)), (vec![1, 1, 1], Some(1)));
    assert_eq!(account.last().1, 0);
    account.start(ahead(), Some(7)).expect("it starts");
    account.complete_actions_until(Status::Successful);
    assert_eq!((account.versions(), version(&account)), (vec![7, 7, 7], Some(7)));
}

#[test]
fn a_refresh_that_fails_says_why_and_is_rolled_back_if_it_was_started_so() {
    let mut account = account();
    account.start(ahead(), Some(2)).expect("it starts");
    account.advance(SECOND * 14);
    account.asg.fail_refresh("asg", "an alarm went off");
    assert_eq!(account.last().0, Status::Failed);
    assert_eq!(account.asg.refreshes("asg")[0].reason.as_deref(), Some("an alarm went off"));
    account.start(Preferences { auto_rollback: true, ..ahead() }, Some(2)).expect("it starts");
    account.advance(SECOND * 14);
    account.asg.fail_refresh("asg", "an alarm went off");
    account.complete_actions_until(Status::RollbackSuccessful);
}

#[test]
fn a_machine_that_never_starts_fails_the_refresh_after_an_hour() {
    let mut account = account();
    account.release();
    account.asg.change_group("asg", |setup| setup.start_takes = SECOND * 100_000);
    account.start(ahead(), None).expect("it starts");
    account.advance(SECOND * 3_599);
    assert_eq!(account.last().0, Status::InProgress);
    account.advance(SECOND * 3);
    assert_eq!(account.last().0, Status::Failed);
}

#[test]
fn it_bakes_after_the_last_replacement() {
    let mut account = account();
    account.release();
    account.start(Preferences { bake: Some(SECOND * 30), ..ahead() }, None).expect("it starts");
    account.complete_actions_until(Status::Baking);
    let baked = account.complete_actions_until(Status::Successful);
    assert!(SECOND * 28 <= baked && baked <= SECOND * 31, "{baked:?}");
}

#[test]
fn a_clone_continues_in_the_same_way() {
    let mut account = account();
    account.start(Preferences { skip_matching: false, ..ahead() }, None).expect("it starts");
    account.advance(SECOND * 20);
    let mut other = Account { asg: account.asg.clone(), elb: LoadBalancers::new(account.asg.now(), 1, Limit::None, Limit::None) };
    assert_eq!(account.complete_actions_until(Status::Successful), other.complete_actions_until(Status::Successful));
}
