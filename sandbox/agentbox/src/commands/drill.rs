//! `agentbox drill`.

use std::process::ExitCode;

/// Arguments of `agentbox drill`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrillArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &DrillArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
