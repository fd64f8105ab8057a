//! Whole departures with the real adapters against the simulated systems behind HTTP, in real time: calm, with faults, and a
//! hundred at once.

mod calm;
mod concurrent;
mod faults;
mod readers;
mod rig;
