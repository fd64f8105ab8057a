//! Whole departures by the real adapters against the simulated world behind HTTP, in real time: calm, under faults, and a hundred at once.

mod calm;
mod crowd;
mod faults;
mod readers;
mod rig;
