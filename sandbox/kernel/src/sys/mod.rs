//! The one room for unsafe code: one system call a function, each saying what it relies on.
#![allow(unsafe_code, reason = "system calls that no crate offers safely; nothing else lives here")]

pub(crate) mod access;
pub(crate) mod bpf;
pub(crate) mod clone;
pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod foreign;
pub(crate) mod fork;
pub(crate) mod landlock;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod notify;
pub(crate) mod pidfd;
pub(crate) mod prctl;
#[cfg(test)]
pub(crate) mod raw;
pub(crate) mod seccomp;
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod terminal;
