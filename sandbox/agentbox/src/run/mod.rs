//! The parts of a run that are worth a file each; `commands/run.rs` tells the story.

pub(crate) mod agents;
pub(crate) mod trust;
