//! `agentbox holds`.

use std::process::ExitCode;

/// Arguments of `agentbox holds`.
#[derive(Debug, clap::Args)]
pub(crate) struct HoldsArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &HoldsArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
