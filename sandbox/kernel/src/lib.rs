//! Fences around a process tree: namespaces, mounts, Landlock, seccomp, capabilities, limits; PID 1; the launch ritual; the terminal.
//!
//! The only crate with unsafe code, all of it in `sys`.

pub mod calls;
pub mod capabilities;
pub mod cgroup;
pub mod control;
mod descendants;
pub mod doctor;
mod family;
pub mod grants;
pub mod idle;
mod init;
pub mod landlock;
pub mod launch;
#[cfg(test)]
mod launch_tests;
pub mod layer;
pub mod lease;
pub mod lineage;
pub mod mounts;
pub mod network;
mod own_calls;
pub mod probes;
pub mod process;
pub mod publish;
pub mod real;
pub mod rlimits;
pub mod seccomp;
pub mod selfguard;
pub mod setting;
pub mod stopped;
pub mod survey;
mod sys;
pub mod terminal;
mod trial;
pub mod turns;
