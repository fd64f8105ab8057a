//! Keeps real agents in step with the model: what the pretended Nomad registers on a node stands in that node's own agent.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Inner;
use super::agent::{Agent, Service};
use crate::ingress::PING;
use crate::plan::INGRESS;
use decamp_sandbox::wire::{Shared, Stage, consul};

/// After a call that failed, as Nomad's clients do.
const AGAIN: Duration = Duration::from_secs(1);
/// An agent that takes nothing for so many times is broken.
const TIMES: u32 = 20;

/// What is to stand in an agent: services by id.
type Services = BTreeMap<String, Service>;

/// A node as the model has it.
struct Node {
    name: Arc<str>,
    address: IpAddr,
    /// `None`: its machine was stopped, and the agent left before.
    services: Option<Services>,
}

/// Keeps all agents in step, for ever.
pub(super) async fn follow(inner: Arc<Inner>, shared: Arc<Shared>) -> Result<()> {
    let mut changes = shared.watch();
    let mut told: HashMap<Arc<str>, watch::Sender<Option<Services>>> = HashMap::new();
    let mut agents = JoinSet::new();
    loop {
        for node in shared.look(look) {
            match told.get(&node.name) {
                Some(tell) => {
                    tell.send_if_modified(|services| {
                        let differ = *services != node.services;
                        services.clone_from(&node.services);
                        differ
                    });
                }
                None if node.services.is_some() => {
                    let (tell, heard) = watch::channel(node.services);
                    told.insert(Arc::clone(&node.name), tell);
                    agents.spawn(keep(Arc::clone(&inner), node.name, node.address, heard));
                }
                None => {}
            }
        }
        tokio::select! {
            // Nobody moves the model any more.
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            Some(ended) = agents.join_next() => ended.context("a Consul agent's keeper broke")??,
        }
    }
}

fn look(stage: &mut dyn Stage) -> Vec<Node> {
    let Some(cluster) = stage.cluster() else { return Vec::new() };
    let node = |node: &decamp_sim::nomad::NodeSpec| {
        let (number, name) = node.consul.as_ref()?;
        let address = *node.addresses.first()?;
        let state = cluster.consul.node(*number);
        let own = state.entries().filter(|entry| entry.is_listed()).map(|entry| {
            let port = cluster.nomad.allocation(entry.allocation).ports.first().copied().unwrap_or(0);
            let name = entry.name.to_string();
            let path = if name == INGRESS { PING.to_owned() } else { format!("/{name}/work") };
            let service = Service { name, address: SocketAddr::new(address, port), path: Some(path) };
            (consul::service_id(&cluster, entry), service)
        });
        let other = state.others.iter().map(|other| {
            let service = Service { name: other.to_string(), address: SocketAddr::new(address, 4646), path: None };
            (format!("_{other}-{name}"), service)
        });
        let services = cluster.consul.agent_lives(*number).then(|| own.chain(other).collect());
        Some(Node { name: Arc::clone(name), address, services })
    };
    cluster.nomad.nodes().filter_map(|(_, state)| node(&state.spec)).collect()
}

/// The life of one agent.
async fn keep(inner: Arc<Inner>, name: Arc<str>, address: IpAddr, mut wanted: watch::Receiver<Option<Services>>) -> Result<()> {
    let agent = inner.beside(&name, address).await?;
    let mut stands = Services::new();
    let mut failed = 0;
    loop {
        let now = wanted.borrow_and_update().clone();
        let Some(now) = now else {
            // One that cannot say good-bye is taken for failed by the others, as on a real machine.
            agent.leave().await.ok();
            inner.programs.end(&name);
            return Ok(());
        };
        match step(&agent, &mut stands, &now).await {
            Ok(()) => failed = 0,
            Err(_) if failed < TIMES => {
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

/// Brings an agent in step. What goes goes first.
async fn step(agent: &Agent, stands: &mut Services, wanted: &Services) -> Result<()> {
    let surplus: Vec<String> = stands.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
    for id in surplus {
        agent.deregister(&id).await?;
        stands.remove(&id);
    }
    for (id, service) in wanted {
        if stands.get(id) != Some(service) {
            agent.register(id, service).await?;
            stands.insert(id.clone(), service.clone());
        }
    }
    Ok(())
}
