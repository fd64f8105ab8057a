//! `decamp serve` as the world meets it: the binary, over HTTP, before a whole pretend cluster with traffic.
#[path = "serve/canaries.rs"]
mod canaries;
#[path = "serve/clusters.rs"]
mod clusters;
#[path = "serve/crowds.rs"]
mod crowds;
#[path = "serve/departures.rs"]
mod departures;
#[path = "rehearsal/devtools.rs"]
mod devtools;
#[path = "serve/doors.rs"]
mod doors;
#[path = "serve/flood.rs"]
mod flood;
#[path = "serve/hostile.rs"]
mod hostile;
#[path = "serve/identity.rs"]
mod identity;
#[path = "serve/interruptions.rs"]
mod interruptions;
#[path = "serve/messages.rs"]
mod messages;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/neglected.rs"]
mod neglected;
#[path = "serve/notifications.rs"]
mod notifications;
#[path = "serve/on_call.rs"]
mod on_call;
#[path = "serve/page.rs"]
mod page;
#[path = "serve/plain.rs"]
mod plain;
#[path = "serve/prometheus.rs"]
mod prometheus;
#[path = "serve/receiver.rs"]
mod receiver;
#[path = "serve/refreshes.rs"]
mod refreshes;
#[path = "serve/replica.rs"]
mod replica;
#[path = "serve/rotations.rs"]
mod rotations;
#[path = "serve/secure.rs"]
mod secure;
#[path = "serve/stopping.rs"]
mod stopping;
#[path = "serve/sweeps.rs"]
mod sweeps;
#[path = "serve/topics.rs"]
mod topics;
#[path = "serve/traces.rs"]
mod traces;
#[path = "serve/wishes.rs"]
mod wishes;
