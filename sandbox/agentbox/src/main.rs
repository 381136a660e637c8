//! The program: one command a file, and the wiring of the rooms that never see each other.

mod cli;
mod commands;
mod drill;
mod ledger;
mod supervisor;
mod policy_files;
mod run;

fn main() -> std::process::ExitCode {
    cli::main()
}
