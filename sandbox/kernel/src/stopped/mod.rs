//! Stopped system calls: what could destroy a file is not done by the agent's process, but judged and done here in its place.
//!
//! The agent's process installs a filter ([`install`]) that stops the calls of a table by their registers alone. The file gate's process,
//! which stands outside the agent's process numbers and inside its mounts ([`World::enter`]), takes each ([`Listener::receive`]), reads
//! its memory once ([`Deed::read`]), tells what it touches ([`Deed::touches`]), and does it on the descriptors that were judged
//! ([`Deed::perform`]). A [`Notice`] that is dropped is refused.
//!
//! One thread does all deeds, so that between judging a name and acting on it no stopped call of another thread comes in between.

mod act;
mod attributes;
mod bounds;
mod calls;
mod deed;
mod folders;
mod listener;
mod made;
mod maps;
mod memory;
mod notes;
mod read;
mod reserve;
mod resolve;
mod sockets;
mod stat;
#[cfg(test)]
mod tests;
mod world;

pub use act::Performed;
pub use bounds::Bounds;
pub use calls::{OwnFiles, Readings, Stops, install};
pub use deed::{Deed, Reading, Thing, Touched, What};
pub use listener::{Listener, Notice, Received};
pub use reserve::Reserve;
pub use sockets::Ways;
pub use stat::Stat;
pub use world::{Roots, World, with_reading};
