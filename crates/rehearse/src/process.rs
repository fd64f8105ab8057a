//! One process of a rehearsal, as a task of a real Nomad runs it: a copy of a service, or the ingress of a node.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ingress::{Discovery, Ingress};
use super::plan::Nature;
use super::processes::Names;
use super::task;

/// The role of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessKind {
    /// A copy of a service.
    Service(Nature),
    /// The ingress of a node.
    Ingress {
        /// The name of the node, for the causes of failed requests.
        node: String,
        /// The Consul agent that it queries.
        consul: SocketAddr,
        /// It polls at this interval instead of watching.
        poll: Option<Duration>,
    },
}

/// Runs this process until `stop_requested` resolves and the requests in progress are finished. A deaf process runs until it is killed, and
/// an abrupt one until its signal ends it.
///
/// # Errors
/// It cannot listen on this address.
pub async fn play(kind: &ProcessKind, listen: SocketAddr, stop_requested: impl Future<Output = ()>) -> Result<()> {
    let cannot = || format!("listen on {listen}");
    let (mut server, _ingress, exits_in) = match kind {
        ProcessKind::Service(nature) => (
            task::start(listen, *nature).await.with_context(cannot)?,
            None,
            Some(task::exits_in(*nature)).filter(|_| *nature != Nature::Deaf),
        ),
        ProcessKind::Ingress { node, consul, poll } => {
            let ingress = Ingress::follow(&Discovery::new(&format!("http://{consul}"), *poll));
            (ingress.start(node, listen, &Names::default()).await.with_context(cannot)?, Some(ingress), Some(Duration::ZERO))
        }
    };
    if matches!(kind, ProcessKind::Service(Nature::Abrupt)) {
        // Nobody waits for the signal, so that its default action ends the process.
        return std::future::pending().await;
    }
    stop_requested.await;
    let Some(exits_in) = exits_in else { return std::future::pending().await };
    server.finish();
    if let Some(end) = server.end() {
        end.await.context("the server broke")?;
    }
    tokio::time::sleep(exits_in).await;
    Ok(())
}
