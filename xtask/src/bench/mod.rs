//! `cargo xtask bench`: measures a box against a bare run and bubblewrap, and writes docs/performance.md.

mod approval;
mod calls;
mod files;
mod ground;
mod meaning;
mod memory;
mod page;
mod plot;
mod postgres;
mod series;
mod start;
mod table;
mod wire;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::commands::{root, say, tell};
use ground::Ground;
use table::Table;

/// Rounds, where nothing is said; and with `--quick`.
const ROUNDS: usize = 10;
const FEW_ROUNDS: usize = 3;

/// A part: so many rounds of it.
type Part = fn(&Ground, usize) -> Result<Table>;

/// The parts, by the words that choose them.
const PARTS: &[(&str, Part)] = &[
    ("start", start::measure),
    ("memory", memory::measure),
    ("calls", calls::measure),
    ("files", files::calls),
    ("work", files::work),
    ("wire", wire::measure),
    ("postgres", postgres::measure),
    ("meaning", meaning::measure),
    ("approval", approval::measure),
];

pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let (mut rounds, mut chosen) = (ROUNDS, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--quick" => rounds = FEW_ROUNDS,
            name => chosen.push(*PARTS.iter().find(|(part, _)| *part == name).with_context(|| format!("no part is called `{name}`"))?),
        }
    }
    let whole = chosen.is_empty();
    let ground = Ground::prepare()?;
    let mut tables = Vec::new();
    for (name, measure) in if whole { PARTS } else { &chosen } {
        say(&format!("bench: {name}"));
        // One part that cannot be measured here takes no other with it; but the page is then not written.
        match measure(&ground, rounds) {
            Ok(table) => tables.push(table),
            Err(error) => say(&format!("bench: {name}: not measured: {error:#}")),
        }
    }
    let page = page::write(&tables, rounds);
    tell(&page);
    if tables.len() < PARTS.len() {
        return if whole { bail!("not everything was measured, so docs/performance.md stays as it was") } else { Ok(ExitCode::SUCCESS) };
    }
    let docs = root().join("docs");
    fs::write(docs.join("performance.md"), page)?;
    fs::write(docs.join("performance.svg"), plot::draw(&tables).context("nothing to draw")?)?;
    Ok(ExitCode::SUCCESS)
}
