//! A Network Load Balancer: it passes each connection through to one target. The connection stays there even after a deregistration.

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

/// How each connection ends, by the client's address. The client itself sees only that its connection ended.
pub(crate) type ConnectionEnds = Arc<Mutex<HashMap<SocketAddr, ConnectionEnd>>>;

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionEnd {
    /// Who ended it.
    pub(crate) by: EndedBy,
    /// Who reports the end, and why it ended.
    pub(crate) cause: String,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// The server behind the load balancer.
    Server,
    /// The load balancer, at the end of a deregistration delay.
    Cut,
    /// The load balancer, because no server accepted the connection.
    NoServer,
}

/// Passes connections through until the task is aborted. With `terminates` it cuts them at the end of their target's deregistration
/// delay.
pub(super) async fn pass(listener: TcpListener, targets: Arc<Targets>, terminates: bool, ends: ConnectionEnds) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                drop(tokio::spawn(carry(stream, client, Arc::clone(&targets), terminates, Arc::clone(&ends))))
            }
            // There was no file descriptor, or the client left at once. The next connection may succeed.
            Err(_) => sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

async fn carry(mut client: TcpStream, from: SocketAddr, targets: Arc<Targets>, terminates: bool, ends: ConnectionEnds) {
    let record = |by: EndedBy, cause: String| {
        ends.lock().unwrap_or_else(PoisonError::into_inner).insert(from, ConnectionEnd { by, cause });
    };
    let group = targets.arn.name();
    let Some(target) = targets.next() else {
        record(EndedBy::NoServer, format!("the load balancer had no target in group {group}"));
        return reset(&client);
    };
    let ingress = match cluster::number(target.instance) {
        Some(number) => format!("the ingress of {}", cluster::name(number)),
        None => format!("the ingress of {}", target.instance),
    };
    let Ok(Ok(mut server)) = timeout(CONNECT, TcpStream::connect(target.address)).await else {
        record(EndedBy::NoServer, format!("the load balancer sent the connection to {ingress}, which did not accept it"));
        return reset(&client);
    };
    record(EndedBy::Server, format!("{ingress} ended the connection"));
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    select! {
        // When either side ends the connection, the other side sees it.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = target.cut(), if terminates => {
            record(EndedBy::Cut, format!("the load balancer cut the connection to {ingress} at the end of the deregistration delay of group {group}"));
            reset(&client);
            reset(&server);
        }
    }
}

/// Makes the connection end with a reset instead of an orderly close.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}
