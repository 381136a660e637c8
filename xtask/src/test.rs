//! `cargo xtask test`: builds the program, runs every test, and counts what ran and what was skipped.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{ChildStdout, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    commands::{cargo, succeed, tell},
    packages::TOOLS,
    test_output::Seen,
};

/// How long a test program may say nothing. Far more than any test takes, far less than CI's patience.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let missing: Vec<&str> = TOOLS.iter().filter(|tool| !tool.is_there()).map(|tool| tool.name).collect();
    if !missing.is_empty() {
        tell(&format!("not here, so that what needs it is skipped: {} (fix: cargo xtask tools)", missing.join(", ")));
    }
    // The end-to-end tests run the very program, which cargo does not build for another crate's tests.
    succeed(cargo().args(["build", "--package", "agentbox", "--locked"]))?;
    let (mut seen, code) = (Seen::default(), cargo_test(arguments));
    let code = watch(&mut code?, &mut seen, PATIENCE)?;
    tell(&seen.summary());
    Ok(code)
}

/// The command, with the harness told to show also what passing tests print: in it stands what was skipped.
fn cargo_test(arguments: &[String]) -> Result<Command> {
    let split = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let (for_cargo, for_harness) = arguments.split_at(split);
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    if !for_cargo.iter().any(|argument| matches!(argument.as_str(), "-p" | "--package") || argument.starts_with("--package=")) {
        command.arg("--workspace");
    }
    command.args(for_cargo).args(["--", "--show-output"]).args(for_harness.iter().skip(1));
    Ok(command)
}

/// Runs it and reads along. A test program that says nothing for that long is ended, which fails it: one test that waits for ever must
/// not cost what the others would have told.
pub(crate) fn watch(command: &mut Command, seen: &mut Seen, patience: Duration) -> Result<ExitCode> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let lines = child.stdout.take().map(read_along).context("the command's output was not piped")?;
    let mut last = String::new();
    loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let line = line?;
                if seen.line(&line) {
                    tell(&line);
                }
                last = line;
            }
            Err(RecvTimeoutError::Timeout) => {
                for (pid, program) in test_programs(child.id()) {
                    tell(&format!("nothing was heard of {} for {} s: ended. Its last line: {last}", program.display(), patience.as_secs()));
                    succeed(Command::new("kill").args(["-KILL", &pid.to_string()]))?;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn read_along(stdout: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, lines) = sync_channel(64);
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The test programs that this process is, or runs as cargo does; a compiler may take its time.
fn test_programs(of: u32) -> Vec<(u32, PathBuf)> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([of]);
    let programs = pids.filter_map(|pid: u32| Some((pid, fs::read_link(format!("/proc/{pid}/exe")).ok()?)));
    programs.filter(|(_, program)| program.parent().is_some_and(|folder| folder.ends_with("deps"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cargo_has_built_is_ended() {
        let mut child = Command::new("sleep").arg("20").spawn().unwrap();
        let found = test_programs(std::process::id());
        let none = test_programs(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        // This test is such a program itself, and sleep is none.
        assert_eq!(found.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [std::process::id()]);
        assert_eq!(none, []);
    }
}
