//! One answer of AWS, Nomad or Consul is altered, and each shell walks an instance out all the same: what comes of it, and what is said.

#[path = "alterations/forged.rs"]
mod forged;
#[path = "alterations/forwarder.rs"]
mod forwarder;
#[path = "alterations/rows.rs"]
mod rows;
#[path = "../lambda/tests/runtime/mod.rs"]
#[expect(dead_code, reason = "the function's own tests use all of it")]
mod runtime;
#[path = "alterations/shells.rs"]
mod shells;
#[path = "alterations/table.rs"]
mod table;
#[path = "alterations/wider.rs"]
mod wider;
