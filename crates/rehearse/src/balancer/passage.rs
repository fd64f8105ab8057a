//! What a Network Load Balancer does: it passes a connection through to one target, and there the connection stays, deregistered or not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::time::{sleep, timeout};

use super::CONNECT;
use super::targets::Targets;
use crate::cluster;

/// How each client's connection ends, or would, by the client's address: it sees only that it ended.
pub(crate) type Ends = Arc<Mutex<HashMap<SocketAddr, End>>>;

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Who ended it.
    pub(crate) by: By,
    /// Who says why.
    pub(crate) cause: String,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The server behind the load balancer.
    Server,
    /// The load balancer, at the end of a deregistration delay.
    Cut,
    /// The load balancer, which found no server that took it.
    NoServer,
}

/// Passes on what connects, for ever. With `terminates` connections are cut at the end of their target's deregistration delay.
pub(super) async fn pass(listener: TcpListener, targets: Arc<Targets>, terminates: bool, ends: Ends) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                drop(tokio::spawn(carry(stream, client, Arc::clone(&targets), terminates, Arc::clone(&ends))))
            }
            // Out of file descriptors, or a client that left at once: the next one may fare better.
            Err(_) => sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

async fn carry(mut client: TcpStream, from: SocketAddr, targets: Arc<Targets>, terminates: bool, ends: Ends) {
    let tell = |by: By, cause: String| {
        ends.lock().unwrap_or_else(PoisonError::into_inner).insert(from, End { by, cause });
    };
    let group = targets.arn.name();
    let Some(target) = targets.next() else {
        tell(By::NoServer, format!("the load balancer had no target in group {group}"));
        return reset(&client);
    };
    let ingress = match cluster::number(target.instance) {
        Some(number) => format!("the ingress of {}", cluster::name(number)),
        None => format!("the ingress of {}", target.instance),
    };
    let Ok(Ok(mut server)) = timeout(CONNECT, TcpStream::connect(target.address)).await else {
        tell(By::NoServer, format!("the load balancer sent the connection to {ingress}, which did not take it"));
        return reset(&client);
    };
    tell(By::Server, format!("{ingress} ended the connection"));
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    select! {
        // Either end is an end: the other side sees it.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = target.cut(), if terminates => {
            tell(By::Cut, format!("the load balancer cut the connection to {ingress} at the end of the deregistration delay of group {group}"));
            reset(&client);
            reset(&server);
        }
    }
}

/// Ends a connection without an end in order.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}
