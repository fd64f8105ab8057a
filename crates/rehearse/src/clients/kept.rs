//! Clients that keep their connections through a Network Load Balancer: which request went over a kept one, and how it ended.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper_util::client::legacy::connect::{HttpInfo, capture_connection};

use super::request::{impossible, read, request};
use super::{BALANCER, CONNECT, Clients, Drawn};
use crate::balancer::{By, End, Ends};
use crate::ledger::{Class, Failed};
use crate::proxy::{self, Pool};

/// So many clients, each with connections of its own.
const CALLERS: u64 = 40;

/// All of them.
pub(super) struct Callers {
    keep: Vec<Pool>,
    /// What must not be sent twice goes over a connection of its own.
    anew: Pool,
    /// The client's address of each connection that has carried a request.
    known: Mutex<HashSet<SocketAddr>>,
    ends: Ends,
    /// The numbers of those that did not fare well over a kept connection.
    broke: Mutex<HashSet<u64>>,
}

/// One attempt that came to nothing.
struct Attempt {
    how: Failed,
    cause: String,
    /// It went over a connection that had carried others before.
    kept: bool,
    /// Who ended that, if it ended before any of the answer came.
    ended: Option<By>,
}

impl Callers {
    pub(super) fn new(ends: Ends) -> Self {
        let keep = (0..CALLERS).map(|_| proxy::pool(CONNECT, true)).collect();
        Self { keep, anew: proxy::pool_that_keeps_none(CONNECT), known: Mutex::default(), ends, broke: Mutex::default() }
    }

    /// Sends a request and reads its answer. As HTTP allows, one that may be sent twice is sent again where its kept connection was closed by
    /// the server before any of the answer came: the two may have crossed. What the load balancer cut is not.
    ///
    /// # Errors
    /// How it failed, and who says why.
    pub(super) async fn exchange(&self, clients: &Clients, drawn: &Drawn, number: u64) -> Result<(), (Failed, String)> {
        let pool = match drawn.class {
            Class::Upload => &self.anew,
            Class::Short | Class::Slow | Class::Stream | Class::Socket => {
                &self.keep[usize::try_from(number % CALLERS).unwrap_or(0)]
            }
        };
        let (mut kept, mut again) = (false, false);
        let ended = loop {
            let attempt = match self.attempt(clients, pool, drawn, number).await {
                Ok(over_a_kept_one) => {
                    kept |= over_a_kept_one;
                    break Ok(());
                }
                Err(attempt) => attempt,
            };
            kept |= attempt.kept;
            if !(attempt.kept && attempt.ended == Some(By::Server)) {
                break Err((attempt.how, attempt.cause));
            }
            again = true;
        };
        if kept && ended.is_err() {
            self.broke.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
        clients.ledger.over_kept(kept, again);
        ended
    }

    /// Whether this request did not fare well over a kept connection.
    pub(super) fn broke(&self, number: u64) -> bool {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// One attempt; whether it went over a kept connection.
    async fn attempt(&self, clients: &Clients, pool: &Pool, drawn: &Drawn, number: u64) -> Result<bool, Attempt> {
        let fails = |(how, cause)| Attempt { how, cause, kept: false, ended: None };
        let mut request = request(drawn, number).ok_or_else(impossible).map_err(fails)?;
        let connection = capture_connection(&mut request);
        let answer = pool.request(request).await;
        let mut told = hyper::http::Extensions::new();
        match (&*connection.connection_metadata(), &answer) {
            (Some(connected), _) => connected.get_extras(&mut told),
            // One that ended before it carried anything.
            (None, Err(why)) => why.connect_info().into_iter().for_each(|connected| connected.get_extras(&mut told)),
            (None, Ok(_)) => {}
        }
        let address = told.get::<HttpInfo>().map(HttpInfo::local_addr);
        let kept = address.is_some_and(|address| !self.lock().insert(address));
        let end = || address.and_then(|address| self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned());
        match answer {
            Ok(answer) => match read(drawn, answer).await {
                Ok(()) => Ok(kept),
                Err((how, cause)) => {
                    let cause = match (how, end()) {
                        (Failed::Truncated, Some(end)) => {
                            Self::tell_of_a_cut(clients, number, &end);
                            format!("{}: {cause}", end.cause)
                        }
                        _ => cause,
                    };
                    Err(Attempt { how, cause, kept, ended: None })
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
                Err(Attempt { how: Failed::Connection, cause, kept, ended })
            }
        }
    }

    /// A stream that the load balancer cut may move.
    fn tell_of_a_cut(clients: &Clients, number: u64, end: &End) {
        if end.by == By::Cut {
            clients.cuts.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SocketAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
