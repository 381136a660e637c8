//! Room: kernel.

pub mod layer;
pub mod calls;
pub mod capabilities;
pub mod rlimits;
pub mod seccomp;
mod sys;
mod trial;
pub mod landlock;
pub mod selfguard;
mod own_calls;
pub mod doctor;
