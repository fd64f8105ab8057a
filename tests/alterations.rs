//! Alters one answer of AWS, Nomad or Consul while each shell takes an instance out of service, and checks the outcome and the output.

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
