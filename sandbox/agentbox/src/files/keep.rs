//! Keeps what a deed would lose, before it is done.

use std::{
    cell::Cell,
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use agentbox_core::look::Undo;
use agentbox_kernel::stopped::{Stat, Touched, What, with_reading};
use agentbox_vault::{Age, Foretold, Kept, Loss, Move, NotKept, Outcome, SYNC_EVERY, Session, Subject, Why};
use nix::{errno::Errno, sys::stat::SFlag};

use super::judge::Since;

/// What is not larger, in bytes, is copied in a moment.
const QUICK: u64 = 4 << 20;

/// How long keeping may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// A moment: other boxes wait for their turn.
    Short,
    /// Whatever it takes.
    Any,
}

/// What becomes of a deed whose loss the vault does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unkept {
    /// It is done, and the loss is told.
    Told,
    /// It is not done: a person said yes to it since it would be kept.
    Refused,
}

/// The vault's session, and the thread that brings it to disk.
pub(super) struct Keeper {
    session: Arc<Session>,
    dirty: std::sync::mpsc::SyncSender<()>,
    used: Cell<bool>,
}

impl Keeper {
    /// # Errors
    /// No thread can be had.
    pub(super) fn new(session: Session) -> std::io::Result<Self> {
        let session = Arc::new(session);
        let (dirty, marks) = std::sync::mpsc::sync_channel(1);
        let synced = session.clone();
        std::thread::Builder::new().name("vault".to_owned()).spawn(move || {
            while marks.recv().is_ok() {
                std::thread::sleep(SYNC_EVERY);
                // What comes while the disk works is marked again.
                let _ = marks.try_recv();
                if let Err(error) = synced.sync() {
                    tracing::error!(%error, "what was kept could not be brought to disk");
                }
            }
        })?;
        Ok(Self { session, dirty, used: Cell::new(false) })
    }

    /// Whether anything was kept or lost.
    pub(super) fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Since when a thing is there. Of a file system that was not seen before, only what is held can tell.
    pub(super) fn since(&self, object: Option<BorrowedFd<'_>>, stat: &Stat, own: bool) -> Since {
        if own {
            return Since::Session;
        }
        match self.session.age(object, stat.device, stat.inode, stat.born) {
            Age::Born => Since::Session,
            Age::Old => Since::Before,
        }
    }

    /// Brings all that is kept to disk: before a deed that a person was asked about.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        self.session.sync().map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    /// What an undo could do about the deed, for the card.
    pub(super) fn foretell(&self, touches: &[(Touched<'_>, Since)]) -> Undo {
        let mut sure = true;
        for (touch, _) in touches.iter().filter(|(_, since)| *since == Since::Before) {
            let Some(subject) = subject(touch) else { continue };
            match with_reading(|| self.session.would_keep(&subject)) {
                Ok(Foretold::Kept) => {}
                Ok(Foretold::Unsure) => sure = false,
                Err(not) => return Undo::No(format!("the vault does not keep it: {}", not.why)),
            }
        }
        if sure { Undo::Yes("the vault keeps the first version, and `agentbox undo` brings it back".to_owned()) } else { Undo::Unknown }
    }

    /// Keeps all that the touches would lose. The proofs are held until the deed is done. None: there is no time for it.
    ///
    /// # Errors
    /// Nothing may happen: the vault itself does not work. What it only does not take (too large, of a kind that has no content) is recorded as
    /// lost, unless somebody was told that it would be kept.
    pub(super) fn keep(&self, touches: &[(Touched<'_>, Since)], unkept: Unkept, time: Time) -> Result<Option<Vec<Kept<'_>>>, Errno> {
        let wanted = touches.iter().any(|(touch, since)| *since == Since::Before || may_hold_older(touch.what, &touch.stat, touch.own));
        // Two names of one thing: nothing happens to it.
        let same = matches!(touches, [(one, _), (other, _)] if one.stat.id() == other.stat.id());
        if !wanted || same {
            return Ok(Some(Vec::new()));
        }
        self.used.set(true);
        let mut proofs = Vec::with_capacity(touches.len());
        // What stands at a rename's target is kept before the move is told.
        for (touch, _) in touches.iter().rev() {
            // An agent that makes a file unreadable before it removes it must not get it past the vault.
            match with_reading(|| kept(&self.session, touch, touches, (unkept, time))) {
                Ok(proof) => proofs.extend(proof),
                Err(not) => {
                    proofs.into_iter().for_each(Kept::failed);
                    return if not.why == Why::TakesLong { Ok(None) } else { Err(refused(&not)) };
                }
            }
        }
        let _ = self.dirty.try_send(());
        Ok(Some(proofs))
    }
}

/// A folder of the agent's own can hold what is older; nothing in the box's own memory does.
pub(super) fn may_hold_older(what: What, stat: &Stat, own: bool) -> bool {
    matches!(what, What::Move | What::Exchange) && stat.kind() == SFlag::S_IFDIR && !own
}

/// What a deed loses of a thing; none where its content stays, under whatever name.
fn subject<'t>(touch: &'t Touched<'_>) -> Option<Subject<'t>> {
    let loss = match touch.what {
        What::Move | What::Exchange | What::Link | What::Attributes => return None,
        What::Remove | What::RemoveFolder | What::Replace => Loss::Name,
        What::Overwrite | What::Append | What::Truncate => Loss::Content,
    };
    let folder = if loss == Loss::Name { touch.folder } else { None };
    Some(Subject { object: touch.object, folder, path: &touch.path, loss })
}

fn kept<'s>(session: &'s Session, touch: &Touched<'_>, all: &[(Touched<'_>, Since)], (unkept, time): (Unkept, Time)) -> Result<Option<Kept<'s>>, NotKept> {
    let moved = || {
        let (Some(from_folder), Some((to, to_folder))) = (touch.folder, &touch.to) else { return None };
        Some(Move { object: touch.object, from_folder, to_folder: to_folder.as_fd(), from: &touch.path, to })
    };
    match touch.what {
        What::Move => moved().map(|moved| session.moved(&moved)).transpose(),
        What::Exchange => {
            // Told once, with both.
            let [(first, _), (second, _)] = all else { return Err(Why::Kind("what it is exchanged with is not known").into()) };
            if !std::ptr::eq(first, touch) {
                return Ok(None);
            }
            moved().map(|moved| session.exchanged(&moved, second.object)).transpose()
        }
        What::Link => {
            let Some((to, folder)) = &touch.to else { return Ok(None) };
            session.linked(touch.object, folder.as_fd(), to).map(Some)
        }
        What::Attributes => session.changed_metadata(touch.object, &touch.path).map(Some),
        What::Remove | What::RemoveFolder | What::Replace | What::Overwrite | What::Append | What::Truncate => {
            let Some(subject) = subject(touch) else { return Ok(None) };
            let kept = match time {
                Time::Short => session.keep_quickly(&subject, QUICK),
                Time::Any => session.keep(&subject),
            };
            match unkept {
                Unkept::Told => or_told(kept, session, &subject),
                Unkept::Refused => match kept {
                    Ok(kept) if kept.outcome() == Outcome::LostBefore => Err(Why::Kind("another deed has lost it meanwhile").into()),
                    kept => kept.map(Some),
                },
            }
        }
    }
}

/// Keeps a thing, or has it recorded as lost where the vault does not take it.
///
/// # Errors
/// The vault itself does not work: nothing may be lost now.
pub(crate) fn keep_or_tell<'s>(session: &'s Session, subject: &Subject<'_>) -> Result<Option<Kept<'s>>, NotKept> {
    or_told(session.keep(subject), session, subject)
}

fn or_told<'s>(kept: Result<Kept<'s>, NotKept>, session: &'s Session, subject: &Subject<'_>) -> Result<Option<Kept<'s>>, NotKept> {
    match kept {
        Ok(proof) => Ok(Some(proof)),
        Err(not) if is_too_much(&not) => session.lost(subject, &not).map(|()| None),
        Err(not) => Err(not),
    }
}

/// Whether the vault works, and does not take this one thing.
fn is_too_much(not: &NotKept) -> bool {
    match &not.why {
        // Somebody outside has a lease on it, and will let go of it.
        Why::Unreadable(errno) => *errno != rustix::io::Errno::AGAIN,
        Why::TooBig { .. } | Why::CopiesUsedUp { .. } | Why::OverBudget { .. } | Why::Changing | Why::Kind(_) => true,
        Why::DiskFull { .. } | Why::Io { .. } | Why::Journal(_) | Why::TakesLong => false,
    }
}

fn refused(not: &NotKept) -> Errno {
    tracing::error!(%not, "nothing is destroyed that cannot be kept");
    match &not.why {
        Why::DiskFull { .. } => Errno::ENOSPC,
        Why::Unreadable(rustix::io::Errno::AGAIN) => Errno::EBUSY,
        Why::TooBig { .. }
        | Why::CopiesUsedUp { .. }
        | Why::OverBudget { .. }
        | Why::Unreadable(_)
        | Why::Changing
        | Why::TakesLong
        | Why::Kind(_)
        | Why::Io { .. }
        | Why::Journal(_) => Errno::EIO,
    }
}
