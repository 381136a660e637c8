//! `cargo xtask test`: builds the program, runs every test, and counts what ran and what was skipped.

use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    commands::{cargo, succeed, tell},
    packages::TOOLS,
    test_output::Seen,
};

pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let missing: Vec<&str> = TOOLS.iter().filter(|tool| !tool.is_there()).map(|tool| tool.name).collect();
    if !missing.is_empty() {
        tell(&format!("not here, so that what needs it is skipped: {} (fix: cargo xtask tools)", missing.join(", ")));
    }
    // The end-to-end tests run the very program, which cargo does not build for another crate's tests.
    succeed(cargo().args(["build", "--package", "agentbox", "--locked"]))?;
    let (mut seen, code) = (Seen::default(), cargo_test(arguments));
    let code = watch(&mut code?, &mut seen)?;
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

/// Runs it and reads along.
pub(crate) fn watch(command: &mut Command, seen: &mut Seen) -> Result<ExitCode> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if seen.line(line.trim_end_matches('\r')) {
                tell(&line);
            }
        }
    }
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
