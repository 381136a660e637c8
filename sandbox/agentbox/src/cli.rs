//! The command line: which words there are, and which file answers each.

use std::{ffi::OsString, process::ExitCode};

use clap::{Args as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands;

/// Exit code of agentbox's own failures, as `env`, `nohup` and container engines use it.
pub(crate) const FAILED: u8 = 125;

/// The box in which agents, CI jobs and container entrypoints run: nothing irreversible happens without a person.
#[derive(Debug, Parser)]
#[command(name = "agentbox", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a known agent, or any command, in a box
    Run(commands::run::RunArguments),
    /// What this machine can enforce, proven by trying it, and the fix for what is missing
    Doctor(commands::doctor::DoctorArguments),
    /// Name the SSH key that you approve with in your own policy, or make one
    Init(commands::init::InitArguments),
    /// The operations that wait for a person
    Holds(commands::holds::HoldsArguments),
    /// What waits, as a page for a browser on this machine
    Web(commands::web::WebArguments),
    /// The card of one waiting operation
    Show(commands::show::ShowArguments),
    /// Let one waiting operation happen, once
    Approve(commands::approve::ApproveArguments),
    /// Refuse one waiting operation, and say why
    Deny(commands::deny::DenyArguments),
    /// The running boxes of this user
    Ps(commands::ps::PsArguments),
    /// What a running box does, live: processes, connections, what waits, what was decided last
    Attach(commands::attach::AttachArguments),
    /// End a running box
    Stop(commands::stop::BoxArguments),
    /// Let a box go on that was frozen since it destroyed much within seconds
    Resume(commands::stop::BoxArguments),
    /// End what was approved for a time (`approve --for`) in a box
    Revoke(commands::stop::BoxArguments),
    /// Inside a box: say in one sentence what the waiting operation is for; the card shows it
    Ask(commands::ask::AskArguments),
    /// What was refused last, by which rule, and what to do instead
    Why(commands::why::WhyArguments),
    /// The credentials of the running boxes, and their early end
    Lease(commands::lease::LeaseArguments),
    /// Secrets that lie in the workspace, with file and line, and what would make each a credential
    Scan(commands::scan::ScanArguments),
    /// Bring back what a session destroyed
    Undo(commands::undo::UndoArguments),
    /// What a session did to the files: made, changed, destroyed, moved
    Diff(commands::diff::DiffArguments),
    /// What boxes wrote into a layer (`run --scratch`): list, diff, apply, drop
    #[command(subcommand)]
    Scratch(commands::scratch::ScratchCommand),
    /// What boxes wrote into layers over the caches of tools: list, drop
    #[command(subcommand)]
    Caches(commands::caches::CachesCommand),
    /// The ledger: every decision, each sealed to the one before
    Log(commands::log::LogArguments),
    /// The policy: check, explain, test, trust
    #[command(subcommand)]
    Policy(commands::policy::PolicyCommand),
    /// What requests on standard input would be taken for, one JSON line each
    Classify(commands::classify::ClassifyArguments),
    /// Replay a real incident against stand-ins on this machine and show that it is contained
    Drill(commands::drill::DrillArguments),
    /// Completions for a shell, on standard output
    Completions(commands::completions::CompletionsArguments),
    /// Manual pages, written into a folder
    Man(commands::man::ManArguments),
}

/// What follows `agentbox run`, where it is as it should be. To describe all the other commands takes a good part of a start, so they are only
/// when they are wanted: for another command, for help, and to say what is wrong.
fn run_alone(words: impl Iterator<Item = OsString>) -> Option<commands::run::RunArguments> {
    let mut words = words.skip(1);
    if words.next()? != "run" {
        return None;
    }
    let command = commands::run::RunArguments::augment_args(clap::Command::new("run").no_binary_name(true).disable_help_flag(true));
    commands::run::RunArguments::from_arg_matches(&command.try_get_matches_from(words).ok()?).ok()
}

/// Parses the command line and answers it.
pub(crate) fn main() -> ExitCode {
    if let Some(arguments) = run_alone(std::env::args_os()) {
        return commands::run::run(arguments);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // `--help` and `--version` are no failures; a misspelt command is ours, not the agent's.
            return if error.use_stderr() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Holds(arguments) => commands::holds::run(&arguments),
        Command::Web(arguments) => commands::web::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Approve(arguments) => commands::approve::run(&arguments),
        Command::Deny(arguments) => commands::deny::run(&arguments),
        Command::Ps(arguments) => commands::ps::run(&arguments),
        Command::Attach(arguments) => commands::attach::run(&arguments),
        Command::Stop(arguments) => commands::stop::stop(&arguments),
        Command::Resume(arguments) => commands::stop::resume(&arguments),
        Command::Revoke(arguments) => commands::stop::revoke(&arguments),
        Command::Ask(arguments) => commands::ask::run(&arguments),
        Command::Why(arguments) => commands::why::run(&arguments),
        Command::Lease(arguments) => commands::lease::run(&arguments),
        Command::Scan(arguments) => commands::scan::run(&arguments),
        Command::Undo(arguments) => commands::undo::run(&arguments),
        Command::Diff(arguments) => commands::diff::run(&arguments),
        Command::Scratch(command) => commands::scratch::run(&command),
        Command::Caches(command) => commands::caches::run(&command),
        Command::Log(arguments) => commands::log::run(&arguments),
        Command::Policy(command) => commands::policy::run(&command),
        Command::Classify(arguments) => commands::classify::run(&arguments),
        Command::Drill(arguments) => commands::drill::run(&arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Man(arguments) => commands::man::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_understood_alone_as_it_is_among_the_others() {
        let lines = [
            "run -- true",
            "run claude",
            "run claude -- --help -x",
            "run --policy p.toml --env=staging --unattended --exit-code agent -- a --policy b",
            "run --forward 80 --forward 90 --publish 8080:80 --socket /run/x --scratch -- sh -c x",
            "run",
            "run --",
            "run --help",
            "run -h",
            "run --version",
            "run --forward none -- true",
            "run --exit-code nobody",
            "run one two",
            "run --nothing",
            "help run",
            "--help",
            "doctor",
            "",
        ];
        for line in lines {
            let words = || std::iter::once("agentbox").chain(line.split_whitespace()).map(OsString::from);
            let whole = match Arguments::try_parse_from(words()) {
                Ok(Arguments { command: Command::Run(arguments) }) => Some(format!("{arguments:?}")),
                Ok(_) | Err(_) => None,
            };
            assert_eq!(run_alone(words()).map(|arguments| format!("{arguments:?}")), whole, "{line}");
        }
    }
}
