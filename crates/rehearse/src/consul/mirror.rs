//! Mirrors the model in real agents: a service that the simulated Nomad registers on a node is registered with that node's agent.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Inner;
use super::agent::{Agent, AgentService};
use crate::ingress::PING;
use crate::plan::INGRESS;
use decamp_sandbox::wire::{Models, Shared, consul};

/// The pause after a call that failed, as in Nomad's clients.
const AGAIN: Duration = Duration::from_secs(1);
/// After this many failed calls in a row an agent counts as broken.
const MOST_FAILURES: u32 = 20;

/// The services of an agent, by id.
type Services = BTreeMap<String, AgentService>;

/// A node in the model.
struct Node {
    name: Arc<str>,
    address: IpAddr,
    /// `None` if its agent has left because the machine was stopped.
    services: Option<Services>,
}

/// Mirrors all nodes, until the models end.
pub(super) async fn follow(inner: Arc<Inner>, shared: Arc<Shared>) -> Result<()> {
    let mut changes = shared.watch();
    let mut known: HashMap<Arc<str>, watch::Sender<Option<Services>>> = HashMap::new();
    let mut agents = JoinSet::new();
    loop {
        for node in shared.look(look) {
            match known.get(&node.name) {
                Some(wanted) => {
                    wanted.send_if_modified(|services| {
                        let differ = *services != node.services;
                        services.clone_from(&node.services);
                        differ
                    });
                }
                None if node.services.is_some() => {
                    let (send_wanted, wanted) = watch::channel(node.services);
                    known.insert(Arc::clone(&node.name), send_wanted);
                    agents.spawn(run_agent(Arc::clone(&inner), node.name, node.address, wanted));
                }
                None => {}
            }
        }
        tokio::select! {
            // The models have ended.
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            Some(ended) = agents.join_next() => ended.context("the task of a Consul agent panicked")??,
        }
    }
}

fn look(models: &mut dyn Models) -> Vec<Node> {
    let Some(cluster) = models.cluster() else { return Vec::new() };
    let node = |node: &decamp_sim::nomad::NodeSpec| {
        let (number, name) = node.consul.as_ref()?;
        let address = *node.addresses.first()?;
        let state = cluster.consul.node(*number);
        let own = state.entries().filter(|entry| entry.is_listed()).map(|entry| {
            let port = cluster.nomad.allocation(entry.allocation).ports.first().copied().unwrap_or(0);
            let name = entry.name.to_string();
            let path = if name == INGRESS { PING.to_owned() } else { format!("/{name}/work") };
            let service = AgentService { name, address: SocketAddr::new(address, port), path: Some(path) };
            (consul::service_id(&cluster, entry), service)
        });
        let other = state.others.iter().map(|other| {
            let service = AgentService { name: other.to_string(), address: SocketAddr::new(address, 4646), path: None };
            (format!("_{other}-{name}"), service)
        });
        let services = cluster.consul.agent_lives(*number).then(|| own.chain(other).collect());
        Some(Node { name: Arc::clone(name), address, services })
    };
    cluster.nomad.nodes().filter_map(|(_, state)| node(&state.spec)).collect()
}

/// Runs one agent from its start until it leaves.
async fn run_agent(
    inner: Arc<Inner>,
    name: Arc<str>,
    address: IpAddr,
    mut wanted: watch::Receiver<Option<Services>>,
) -> Result<()> {
    let agent = inner.start_for_node(&name, address).await?;
    let mut registered = Services::new();
    let mut failed = 0;
    loop {
        let now = wanted.borrow_and_update().clone();
        let Some(now) = now else {
            // An agent that cannot leave counts as failed for the others, as on a real machine.
            agent.leave().await.ok();
            inner.programs.end(&name);
            return Ok(());
        };
        match register(&agent, &mut registered, &now).await {
            Ok(()) => failed = 0,
            Err(_) if failed < MOST_FAILURES => {
                failed += 1;
                sleep(AGAIN).await;
                continue;
            }
            Err(why) => {
                return Err(why).with_context(|| format!("the Consul agent of {name}: {}", inner.programs.last_words(&name)));
            }
        }
        if wanted.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Registers the wanted services with an agent. It deregisters the others first.
async fn register(agent: &Agent, registered: &mut Services, wanted: &Services) -> Result<()> {
    let surplus: Vec<String> = registered.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
    for id in surplus {
        agent.deregister(&id).await?;
        registered.remove(&id);
    }
    for (id, service) in wanted {
        if registered.get(id) != Some(service) {
            agent.register(id, service).await?;
            registered.insert(id.clone(), service.clone());
        }
    }
    Ok(())
}
