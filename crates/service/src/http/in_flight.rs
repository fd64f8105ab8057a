//! A request while it is answered: what it holds, and how its client becomes authenticated.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body_memory::{BodyMemory, Reservation};
use super::connection::Connection;
use super::problem::Problem;

/// A request in progress.
#[derive(Debug, Clone)]
pub(super) struct InFlight(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    from: IpAddr,
    connection: Option<Arc<Connection>>,
    /// The memory of its body, unless the client has shown a key.
    body: Option<Reservation>,
    /// Its part of the limit for authenticated requests, if the client has shown a key.
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// A request of a client that has shown no key.
    pub(super) fn unauthenticated(from: IpAddr, connection: Option<Arc<Connection>>, memory: &BodyMemory) -> Self {
        Self(Arc::new(Inner { from, connection, body: Some(memory.reserve(from)), _permit: None }))
    }

    /// A request of a client that has shown a key.
    ///
    /// # Errors
    ///
    /// Too many such requests are in progress.
    pub(super) fn authenticated(
        from: IpAddr,
        connection: Option<Arc<Connection>>,
        limit: &Arc<Semaphore>,
    ) -> Result<Self, Problem> {
        let permit = Arc::clone(limit).try_acquire_owned().map_err(|_| Problem::busy())?;
        let request = Self(Arc::new(Inner { from, connection, body: None, _permit: Some(permit) }));
        request.authenticate();
        Ok(request)
    }

    /// The client's address, as far as proxies are trusted.
    pub(super) fn from(&self) -> IpAddr {
        self.0.from
    }

    /// Marks its connection as authenticated: the client has shown a key or a signature.
    pub(super) fn authenticate(&self) {
        if let Some(connection) = &self.0.connection {
            connection.authenticate();
        }
    }

    /// Reserves memory for more bytes of its body.
    pub(super) fn grow(&self, bytes: usize) {
        if let Some(body) = &self.0.body {
            body.grow(bytes);
        }
    }

    /// Waits until its body has to be dropped for others.
    pub(super) async fn dropped(&self) {
        match &self.0.body {
            Some(body) => body.dropped().await,
            None => std::future::pending().await,
        }
    }
}
