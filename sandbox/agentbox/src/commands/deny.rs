//! `agentbox deny`.

use std::process::ExitCode;

/// Arguments of `agentbox deny`.
#[derive(Debug, clap::Args)]
pub(crate) struct DenyArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &DenyArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
