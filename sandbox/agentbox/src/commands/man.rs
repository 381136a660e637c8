//! `agentbox man`: manual pages, written into a folder.

use std::{path::PathBuf, process::ExitCode};

use clap::CommandFactory;

/// Arguments of `agentbox man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArguments {
    /// The folder; it is made if it is not there
    folder: PathBuf,
}

/// Writes `agentbox.1` and a page for every command.
pub(crate) fn run(arguments: &ManArguments) -> ExitCode {
    let written = std::fs::create_dir_all(&arguments.folder).and_then(|()| clap_mangen::generate_to(crate::cli::Arguments::command(), &arguments.folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::commands::run::fail(&format!("cannot write manual pages to {}: {error}", arguments.folder.display())),
    }
}
