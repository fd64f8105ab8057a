//! The adapters for Nomad and Consul against servers: broken ones, recorded ones, and real agents if they are installed.
mod claims;
mod consul;
mod nomad;
mod process;
mod real_consul;
mod real_nomad;
mod recorded;
mod recorded_disks;
mod recorded_stops;
mod rotation;
mod server;
mod wire;
