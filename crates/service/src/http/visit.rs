//! One request while it is answered: what is held for it, and how it becomes one of somebody who is known.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bodies::{Bodies, Body};
use super::connection::Connection;
use super::problem::Problem;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Visit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    from: IpAddr,
    connection: Option<Arc<Connection>>,
    /// What is held of its body, if it is a stranger's.
    body: Option<Body>,
    /// Its place, if it has shown a key.
    _place: Option<OwnedSemaphorePermit>,
}

impl Visit {
    /// A request of a stranger.
    pub(super) fn of_stranger(from: IpAddr, connection: Option<Arc<Connection>>, bodies: &Bodies) -> Self {
        Self(Arc::new(Inner { from, connection, body: Some(bodies.begin(from)), _place: None }))
    }

    /// A request that has shown a key.
    ///
    /// # Errors
    ///
    /// Too many of them are being answered.
    pub(super) fn of_known(from: IpAddr, connection: Option<Arc<Connection>>, requests: &Arc<Semaphore>) -> Result<Self, Problem> {
        let place = Arc::clone(requests).try_acquire_owned().map_err(|_| Problem::busy())?;
        let visit = Self(Arc::new(Inner { from, connection, body: None, _place: Some(place) }));
        visit.trust();
        Ok(visit)
    }

    /// Where it came from, as far as proxies are believed.
    pub(super) fn from(&self) -> IpAddr {
        self.0.from
    }

    /// It has shown a key or a signature.
    pub(super) fn trust(&self) {
        if let Some(connection) = &self.0.connection {
            connection.trust();
        }
    }

    /// So many bytes more of its body came.
    pub(super) fn grow(&self, bytes: usize) {
        if let Some(body) = &self.0.body {
            body.grow(bytes);
        }
    }

    /// Waits until it has to make room for others.
    pub(super) async fn to_go(&self) {
        match &self.0.body {
            Some(body) => body.to_go().await,
            None => std::future::pending().await,
        }
    }
}
