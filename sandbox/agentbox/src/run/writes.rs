//! What becomes of the files that a box writes: the process that stands before them, or the layer over them.

use std::{
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use agentbox_core::policy::Policy;
use agentbox_desk::control::Folder;
use agentbox_kernel::{
    control::Control,
    launch::{FileGate, ForTheGate},
    mounts::FileFence,
    process::{Above, Child, First, ProcessError, fork_child},
};
use agentbox_vault::site;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::supervise::{Failed, own};
use crate::{
    files,
    scratch::{self, Layers},
};

/// Where the boxes of this user take turns, beside their control sockets.
pub(super) const TURNS: &str = "turns";

/// How long the file gate may take for the deed that it is at when the box has ended.
const LAST_KEEPING: Duration = Duration::from_secs(10);

/// What becomes of the files.
pub(super) enum Files {
    /// They are written to, as the process of the file gate allows; what is lost is kept in the vault.
    Gate {
        process: Option<Child>,
        /// What that process is to be, where it makes the box's first one itself: there it does not run before that.
        waiting: Option<(files::Brief, Control)>,
        line: Control,
        vault: PathBuf,
    },
    /// They stay.
    Layer(Layers),
}

impl Files {
    pub(super) fn gate(
        policy: &Arc<Policy>,
        session: &str,
        workspace: &Path,
        state: &Path,
        fence: &mut FileFence,
        is_above: bool,
        about: String,
    ) -> Result<Self, Failed> {
        let site = site::choose(workspace, state, &fence.writable).map_err(|error| own(&error))?;
        if !site.folder.starts_with(state) {
            fence.masked.push(site.folder.clone());
        }
        let (line, gates_end) = Control::pair().map_err(|error| own(&error))?;
        let vault = site.folder;
        let turns = Folder::of_this_user().map_err(|error| own(&error))?.path().join(TURNS);
        let (policy, session) = (policy.clone(), session.to_owned());
        let brief = files::Brief { policy, session, writable: fence.writable.clone(), vault: vault.clone(), turns, about, without: None };
        if is_above {
            return Ok(Self::Gate { process: None, waiting: Some((brief, gates_end)), line, vault });
        }
        let keep = [gates_end.as_raw_fd()];
        let process = fork_child(First::Parent, &keep, move |socket| files::run(brief, &gates_end, socket)).map_err(|error| own(&error))?;
        Ok(Self::Gate { process: Some(process), waiting: None, line, vault })
    }

    /// The process that is to stand above the box, if there is one; `complete` adds to its brief what was not known before.
    pub(super) fn above(&mut self, complete: impl FnOnce(&mut files::Brief)) -> Result<Option<Above>, ProcessError> {
        let Files::Gate { waiting, .. } = self else { return Ok(None) };
        let Some((mut brief, gates_end)) = waiting.take() else { return Ok(None) };
        complete(&mut brief);
        Above::new(vec![gates_end.as_raw_fd()], move |socket| files::run(brief, &gates_end, socket)).map(Some)
    }

    /// It stands there.
    pub(super) fn stands(&mut self, above: Option<Child>) {
        if let (Files::Gate { process, .. }, Some(above)) = (self, above) {
            *process = Some(above);
        }
    }

    pub(super) fn layer(session: &str, state: &Path, fence: &mut FileFence, about: String) -> Result<Self, Failed> {
        let prepared = scratch::prepare(state, session, about, &fence.writable);
        let (layered, layers) = prepared.map_err(|error| (crate::cli::FAILED, format!("the layer cannot be made in {}: {error}", state.display())))?;
        fence.scratch = layered;
        Ok(Self::Layer(layers))
    }

    /// Nothing that a layer holds is lost to anybody, so nothing that is done in it needs to be stopped.
    pub(super) fn gate_of_the_box(&self) -> FileGate {
        match self {
            Files::Gate { .. } => FileGate::On,
            Files::Layer(_) => FileGate::Off,
        }
    }

    pub(super) fn hand_over(&self, what: ForTheGate, notes: Option<BorrowedFd<'_>>) -> io::Result<()> {
        match self {
            Files::Gate { line, .. } => files::hand_over(line, what, notes),
            Files::Layer(_) => Ok(()),
        }
    }

    pub(super) fn socket(&self) -> io::Result<Option<UnixStream>> {
        match self {
            Files::Gate { process, .. } => process.as_ref().map(|process| process.socket.try_clone()).transpose(),
            Files::Layer(_) => Ok(None),
        }
    }

    pub(super) fn process(&self) -> Option<&Child> {
        match self {
            Files::Gate { process, .. } => process.as_ref(),
            Files::Layer(_) => None,
        }
    }

    pub(super) fn did_not_begin(self) {
        if let Files::Layer(layers) = self {
            let _ = layers.drop_all();
        }
    }
}

/// Whether a session kept or lost anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    Not,
    Yes,
}

impl Used {
    /// What this process says of it; none says nothing.
    pub(super) fn by(gate: Option<&Child>) -> Self {
        gate.map_or(Self::Yes, gate_used)
    }
}

/// Waits for the file gate, whose socket is closed, and so ends what it keeps.
fn gate_used(gate: &Child) -> Used {
    let deadline = Instant::now() + LAST_KEEPING;
    loop {
        match gate.ended() {
            Some(0) => return Used::Not,
            Some(_) => return Used::Yes,
            None if Instant::now() < deadline => {
                let left = deadline.saturating_duration_since(Instant::now());
                let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                let _ = poll(&mut [PollFd::new(gate.pidfd.as_fd(), PollFlags::POLLIN)], patience);
            }
            None => {
                gate.kill();
                gate.reap();
                return Used::Yes;
            }
        }
    }
}
