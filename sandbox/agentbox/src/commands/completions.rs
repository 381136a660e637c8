//! `agentbox completions`: completions for a shell, on standard output.

use std::process::ExitCode;

use clap::CommandFactory;

/// Arguments of `agentbox completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArguments {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints them.
pub(crate) fn run(arguments: &CompletionsArguments) -> ExitCode {
    let mut command = crate::cli::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "agentbox", &mut std::io::stdout());
    ExitCode::SUCCESS
}
