//! A real Consul instead of the simulated one: a server, and an agent for every node.
//!
//! [`Consul::start`] starts the server. [`Consul::follow`] does the work of Nomad's clients. It starts an agent when a node joins, and
//! registers and deregisters the model's services and checks with that agent. When a machine stops, its agent leaves. The catalog is
//! real: the agents write to it, the ingress and decamp read it.

mod agent;
mod mirror;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::agent::Agent;
use super::api::Api;
use super::programs::{Program, Programs, version};
use super::supervised::Isolation;
use decamp_sandbox::wire::Shared;

/// How long a server or agent may take to answer.
const COMES_UP_IN: Duration = Duration::from_secs(40);
/// The name of the server's process.
const SERVER: &str = "consul-server";

/// A running server and its agents. They end when this is dropped.
pub(super) struct Consul {
    /// The address of the server's API.
    pub(super) address: SocketAddr,
    /// The name and version that it prints.
    pub(super) version: String,
    inner: Arc<Inner>,
}

struct Inner {
    binary: PathBuf,
    gossip: SocketAddr,
    programs: Programs,
}

impl Drop for Consul {
    fn drop(&mut self) {
        // Another task may hold the inner part for a moment longer.
        self.inner.programs.end_all();
    }
}

impl Consul {
    /// Starts a server with this binary on free ports, and waits until it is leader.
    ///
    /// # Errors
    /// The binary is missing or is not Consul, or the server does not come up.
    pub(super) async fn start(binary: &Path) -> Result<Self> {
        let version = version(binary)?;
        if !version.starts_with("Consul ") {
            bail!("{} is no Consul: its version is {version:?}", binary.display());
        }
        let programs = Programs::new()?;
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [http, server, gossip] = free_ports(host)?;
        let inner = Inner { binary: binary.to_owned(), gossip: SocketAddr::new(host, gossip), programs };
        let config = json!({
            "server": true, "bootstrap_expect": 1, "performance": { "raft_multiplier": 1 },
            "ports": { "http": http, "server": server, "serf_lan": gossip, "serf_wan": -1, "dns": -1, "grpc": -1 },
        });
        let agent = inner.agent(SERVER, host, http, config)?;
        let consul = Self { address: SocketAddr::new(host, http), version, inner: Arc::new(inner) };
        consul.inner.comes_up(SERVER, &agent).await?;
        Ok(consul)
    }

    /// A handle that starts the agents of nodes.
    pub(super) fn agents(&self) -> Agents {
        Agents(Arc::clone(&self.inner))
    }

    /// Does the work of Nomad's clients with their agents, until the models end.
    ///
    /// # Errors
    /// An agent does not come up, or no longer accepts registrations.
    pub(super) fn follow(&self, shared: &Arc<Shared>) -> impl Future<Output = Result<()>> + Send + use<> {
        mirror::follow(Arc::clone(&self.inner), Arc::clone(shared))
    }
}

/// Starts the agents of nodes when Nomad is real. Nomad's clients do the rest themselves.
#[derive(Clone)]
pub(super) struct Agents(Arc<Inner>);

/// The Consul agent of a node.
pub(super) struct NodeAgent {
    /// The address of its API.
    pub(super) address: SocketAddr,
    name: String,
    agent: Agent,
    inner: Arc<Inner>,
}

impl Agents {
    /// Starts the agent of a node, and waits until it has joined.
    ///
    /// # Errors
    /// It does not come up.
    pub(super) async fn start(&self, node: &str, address: IpAddr) -> Result<NodeAgent> {
        let agent = self.0.start_for_node(node, address).await?;
        Ok(NodeAgent { address: agent.0.address, name: node.to_owned(), agent, inner: Arc::clone(&self.0) })
    }
}

impl NodeAgent {
    /// Makes the agent leave and end, as on a machine that shuts down.
    pub(super) async fn leave(self) {
        // An agent that cannot leave counts as failed for the others, as on a real machine.
        self.agent.leave().await.ok();
        self.inner.programs.end(&self.name);
    }
}

impl Inner {
    /// Starts an agent of this name. It may not answer yet.
    fn agent(&self, name: &str, address: IpAddr, http: u16, more: Value) -> Result<Agent> {
        let folder = self.programs.folder();
        let mut config = json!({
            "node_name": name, "datacenter": "dc1", "bind_addr": address, "client_addr": address,
            "data_dir": folder.join(name), "log_level": "warn", "disable_update_check": true,
        });
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
        let file = file.to_string_lossy();
        let arguments = &["agent", "-config-file", &file];
        self.programs.start(name, Program { binary: &self.binary, arguments, variables: &[], isolation: Isolation::Shared })?;
        Ok(Agent(Api::at(SocketAddr::new(address, http))))
    }

    /// Starts the agent of a node, and waits until it has joined.
    async fn start_for_node(&self, node: &str, address: IpAddr) -> Result<Agent> {
        let [http, server, gossip] = free_ports(address)?;
        let config = json!({
            "retry_join": [self.gossip.to_string()], "retry_interval": "1s",
            "ports": { "http": http, "server": server, "serf_lan": gossip, "serf_wan": -1, "dns": -1, "grpc": -1 },
        });
        let agent = self.agent(node, address, http, config)?;
        self.comes_up(node, &agent).await?;
        Ok(agent)
    }

    async fn comes_up(&self, name: &str, agent: &Agent) -> Result<()> {
        let began = Instant::now();
        while !agent.0.knows_a_leader().await {
            if COMES_UP_IN < began.elapsed() {
                bail!("the Consul agent {name} did not come up: {}", self.programs.last_words(name));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Ports on this address that are free now. Gossip uses the same number for UDP, where hardly any program listens.
pub(super) fn free_ports<const N: usize>(address: IpAddr) -> Result<[u16; N]> {
    let taken: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind((address, 0)))
        .collect::<Result<_, _>>()
        .with_context(|| format!("find a free port on {address}"))?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&taken) {
        *port = listener.local_addr().context("find a free port")?.port();
    }
    Ok(ports)
}
