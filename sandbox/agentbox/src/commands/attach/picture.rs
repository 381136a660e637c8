//! What is known of a box at one moment.

use std::{net::SocketAddr, os::unix::fs::MetadataExt as _};

use agentbox_core::{
    ledger::{Entry, Event},
    safe,
};
use agentbox_desk::{
    card::Row,
    control::{FromDesk, MOST_NAMES, Running, Session, ToDesk},
};
use agentbox_kernel::survey;
use nix::unistd::Pid;
use serde::Serialize;

use crate::{
    commands::desk::{Fault, ask},
    ledger::{
        self,
        read::{self, Line, Lines},
    },
};

/// Decisions that are told.
const MOST_RECENT: usize = 20;

/// Bytes at the end of the ledger that are looked through for them.
const TAIL: u64 = 1 << 20;

/// One moment.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    #[serde(rename = "box")]
    pub(super) running: Running,
    pub(super) processes: Vec<Process>,
    pub(super) more_processes: usize,
    pub(super) holds: Vec<Row>,
    pub(super) more_holds: usize,
    /// The newest last.
    pub(super) recent: Vec<Recent>,
}

/// A process of the box.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) pid_outside: i32,
    pub(super) depth: usize,
    pub(super) name: String,
    pub(super) command: String,
    /// `tls.example:443`, or an address that no name stands for.
    pub(super) connected: Vec<String>,
}

/// A decision of the ledger.
#[derive(Debug, Serialize)]
pub(super) struct Recent {
    pub(super) sequence: u64,
    /// Unix time in milliseconds.
    pub(super) at: u64,
    pub(super) event: Event,
    pub(super) summary: String,
    /// The first operation, as the ledger has it.
    pub(super) operation: Option<String>,
}

impl Picture {
    /// Looks.
    pub(super) fn take(session: &Session) -> Result<Self, Fault> {
        let other = || Fault::Failed(format!("the box {} answers something else", safe::line(&session.name, 40)));
        let FromDesk::Running(running) = ask(session, &ToDesk::Describe)? else { return Err(other()) };
        let FromDesk::Holds { rows: holds, more: more_holds } = ask(session, &ToDesk::List)? else { return Err(other()) };
        let supervisor = i32::try_from(running.pid).map(Pid::from_raw).map_err(|_| other())?;
        let (found, more_processes) = survey::init_of(supervisor).map(survey::of_box).unwrap_or_default();
        let mut addresses: Vec<SocketAddr> = found.iter().flat_map(|process| process.connected.iter().copied()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST_NAMES);
        let named = if addresses.is_empty() {
            Vec::new()
        } else {
            let question = ToDesk::Names { addresses: addresses.iter().map(SocketAddr::ip).collect() };
            let FromDesk::Names(names) = ask(session, &question)? else { return Err(other()) };
            names
        };
        let name = |address: &SocketAddr| {
            let at = addresses.iter().position(|known| known == address);
            let name = at.and_then(|at| named.get(at)).and_then(Option::as_deref);
            name.map_or_else(|| address.to_string(), |name| format!("{}:{}", safe::line(name, 253), address.port()))
        };
        let processes = found.iter().map(|process| Process {
            pid: process.inside,
            pid_outside: process.pid,
            depth: process.depth,
            name: process.name.clone(),
            command: process.command.clone(),
            connected: process.connected.iter().map(name).collect(),
        });
        let recent = recent(&running.session)?;
        Ok(Self { processes: processes.collect(), more_processes, holds, more_holds, recent, running: *running })
    }
}

/// What the ledger tells last of this box.
fn recent(session: &str) -> Result<Vec<Recent>, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::Failed(format!("the ledger: {error}"));
    let folder = ledger::folder().map_err(|error| failed(&error))?;
    let Some(file) = read::open(&folder).map_err(|error| failed(&error))? else { return Ok(Vec::new()) };
    let length = file.metadata().map_err(|error| failed(&error))?.size();
    let from = length.saturating_sub(TAIL);
    let mut lines = Lines::from(&file, from);
    let mut found = std::collections::VecDeque::new();
    let mut is_first = true;
    while let Some(line) = lines.next().map_err(|error| failed(&error))? {
        let Line::Whole { bytes, .. } = line else { break };
        // In the middle of one, most likely.
        if std::mem::take(&mut is_first) && from > 0 {
            continue;
        }
        let Ok(entry) = serde_json::from_slice::<Entry>(&bytes) else { continue };
        if entry.draft.session != session || matches!(entry.draft.event, Event::SessionStarted | Event::SessionEnded) {
            continue;
        }
        let draft = &entry.draft;
        let said = if draft.summary.is_empty() { &draft.note } else { &draft.summary };
        found.push_back(Recent {
            sequence: entry.sequence,
            at: entry.at,
            event: draft.event.clone(),
            summary: safe::line(said, 300),
            operation: draft.operations.first().map(|operation| safe::line(operation, 200)),
        });
        if found.len() > MOST_RECENT {
            found.pop_front();
        }
    }
    Ok(found.into())
}
