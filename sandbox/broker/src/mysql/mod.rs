//! MySQL and MariaDB between a client in the box and a server: every command is read whole, judged by what it means, and sent on unchanged.
//!
//! One command is on its way at a time: what the client sends ahead waits until the answer before it has ended, so that nothing of a session is in doubt.

mod answers;
mod commands;
mod facts;
mod greeting;
pub(crate) mod holder;
mod keyed;
mod login;
mod packets;
mod proofs;
mod reading;
mod refusal;
mod relay;
mod results;
mod routines;
mod serve;

pub(crate) use packets::commands;
pub(crate) use serve::{Served, serve};

/// A body read as each of the first packets, as a command, and as a server's answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (greeting::Greeting::read(bytes), commands::Command::of(bytes), commands::Change::read(bytes), greeting::tls_wish(bytes, u32::MAX));
    if let Ok(greeting::Answer::Login(login)) = greeting::Answer::read(bytes, greeting::can::SPOKEN) {
        let _ = greeting::Answer::read(&login.body(), greeting::can::SPOKEN);
    }
    for asked in [results::Asked::Query, results::Asked::QueryWithFile, results::Asked::Prepare, results::Asked::Rows, results::Asked::Text] {
        let mut answer = results::Answer::new(asked, bytes.len().is_multiple_of(2));
        let mut rest = bytes;
        // Each turn takes at least a packet's head.
        while let Some(head) = packets::head(rest) {
            let Some((packet, behind)) = rest.split_at_checked(head.whole()) else { break };
            if answer.heard(head, packet.get(packets::HEADER..).unwrap_or_default()).is_err() {
                break;
            }
            rest = behind;
        }
    }
}
