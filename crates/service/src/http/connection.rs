//! One connection: whose it is, and since when nobody has asked anything on it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::crowd::Spot;
use crate::departures::lock;

/// A connection that has shown no key is closed when it was idle for so long. What comes of a request's head meanwhile does not count:
/// the head has to be whole by then.
const IDLE: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Who is at the other end.
    pub(super) peer: IpAddr,
    spot: Spot,
    /// Since when nothing is answered on it; `None` while something is.
    idle: Mutex<Option<Instant>>,
    asked: Notify,
}

impl Connection {
    pub(super) fn new(peer: IpAddr, spot: Spot) -> Arc<Self> {
        Arc::new(Self { peer, spot, idle: Mutex::new(Some(Instant::now())), asked: Notify::new() })
    }

    /// It has shown a key or a signature: it is no stranger's any more.
    pub(super) fn trust(&self) {
        self.spot.trust();
    }

    /// A request is answered on it, until this is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        *lock(&self.idle) = None;
        Answering(Arc::clone(self))
    }

    /// Its client is there only now: a handshake came before.
    pub(super) fn begin(&self) {
        *lock(&self.idle) = Some(Instant::now());
    }

    /// Waits until it has to be closed: another one needs its spot, or it is a stranger's and idle.
    pub(super) async fn to_be_closed(&self) {
        tokio::select! {
            () = self.spot.to_be_left() => {}
            () = self.too_idle() => {}
        }
    }

    /// Waits until another connection needs its spot.
    pub(super) async fn to_be_left(&self) {
        self.spot.to_be_left().await;
    }

    async fn too_idle(&self) {
        loop {
            let asked = self.asked.notified();
            let since = *lock(&self.idle);
            match since {
                None => asked.await,
                Some(since) => {
                    sleep_until(since + IDLE).await;
                    if *lock(&self.idle) == Some(since) {
                        if self.spot.is_strangers() {
                            return;
                        }
                        asked.await;
                    }
                }
            }
        }
    }
}

/// While this is there a request is answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<Connection>);

impl Drop for Answering {
    fn drop(&mut self) {
        *lock(&self.0.idle) = Some(Instant::now());
        self.0.asked.notify_one();
    }
}

/// Holds a connection busy until this answer is sent, or nobody reads it any more.
pub(super) fn until_sent(response: Response, answering: Answering) -> Response {
    response.map(|body| {
        // The closure changes no error: it owns `answering`, which lives as long as the body.
        Body::new(body.map_err(move |why| {
            let _owned = &answering;
            why
        }))
    })
}
