//! A real Nomad in place of the pretended one: a server, and a client on every node, whose jobs run this very program.
//!
//! [`Nomad::start`] starts the server. [`Nomad::follow`] does what becomes of machines: where one starts, its Consul agent and its
//! Nomad client start, which takes it for the EC2 instance that its metadata tells of; where one stops, both go with whatever runs
//! there. As soon as the first machines have joined it registers the plan's jobs. From then on Nomad does what Nomad does.

mod agent;
mod jobs;
mod metadata;
mod sight;

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

pub(super) use self::jobs::Runs;
pub(super) use self::sight::Sights;
use super::api::Api;
use super::consul::{Agents, Consul, free_ports};
use super::guard::{Where, cannot_be_apart};
use super::plan::Plan;
use super::processes::Names;
use super::programs::{Programs, version};
use super::stage::Fate;

/// An agent that does not answer, or is not ready, within this will not.
const COMES_UP_IN: Duration = Duration::from_secs(60);
/// Between two looks whether it is.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// The name of the server's process.
const SERVER: &str = "nomad-server";

/// A running server and its clients. All end when this is dropped.
pub(super) struct Nomad {
    /// Where the server's API is.
    pub(super) address: SocketAddr,
    /// What it says that it is.
    pub(super) version: String,
    sights: watch::Sender<Sights>,
    inner: Arc<Inner>,
}

struct Inner {
    binary: PathBuf,
    /// Where clients find the server.
    rpc: SocketAddr,
    api: Api,
    programs: Programs,
    agents: Agents,
    /// The Consul server.
    consul: Api,
}

impl Drop for Nomad {
    fn drop(&mut self) {
        // Somebody may still hold the inner part for a moment.
        self.inner.programs.end_all();
    }
}

impl Nomad {
    /// Starts a server of this binary, on free ports, and waits until it leads.
    ///
    /// # Errors
    /// The binary is missing or no Nomad, nodes cannot be told apart on this machine, or the server does not come up.
    pub(super) async fn start(binary: &Path, consul: &Consul) -> Result<Self> {
        let version = version(binary)?;
        if !version.starts_with("Nomad ") {
            bail!("{} is no Nomad: it says that it is {version:?}", binary.display());
        }
        if let Some(why) = cannot_be_apart() {
            bail!("each node needs processes and mounts of its own ({why}): run it as root");
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
        inner.agent(SERVER, &config, &[], Where::Here)?;
        let began = Instant::now();
        while !inner.api.knows_a_leader().await {
            inner.still_patient(SERVER, began)?;
            sleep(LOOKS_EVERY).await;
        }
        let sights = watch::Sender::default();
        Ok(Self { address: inner.api.address, version, sights, inner: Arc::new(inner) })
    }

    /// What is seen of the nodes.
    pub(super) fn sights(&self) -> watch::Receiver<Sights> {
        self.sights.subscribe()
    }

    /// Does what becomes of machines, registers the jobs, and looks what becomes of these, until nobody tells any more.
    ///
    /// # Errors
    /// An agent does not come up, or takes no job.
    pub(super) fn follow(
        &self,
        plan: &Plan,
        runs: Runs,
        names: &Names,
        fates: UnboundedReceiver<Fate>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (inner, plan, names, sights) = (Arc::clone(&self.inner), plan.clone(), Arc::clone(names), self.sights.clone());
        async move {
            let up = watch::Sender::new(0);
            let ups = up.subscribe();
            tokio::try_join!(
                machines(Arc::clone(&inner), fates, up),
                jobs::register(&inner.api, &plan, &runs, ups),
                sight::follow(&inner.api, &inner.consul, &names, &sights),
            )?;
            Ok(())
        }
    }
}

/// Starts and stops machines as it is told. `up` counts those that joined.
async fn machines(inner: Arc<Inner>, mut fates: UnboundedReceiver<Fate>, up: watch::Sender<u32>) -> Result<()> {
    let mut stops: HashMap<u32, oneshot::Sender<()>> = HashMap::new();
    let mut live = JoinSet::new();
    loop {
        let fate = tokio::select! {
            fate = fates.recv() => fate,
            Some(ended) = live.join_next() => {
                ended.context("a machine's keeper broke")??;
                continue;
            }
        };
        match fate {
            Some(Fate::Joins(number)) => {
                let (stop, stopped) = oneshot::channel();
                stops.insert(number, stop);
                live.spawn(agent::machine(Arc::clone(&inner), number, up.clone(), stopped));
            }
            Some(Fate::Stops(number)) => {
                // Its keeper broke: that was told already.
                stops.remove(&number).map(|stop| stop.send(()));
            }
            // The pretended Nomad's, which has no job here.
            Some(Fate::Starts(_) | Fate::Signalled(_) | Fate::Gone(_)) => {}
            None => return Ok(()),
        }
    }
}
