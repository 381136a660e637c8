//! `agentbox show`.

use std::process::ExitCode;

/// Arguments of `agentbox show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &ShowArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
