//! The AWS adapters against a small server that speaks the query protocol, correctly and incorrectly.

mod auto_scaling;
mod classic;
mod coalescing;
mod hostile;
mod load_balancers;
mod operations;
mod proxies;
mod refreshes;
mod signed;
mod wire;
mod zones;
