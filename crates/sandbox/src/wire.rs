//! The pretend world behind HTTP on loopback, in real time: so that live adapters, vendors' clients and people can meet it.
//!
//! A [`Stage`] is whatever holds the models; [`Shared`] puts one behind a lock and a clock, and advances it whenever it is asked
//! for something and whenever something is due by itself. [`serve`] puts a router on a port, with the faults of a [`FaultPlan`]
//! between it and its clients. The routers: [`aws::router`] (every AWS API on one port), [`nomad::router`], [`consul::router`] and
//! [`sandbox::router`] (what a person or a test does to the world: terminate, look inside, set faults).

mod asked;
pub mod aws;
mod clock;
pub mod consul;
mod faults;
mod filter;
mod gate;
mod line;
pub mod nomad;
pub mod sandbox;
#[cfg(test)]
mod tests;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::clock::Clock;
pub use self::faults::{FaultPlan, Rule, Side, WireFault};
pub use self::tokens::Tokens;
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{AutoScaling, LifecycleEvent};
use decamp_sim::consul::Consul;
use decamp_sim::event::Event;
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::nomad::Nomad;

/// How many events of the past `/sandbox/events` shows.
const EVENTS_KEPT: usize = 1_000;

/// The models behind a wire.
pub trait Stage: Send {
    /// When something happens by itself.
    fn next_event(&self) -> Time;
    /// Lets everything happen that is due until `to`.
    fn advance(&mut self, to: Time);
    /// The models of AWS.
    fn aws(&mut self) -> (&mut AutoScaling, &mut LoadBalancers);
    /// Nomad and Consul, if they are on this stage.
    fn cluster(&mut self) -> Option<Cluster<'_>> {
        None
    }
    /// What `/sandbox/state` shows beside AWS: fields of an object.
    fn more(&mut self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

/// Nomad and Consul on a stage.
pub struct Cluster<'a> {
    /// Nomad.
    pub nomad: &'a mut Nomad,
    /// Consul.
    pub consul: &'a mut Consul,
    /// Where both write what happened to processes and to their places in discovery.
    pub log: &'a mut Vec<Event>,
}

/// A stage with nothing but AWS.
#[derive(Debug)]
pub struct AwsAlone {
    /// Auto Scaling.
    pub auto_scaling: AutoScaling,
    /// Elastic Load Balancing.
    pub load_balancers: LoadBalancers,
}

impl Stage for AwsAlone {
    fn next_event(&self) -> Time {
        self.auto_scaling.next_event().min(self.load_balancers.next_event())
    }

    fn advance(&mut self, to: Time) {
        self.auto_scaling.advance(to, &mut self.load_balancers);
        drop(self.auto_scaling.happened());
    }

    fn aws(&mut self) -> (&mut AutoScaling, &mut LoadBalancers) {
        (&mut self.auto_scaling, &mut self.load_balancers)
    }
}

/// One world behind one or more ports.
pub struct Shared {
    /// The time of that world.
    pub clock: Clock,
    /// What its account and Region are called.
    pub account: aws::Account,
    began: Time,
    stage: Mutex<Box<dyn Stage>>,
    faults: Mutex<FaultPlan>,
    stores: Mutex<aws::Stores>,
    tokens: Mutex<Tokens>,
    events: Mutex<Vec<LifecycleEvent>>,
    version: watch::Sender<u64>,
}

impl Shared {
    /// Puts a stage behind a lock. Its clock must show the time that the models were built at, or later.
    #[must_use]
    pub fn new(stage: Box<dyn Stage>, clock: Clock, account: aws::Account) -> Arc<Self> {
        Arc::new(Self {
            began: clock.now(),
            clock,
            account,
            stage: Mutex::new(stage),
            faults: Mutex::default(),
            stores: Mutex::default(),
            tokens: Mutex::default(),
            events: Mutex::default(),
            version: watch::Sender::new(0),
        })
    }

    /// When the world was put behind its ports: what has no time of its own is said to be from then.
    fn began(&self) -> Time {
        self.began
    }

    /// Brings the world up to now and does something with it. Whoever watches it looks again.
    pub fn with<T>(&self, act: impl FnOnce(&mut dyn Stage) -> T) -> T {
        let mut stage = lock(&self.stage);
        stage.advance(self.clock.now());
        let done = act(&mut **stage);
        self.keep(stage.aws().0.take_events());
        drop(stage);
        self.version.send_modify(|version| *version += 1);
        done
    }

    /// Brings the world up to now and looks at it. Nobody is woken.
    pub fn look<T>(&self, look: impl FnOnce(&mut dyn Stage) -> T) -> T {
        let mut stage = lock(&self.stage);
        stage.advance(self.clock.now());
        let seen = look(&mut **stage);
        self.keep(stage.aws().0.take_events());
        seen
    }

    /// Puts another stage in the place of this one, whose events are forgotten. It must have been built at the time of the same clock.
    pub fn replace(&self, stage: Box<dyn Stage>) {
        *lock(&self.stage) = stage;
        lock(&self.events).clear();
        self.version.send_modify(|version| *version += 1);
    }

    fn keep(&self, new: Vec<LifecycleEvent>) {
        let mut events = lock(&self.events);
        events.extend(new);
        let surplus = events.len().saturating_sub(EVENTS_KEPT);
        events.drain(..surplus);
    }

    /// Tells when something may have changed: after each `with`, and when something happened by itself.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, plan: FaultPlan) {
        *lock(&self.faults) = plan;
    }

    /// Which tokens Nomad and Consul know from now on.
    pub fn set_tokens(&self, tokens: Tokens) {
        *lock(&self.tokens) = tokens;
    }

    /// The parameters, secrets and messages of the other AWS APIs.
    pub fn stores(&self) -> MutexGuard<'_, aws::Stores> {
        lock(&self.stores)
    }

    /// The lifecycle actions that began so far, the last thousand of them.
    #[must_use]
    pub fn events(&self) -> Vec<LifecycleEvent> {
        lock(&self.events).clone()
    }

    fn meet(&self, side: Side, operation: &str) -> Option<WireFault> {
        lock(&self.faults).meet(side, operation)
    }

    /// Lets happen what happens by itself, for as long as it is polled.
    async fn tick(self: Arc<Self>) {
        let mut writes = self.watch();
        loop {
            let next = lock(&self.stage).next_event();
            // Rounded up, so that it is due when we wake.
            let pause = self.clock.until(next).saturating_add(Duration::from_millis(1)).min(Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep(pause) => self.with(|_| ()),
                _ = writes.changed() => {}
            }
        }
    }
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// As many connections may wait to be taken as servers in production let wait. With the usual 128, a machine that stalls for half
/// a second drops them, and a constant rate of requests never lets it recover.
const BACKLOG: u32 = 4096;

/// Listens on this address; port 0 takes any that is free.
///
/// # Errors
/// The address cannot be listened on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // What a server that was here before still has in its last state is no reason to refuse.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Puts a router on this address; port 0 takes any that is free.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(shared: &Arc<Shared>, side: Side, router: Router, address: SocketAddr) -> io::Result<Server> {
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let app = gate::before(router, shared, side).into_make_service_with_connect_info::<line::Ripcord>();
    let server = tokio::spawn(async move {
        // It only ends with its task.
        axum::serve(line::Lines(listener), app).await.ok();
    });
    let ticker = tokio::spawn(Arc::clone(shared).tick());
    Ok(Server { address, tasks: [server, ticker] })
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
