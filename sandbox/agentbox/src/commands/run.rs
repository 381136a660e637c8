//! `agentbox run`: a known agent, or any command, in a box.

use std::{ffi::OsString, process::ExitCode};

/// Arguments of `agentbox run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// A policy file or the name of a shipped profile; counts as the user's layer
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Nobody can be asked: what would wait for a person is refused, and the exit code tells
    #[arg(long)]
    unattended: bool,
    /// Whose exit code an unattended run ends with when the agent exited 0 but something was refused
    #[arg(long, value_name = "WHOSE", default_value = "box")]
    exit_code: ExitCodeOf,
    /// A known agent: its profile, and its command
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The command, after `--`; with NAME, arguments for the agent
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Whose exit code counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExitCodeOf {
    /// 77 when the agent exited 0 but something was refused
    Box,
    /// The agent's own, whatever was refused
    Agent,
}

/// Says what went wrong, on stderr, and gives agentbox's own exit code.
#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
pub(crate) fn fail(what: &str) -> ExitCode {
    eprintln!("agentbox: {what}");
    ExitCode::from(crate::cli::FAILED)
}

/// Runs it.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    let _ = arguments;
    fail("the box is not wired yet")
}
