//! `decamp serve` from outside: the binary, over HTTP, with a whole simulated cluster under load.
#[path = "serve/canaries.rs"]
mod canaries;
#[path = "serve/clusters.rs"]
mod clusters;
#[path = "serve/connection_floods.rs"]
mod connection_floods;
#[path = "serve/denials.rs"]
mod denials;
#[path = "serve/departures.rs"]
mod departures;
#[path = "rehearsal/devtools.rs"]
mod devtools;
#[path = "serve/interruptions.rs"]
mod interruptions;
#[path = "serve/killed_replica.rs"]
mod killed_replica;
#[path = "serve/listeners.rs"]
mod listeners;
#[path = "serve/messages.rs"]
mod messages;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/notifications.rs"]
mod notifications;
#[path = "serve/on_call.rs"]
mod on_call;
#[path = "serve/page.rs"]
mod page;
#[path = "serve/prometheus.rs"]
mod prometheus;
#[path = "serve/receiver.rs"]
mod receiver;
#[path = "serve/refresh_requests.rs"]
mod refresh_requests;
#[path = "serve/refreshes.rs"]
mod refreshes;
#[path = "serve/replica.rs"]
mod replica;
#[path = "serve/request_flood.rs"]
mod request_flood;
#[path = "serve/rotations.rs"]
mod rotations;
#[path = "serve/slow_clients.rs"]
mod slow_clients;
#[path = "serve/stopping.rs"]
mod stopping;
#[path = "serve/sweeps.rs"]
mod sweeps;
#[path = "serve/text_log.rs"]
mod text_log;
#[path = "serve/tls.rs"]
mod tls;
#[path = "serve/topics.rs"]
mod topics;
#[path = "serve/traces.rs"]
mod traces;
#[path = "serve/web_identity.rs"]
mod web_identity;
