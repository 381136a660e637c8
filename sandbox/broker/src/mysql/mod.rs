//! MySQL and MariaDB between a client in the box and a server: every command is read whole, judged by what it means, and sent on unchanged.
//!
//! One command is on its way at a time: what the client sends ahead waits until the answer before it has ended, so that nothing of a session is in doubt.

mod answers;
mod commands;
mod facts;
mod greeting;
mod login;
mod packets;
mod reading;
mod refusal;
mod relay;
mod results;
mod serve;

pub(crate) use serve::{Served, serve};
