//! The parts of a run that are worth a file each; `commands/run.rs` tells the story.

mod addresses;
pub(crate) mod agents;
mod approvers;
mod attend;
mod brokering;
mod browsers;
mod couriers;
mod doors;
pub(crate) mod globs;
mod guarded;
mod hand;
mod judging;
mod keeping;
mod keystores;
mod launchable;
mod nss;
mod reins;
pub(crate) mod supervise;
mod traces;
mod trust;
mod variables;
mod without;
mod writes;
