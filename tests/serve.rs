//! `decamp serve` as the world meets it: the binary, over HTTP, before a whole pretend cluster with traffic.
#![cfg(feature = "cli")]

#[path = "serve/departures.rs"]
mod departures;
#[path = "serve/doors.rs"]
mod doors;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/refreshes.rs"]
mod refreshes;
#[path = "serve/replica.rs"]
mod replica;
#[path = "serve/secure.rs"]
mod secure;
#[path = "serve/topics.rs"]
mod topics;
