//! Five thousand instances wait at once, and only sweeps heartbeat them, at the rates that an account and a process have by default.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{AutoScaling, Ending, GroupSetup, Happening, HookSetup, LifecycleState};
use decamp_sim::bucket::Limit;
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::rng::Rng;

const WAITING: u64 = 5_000;
const MINUTE: Duration = Duration::from_mins(1);
/// The Terraform module's hook, and what of a function's minute a sweep has.
const TIMEOUT: Duration = Duration::from_secs(900);
const PASS: Duration = Duration::from_secs(49);
/// `DECAMP_AUTO_SCALING_RATE`, and what is saved up of it.
const RATE: u32 = 15;
const BURST: f64 = 75.0;
/// A call that would wait longer counts as throttled.
const PATIENCE: f64 = 6.0;
/// Instances in one look at where they stand.
const A_LOOK: usize = 50;
const BEGIN: Time = Time(1_800_000_000_000);

/// The process's own limiter: when a call may be sent that is asked for at a time, in seconds; `None` if nobody waits so long.
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

/// What became of the hooks in forty minutes: how many ran out, and how many heartbeats were sent.
#[derive(Debug, Default)]
struct Went {
    expired: usize,
    sent: usize,
    refused: usize,
}

/// Sweeps once a minute for forty minutes. `plan` answers whom a sweep heartbeats, and how long after its beginning.
fn swept(missed: impl Fn(u64) -> bool, plan: impl Fn(Time, &[InstanceId]) -> Vec<(Duration, InstanceId)>) -> Went {
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
    let mut went = Went::default();
    for minute in 0..40 {
        // The schedule is a little late, now and then.
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
                None => went.refused += 1,
            }
        }
        sending.sort();
        for (at, id) in sending {
            asg.advance(at, &mut balancers);
            match asg.heartbeat("web", "decamp", None, Some(id)) {
                Ok(()) => went.sent += 1,
                Err(_) => went.refused += 1,
            }
        }
        for (_, happening) in asg.happened() {
            if let Happening::ActionEnded { ending: Ending::Expired(_), .. } = happening {
                went.expired += 1;
            }
        }
    }
    went
}

/// As decamp sweeps.
fn fair(begins: Time, all: &[InstanceId]) -> Vec<(Duration, InstanceId)> {
    let sweep = Sweep::begin(begins, MINUTE, all.len(), RATE);
    let mut order = all.to_vec();
    order.sort_by_cached_key(|id| sweep.place(*id));
    let starts = order.into_iter().enumerate().map(|(place, id)| (sweep.starts_after(place, PASS), id));
    starts.filter(|(_, id)| sweep.heartbeats(*id, TIMEOUT)).collect()
}

#[test]
fn five_thousand_hooks_are_kept_by_sweeps_alone() {
    let went = swept(|_| false, fair);
    assert_eq!((went.expired, went.refused), (0, 0), "{went:?}");
    // Each instance about once in seven minutes.
    assert!(went.sent < 40 * 5_000 / 6, "{went:?}");
}

#[test]
fn a_sweep_that_never_came_costs_no_hook() {
    let went = swept(|minute| minute % 10 == 4, fair);
    assert_eq!(went.expired, 0, "{went:?}");
}

#[test]
fn sweeps_that_end_before_their_last_heartbeats_cost_no_hook() {
    // A function at the default rates does not come to the last of a large share (ADR 0018).
    let went =
        swept(|_| false, |begins, all| fair(begins, all).into_iter().filter(|(after, _)| *after < PASS * 24 / 25).collect());
    assert_eq!(went.expired, 0, "{went:?}");
}

#[test]
fn sweeps_that_heartbeat_all_of_them_each_time_starve_the_rest() {
    let went = swept(|_| false, |_, all| all.iter().map(|id| (Duration::ZERO, *id)).collect());
    assert!(1_000 < went.expired, "{went:?}");
}
