//! The adapters for Nomad and Consul against servers: hostile ones, recorded ones, and real agents where there are any.
mod consul;
mod nomad;
mod process;
mod real_consul;
mod real_nomad;
mod recorded;
mod rotation;
mod server;
mod wire;
