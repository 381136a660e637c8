//! `agentbox policy`.

use std::process::ExitCode;

/// What to do with the policy.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check it
    Check,
}

/// Not there yet: its owner replaces this file.
pub(crate) fn run(_command: &PolicyCommand) -> ExitCode {
    ExitCode::from(crate::cli::FAILED)
}
