//! The simulated systems behind HTTP on loopback, in real time, for decamp's adapters, the vendors' clients and people.
//!
//! [`Models`] holds the models. [`Shared`] puts them behind a lock and a clock, and advances them before each request and whenever an
//! event of the models is due. [`serve`] serves a router on a port and applies the faults of a [`FaultPlan`] to its requests. The
//! routers are [`aws::router`] (every AWS API on one port), [`nomad::router`], [`consul::router`] and [`sandbox::router`] (what a person
//! or a test does to the world: terminate an instance, read the state, set faults).

pub mod aws;
mod clock;
mod connection;
pub mod consul;
mod fault_layer;
mod faults;
mod filter;
pub mod nomad;
mod query_options;
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
use decamp_core::decide::Minute;
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{AutoScaling, LifecycleEvent};
use decamp_sim::consul::Consul;
use decamp_sim::event::Event;
use decamp_sim::load_balancers::LoadBalancers;
use decamp_sim::nomad::Nomad;

/// How many past events `/sandbox/events` shows.
const EVENTS_KEPT: usize = 1_000;

/// The models behind the HTTP servers.
pub trait Models: Send {
    /// The time of the next event that needs no request.
    fn next_event(&self) -> Time;
    /// Handles all events that are due until `to`.
    fn advance(&mut self, to: Time);
    /// The models of AWS.
    fn aws(&mut self) -> (&mut AutoScaling, &mut LoadBalancers);
    /// The models of Nomad and Consul, if there are any.
    fn cluster(&mut self) -> Option<Cluster<'_>> {
        None
    }
    /// What the load balancer of a target group counted in each minute, if clients send requests.
    fn counted(&self, _group: &TargetGroupArn) -> Vec<Minute> {
        Vec::new()
    }
    /// The fields that `/sandbox/state` shows in addition to AWS.
    fn more(&mut self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

/// The models of Nomad and Consul.
pub struct Cluster<'a> {
    /// The model of Nomad.
    pub nomad: &'a mut Nomad,
    /// The model of Consul.
    pub consul: &'a mut Consul,
    /// The log in which both record the events of processes and their registrations.
    pub log: &'a mut Vec<Event>,
}

/// The models of AWS alone.
#[derive(Debug)]
pub struct AwsOnly {
    /// The model of Auto Scaling.
    pub auto_scaling: AutoScaling,
    /// The model of Elastic Load Balancing.
    pub load_balancers: LoadBalancers,
}

impl Models for AwsOnly {
    fn next_event(&self) -> Time {
        self.auto_scaling.next_event().min(self.load_balancers.next_event())
    }

    fn advance(&mut self, to: Time) {
        self.auto_scaling.advance(to, &mut self.load_balancers);
        drop(self.auto_scaling.take_instance_events());
    }

    fn aws(&mut self) -> (&mut AutoScaling, &mut LoadBalancers) {
        (&mut self.auto_scaling, &mut self.load_balancers)
    }
}

/// One simulated world behind one or more ports.
pub struct Shared {
    /// The clock of the world.
    pub clock: Clock,
    /// The names of its account and Region.
    pub account: aws::Account,
    began: Time,
    models: Mutex<Box<dyn Models>>,
    faults: Mutex<FaultPlan>,
    stores: Mutex<aws::Stores>,
    tokens: Mutex<Tokens>,
    events: Mutex<Vec<LifecycleEvent>>,
    version: watch::Sender<u64>,
}

impl Shared {
    /// Puts models behind a lock. The clock must show the time at which the models were built, or later.
    #[must_use]
    pub fn new(models: Box<dyn Models>, clock: Clock, account: aws::Account) -> Arc<Self> {
        Arc::new(Self {
            began: clock.now(),
            clock,
            account,
            models: Mutex::new(models),
            faults: Mutex::default(),
            stores: Mutex::default(),
            tokens: Mutex::default(),
            events: Mutex::default(),
            version: watch::Sender::new(0),
        })
    }

    /// When the world was first served. Objects without a time of their own get this one.
    fn began(&self) -> Time {
        self.began
    }

    /// Advances the world to now and changes it. Watchers are woken.
    pub fn with<T>(&self, act: impl FnOnce(&mut dyn Models) -> T) -> T {
        let mut models = lock(&self.models);
        models.advance(self.clock.now());
        let done = act(&mut **models);
        self.record_events(models.aws().0.take_events());
        drop(models);
        self.version.send_modify(|version| *version += 1);
        done
    }

    /// Advances the world to now and reads it. No watcher is woken.
    pub fn look<T>(&self, look: impl FnOnce(&mut dyn Models) -> T) -> T {
        let mut models = lock(&self.models);
        models.advance(self.clock.now());
        let seen = look(&mut **models);
        self.record_events(models.aws().0.take_events());
        seen
    }

    /// Replaces the models and forgets the events of the old ones. The new ones must have been built with the time of the same clock.
    pub fn replace(&self, models: Box<dyn Models>) {
        *lock(&self.models) = models;
        lock(&self.events).clear();
        self.version.send_modify(|version| *version += 1);
    }

    fn record_events(&self, new: Vec<LifecycleEvent>) {
        let mut events = lock(&self.events);
        events.extend(new);
        let surplus = events.len().saturating_sub(EVENTS_KEPT);
        events.drain(..surplus);
    }

    /// A receiver that is notified when something may have changed: after each `with`, and after each event of the models.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, plan: FaultPlan) {
        *lock(&self.faults) = plan;
    }

    /// Sets the tokens that Nomad and Consul accept from now on.
    pub fn set_tokens(&self, tokens: Tokens) {
        *lock(&self.tokens) = tokens;
    }

    /// The parameters, secrets and messages of the other AWS APIs.
    pub fn stores(&self) -> MutexGuard<'_, aws::Stores> {
        lock(&self.stores)
    }

    /// The lifecycle actions that have begun, at most the last thousand.
    #[must_use]
    pub fn events(&self) -> Vec<LifecycleEvent> {
        lock(&self.events).clone()
    }

    fn next_fault(&self, side: Side, operation: &str) -> Option<WireFault> {
        lock(&self.faults).next_fault(side, operation)
    }

    /// Advances the world whenever an event is due, until the task is aborted.
    async fn tick(self: Arc<Self>) {
        let mut writes = self.watch();
        loop {
            let next = lock(&self.models).next_event();
            // Rounded up, so that the event is due when this wakes.
            let pause = self.clock.until(next).saturating_add(Duration::from_millis(1)).min(Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep(pause) => self.with(|_| ()),
                _ = writes.changed() => {}
            }
        }
    }
}

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// The address that it listens on.
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

/// The length of the accept queue, as on production servers. With the usual 128, a machine that stalls for half a second drops
/// connections, and a constant rate of requests never lets it recover.
const BACKLOG: u32 = 4096;

/// Listens on this address. Port 0 takes any free port.
///
/// # Errors
/// The address is in use or not local.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of an earlier server that are still in TIME_WAIT must not prevent this one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a router on this address. Port 0 takes any free port.
///
/// # Errors
/// The address is in use or not local.
pub async fn serve(shared: &Arc<Shared>, side: Side, router: Router, address: SocketAddr) -> io::Result<Server> {
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let app = fault_layer::with_faults(router, shared, side).into_make_service_with_connect_info::<connection::ResetSwitch>();
    let server = tokio::spawn(async move {
        // It ends when its task is aborted.
        axum::serve(connection::ResettableListener(listener), app).await.ok();
    });
    let ticker = tokio::spawn(Arc::clone(shared).tick());
    Ok(Server { address, tasks: [server, ticker] })
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
