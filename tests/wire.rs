//! Whole departures by the real adapters against the pretend world behind HTTP, in real time: calm, under faults, and a hundred at once.
#![cfg(all(feature = "sim", feature = "live"))]

#[path = "wire/calm.rs"]
mod calm;
#[path = "wire/crowd.rs"]
mod crowd;
#[path = "wire/faults.rs"]
mod faults;
#[path = "wire/readers.rs"]
mod readers;
#[path = "wire/rig.rs"]
mod rig;
