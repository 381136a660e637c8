//! `agentbox doctor`.

use std::process::ExitCode;

/// Arguments of `agentbox doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArguments {}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_arguments: &DoctorArguments) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
