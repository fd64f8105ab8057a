//! Runs a real server for every process of the models, and reports to the models when a server has ended by itself.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::ingress::{self, Ingress};
use super::plan::Nature;
use super::replica::{self, Replicas};
use super::server::{Ended, Server};
use super::task;
use super::world::{Change, Process, Role};
use decamp_sandbox::wire::Shared;
use decamp_sim::event::AllocationNumber;

/// The process that listens on an address, or listened there last. Causes of failures name it.
pub(super) type Names = Arc<Mutex<HashMap<SocketAddr, Arc<str>>>>;

/// The name of the process at an address, or the address if no process is known.
pub(super) fn name_at(names: &Names, address: SocketAddr) -> Arc<str> {
    let known = names.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
    known.unwrap_or_else(|| address.to_string().into())
}

/// The parts that processes share.
pub(super) struct ProcessContext {
    pub(super) shared: Arc<Shared>,
    pub(super) names: Names,
    pub(super) discovery: ingress::Discovery,
    /// The settings of decamp's replicas.
    pub(super) replicas: Arc<Replicas>,
}

/// Starts, signals and kills servers as the models change, until the models end.
///
/// # Errors
/// A process cannot listen, because a port is in use.
pub(super) async fn follow(context: &ProcessContext, mut changes: UnboundedReceiver<Change>) -> io::Result<()> {
    let mut running: HashMap<AllocationNumber, Running> = HashMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::ProcessStarts(process) => {
                let started = start(context, &process).await.map_err(|why| {
                    let Process { name, address, .. } = &process;
                    io::Error::new(why.kind(), format!("{name} cannot listen on {address}: {why}"))
                })?;
                running.insert(process.number, started);
            }
            Change::ProcessSignalled(number) => {
                if let Some(process) = running.get_mut(&number) {
                    process.signal(context, number);
                }
            }
            Change::ProcessGone(number) => {
                if let Some(process) = running.remove(&number) {
                    process.server.kill();
                }
            }
            // Only a run with a real Nomad sends these, and `nomad` receives them.
            Change::MachineStarts(_) | Change::MachineStops(_) => {}
        }
    }
    Ok(())
}

/// A process that runs or finishes its last requests.
struct Running {
    server: Server,
    role: Role,
    /// Follows discovery until this is dropped.
    _ingress: Option<Ingress>,
}

async fn start(context: &ProcessContext, process: &Process) -> io::Result<Running> {
    let (server, ingress) = match process.role {
        Role::Service(nature) => (task::start(process.address, nature).await?, None),
        Role::Ingress => {
            let ingress = Ingress::follow(&context.discovery);
            (ingress.start(&process.node, process.address, &context.names).await?, Some(ingress))
        }
        Role::Decamp => (replica::start(&context.replicas, process.address), None),
    };
    let mut names = context.names.lock().unwrap_or_else(PoisonError::into_inner);
    names.insert(process.address, Arc::clone(&process.name));
    Ok(Running { server, role: process.role, _ingress: ingress })
}

impl Running {
    /// Sends the kill signal. An obedient process finishes its requests, and the models learn when it has ended. A deaf one ignores it, and an
    /// abrupt one dies of it.
    fn signal(&mut self, context: &ProcessContext, number: AllocationNumber) {
        if self.role == Role::Service(Nature::Deaf) {
            return;
        }
        if self.role == Role::Service(Nature::Abrupt) {
            self.server.kill();
            context.shared.with(|stage| {
                if let Some(cluster) = stage.cluster() {
                    cluster.nomad.process_ended(number);
                }
            });
            return;
        }
        self.server.finish();
        let Some(end) = self.server.end() else { return };
        let exits_in = match self.role {
            Role::Service(nature) => task::exits_in(nature),
            Role::Ingress | Role::Decamp => Duration::ZERO,
        };
        let shared = Arc::clone(&context.shared);
        tokio::spawn(async move {
            if !matches!(end.await, Ok(Ended::ByItself)) {
                return;
            }
            tokio::time::sleep(exits_in).await;
            shared.with(|models| {
                if let Some(cluster) = models.cluster() {
                    cluster.nomad.process_ended(number);
                }
            });
        });
    }
}
