//! `agentbox log`.

use std::process::ExitCode;

/// Arguments of `agentbox log`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &LogArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
