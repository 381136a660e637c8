//! `agentbox why`.

use std::process::ExitCode;

/// Arguments of `agentbox why`.
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &WhyArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
