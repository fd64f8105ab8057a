//! Five thousand instances wait at once, and only sweeps send their heartbeats, at the default rates of an account and a process.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{AutoScaling, Ending, GroupSetup, HookSetup, InstanceEvent, LifecycleState};
use decamp_sim::bucket::Limit;
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::rng::Rng;

const WAITING: u64 = 5_000;
const MINUTE: Duration = Duration::from_mins(1);
/// The time-out of the Terraform module's hook, and the time that a sweep has of a function's minute.
const TIMEOUT: Duration = Duration::from_secs(900);
const PASS: Duration = Duration::from_secs(49);
/// The default of `DECAMP_AUTO_SCALING_RATE`, and the burst that it allows.
const RATE: u32 = 15;
const BURST: f64 = 75.0;
/// A call that would wait longer counts as throttled.
const PATIENCE: f64 = 6.0;
/// Instances in one look at their states.
const A_LOOK: usize = 50;
const BEGIN: Time = Time(1_800_000_000_000);

/// The process's own rate limiter. `enter` returns when a call may be sent, in seconds; `None` if it would wait too long.
struct Limiter {
    left: f64,
    as_of: f64,
}

impl Limiter {
    fn enter(&mut self, at: f64) -> Option<f64> {
        self.left = (self.left + (at - self.as_of) * f64::from(RATE)).min(BURST);
        self.as_of = at;
        let wait = ((1.0 - self.left) / f64::from(RATE)).max(0.0);
        (wait <= PATIENCE).then(|| {
            self.left -= 1.0;
            at + wait
        })
    }
}

/// The result of forty minutes: how many hooks ran out, and how many heartbeats were sent and refused.
#[derive(Debug, Default)]
struct SweepResult {
    expired: usize,
    sent: usize,
    refused: usize,
}

/// Sweeps once a minute for forty minutes. `plan` returns the instances that get a heartbeat in a sweep, and how long after its beginning.
fn run_sweeps(missed: impl Fn(u64) -> bool, plan: impl Fn(Time, &[InstanceId]) -> Vec<(Duration, InstanceId)>) -> SweepResult {
    let mut rng = Rng::new(7);
    let mut balancers = LoadBalancers::new(BEGIN, 1, Limit::None, Limit::None);
    let mut asg = AutoScaling::new(BEGIN, 2, Limit::Calls { size: 100, refill: 20 });
    let hook = HookSetup::terminating("decamp".into(), TIMEOUT);
    asg.add_group(GroupSetup { hooks: vec![hook], ..GroupSetup::new("web".into()) });
    let all: Vec<InstanceId> = (0..WAITING).map(InstanceId::from_number).collect();
    for id in &all {
        asg.put_instance("web", *id, "eu-west-1a".into(), LifecycleState::InService);
    }
    for id in &all {
        asg.terminate(*id, &mut balancers).expect("it is in service");
    }
    let mut result = SweepResult::default();
    for minute in 0..40 {
        // The schedule is up to 5 s late.
        let begins =
            BEGIN + MINUTE * u32::try_from(minute).expect("forty minutes") + rng.span(Duration::ZERO, Duration::from_secs(5));
        if missed(minute) {
            continue;
        }
        let mut limiter = Limiter { left: BURST, as_of: 0.0 };
        let mut sending: Vec<(Time, InstanceId)> = Vec::new();
        for (place, (after, id)) in plan(begins, &all).into_iter().enumerate() {
            let asked = after.as_secs_f64();
            if place.is_multiple_of(A_LOOK) {
                limiter.enter(asked);
            }
            match limiter.enter(asked) {
                Some(at) => sending.push((begins + Duration::from_secs_f64(at), id)),
                None => result.refused += 1,
            }
        }
        sending.sort();
        for (at, id) in sending {
            asg.advance(at, &mut balancers);
            match asg.heartbeat("web", "decamp", None, Some(id)) {
                Ok(()) => result.sent += 1,
                Err(_) => result.refused += 1,
            }
        }
        for (_, event) in asg.take_instance_events() {
            if let InstanceEvent::ActionEnded { ending: Ending::Expired(_), .. } = event {
                result.expired += 1;
            }
        }
    }
    result
}

/// The plan of decamp's sweeps.
fn fair(begins: Time, all: &[InstanceId]) -> Vec<(Duration, InstanceId)> {
    let sweep = Sweep::begin(begins, MINUTE, all.len(), RATE);
    let mut order = all.to_vec();
    order.sort_by_cached_key(|id| sweep.place(*id));
    let starts = order.into_iter().enumerate().map(|(place, id)| (sweep.starts_after(place, PASS), id));
    starts.filter(|(_, id)| sweep.heartbeats(*id, TIMEOUT)).collect()
}

#[test]
fn sweeps_alone_keep_five_thousand_hooks_alive() {
    let result = run_sweeps(|_| false, fair);
    assert_eq!((result.expired, result.refused), (0, 0), "{result:?}");
    // Each instance about once in seven minutes.
    assert!(result.sent < 40 * 5_000 / 6, "{result:?}");
}

#[test]
fn a_sweep_that_never_came_costs_no_hook() {
    let result = run_sweeps(|minute| minute % 10 == 4, fair);
    assert_eq!(result.expired, 0, "{result:?}");
}

#[test]
fn sweeps_that_end_before_their_last_heartbeats_cost_no_hook() {
    // At the default rates a function does not reach the last instances of a large share (ADR 0018).
    let result =
        run_sweeps(|_| false, |begins, all| fair(begins, all).into_iter().filter(|(after, _)| *after < PASS * 24 / 25).collect());
    assert_eq!(result.expired, 0, "{result:?}");
}

#[test]
fn sweeps_that_heartbeat_all_of_them_each_time_starve_the_rest() {
    let result = run_sweeps(|_| false, |_, all| all.iter().map(|id| (Duration::ZERO, *id)).collect());
    assert!(1_000 < result.expired, "{result:?}");
}
