//! The parts that all clients share: HTTP with its limits, TLS, secrets, and the servers' clock.

pub mod clock;
pub mod http;
pub mod secrets;
pub mod tls;
pub mod ttl_map;

pub use self::clock::Clock;
