//! `cargo xtask docs`: manual pages and completions, written into target/docs by the program itself.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::commands::{cargo, output, succeed, target, tell};

/// Shells, and the file name under which each looks for a program's completions.
const SHELLS: &[(&str, &str)] = &[("bash", "agentbox"), ("zsh", "_agentbox"), ("fish", "agentbox.fish")];

pub(crate) fn run(_: &[String]) -> Result<ExitCode> {
    succeed(cargo().args(["build", "--package", "agentbox", "--locked"]))?;
    let target = target()?;
    let program = target.join("debug/agentbox");
    let folder = target.join("docs");
    let pages = folder.join("man");
    fs::create_dir_all(&pages).with_context(|| format!("making {}", pages.display()))?;
    succeed(Command::new(&program).arg("man").arg(&pages))?;
    for (shell, name) in SHELLS {
        let path = folder.join(shell).join(name);
        fs::create_dir_all(folder.join(shell))?;
        fs::write(&path, output(Command::new(&program).args(["completions", shell]))?).with_context(|| format!("writing {}", path.display()))?;
    }
    tell(&folder.display().to_string());
    Ok(ExitCode::SUCCESS)
}
