//! `agentbox caches`: what boxes wrote into layers over the caches of tools: listed, or dropped.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use agentbox_core::safe;
use serde_json::json;

use super::{
    desk::{Fault, inside},
    undo::failed,
};
use crate::caches::{self, Slot};

/// Longest path that is shown, in characters.
const LONGEST_PATH: usize = 300;

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CachesCommand {
    /// The layers of each project, with their size and when a box used them last
    List {
        /// As JSON, one array
        #[arg(long)]
        json: bool,
    },
    /// Throw a project's layers away: its next box sees the caches as they are outside
    Drop {
        /// Those of all projects
        #[arg(long)]
        all: bool,
        /// The project's folder; without it, this one
        #[arg(conflicts_with = "all")]
        project: Option<PathBuf>,
    },
}

/// Does it.
pub(crate) fn run(command: &CachesCommand) -> ExitCode {
    match answer(command) {
        Ok(code) => code,
        Err(fault) => fault.exit(),
    }
}

fn answer(command: &CachesCommand) -> Result<ExitCode, Fault> {
    if inside().is_some() {
        return Err(Fault::Failed("layers are out of every box's reach: this is for a terminal outside".to_owned()));
    }
    let ledger = crate::ledger::folder().map_err(failed)?;
    let state = ledger.parent().ok_or_else(|| Fault::Failed("the ledger lies nowhere".to_owned()))?;
    let slots = caches::all(state).map_err(failed)?;
    match command {
        CachesCommand::List { json: true } => {
            let since = |slot: &Slot| slot.used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let one = |slot: &Slot| json!({"project": slot.project.to_string_lossy(), "bytes": slot.size(), "used": since(slot)});
            say(&(json!(slots.iter().rev().map(one).collect::<Vec<_>>()).to_string() + "\n"))?;
        }
        CachesCommand::List { json: false } => {
            let mut text = String::new();
            for slot in slots.iter().rev() {
                let days = SystemTime::now().duration_since(slot.used).unwrap_or_default().as_secs() / 86_400;
                let _ = writeln!(text, "{:>6} MiB  {days:>3} d  {}", slot.size() >> 20, safe::line(&slot.project.to_string_lossy(), LONGEST_PATH));
            }
            say(if text.is_empty() { "No box has a layer over a cache.\n" } else { &text })?;
        }
        CachesCommand::Drop { all, project } => {
            let folder = match project {
                Some(path) => path.clone(),
                None => std::env::current_dir().map_err(failed)?,
            };
            // One that is gone is meant by its name.
            let folder = folder.canonicalize().unwrap_or(folder);
            let (mut dropped, mut running) = (0, 0);
            for slot in slots.into_iter().filter(|slot| *all || slot.project == folder) {
                if slot.drop_it().map_err(failed)? { dropped += 1 } else { running += 1 }
            }
            say(&format!("{dropped} dropped\n"))?;
            if running > 0 {
                return Err(Fault::Failed(format!("{running} of them are in use; they can be dropped when their boxes have ended")));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<(), Fault> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(failed)
}
