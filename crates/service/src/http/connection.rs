//! One connection: its client, its slot, and since when it is idle.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::connection_limit::Slot;
use crate::departures::lock;

/// An unauthenticated connection is closed after this idle time. Part of a request's head does not count as activity: the whole head has to
/// arrive in this time.
const IDLE: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end's address.
    pub(super) peer: IpAddr,
    slot: Slot,
    /// Since when no request is in progress; `None` while one is.
    idle: Mutex<Option<Instant>>,
    request_ended: Notify,
}

impl Connection {
    pub(super) fn new(peer: IpAddr, slot: Slot) -> Arc<Self> {
        Arc::new(Self { peer, slot, idle: Mutex::new(Some(Instant::now())), request_ended: Notify::new() })
    }

    /// Marks it as authenticated: its client has shown a key or a signature.
    pub(super) fn authenticate(&self) {
        self.slot.authenticate();
    }

    /// Keeps it from being idle until the result is dropped.
    pub(super) fn start_request(self: &Arc<Self>) -> ActiveRequest {
        *lock(&self.idle) = None;
        ActiveRequest(Arc::clone(self))
    }

    /// Starts the idle time anew, after a handshake.
    pub(super) fn reset_idle(&self) {
        *lock(&self.idle) = Some(Instant::now());
    }

    /// Waits until it should close: it is evicted, or unauthenticated and idle for too long.
    pub(super) async fn should_close(&self) {
        tokio::select! {
            () = self.slot.evicted() => {}
            () = self.too_idle() => {}
        }
    }

    /// Waits until its slot is given to another connection.
    pub(super) async fn evicted(&self) {
        self.slot.evicted().await;
    }

    async fn too_idle(&self) {
        loop {
            let request_ended = self.request_ended.notified();
            let since = *lock(&self.idle);
            match since {
                None => request_ended.await,
                Some(since) => {
                    sleep_until(since + IDLE).await;
                    if *lock(&self.idle) == Some(since) {
                        if self.slot.is_unauthenticated() {
                            return;
                        }
                        request_ended.await;
                    }
                }
            }
        }
    }
}

/// A request in progress on a connection, until this is dropped.
#[derive(Debug)]
pub(super) struct ActiveRequest(Arc<Connection>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        *lock(&self.0.idle) = Some(Instant::now());
        self.0.request_ended.notify_one();
    }
}

/// Keeps the request in progress until its answer is sent or the client has gone.
pub(super) fn until_sent(response: Response, active: ActiveRequest) -> Response {
    response.map(|body| {
        // The closure changes no error. It owns `active`, which therefore lives as long as the body.
        Body::new(body.map_err(move |why| {
            let _owned = &active;
            why
        }))
    })
}
