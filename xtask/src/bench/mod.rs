//! `cargo xtask bench`: measures a box against a bare run and bubblewrap, and writes docs/performance.md.

use std::process::ExitCode;

use anyhow::{Result, bail};

pub(crate) fn run(_: &[String]) -> Result<ExitCode> {
    bail!("comes with the next commit")
}
