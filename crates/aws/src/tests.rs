//! The AWS adapters against a small server that speaks the query protocol, well and badly.

mod auto_scaling;
mod calls;
mod classic;
mod hostile;
mod load_balancers;
mod proxies;
mod refreshes;
mod sharing;
mod signed;
mod wire;
mod zones;
