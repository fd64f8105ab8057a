//! `decamp part`: one process of a rehearsal with a real Nomad. The rehearsal's jobs run it; people do not.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use decamp_config::duration;
use decamp_rehearse::{Nature, ProcessKind, play};
use tokio::signal::unix::{SignalKind, signal};

/// Run one process of a rehearsal with a real Nomad, as its jobs do.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// A copy of a service
    Service {
        /// Where it listens
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// How it reacts to its kill signal: obedient, slow, deaf or abrupt
        #[arg(long, value_parser = nature)]
        nature: Nature,
    },
    /// The ingress of a node
    Ingress {
        /// Where it listens
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// The Consul agent that it queries
        #[arg(long, value_name = "ADDRESS")]
        consul: SocketAddr,
        /// The node's name
        #[arg(long)]
        node: String,
        /// Poll at this interval instead of watching
        #[arg(long, value_name = "TIME", value_parser = time)]
        poll: Option<Duration>,
    },
}

fn nature(text: &str) -> Result<Nature, String> {
    Nature::ALL.into_iter().find(|nature| nature.word() == text).ok_or_else(|| "obedient, slow, deaf or abrupt".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    duration::read(text).map_err(|why| why.to_string())
}

pub(crate) async fn play_part(arguments: Arguments) -> Result<u8> {
    let (part, listen) = match arguments.which {
        Which::Service { listen, nature } => (ProcessKind::Service(nature), listen),
        Which::Ingress { listen, consul, node, poll } => (ProcessKind::Ingress { node, consul, poll }, listen),
    };
    play(&part, listen, async {
        // A process that never polls this has no handler.
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        terminate.recv().await;
    })
    .await?;
    Ok(0)
}
