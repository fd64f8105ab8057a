//! decamp takes a Nomad node out of service without dropping a request, whenever AWS decides that its instance must go.

pub mod decide;
pub mod events;
pub mod ids;
pub mod time;
pub mod world;
