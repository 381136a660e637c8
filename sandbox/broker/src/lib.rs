//! Hostile bytes: accept, DNS, TLS, HTTP, what requests mean, and the way out. Runs as its own process, fenced by the kernel room.

mod accept;
pub mod ahead;
pub mod authority;
pub mod broker;
mod client_certificates;
mod client_stream;
pub mod courier;
pub mod dbus;
mod dns;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hello;
mod http;
mod line;
pub mod look;
pub mod looker;
pub mod meaning;
mod mongodb;
mod mysql;
pub mod names;
mod opaque;
mod origins;
pub mod peek;
mod pins;
mod postgres;
pub mod proxy_environment;
mod redis;
pub mod refusals;
pub mod remote_gate;
pub mod run;
pub mod secrets;
mod session;
mod smtp;
#[cfg(test)]
mod stage;
pub mod tls;
pub mod upstream;

pub use authority::Authority;
pub use broker::OWN_NAME;
pub use run::{BoxSockets, BrokerConfig, BrokerError, run};
