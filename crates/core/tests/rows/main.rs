//! One row for each rule: facts from a calm world, one thing changed, the next step and its reason; and what must not happen.

mod acl;
mod asked;
mod beginnings;
mod budget;
mod connections;
mod counted;
mod denials;
mod draining;
mod ending;
mod facts;
mod forcing;
mod holding;
mod last_heartbeat;
mod leaving;
mod load_balancers;
mod losses;
mod lost;
mod over;
mod proof;
mod scene;
mod traefik;
mod twins;
mod unseen;
mod whose;
mod words;
