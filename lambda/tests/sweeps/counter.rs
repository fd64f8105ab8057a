//! Counts the function's AWS calls and the refused ones, by operation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use decamp_sandbox::wire::{Shared, aws};
use tokio::net::TcpListener;

/// How often each operation was called, and how many of all calls were refused.
#[derive(Debug, Default, Clone)]
pub(super) struct Calls {
    made: BTreeMap<String, u32>,
    refused: BTreeMap<String, u32>,
}

impl Calls {
    /// How many calls were refused.
    pub(super) fn refused(&self) -> u32 {
        self.refused.values().sum()
    }

    /// Adds the counts of `more`.
    pub(super) fn add(&mut self, more: &Self) {
        for (mine, other) in [(&mut self.made, &more.made), (&mut self.refused, &more.refused)] {
            for (operation, many) in other {
                *mine.entry(operation.clone()).or_default() += many;
            }
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls {:?}, of them refused {:?}", self.made, self.refused)
    }
}

/// The sandbox's AWS behind a counter.
pub(super) struct Counter {
    /// Where it listens.
    pub(super) url: String,
    calls: Arc<Mutex<Calls>>,
}

impl Counter {
    /// Puts a counter in front of the AWS of a world.
    pub(super) async fn in_front_of(shared: &Arc<Shared>) -> Self {
        let calls: Arc<Mutex<Calls>> = Arc::default();
        let router = aws::router(shared).layer(from_fn_with_state(Arc::clone(&calls), count));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, calls }
    }

    /// The calls since this was last called.
    pub(super) fn take(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn count(State(calls): State<Arc<Mutex<Calls>>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let operation = aws::operation(&head.headers, &body);
    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    if !answer.status().is_success() {
        *calls.refused.entry(operation.clone()).or_default() += 1;
    }
    *calls.made.entry(operation).or_default() += 1;
    answer
}
