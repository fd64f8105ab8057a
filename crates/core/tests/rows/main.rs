//! One row for each rule: facts of a calm world, one change, the next action and its reason, and what must not happen.

mod absent_target;
mod acl;
mod beginnings;
mod budget;
mod connections;
mod consul_outage;
mod decisions;
mod denials;
mod descriptions;
mod discovery;
mod drain_state;
mod draining;
mod duplicate_nodes;
mod ending;
mod facts;
mod findings;
mod forcing;
mod holding;
mod last_heartbeat;
mod last_target;
mod late_answers;
mod lifecycle_hook;
mod load_balancers;
mod log;
mod lost_agent;
mod over;
mod ownership;
mod proof;
mod scene;
mod traefik;
mod traffic_sources;

