//! `cargo xtask help`: which chores there are.

use std::process::ExitCode;

use crate::{TASKS, commands::tell};

pub(crate) fn run(_: &[String]) -> anyhow::Result<ExitCode> {
    tell("cargo xtask NAME\n");
    for task in TASKS {
        tell(&format!("  {:<8} {}", task.name, task.about));
    }
    Ok(ExitCode::SUCCESS)
}
