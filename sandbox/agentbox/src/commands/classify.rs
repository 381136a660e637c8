//! `agentbox classify`.

use std::process::ExitCode;

/// Arguments of `agentbox classify`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClassifyArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &ClassifyArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
