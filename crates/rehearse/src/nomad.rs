//! A real Nomad instead of the simulated one: a server, and a client on every node. Their jobs run this program.
//!
//! [`Nomad::start`] starts the server. [`Nomad::follow`] starts and stops machines as the model does. When a machine starts, its Consul
//! agent and its Nomad client start, and the client reads from its metadata which EC2 instance it is. When a machine stops, both end,
//! with everything that runs there. When the first machines have joined, the plan's jobs are registered. Nomad does the rest.

mod agent;
mod jobs;
mod metadata;
mod node_states;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub(super) use self::jobs::TaskSetup;
pub(super) use self::node_states::NodeStates;
use super::api::Api;
use super::consul::{Agents, Consul, free_ports};
use super::plan::Plan;
use super::processes::Names;
use super::programs::{Programs, version};
use super::supervised::{Isolation, why_no_namespaces};
use super::world::Change;

/// How long an agent may take until it answers and is ready.
const COMES_UP_IN: Duration = Duration::from_secs(60);
/// The time between two looks at an agent that comes up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The name of the server's process.
const SERVER: &str = "nomad-server";

/// A running server and its clients. They end when this is dropped.
pub(super) struct Nomad {
    /// The address of the server's API.
    pub(super) address: SocketAddr,
    /// The name and version that it prints.
    pub(super) version: String,
    node_states: watch::Sender<NodeStates>,
    inner: Arc<Inner>,
}

struct Inner {
    binary: PathBuf,
    /// The address at which clients find the server.
    rpc: SocketAddr,
    api: Api,
    programs: Programs,
    agents: Agents,
    /// The Consul server.
    consul: Api,
}

impl Drop for Nomad {
    fn drop(&mut self) {
        // Another task may hold the inner part for a moment longer.
        self.inner.programs.end_all();
    }
}

impl Nomad {
    /// Starts a server with this binary on free ports, and waits until it is leader.
    ///
    /// # Errors
    /// The binary is missing or is not Nomad, nodes cannot have their own namespaces on this machine, or the server does not come up.
    pub(super) async fn start(binary: &Path, consul: &Consul) -> Result<Self> {
        let version = version(binary)?;
        if !version.starts_with("Nomad ") {
            bail!("{} is no Nomad: its version is {version:?}", binary.display());
        }
        if let Some(why) = why_no_namespaces() {
            bail!("each node needs its own process and mount namespaces ({why}): run it as root");
        }
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [http, rpc, gossip] = free_ports(host)?;
        let inner = Inner {
            binary: binary.to_owned(),
            rpc: SocketAddr::new(host, rpc),
            api: Api::at(SocketAddr::new(host, http)),
            programs: Programs::new()?,
            agents: consul.agents(),
            consul: Api::at(consul.address),
        };
        let config = agent::server([http, rpc, gossip], consul.address);
        inner.agent(SERVER, &config, &[], Isolation::Shared)?;
        let began = Instant::now();
        while !inner.api.knows_a_leader().await {
            inner.fail_after_timeout(SERVER, began)?;
            sleep(LOOK_EVERY).await;
        }
        let node_states = watch::Sender::default();
        Ok(Self { address: inner.api.address, version, node_states, inner: Arc::new(inner) })
    }

    /// The observed state of all nodes.
    pub(super) fn node_states(&self) -> watch::Receiver<NodeStates> {
        self.node_states.subscribe()
    }

    /// Starts and stops machines, registers the jobs and observes them, until the models end.
    ///
    /// # Errors
    /// An agent does not come up, or Nomad does not accept a job.
    pub(super) fn follow(
        &self,
        plan: &Plan,
        setup: TaskSetup,
        names: &Names,
        changes: UnboundedReceiver<Change>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (inner, plan, names, node_states) =
            (Arc::clone(&self.inner), plan.clone(), Arc::clone(names), self.node_states.clone());
        async move {
            let up = watch::Sender::new(0);
            let ups = up.subscribe();
            tokio::try_join!(
                machines(Arc::clone(&inner), changes, up),
                jobs::register(&inner.api, &plan, &setup, ups),
                node_states::follow(&inner.api, &inner.consul, &names, &node_states),
            )?;
            Ok(())
        }
    }
}

/// Starts and stops machines as the model does. `up` counts the machines that have joined.
async fn machines(inner: Arc<Inner>, mut changes: UnboundedReceiver<Change>, up: watch::Sender<u32>) -> Result<()> {
    let mut stops: HashMap<u32, oneshot::Sender<()>> = HashMap::new();
    let mut live = JoinSet::new();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            Some(ended) = live.join_next() => {
                ended.context("the task of a machine panicked")??;
                continue;
            }
        };
        match change {
            Some(Change::MachineStarts(number)) => {
                let (stop, stopped) = oneshot::channel();
                stops.insert(number, stop);
                live.spawn(agent::machine(Arc::clone(&inner), number, up.clone(), stopped));
            }
            Some(Change::MachineStops(number)) => {
                // If its task has ended, the error was reported already.
                stops.remove(&number).map(|stop| stop.send(()));
            }
            // The simulated Nomad has no jobs in this run.
            Some(Change::ProcessStarts(_) | Change::ProcessSignalled(_) | Change::ProcessGone(_)) => {}
            None => return Ok(()),
        }
    }
}
