//! The program: one command a file, and the wiring of the rooms that never see each other.

mod caches;
mod cli;
mod commands;
mod drill;
mod files;
mod ledger;
mod policy_files;
mod run;
mod scan;
mod scratch;
mod supervisor;

fn main() -> std::process::ExitCode {
    agentbox_kernel::process::begin();
    cli::main()
}
