//! Very many instances wait at once while Nomad is unavailable, and only the sweeps of the real binary keep their hooks alive: at the
//! default rate of a process, against an account that throttles as AWS does.

mod counter;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use decamp_core::decide::Lifecycle;
use decamp_core::ids::InstanceId;
use decamp_core::lambda_budget::KEPT_FOR_HANDING_BACK;
use decamp_sandbox::wire::{Clock, FaultPlan, Models as _, Rule, Server, Shared, Side, WireFault, aws, nomad, serve};
use decamp_sandbox::{ACCOUNT, ASG, Options, REGION, World};

use self::counter::{Calls, Counter};
use super::runtime::{Answer, Function};

/// How many instances wait, how long their hooks wait for a heartbeat, and how often a sweep runs.
struct Fleet {
    waiting: u32,
    timeout: Duration,
    period: Duration,
    /// How long their hooks have already waited when the first sweep begins.
    waited: Duration,
    sweeps: u32,
    /// `DECAMP_AUTO_SCALING_RATE`.
    rate: &'static str,
}

/// The defaults of the Terraform module and the settings, with five thousand instances.
const FULL: Fleet = Fleet {
    waiting: 5_000,
    timeout: Duration::from_secs(900),
    period: Duration::from_secs(60),
    waited: Duration::ZERO,
    sweeps: 40,
    rate: "15",
};

/// Ten times as fast, for a test of a minute. The number of instances is reduced more than the rate: a short sweep lists the group and
/// reads the lifecycle states as often as a long one. The hooks have already waited for two fifths of their time-out, so that a hook
/// without a heartbeat runs out during the test.
const SHORT: Fleet = Fleet {
    waiting: 70,
    timeout: Duration::from_secs(90),
    period: Duration::from_secs(6),
    waited: Duration::from_secs(36),
    sweeps: 9,
    rate: "3",
};

impl Fleet {
    /// The function's time-out. A sweep stops some time before it: by default it works for 55 of each minute's 60 seconds.
    fn function_timeout(&self) -> Duration {
        KEPT_FOR_HANDING_BACK + self.period * 55 / 60
    }

    /// A world that throttles, in which all instances wait in their hooks and Nomad has no leader. It begins `waited` ago.
    async fn start(&self) -> Waiting {
        let options = Options {
            nodes: self.waiting,
            services: 1,
            attached: 0,
            named: 0,
            heartbeat_timeout: self.timeout,
            rate: 1,
            replacements: false,
            throttled: true,
            ..Options::default()
        };
        let clock = Clock::real();
        let mut world = World::new(&options, clock.now() - self.waited);
        let instances: Vec<InstanceId> = world.instances().collect();
        let (auto_scaling, balancers) = world.aws();
        for instance in &instances {
            auto_scaling.terminate(*instance, balancers).expect("it is in service");
        }
        let account = aws::Account { id: ACCOUNT.to_owned(), region: REGION.to_owned() };
        let shared = Shared::new(Box::new(world), clock, account);
        let unavailable = Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) };
        shared.set_faults(FaultPlan::new(vec![unavailable], 1));
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let nomad = serve(&shared, Side::Nomad, nomad::router(&shared), free).await.expect("loopback has a free port");
        Waiting { shared, instances, nomad }
    }
}

/// The world of the waiting instances.
struct Waiting {
    shared: Arc<Shared>,
    instances: Vec<InstanceId>,
    nomad: Server,
}

impl Waiting {
    /// How many instances still wait in their hook.
    fn count(&self) -> u32 {
        self.shared.look(|models| {
            let auto_scaling = models.aws().0;
            let waits = self.instances.iter().filter(|id| auto_scaling.lifecycle(**id) == Lifecycle::Waiting);
            u32::try_from(waits.count()).expect("few")
        })
    }
}

/// The result of all sweeps.
#[derive(Debug)]
struct Outcome {
    lost: u32,
    calls: Calls,
    /// The longest sweep, from the event to the answer.
    longest: Duration,
    /// The function's peak resident size, in KiB.
    resident: Option<u64>,
    /// All that it printed.
    printed: String,
}

async fn swept(fleet: &Fleet) -> Outcome {
    until_next(fleet.period).await;
    let world = fleet.start().await;
    assert_eq!(world.count(), fleet.waiting, "all of them wait");
    let counter = Counter::in_front_of(&world.shared).await;
    let (nomad, period) = (world.nomad.url(), format!("{}s", fleet.period.as_secs()));
    let settings = [
        ("AWS_ACCESS_KEY_ID", "sandbox"),
        ("AWS_SECRET_ACCESS_KEY", "sandbox"),
        ("AWS_ENDPOINT_URL", &counter.url),
        ("NOMAD_ADDR", &nomad),
        ("DECAMP_CONSUL", "false"),
        ("DECAMP_GROUPS", ASG),
        ("DECAMP_SWEEP", &period),
        ("DECAMP_AUTO_SCALING_RATE", fleet.rate),
    ];
    let mut function = Function::start(Path::new(env!("CARGO_BIN_EXE_bootstrap")), &settings).await;
    let (mut longest, mut all) = (Duration::ZERO, Calls::default());
    for sweep in 1..=fleet.sweeps {
        until_next(fleet.period).await;
        let (began, busy) = (Instant::now(), processor_time(&function));
        let answer = function.invoke("{\"decamp\":\"sweep\"}", fleet.function_timeout()).await;
        assert_eq!(answer, Answer::Response(r#"{"batchItemFailures":[]}"#.to_owned()));
        let (took, calls) = (began.elapsed(), counter.take());
        let busy = processor_time(&function).zip(busy).map(|(after, before)| after.saturating_sub(before));
        let (resident, waiting) = (function.peak_resident(), world.count());
        println!(
            "sweep {sweep}: {took:.1?}, a processor for {busy:.1?}, {resident:?} KiB resident at most, {calls}, {waiting} wait"
        );
        longest = longest.max(took);
        all.add(&calls);
    }
    let (resident, lost) = (function.peak_resident(), fleet.waiting - world.count());
    Outcome { lost, calls: all, longest, resident, printed: function.end().await }
}

/// The processor time that the function used (Linux only, in hundredths of a second).
fn processor_time(function: &Function) -> Option<Duration> {
    let stat = function.proc_file("stat")?;
    // The program's name may contain any character. The twelfth and thirteenth field after it are the user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

/// Waits for the next sweep of the schedule. One begins at each multiple of the period since 1970.
async fn until_next(period: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let elapsed = Duration::from_millis(u64::try_from(now.as_millis() % period.as_millis()).expect("a period"));
    tokio::time::sleep(period - elapsed).await;
}

fn assert_kept(fleet: &Fleet, outcome: &Outcome) {
    let Outcome { lost, longest, resident, printed, calls } = outcome;
    let printed = printed.len();
    println!(
        "{lost} hooks lost, longest sweep {longest:.1?}, {resident:?} KiB resident at most, {printed} bytes printed, {calls}"
    );
    assert_eq!(*lost, 0, "hooks ran out although the function swept: {calls}");
    assert_eq!(calls.refused(), 0, "AWS refused calls: {calls}");
    assert!(*longest < fleet.function_timeout(), "a sweep ran into the function's time-out: {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_keep_more_hooks_than_one_sweep_has_calls() {
    assert_kept(&SHORT, &swept(&SHORT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a variable of the test and not of decamp's")]
async fn five_thousand_hooks_are_kept_at_the_default_rates() {
    if std::env::var_os("DECAMP_FIVE_THOUSAND").is_none() {
        println!("skipped: it takes 41 minutes (`just five-thousand`)");
        return;
    }
    assert_kept(&FULL, &swept(&FULL).await);
}
