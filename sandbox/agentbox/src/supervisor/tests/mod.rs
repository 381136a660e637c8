//! Tests of the supervisor: real messages over socket pairs, a real ledger, the real control socket, the real commands.

mod bench;
mod commands;
mod faults;
mod gate;
mod holds;
mod people;
mod releases;
mod signed;
