//! The rehearsal: a whole instance refresh under live traffic on one machine, with real servers, real sockets and real requests.
//!
//! [`run`] plays one driver on one [`Plan`]: the models of AWS, Nomad and Consul behind HTTP (`sim::wire`), a real server for every
//! process that they say runs, an ingress on every node that watches discovery, a load balancer that routes by the model's
//! state, clients at a constant rate, and whoever walks the instances out, over HTTP. It ends in a [`Run`]: every request accounted for.

mod balancer;
mod chaos;
mod clients;
mod cluster;
mod ingress;
mod judge;
mod lambda;
mod ledger;
mod null;
mod observer;
mod path;
mod plan;
mod processes;
mod proxy;
mod queue;
mod refresh;
mod refreshing;
pub mod report;
mod server;
mod stage;
mod task;
#[cfg(test)]
mod tests;
mod words;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::balancer::Balancer;
use self::clients::Clients;
use self::lambda::Function;
use self::ledger::Ledger;
use self::path::Path;
use self::processes::Surroundings;
use self::queue::{Delivery, Queue};
use self::stage::World;
use self::worker::Worker;
use crate::decide::Finding;
use crate::sim::drivers::Driver;
use crate::sim::wire::{self, Clock, Shared, Side, aws};

pub use self::judge::Judged;
pub use self::ledger::{Account, Class, Failed, Failure, Latency, Second};
pub use self::null::{LASTS as NULL_LASTS, Null, null};
pub use self::observer::{Phase, Strip};
pub use self::plan::{MOST_NODES, Nature, Plan, ServicePlan};
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
    /// decamp as a Lambda function: its binary. `None`: the loop, in this process.
    pub lambda: Option<std::path::PathBuf>,
}

/// Plays one driver on the plan. Dropped, it ends at once and leaves nothing behind.
///
/// # Errors
/// A port is in use, or the rehearsal itself broke. That requests fail is no error.
pub async fn run(plan: &Plan, drives: &Drives, progress: &watch::Sender<Progress>) -> Result<Run> {
    let clock = Clock::real();
    let (tell, fates) = mpsc::unbounded_channel();
    let world = World::new(plan, clock.now(), tell);
    let account = aws::Account { id: plan::ACCOUNT.to_owned(), region: plan::REGION.to_owned() };
    let shared = Shared::new(Box::new(world), clock, account);
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let aws = wire::serve(&shared, Side::Aws, aws::router(&shared), free).await.context("serve the pretend AWS")?;
    let nomad = wire::serve(&shared, Side::Nomad, wire::nomad::router(&shared), free).await.context("serve the pretend Nomad")?;
    let consul =
        wire::serve(&shared, Side::Consul, wire::consul::router(&shared), free).await.context("serve the pretend Consul")?;

    let names = processes::Names::default();
    let discovery = ingress::Discovery::new(&consul.url(), plan.ingress_poll);
    let around = Surroundings { shared: Arc::clone(&shared), names: Arc::clone(&names), discovery };
    let (broken, mut breaks) = mpsc::channel::<io::Error>(1);
    let _processes = spawn(async move {
        if let Err(why) = processes::keep(&around, fates).await {
            // Only the first matters.
            broken.send(why).await.ok();
        }
    });
    ready(plan, &names, &mut breaks).await?;

    let cuts = balancer::Cuts::default();
    let balancer = Balancer::start(&shared, plan, &cuts).await.context("start the load balancer")?;
    let ledger = Ledger::begin(plan.services().into_iter().map(|service| Arc::from(service.name)));
    let began = ledger.began();
    let strips = observer::Strips::default();
    let _observer = spawn(observer::observe(Arc::clone(&shared), Arc::clone(&strips), began));
    let (stop_load, load_stops) = watch::channel(false);
    let clients = Clients::new(plan, balancer.addresses(), &ledger, &cuts);
    let mut load = tokio::spawn(clients.load(plan.rate, plan.seed, load_stops));
    let _load = Abort(load.abort_handle());

    let queue = Arc::new(Queue::new(plan.seed, if plan.chaos { Delivery::CHAOS } else { Delivery::USUAL }));
    let ear = worker::Ear::default();
    let (stop_worker, worker_stops) = watch::channel(false);
    // decamp has its own path to Consul, which can be cut without anybody else noticing.
    let path = Arc::new(Path::to(consul.address).await.context("make a path to Consul")?);
    let _chaos = plan.chaos.then(|| spawn(chaos::reign(Arc::clone(&shared), Arc::clone(&path), plan.seed)));
    let variables = variables(plan, &aws.url(), &nomad.url(), &format!("http://{}", path.address));
    let (kills, driver) = (plan.chaos.then_some(plan.seed), drives.driver);
    let mut worker = match drives.lambda.clone().filter(|_| driver == Driver::Decamp) {
        Some(binary) => {
            let (queue, shared, ear) = (Arc::clone(&queue), Arc::clone(&shared), Arc::clone(&ear));
            let function = Function { binary, variables, queue, shared, ear, began, chaos: kills };
            tokio::spawn(function.serve(worker_stops))
        }
        None => {
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
        let mut launched = plan.nodes;
        for _ in 0..plan.rounds {
            let round = timeout(Plan::LONGEST, refreshing::refresh(&shared, &queue, &mut launched));
            whole &= tell_while("refresh", &show, round).await.is_ok();
        }
        let refresh_ended = whole.then(|| began.elapsed().as_secs_f64());
        tell_while("afterwards", &show, sleep(Plan::AFTERWARDS)).await;
        (refresh_began, refresh_ended)
    };
    let (refresh_began, refresh_ended) = tokio::select! {
        times = refreshing => times,
        Some(why) = breaks.recv() => return Err(cannot_listen(why)),
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

    let account = ledger.account();
    let said = ear.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut strips: Vec<Strip> = strips.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    strips.iter_mut().for_each(Strip::reckon);
    let node_of: HashMap<_, _> = strips.iter().map(|strip| (strip.instance, strip.node.clone())).collect();
    let stories = said.stories.into_iter().map(|(id, story)| (node_of.get(&id).cloned().unwrap_or_default(), story)).collect();
    Ok(Run {
        driver: name_of(driver),
        seconds,
        refresh_began,
        refresh_ended,
        judged: Judged::of(&account, &said.findings),
        account,
        strips,
        stories,
        findings: said.findings,
        kills: said.kills,
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

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has dozens of errors; two of them have advice of their own")]
fn cannot_listen(why: io::Error) -> anyhow::Error {
    let advice = match why.kind() {
        io::ErrorKind::AddrInUse => "end what listens there, or choose another port with --port",
        io::ErrorKind::AddrNotAvailable => "all of 127.0.0.0/8 must be this machine, as it is on Linux",
        _ => "look at what the system says",
    };
    anyhow::anyhow!("{why}; {advice}")
}

/// Waits until every process of the calm cluster listens and every ingress knows every service.
async fn ready(plan: &Plan, names: &processes::Names, breaks: &mut mpsc::Receiver<io::Error>) -> Result<()> {
    let services = plan.services();
    let many = usize::try_from(plan.nodes + services.iter().map(|s| s.copies).sum::<u32>()).unwrap_or(usize::MAX);
    let pool = proxy::pool(Duration::from_secs(1), true);
    let everything = async {
        while names.lock().unwrap_or_else(PoisonError::into_inner).len() < many {
            sleep(Duration::from_millis(10)).await;
        }
        for number in 1..=plan.nodes {
            for service in &services {
                let uri = format!("http://{}:{}/{}/work", Plan::address(number), plan.port, service.name);
                let request = || hyper::Request::get(&uri).body(server::full("")).expect("it is a plain request");
                while !matches!(pool.request(request()).await, Ok(answer) if answer.status().is_success()) {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::select! {
        done = timeout(Duration::from_secs(20), everything) => done.context("the cluster did not come up within 20 s"),
        Some(why) = breaks.recv() => Err(cannot_listen(why)),
    }
}

/// What decamp is set to.
fn variables(plan: &Plan, aws: &str, nomad: &str, consul: &str) -> Vec<(&'static str, String)> {
    let seconds = |span: Duration| format!("{}s", span.as_secs());
    vec![
        ("AWS_ENDPOINT_URL", aws.to_owned()),
        ("AWS_REGION", plan::REGION.to_owned()),
        ("NOMAD_ADDR", nomad.to_owned()),
        ("CONSUL_HTTP_ADDR", consul.to_owned()),
        ("CONSUL_HTTP_TOKEN", "rehearsal".to_owned()),
        ("DECAMP_GROUPS", plan::ASG.to_owned()),
        ("DECAMP_GUARD_ALB", seconds(Plan::GUARD)),
        ("DECAMP_LONGEST_REQUEST", seconds(Plan::LONGEST_REQUEST)),
        ("DECAMP_INGRESS_FORGETS", seconds(plan.ingress_forgets())),
        ("DECAMP_CALL_TIMEOUT", "2s".to_owned()),
    ]
}
