//! The rehearsal: a whole instance refresh under live traffic on one machine, with real servers, real sockets and real requests.
//!
//! [`run`] plays one driver on one [`Plan`]: the models of AWS, Nomad and Consul behind HTTP (`sim::wire`), a real server for every
//! process that they say runs, an ingress on every node that watches discovery, a load balancer that routes by the model's
//! state, clients at a constant rate, and whoever walks the instances out, over HTTP. It ends in a [`Run`]: every request accounted for.

mod api;
mod balancer;
mod chaos;
mod clients;
mod cluster;
mod commands;
mod consul;
mod guard;
mod hearing;
mod ingress;
mod judge;
mod lambda;
mod ledger;
mod nomad;
mod null;
mod observer;
mod part;
mod path;
mod plan;
mod processes;
mod programs;
mod proxy;
mod queue;
mod refreshing;
mod replica;
pub mod report;
mod rig;
mod server;
mod stage;
mod start;
mod task;
#[cfg(test)]
mod tests;
mod traefik;
mod verdict;
mod worker;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::balancer::Balancer;
use self::clients::Clients;
use self::commands::Commands;
use self::lambda::Function;
use self::ledger::Ledger;
use self::nomad::Nomad;
use self::path::Path;
use self::processes::Surroundings;
use self::queue::{Delivery, Queue};
use self::replica::Replicas;
use self::stage::World;
use self::start::{Discovery, Real, Scheduler};
use self::verdict::Facts;
use self::worker::Worker;
use decamp_core::decide::Finding;
use decamp_sandbox::wire;
use decamp_sandbox::wire::{Clock, Shared, Side, aws};
use decamp_sim::drivers::Driver;

pub use self::judge::Judged;
pub use self::ledger::{Account, Class, Failed, Failure, Kept, Latency, Second};
pub use self::null::{LASTS as NULL_LASTS, Null, null};
pub use self::observer::{Phase, Strip};
pub use self::part::{Part, play};
pub use self::plan::{Chaos, LoadBalancer, MOST_NODES, Nature, Plan, ServicePlan};
pub use self::verdict::Verdict;
pub use self::worker::Story;

/// How one driver fared.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Its name.
    pub driver: &'static str,
    /// Seconds that it took, the calm included.
    pub seconds: f64,
    /// When the refresh began: seconds since the load began.
    pub refresh_began: f64,
    /// When the last old instance was gone; `None` if it never was.
    pub refresh_ended: Option<f64>,
    /// Every request.
    pub account: Account,
    /// Who is to blame for those that failed.
    pub judged: Judged,
    /// Every instance, in the order of their nodes.
    pub strips: Vec<Strip>,
    /// What was decided about each that left.
    pub stories: Vec<(String, Story)>,
    /// What was foreseen before the first write.
    pub findings: Vec<Finding>,
    /// How often the driver was killed (chaos).
    pub kills: u32,
    /// Why what failed may be this machine's fault and not the driver's, if it may be.
    pub bottleneck: Option<String>,
    /// What it shows.
    pub verdict: Verdict,
    /// Which real programs took the place of pretended ones, by their own words.
    pub real: Vec<String>,
}

/// How a run stands, for whoever watches.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Seconds since the load began.
    pub seconds: f64,
    /// What is happening.
    pub what: &'static str,
    /// Requests so far, and those that failed.
    pub requests: (u64, usize),
    /// Every node that is there, and its phases.
    pub nodes: Vec<(String, Vec<Phase>)>,
}

/// Ends a task with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(tokio::spawn(task))
}

/// Tells if what is to last breaks. Only the first matters.
fn telling(lasts: BoxFuture<'static, Result<()>>, broken: &mpsc::Sender<anyhow::Error>) -> Task {
    let broken = broken.clone();
    spawn(async move {
        if let Err(why) = lasts.await {
            broken.try_send(why).ok();
        }
    })
}

/// The name of a driver.
#[must_use]
pub fn name_of(driver: Driver) -> &'static str {
    Driver::NAMED.into_iter().find(|(_, named)| *named == driver).map_or("a wrong driver", |(name, _)| name)
}

/// Who drives, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drives {
    /// By whose rules.
    pub driver: Driver,
    /// What decamp runs as.
    pub shell: Shell,
    /// The command line: a process that can be killed.
    pub command: PathBuf,
}

/// What decamp runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shell {
    /// The loop, in this process; under chaos the command line.
    Loop,
    /// A Lambda function: its binary.
    Lambda(PathBuf),
    /// `decamp serve`: two replicas, a job of the cluster whose nodes leave.
    Serve,
}

impl Drives {
    /// What a run with it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.shell {
            Shell::Serve => SERVE,
            Shell::Loop | Shell::Lambda(_) => name_of(self.driver),
        }
    }
}

/// Whether a run by this name is decamp's.
#[must_use]
pub fn is_decamp(name: &str) -> bool {
    name == SERVE || name == name_of(Driver::Decamp)
}

/// The name of decamp as a service.
pub const SERVE: &str = "serve";

/// Plays one driver on the plan. Dropped, it ends at once and leaves nothing behind.
///
/// # Errors
/// A port is in use, or the rehearsal itself broke. That requests fail is no error.
pub async fn run(plan: &Plan, drives: &Drives, progress: &watch::Sender<Progress>) -> Result<Run> {
    let real = Real::start(plan).await?;
    let clock = Clock::real();
    let (tell, fates) = mpsc::unbounded_channel();
    let world = World::new(plan, drives.shell == Shell::Serve, clock.now(), tell);
    let account = aws::Account { id: plan::ACCOUNT.to_owned(), region: plan::REGION.to_owned() };
    let shared = Shared::new(Box::new(world), clock, account);
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let aws = wire::serve(&shared, Side::Aws, aws::router(&shared), free).await.context("serve the pretend AWS")?;
    let nomad = Scheduler::of(&shared, real.nomad).await?;
    let consul = Discovery::of(&shared, real.consul).await?;
    let path_to_nomad = Arc::new(Path::to(nomad.address()).await.context("make a path to Nomad")?);
    // decamp has its own path to Consul, which can be cut without anybody else noticing.
    let path = Arc::new(Path::to(consul.address()).await.context("make a path to Consul")?);
    let for_all = Arc::new(Path::to(consul.address()).await.context("make a path to Consul")?);
    let mut cut = vec![Arc::clone(&path)];
    cut.extend((plan.chaos == Some(Chaos::ConsulForAll)).then(|| Arc::clone(&for_all)));

    let names = processes::Names::default();
    let discovery = ingress::Discovery::new(&for_all.url(), plan.ingress_poll);
    let ear = worker::Ear::default();
    let variables = start::variables(plan, &aws.url(), &path_to_nomad.url(), &path.url());
    let replicas = Arc::new(Replicas {
        binary: drives.command.clone(),
        variables: variables.clone(),
        page: plan.page(),
        ear: Arc::clone(&ear),
        began: OnceLock::new(),
        kill: Notify::new(),
    });
    shared.stores().queues.entry(plan::DECAMP.to_owned()).or_default();
    let around =
        Surroundings { shared: Arc::clone(&shared), names: Arc::clone(&names), discovery, replicas: Arc::clone(&replicas) };
    let (broken, mut breaks) = mpsc::channel::<anyhow::Error>(2);
    let keeps = match &nomad {
        Scheduler::Real(nomad) => {
            let for_all = (plan.chaos == Some(Chaos::ConsulForAll)).then_some(for_all.address);
            let runs = nomad::Runs { command: drives.command.clone(), consul: for_all };
            nomad.follow(plan, runs, &names, fates).boxed()
        }
        Scheduler::Pretended(_) => async move { processes::keep(&around, fates).await.map_err(start::cannot_listen) }.boxed(),
    };
    let follows = match (&nomad, &consul) {
        (Scheduler::Pretended(_), Discovery::Real(consul)) => Some(consul.follow(&shared).boxed()),
        (Scheduler::Real(_), _) | (_, Discovery::Pretended(_)) => None,
    };
    let _until_one_breaks: Vec<Task> =
        [Some(keeps), follows].into_iter().flatten().map(|lasts| telling(lasts, &broken)).collect();
    start::ready(plan, &names, &mut breaks).await?;

    let cuts = balancer::Cuts::default();
    let ends = plan.balancer.is_network().then(balancer::Ends::default);
    let balancer = Balancer::start(&shared, plan, &cuts, ends.as_ref()).await.context("start the load balancer")?;
    let ledger = Ledger::begin(plan.services().into_iter().map(|service| Arc::from(service.name)));
    let began = *replicas.began.get_or_init(|| ledger.began());
    let strips = observer::Strips::default();
    let _observer = spawn(observer::observe(Arc::clone(&shared), nomad.real().map(Nomad::sights), Arc::clone(&strips), began));
    let (stop_load, load_stops) = watch::channel(false);
    let clients = Clients::new(plan, balancer.addresses(), &ledger, &cuts, ends);
    let mut load = tokio::spawn(clients.load(plan.rate, plan.seed, load_stops));
    let _load = Abort(load.abort_handle());

    let queue = Arc::new(Queue::new(plan.seed, if plan.chaos.is_some() { Delivery::CHAOS } else { Delivery::USUAL }));
    let (stop_worker, worker_stops) = watch::channel(false);
    let _chaos = plan
        .chaos
        .map(|_| spawn(chaos::reign(Arc::clone(&shared), cut, nomad.real().map(|_| Arc::clone(&path_to_nomad)), plan.seed)));
    let (kills, driver) = (plan.chaos.map(|_| plan.seed), drives.driver);
    let decamp = driver == Driver::Decamp;
    let mut worker = match (drives.shell.clone(), kills.filter(|_| decamp)) {
        (Shell::Serve, _) => {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            tokio::spawn(replica::serve(replicas, shared, queue, kills, plan.calm, worker_stops))
        }
        (Shell::Lambda(binary), _) if decamp => {
            let (queue, shared, ear) = (Arc::clone(&queue), Arc::clone(&shared), Arc::clone(&ear));
            let function = Function { binary, variables, queue, shared, ear, began, chaos: kills };
            tokio::spawn(function.serve(worker_stops))
        }
        (Shell::Loop | Shell::Lambda(_), Some(seed)) => {
            let (binary, queue, ear) = (drives.command.clone(), Arc::clone(&queue), Arc::clone(&ear));
            let commands = Commands { binary, variables, queue, ear, began, seed };
            tokio::spawn(commands.serve(worker_stops))
        }
        (Shell::Loop | Shell::Lambda(_), None) => {
            let (queue, ear) = (Arc::clone(&queue), Arc::clone(&ear));
            let worker = Worker { driver, variables, queue, ear, began, chaos: kills, stop: worker_stops };
            tokio::task::spawn_blocking(move || worker.work())
        }
    };
    let _worker = Abort(worker.abort_handle());
    let show = |what| {
        let strips = strips.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = began.elapsed().as_secs_f64();
        let there = strips.values().filter(|strip| strip.gone.is_none());
        let nodes = there.map(|strip| (strip.node.clone(), strip.phases_at(seconds))).collect();
        progress.send_replace(Progress { seconds, what, requests: ledger.so_far(), nodes });
    };
    let refreshing = async {
        tell_while("calm", &show, sleep(plan.calm)).await;
        ledger.refresh_begins();
        let refresh_began = began.elapsed().as_secs_f64();
        let mut whole = true;
        for _ in 0..plan.rounds {
            let round = timeout(Plan::LONGEST, refreshing::refresh(&shared, &queue));
            whole &= tell_while("refresh", &show, round).await.is_ok();
        }
        let refresh_ended = whole.then(|| began.elapsed().as_secs_f64());
        tell_while("afterwards", &show, sleep(Plan::AFTERWARDS)).await;
        (refresh_began, refresh_ended)
    };
    let (refresh_began, refresh_ended) = tokio::select! {
        times = refreshing => times,
        Some(why) = breaks.recv() => return Err(why),
        ended = &mut worker => {
            ended.context("the driver broke")??;
            bail!("the driver ended before the refresh did");
        }
    };
    stop_load.send_replace(true);
    tell_while("last requests", &show, &mut load).await.context("the clients broke")?;
    stop_worker.send_replace(true);
    worker.await.context("the driver broke")??;
    let seconds = began.elapsed().as_secs_f64();

    let mut account = ledger.account();
    if nomad.real().is_some() {
        account.name_processes(&names);
    }
    let said = ear.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut strips: Vec<Strip> = strips.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    strips.iter_mut().for_each(|strip| strip.reckon(plan.released_in()));
    let node_of: HashMap<_, _> = strips.iter().map(|strip| (strip.instance, strip.node.clone())).collect();
    let stories = said.stories.into_iter().map(|(id, story)| (node_of.get(&id).cloned().unwrap_or_default(), story)).collect();
    let judged = Judged::of(&account, &said.findings, plan.chaos);
    let bottleneck = rig::bottleneck(&account, &judged);
    let verdict = Verdict::of(
        plan,
        Facts {
            driver: drives.name(),
            failed: account.failed,
            attributable: judged.attributable,
            ended: refresh_ended.is_some(),
            busy: bottleneck.is_some(),
        },
    );
    Ok(Run {
        driver: drives.name(),
        seconds,
        refresh_began,
        refresh_ended,
        bottleneck,
        verdict,
        judged,
        account,
        strips,
        stories,
        findings: said.findings,
        kills: said.kills,
        real: real.words,
    })
}

/// Aborts what is still awaited elsewhere.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Shows how it stands four times a second while something lasts.
async fn tell_while<T>(what: &'static str, show: &impl Fn(&'static str), lasts: impl Future<Output = T>) -> T {
    let mut lasts = std::pin::pin!(lasts);
    loop {
        show(what);
        tokio::select! {
            done = &mut lasts => return done,
            () = sleep(Duration::from_millis(250)) => {}
        }
    }
}
