//! The targets of one group as the load balancer knows them: where it sends requests, and when it has to cut them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cluster;
use crate::plan::Plan;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;
use decamp_sandbox::wire::Shared;

/// The targets of one group.
pub(super) struct Targets {
    pub(super) arn: TargetGroupArn,
    port: u16,
    known: Mutex<HashMap<InstanceId, Arc<Target>>>,
    routed: Mutex<Vec<Arc<Target>>>,
    turn: AtomicUsize,
}

/// One target.
pub(super) struct Target {
    pub(super) instance: InstanceId,
    pub(super) address: SocketAddr,
    /// When it was deregistered; `None` while it is registered.
    left: watch::Sender<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Targets {
    pub(super) fn new(arn: TargetGroupArn, port: u16) -> Self {
        Self { arn, port, known: Mutex::default(), routed: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    /// The next target in turn.
    pub(super) fn next(&self) -> Option<Arc<Target>> {
        let routed = lock(&self.routed);
        let place = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(routed.len())?;
        Some(Arc::clone(&routed[place]))
    }

    /// Follows every change of the model.
    pub(super) async fn follow(&self, shared: &Shared) {
        let mut changes = shared.watch();
        while changes.changed().await.is_ok() {
            self.look(shared);
        }
    }

    /// Reads the model's current state.
    pub(super) fn look(&self, shared: &Shared) {
        let (routes, registered) = shared.look(|models| {
            let (_, elb) = models.aws();
            let instance = |id: &TargetId| match id {
                TargetId::Instance(instance) => Some(*instance),
                TargetId::Ip(_) | TargetId::Other(_) => None,
            };
            let routes: Vec<InstanceId> = elb.routes(&self.arn).iter().filter_map(|route| instance(&route.id)).collect();
            let is_registered = |id: &InstanceId| elb.listed_until(&self.arn, *id) == Some(Time::NEVER);
            let known: Vec<InstanceId> = lock(&self.known).keys().copied().collect();
            let registered: Vec<InstanceId> = known.into_iter().chain(routes.iter().copied()).filter(is_registered).collect();
            (routes, registered)
        });
        let mut known = lock(&self.known);
        for id in &routes {
            if !known.contains_key(id)
                && let Some(target) = Target::new(*id, self.port)
            {
                known.insert(*id, Arc::new(target));
            }
        }
        for target in known.values() {
            let is_registered = registered.contains(&target.instance);
            target.left.send_if_modified(|left| {
                let changes = left.is_none() != is_registered;
                if changes {
                    *left = (!is_registered).then(Instant::now);
                }
                changes
            });
        }
        *lock(&self.routed) = routes.iter().filter_map(|id| known.get(id).cloned()).collect();
    }
}

impl Target {
    fn new(instance: InstanceId, port: u16) -> Option<Self> {
        let address = SocketAddr::new(IpAddr::V4(Plan::address(cluster::number(instance)?)), port);
        Some(Self { instance, address, left: watch::Sender::new(None) })
    }

    /// Resolves when a request that is sent now must be cut. A request in progress at the deregistration has the whole delay. So has one
    /// that is sent later because routing lags.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let (sent, mut left) = (Instant::now(), self.left.subscribe());
        async move {
            loop {
                let at = *left.borrow_and_update();
                let until = at.map(|at| at.max(sent) + Plan::DELAY);
                let cut = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = cut => return,
                    changed = left.changed() => if changed.is_err() { std::future::pending::<()>().await },
                }
            }
        }
    }
}
