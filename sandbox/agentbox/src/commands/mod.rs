//! One file per command; its doc comment is its help.

pub(crate) mod approve;
pub(crate) mod ask;
pub(crate) mod classify;
pub(crate) mod completions;
pub(crate) mod deny;
pub(crate) mod desk;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod holds;
pub(crate) mod init;
pub(crate) mod lease;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod policy;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod scratch;
pub(crate) mod show;
pub(crate) mod sign;
pub(crate) mod stop;
pub(crate) mod undo;
pub(crate) mod watch;
pub(crate) mod web;
pub(crate) mod why;
