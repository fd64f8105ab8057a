//! One process of a rehearsal on its own: a copy of a service, or the ingress of a node, as a real Nomad's tasks run it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ingress::{Discovery, Ingress};
use super::plan::Nature;
use super::processes::Names;
use super::task;

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A copy of a service.
    Service(Nature),
    /// The ingress of a node.
    Ingress {
        /// Which node, for whoever is told of a failure.
        node: String,
        /// The Consul agent that it asks.
        consul: SocketAddr,
        /// It asks this often, and does not watch.
        poll: Option<Duration>,
    },
}

/// Is this process until it is told to stop and has finished what it holds. A deaf one goes on until it is killed.
///
/// # Errors
/// It cannot listen there.
pub async fn play(part: &Part, listen: SocketAddr, told_to_stop: impl Future<Output = ()>) -> Result<()> {
    let cannot = || format!("listen on {listen}");
    let (mut server, _ingress, exits_in) = match part {
        Part::Service(nature) => (
            task::start(listen, *nature).await.with_context(cannot)?,
            None,
            Some(task::exits_in(*nature)).filter(|_| *nature != Nature::Deaf),
        ),
        Part::Ingress { node, consul, poll } => {
            let ingress = Ingress::follow(&Discovery::new(&format!("http://{consul}"), *poll));
            (ingress.start(node, listen, &Names::default()).await.with_context(cannot)?, Some(ingress), Some(Duration::ZERO))
        }
    };
    told_to_stop.await;
    let Some(exits_in) = exits_in else { return std::future::pending().await };
    server.finish();
    if let Some(end) = server.end() {
        end.await.context("the server broke")?;
    }
    tokio::time::sleep(exits_in).await;
    Ok(())
}
