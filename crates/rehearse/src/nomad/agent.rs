//! Nomad's agents: the configuration of the server and of each client, and the life of a machine from the start of its agents to their
//! end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::{COMES_UP_IN, Inner, LOOK_EVERY, metadata};
use crate::cluster;
use crate::consul::free_ports;
use crate::plan::Plan;
use crate::programs::Program;
use crate::supervised::Isolation;

/// The attribute with the id of the EC2 instance, which a client reads from the metadata.
const INSTANCE_ID: &str = "unique.platform.aws.instance-id";
/// Fingerprints that take seconds and find nothing here.
const SKIPPED_FINGERPRINTS: &str = "env_azure,env_gce,env_digitalocean";
/// The CPU and memory of a node: enough for every copy of the default plan.
const CAPACITY: (u32, u32) = (8_000, 8_000);

/// The configuration that all agents share.
fn common(address: IpAddr, [http, rpc, gossip]: [u16; 3], consul: Value) -> Value {
    json!({
        "bind_addr": address, "advertise": { "http": address, "rpc": address, "serf": address },
        "ports": { "http": http, "rpc": rpc, "serf": gossip },
        "datacenter": "dc1", "log_level": "WARN", "disable_update_check": true, "consul": consul,
    })
}

fn with(mut config: Value, more: Value) -> Value {
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    config
}

/// The configuration of the server. It does not register itself in Consul.
pub(super) fn server(ports: [u16; 3], consul: SocketAddr) -> Value {
    let consul = json!({
        "address": consul.to_string(), "auto_advertise": false, "server_auto_join": false, "client_auto_join": false,
    });
    with(common(IpAddr::V4(Ipv4Addr::LOCALHOST), ports, consul), json!({ "server": { "enabled": true, "bootstrap_expect": 1 } }))
}

/// The configuration of a client. Its tasks listen on the node's address, which jobs read from the instance's metadata. Nomad would use
/// the address of the loopback interface, which all nodes share.
fn client(address: IpAddr, ports: [u16; 3], server: SocketAddr, consul: SocketAddr) -> Value {
    let (compute, memory) = CAPACITY;
    with(
        common(address, ports, json!({ "address": consul.to_string() })),
        json!({
            "client": {
                "enabled": true, "servers": [server.to_string()], "network_interface": "lo",
                "cpu_total_compute": compute, "memory_total_mb": memory, "meta": { "consul": consul.to_string() },
                "options": { "fingerprint.denylist": SKIPPED_FINGERPRINTS, "driver.allowlist": "raw_exec" },
            },
            "plugin": [{ "raw_exec": [{ "config": [{ "enabled": true }] }] }],
        }),
    )
}

/// Runs a machine: its agents start, `up` counts it, and the agents end when it stops.
pub(super) async fn machine(
    inner: Arc<Inner>,
    number: u32,
    up: watch::Sender<u32>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let (name, address) = (cluster::name(number), Plan::address(number));
    let consul_agent = inner.agents.start(&name, IpAddr::V4(address)).await?;
    let metadata = metadata::serve(number).await.context("serve an instance's metadata")?;
    let ports = free_ports(IpAddr::V4(address))?;
    let config = client(IpAddr::V4(address), ports, inner.rpc, consul_agent.address);
    inner.agent(&name, &config, &metadata::variables(metadata.address), Isolation::OwnNamespaces)?;
    inner.joins(&name, number).await?;
    up.send_modify(|up| *up += 1);
    // If the sender is gone, the machine stops as well.
    stopped.await.ok();
    inner.programs.end(&name);
    consul_agent.leave().await;
    Ok(())
}

impl Inner {
    /// Starts an agent of this name. It may not answer yet.
    pub(super) fn agent(
        &self,
        name: &str,
        config: &Value,
        variables: &[(&'static str, String)],
        isolation: Isolation,
    ) -> Result<()> {
        let folder = self.programs.folder();
        let config = with(config.clone(), json!({ "name": name, "data_dir": folder.join(name) }));
        let file: PathBuf = folder.join(format!("{name}.json"));
        std::fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
        let file = file.to_string_lossy();
        let arguments = &["agent", "-config", &file];
        // Nomad's processes talk over sockets in temporary folders, which it leaves behind when it is killed.
        let variables = &[variables, &[("TMPDIR", folder.display().to_string())]].concat();
        self.programs.start(name, Program { binary: &self.binary, arguments, variables, isolation })
    }

    /// Waits until the node is ready and knows its instance.
    async fn joins(&self, name: &str, number: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(node) = self.ready(name).await {
                let instance = cluster::instance(number).to_string();
                return match node["Attributes"][INSTANCE_ID].as_str() {
                    Some(known) if known == instance => Ok(()),
                    Some(other) => bail!("{name} reports that it is {other}, but it is {instance}"),
                    None => bail!("{name} did not find its instance's metadata: {}", self.programs.last_words(name)),
                };
            }
            self.fail_after_timeout(name, began)?;
            sleep(LOOK_EVERY).await;
        }
    }

    /// The node with this name, if it is ready.
    async fn ready(&self, name: &str) -> Option<Value> {
        let nodes = self.api.get("/v1/nodes").await.ok()?;
        let node = nodes.as_array()?.iter().find(|node| node["Name"] == name && node["Status"] == "ready")?;
        self.api.get(&format!("/v1/node/{}", node["ID"].as_str()?)).await.ok()
    }

    /// Fails if an agent takes too long to come up.
    pub(super) fn fail_after_timeout(&self, name: &str, began: Instant) -> Result<()> {
        if COMES_UP_IN < began.elapsed() {
            bail!("the Nomad agent {name} did not come up: {}", self.programs.last_words(name));
        }
        Ok(())
    }
}
