//! `agentbox approve`.

use std::process::ExitCode;

/// Arguments of `agentbox approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &ApproveArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
