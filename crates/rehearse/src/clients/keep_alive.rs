//! Clients that keep their connections through a Network Load Balancer. They record which requests used a kept connection, and how
//! that connection ended.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper_util::client::legacy::connect::{HttpInfo, capture_connection};

use super::request::{impossible, read, request};
use super::{BALANCER, CONNECT, Clients, RequestSpec};
use crate::balancer::{ConnectionEnd, ConnectionEnds, EndedBy};
use crate::ledger::{Class, FailureKind};
use crate::proxy::{self, Pool};

/// The number of clients. Each has its own connections.
const CLIENTS: u64 = 40;

/// All clients that keep their connections.
pub(super) struct KeepAliveClients {
    keep: Vec<Pool>,
    /// A pool that keeps no connection, for requests that must not be sent twice.
    unpooled: Pool,
    /// The client address of each connection that has carried a request.
    used: Mutex<HashSet<SocketAddr>>,
    ends: ConnectionEnds,
    /// The numbers of the requests that failed on a kept connection.
    broke: Mutex<HashSet<u64>>,
}

/// An attempt that failed.
struct FailedAttempt {
    how: FailureKind,
    cause: String,
    /// The connection had carried other requests before.
    kept: bool,
    /// Who ended the connection, if it ended before the answer began.
    ended: Option<EndedBy>,
}

impl KeepAliveClients {
    pub(super) fn new(ends: ConnectionEnds) -> Self {
        let keep = (0..CLIENTS).map(|_| proxy::pool(CONNECT, true)).collect();
        Self { keep, unpooled: proxy::pool_without_keep_alive(CONNECT), used: Mutex::default(), ends, broke: Mutex::default() }
    }

    /// Sends a request and reads its answer. If the server closed a kept connection before the answer began, the request is sent again, as
    /// HTTP allows for requests that may be repeated: the close and the request may have crossed. A request is not sent again if the load
    /// balancer cut the connection.
    ///
    /// # Errors
    /// The kind of failure, and its cause.
    pub(super) async fn exchange(&self, clients: &Clients, spec: &RequestSpec, number: u64) -> Result<(), (FailureKind, String)> {
        let pool = match spec.class {
            Class::Upload => &self.unpooled,
            Class::Short | Class::Slow | Class::Stream | Class::Socket => {
                &self.keep[usize::try_from(number % CLIENTS).unwrap_or(0)]
            }
        };
        let (mut kept, mut again) = (false, false);
        let ended = loop {
            let attempt = match self.attempt(clients, pool, spec, number).await {
                Ok(on_kept_connection) => {
                    kept |= on_kept_connection;
                    break Ok(());
                }
                Err(attempt) => attempt,
            };
            kept |= attempt.kept;
            if !(attempt.kept && attempt.ended == Some(EndedBy::Server)) {
                break Err((attempt.how, attempt.cause));
            }
            again = true;
        };
        if kept && ended.is_err() {
            self.broke.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
        clients.ledger.ended_with_keep_alive(kept, again);
        ended
    }

    /// Whether this request failed on a kept connection.
    pub(super) fn broke(&self, number: u64) -> bool {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Makes one attempt. Says whether it used a kept connection.
    async fn attempt(&self, clients: &Clients, pool: &Pool, spec: &RequestSpec, number: u64) -> Result<bool, FailedAttempt> {
        let fails = |(how, cause)| FailedAttempt { how, cause, kept: false, ended: None };
        let mut request = request(spec, number).ok_or_else(impossible).map_err(fails)?;
        let connection = capture_connection(&mut request);
        let answer = pool.request(request).await;
        let mut extras = hyper::http::Extensions::new();
        match (&*connection.connection_metadata(), &answer) {
            (Some(connected), _) => connected.get_extras(&mut extras),
            // The connection ended before it carried anything.
            (None, Err(why)) => why.connect_info().into_iter().for_each(|connected| connected.get_extras(&mut extras)),
            (None, Ok(_)) => {}
        }
        let address = extras.get::<HttpInfo>().map(HttpInfo::local_addr);
        let kept = address.is_some_and(|address| !self.lock().insert(address));
        let end = || address.and_then(|address| self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned());
        match answer {
            Ok(answer) => match read(spec, answer).await {
                Ok(()) => Ok(kept),
                Err((how, cause)) => {
                    let cause = match (how, end()) {
                        (FailureKind::Truncated, Some(end)) => {
                            Self::record_cut(clients, number, &end);
                            format!("{}: {cause}", end.cause)
                        }
                        _ => cause,
                    };
                    Err(FailedAttempt { how, cause, kept, ended: None })
                }
            },
            Err(why) => {
                let (ended, cause) = match end() {
                    Some(end) => (Some(end.by), end.cause),
                    None if why.is_connect() => (None, format!("{BALANCER}{}", proxy::why(&why))),
                    None => {
                        (None, format!("the load balancer ended the connection before it carried anything: {}", proxy::why(&why)))
                    }
                };
                Err(FailedAttempt { how: FailureKind::Connection, cause, kept, ended })
            }
        }
    }

    /// Records that the load balancer cut a stream, so that it may count as moved.
    fn record_cut(clients: &Clients, number: u64, end: &ConnectionEnd) {
        if end.by == EndedBy::Cut {
            clients.cuts.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SocketAddr>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
