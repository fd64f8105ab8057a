//! Keeps a real server for every process that the models say runs, and tells the models when one has ended by itself.

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
use super::stage::{Fate, Process, Runs};
use super::task;
use decamp_sandbox::wire::Shared;
use decamp_sim::event::AllocationNumber;

/// Which process listens, or listened last, at an address: so that a failure can be told of by name.
pub(super) type Names = Arc<Mutex<HashMap<SocketAddr, Arc<str>>>>;

/// The name of whatever listens or listened there.
pub(super) fn name_at(names: &Names, address: SocketAddr) -> Arc<str> {
    let known = names.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
    known.unwrap_or_else(|| address.to_string().into())
}

/// What every process may need.
pub(super) struct Surroundings {
    pub(super) shared: Arc<Shared>,
    pub(super) names: Names,
    pub(super) discovery: ingress::Discovery,
    /// What a replica of decamp is made of.
    pub(super) replicas: Arc<Replicas>,
}

/// Does what becomes of processes, until nobody tells any more.
///
/// # Errors
/// A process cannot listen: a port is in use.
pub(super) async fn keep(around: &Surroundings, mut fates: UnboundedReceiver<Fate>) -> io::Result<()> {
    let mut kept: HashMap<AllocationNumber, Kept> = HashMap::new();
    while let Some(fate) = fates.recv().await {
        match fate {
            Fate::Starts(process) => {
                let started = start(around, &process).await.map_err(|why| {
                    let Process { name, address, .. } = &process;
                    io::Error::new(why.kind(), format!("{name} cannot listen on {address}: {why}"))
                })?;
                kept.insert(process.number, started);
            }
            Fate::Signalled(number) => {
                if let Some(kept) = kept.get_mut(&number) {
                    kept.signal(around, number);
                }
            }
            Fate::Gone(number) => {
                if let Some(kept) = kept.remove(&number) {
                    kept.server.kill();
                }
            }
            // Told of where Nomad is real, and then not to us.
            Fate::Joins(_) | Fate::Stops(_) => {}
        }
    }
    Ok(())
}

/// A process that runs, or finishes.
struct Kept {
    server: Server,
    runs: Runs,
    /// Follows discovery for as long as this is kept.
    _ingress: Option<Ingress>,
}

async fn start(around: &Surroundings, process: &Process) -> io::Result<Kept> {
    let (server, ingress) = match process.runs {
        Runs::Service(nature) => (task::start(process.address, nature).await?, None),
        Runs::Ingress => {
            let ingress = Ingress::follow(&around.discovery);
            (ingress.start(&process.node, process.address, &around.names).await?, Some(ingress))
        }
        Runs::Decamp => (replica::start(&around.replicas, process.address), None),
    };
    let mut names = around.names.lock().unwrap_or_else(PoisonError::into_inner);
    names.insert(process.address, Arc::clone(&process.name));
    Ok(Kept { server, runs: process.runs, _ingress: ingress })
}

impl Kept {
    /// The kill signal. One that obeys finishes, and the models hear when it is done; a deaf one goes on as if nothing were.
    fn signal(&mut self, around: &Surroundings, number: AllocationNumber) {
        if self.runs == Runs::Service(Nature::Deaf) {
            return;
        }
        self.server.finish();
        let Some(end) = self.server.end() else { return };
        let exits_in = match self.runs {
            Runs::Service(nature) => task::exits_in(nature),
            Runs::Ingress | Runs::Decamp => Duration::ZERO,
        };
        let shared = Arc::clone(&around.shared);
        tokio::spawn(async move {
            if !matches!(end.await, Ok(Ended::ByItself)) {
                return;
            }
            tokio::time::sleep(exits_in).await;
            shared.with(|stage| {
                if let Some(cluster) = stage.cluster() {
                    cluster.nomad.process_ended(number);
                }
            });
        });
    }
}
