//! The rehearsal: a whole instance refresh under live traffic on one machine, with real servers, real sockets and real requests.
//!
//! [`run`] runs one driver on one [`Plan`]. The models of AWS, Nomad and Consul answer over HTTP (`sandbox::wire`). Every process that
//! the models run is a real server. An ingress on every node watches discovery, a load balancer routes by the model's state, clients
//! send at a constant rate, and the driver takes the instances out of service over HTTP. The result is a [`Run`], which accounts for
//! every request.

mod api;
mod balancer;
mod clients;
mod cluster;
mod command_line;
mod consul;
mod control_run;
mod faults;
mod ingress;
mod judge;
mod lambda;
mod ledger;
mod log_capture;
mod nomad;
mod observer;
mod plan;
mod process;
mod processes;
mod programs;
mod proxy;
mod proxy_link;
mod queue;
mod refresh;
mod replica;
pub mod report;
mod self_check;
mod server;
mod start;
mod supervised;
mod task;
#[cfg(test)]
mod tests;
mod traefik;
mod verdict;
mod worker;
mod world;

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
use self::command_line::Commands;
use self::lambda::Function;
use self::ledger::Ledger;
use self::nomad::Nomad;
use self::processes::ProcessContext;
use self::proxy_link::ProxyLink;
use self::queue::{Delivery, EventQueue};
use self::replica::Replicas;
use self::start::{ConsulServer, NomadServer, RealPrograms};
use self::verdict::Facts;
use self::worker::Worker;
use self::world::RehearsalWorld;
use decamp_core::decide::Finding;
use decamp_sandbox::wire;
use decamp_sandbox::wire::{Clock, Shared, Side, aws};
use decamp_sim::drivers::Driver;

pub use self::control_run::{ControlRun, LASTS as CONTROL_RUN_LASTS, control_run};
pub use self::judge::Judged;
pub use self::ledger::{Account, Class, FailedRequest, FailureKind, Kept, Latency, Second};
pub use self::observer::{Phase, Strip};
pub use self::plan::{Chaos, LoadBalancer, MOST_NODES, Nature, Plan, ServicePlan};
pub use self::process::{ProcessKind, play};
pub use self::verdict::Verdict;
pub use self::worker::Story;

/// The result of one driver.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The driver's name.
    pub driver: &'static str,
    /// How many seconds the run took, including the load before the refresh.
    pub seconds: f64,
    /// When the refresh began, in seconds since the load began.
    pub refresh_began: f64,
    /// When the last old instance was gone. `None` if the refresh did not finish.
    pub refresh_ended: Option<f64>,
    /// Every request.
    pub account: Account,
    /// The failed requests by cause.
    pub judged: Judged,
    /// The phases of every instance, in the order of the nodes.
    pub strips: Vec<Strip>,
    /// The decisions of each departure, by node.
    pub stories: Vec<(String, Story)>,
    /// The findings that decamp reported before its first write.
    pub findings: Vec<Finding>,
    /// How often the driver was killed.
    pub kills: u32,
    /// Why the failures may be this machine's fault and not the driver's. `None` if the machine kept up.
    pub bottleneck: Option<String>,
    /// What the run shows of the driver.
    pub verdict: Verdict,
    /// The real programs that were used in place of simulated ones, with their versions.
    pub real: Vec<String>,
}

/// The state of a run, for a progress display.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Seconds since the load began.
    pub seconds: f64,
    /// The current stage of the run.
    pub what: &'static str,
    /// Requests so far, and how many of them failed.
    pub requests: (u64, usize),
    /// Every node that exists, and its current phases.
    pub nodes: Vec<(String, Vec<Phase>)>,
}

/// A task that is aborted when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(tokio::spawn(task))
}

/// Runs a background task and reports its error. Only the first error is read.
fn spawn_reporting(task: BoxFuture<'static, Result<()>>, broken: &mpsc::Sender<anyhow::Error>) -> Task {
    let broken = broken.clone();
    spawn(async move {
        if let Err(why) = task.await {
            broken.try_send(why).ok();
        }
    })
}

/// The name of a driver.
#[must_use]
pub fn name_of(driver: Driver) -> &'static str {
    Driver::NAMED.into_iter().find(|(_, named)| *named == driver).map_or("a wrong driver", |(name, _)| name)
}

/// Which driver runs, and in which program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverSetup {
    /// The rules of the driver.
    pub driver: Driver,
    /// The program that decamp runs as.
    pub shell: Shell,
    /// The binary of decamp's command line, for the processes that are killed.
    pub command: PathBuf,
}

/// The program that decamp runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shell {
    /// The loop in this process, or the command line under chaos.
    Loop,
    /// The Lambda function, with its binary.
    Lambda(PathBuf),
    /// `decamp serve`: two replicas as a job on the cluster whose nodes leave.
    Serve,
}

impl DriverSetup {
    /// The name that a run is reported under.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.shell {
            Shell::Serve => SERVE,
            Shell::Loop | Shell::Lambda(_) => name_of(self.driver),
        }
    }
}

/// Whether a run of this name is one of decamp's.
#[must_use]
pub fn is_decamp(name: &str) -> bool {
    name == SERVE || name == name_of(Driver::Decamp)
}

/// The name of a run with decamp as a service.
pub const SERVE: &str = "serve";

/// Runs one driver on the plan. If the future is dropped, the run ends at once and leaves nothing behind.
///
/// # Errors
/// A port is in use, or the rehearsal itself broke. Failed requests are not an error.
pub async fn run(plan: &Plan, setup: &DriverSetup, progress: &watch::Sender<Progress>) -> Result<Run> {
    let real = RealPrograms::start(plan).await?;
    let clock = Clock::real();
    let (report_change, changes) = mpsc::unbounded_channel();
    let world = RehearsalWorld::new(plan, setup.shell == Shell::Serve, clock.now(), report_change);
    let account = aws::Account { id: plan::ACCOUNT.to_owned(), region: plan::REGION.to_owned() };
    let shared = Shared::new(Box::new(world), clock, account);
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let aws = wire::serve(&shared, Side::Aws, aws::router(&shared), free).await.context("serve the simulated AWS")?;
    let nomad = NomadServer::of(&shared, real.nomad).await?;
    let consul = ConsulServer::of(&shared, real.consul).await?;
    let nomad_link = Arc::new(ProxyLink::to(nomad.address()).await.context("open a proxy link to Nomad")?);
    // decamp has its own link to Consul. Cutting that one affects no other client of Consul.
    let consul_link = Arc::new(ProxyLink::to(consul.address()).await.context("open a proxy link to Consul")?);
    let shared_link = Arc::new(ProxyLink::to(consul.address()).await.context("open a proxy link to Consul")?);
    let mut cut = vec![Arc::clone(&consul_link)];
    cut.extend((plan.chaos == Some(Chaos::ConsulForAll)).then(|| Arc::clone(&shared_link)));

    let names = processes::Names::default();
    let discovery = ingress::Discovery::new(&shared_link.url(), plan.ingress_poll);
    let journal = worker::Journal::default();
    let variables = start::variables(plan, &aws.url(), &nomad_link.url(), &consul_link.url());
    let replicas = Arc::new(Replicas {
        binary: setup.command.clone(),
        variables: variables.clone(),
        page: plan.page(),
        journal: Arc::clone(&journal),
        began: OnceLock::new(),
        kill: Notify::new(),
    });
    shared.stores().queues.entry(plan::DECAMP.to_owned()).or_default();
    let context =
        ProcessContext { shared: Arc::clone(&shared), names: Arc::clone(&names), discovery, replicas: Arc::clone(&replicas) };
    let (broken, mut breaks) = mpsc::channel::<anyhow::Error>(2);
    let processes = match &nomad {
        NomadServer::Real(nomad) => {
            let consul = (plan.chaos == Some(Chaos::ConsulForAll)).then_some(shared_link.address);
            let tasks = nomad::TaskSetup { command: setup.command.clone(), consul };
            nomad.follow(plan, tasks, &names, changes).boxed()
        }
        NomadServer::Simulated(_) => {
            async move { processes::follow(&context, changes).await.map_err(start::cannot_listen) }.boxed()
        }
    };
    let agents = match (&nomad, &consul) {
        (NomadServer::Simulated(_), ConsulServer::Real(consul)) => Some(consul.follow(&shared).boxed()),
        (NomadServer::Real(_), _) | (_, ConsulServer::Simulated(_)) => None,
    };
    let _background: Vec<Task> =
        [Some(processes), agents].into_iter().flatten().map(|task| spawn_reporting(task, &broken)).collect();
    start::ready(plan, &names, &mut breaks).await?;

    let cuts = balancer::Cuts::default();
    let ends = plan.balancer.is_network().then(balancer::ConnectionEnds::default);
    let balancer = Balancer::start(&shared, plan, &cuts, ends.as_ref()).await.context("start the load balancer")?;
    let ledger = Ledger::begin(plan.services().into_iter().map(|service| Arc::from(service.name)));
    let began = *replicas.began.get_or_init(|| ledger.began());
    let strips = observer::Strips::default();
    let _observer =
        spawn(observer::observe(Arc::clone(&shared), nomad.real().map(Nomad::node_states), Arc::clone(&strips), began));
    let (stop_load, load_stops) = watch::channel(false);
    let clients = Clients::new(plan, balancer.addresses(), &ledger, &cuts, ends);
    let mut load = tokio::spawn(clients.load(plan.rate, plan.seed, load_stops));
    let _load = Abort(load.abort_handle());

    let queue = Arc::new(EventQueue::new(plan.seed, if plan.chaos.is_some() { Delivery::CHAOS } else { Delivery::USUAL }));
    let (stop_worker, worker_stops) = watch::channel(false);
    let _chaos = plan
        .chaos
        .map(|_| spawn(faults::inject(Arc::clone(&shared), cut, nomad.real().map(|_| Arc::clone(&nomad_link)), plan.seed)));
    let (kills, driver) = (plan.chaos.map(|_| plan.seed), setup.driver);
    let decamp = driver == Driver::Decamp;
    let mut worker = match (setup.shell.clone(), kills.filter(|_| decamp)) {
        (Shell::Serve, _) => {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            tokio::spawn(replica::serve(replicas, shared, queue, kills, plan.calm, worker_stops))
        }
        (Shell::Lambda(binary), _) if decamp => {
            let (queue, shared, journal) = (Arc::clone(&queue), Arc::clone(&shared), Arc::clone(&journal));
            let function = Function { binary, variables, queue, shared, journal, began, chaos: kills };
            tokio::spawn(function.serve(worker_stops))
        }
        (Shell::Loop | Shell::Lambda(_), Some(seed)) => {
            let (binary, queue, journal) = (setup.command.clone(), Arc::clone(&queue), Arc::clone(&journal));
            let commands = Commands { binary, variables, queue, journal, began, seed };
            tokio::spawn(commands.serve(worker_stops))
        }
        (Shell::Loop | Shell::Lambda(_), None) => {
            let (queue, journal) = (Arc::clone(&queue), Arc::clone(&journal));
            let worker = Worker { driver, variables, queue, journal, began, chaos: kills, stop: worker_stops };
            tokio::task::spawn_blocking(move || worker.work())
        }
    };
    let _worker = Abort(worker.abort_handle());
    let report_progress = |what| {
        let strips = strips.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = began.elapsed().as_secs_f64();
        let there = strips.values().filter(|strip| strip.gone.is_none());
        let nodes = there.map(|strip| (strip.node.clone(), strip.phases_at(seconds))).collect();
        progress.send_replace(Progress { seconds, what, requests: ledger.so_far(), nodes });
    };
    let refreshing = async {
        reporting("calm", &report_progress, sleep(plan.calm)).await;
        ledger.refresh_begins();
        let refresh_began = began.elapsed().as_secs_f64();
        let mut finished = true;
        for _ in 0..plan.rounds {
            let round = timeout(Plan::LONGEST, refresh::refresh(&shared, &queue));
            finished &= reporting("refresh", &report_progress, round).await.is_ok();
        }
        let refresh_ended = finished.then(|| began.elapsed().as_secs_f64());
        reporting("afterwards", &report_progress, sleep(Plan::AFTERWARDS)).await;
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
    reporting("last requests", &report_progress, &mut load).await.context("the clients broke")?;
    stop_worker.send_replace(true);
    worker.await.context("the driver broke")??;
    let seconds = began.elapsed().as_secs_f64();

    let mut account = ledger.account();
    if nomad.real().is_some() {
        account.name_processes(&names);
    }
    let recorded = journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut strips: Vec<Strip> = strips.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    strips.iter_mut().for_each(|strip| strip.measure(plan.released_in()));
    let node_of: HashMap<_, _> = strips.iter().map(|strip| (strip.instance, strip.node.clone())).collect();
    let stories =
        recorded.stories.into_iter().map(|(id, story)| (node_of.get(&id).cloned().unwrap_or_default(), story)).collect();
    let judged = Judged::of(&account, &recorded.findings, plan.chaos);
    let bottleneck = self_check::bottleneck(&account, &judged);
    let facts = Facts::of(setup.name(), &account, &judged, refresh_ended, bottleneck.as_deref());
    let verdict = Verdict::of(plan, facts);
    Ok(Run {
        driver: setup.name(),
        seconds,
        refresh_began,
        refresh_ended,
        bottleneck,
        verdict,
        judged,
        account,
        strips,
        stories,
        findings: recorded.findings,
        kills: recorded.kills,
        real: real.versions,
    })
}

/// Aborts a task whose handle is awaited elsewhere.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a future and reports the progress four times a second meanwhile.
async fn reporting<T>(what: &'static str, report: &impl Fn(&'static str), task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    loop {
        report(what);
        tokio::select! {
            done = &mut task => return done,
            () = sleep(Duration::from_millis(250)) => {}
        }
    }
}
