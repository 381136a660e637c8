//! Where stopped calls arrive, and what answers them. A call that nobody answers is refused.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    calls::{self, Kind, RESTART},
    notes::Notes,
};
use crate::sys::notify::{self, Answer, OnExec, Stopped};

/// The listener. One thread receives; anybody may answer.
#[derive(Clone, Debug)]
pub struct Listener {
    fd: Arc<OwnedFd>,
    /// Where the kernel gate judges: which call it has sent here.
    notes: Option<Arc<Mutex<Notes>>>,
}

/// What there is on a listener.
#[derive(Debug)]
pub enum Received {
    /// A stopped call.
    Call(Notice),
    /// Nothing at this moment.
    Nothing,
    /// Nobody is left whose calls could be stopped.
    End,
}

impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Self {
        // Since 6.6; without it each call waits longer for its answer.
        let _ = notify::wake_directly(fd.as_fd());
        Self { fd: Arc::new(fd), notes: None }
    }
}

impl AsFd for Listener {
    /// Readable when a call waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Listener {
    /// With the map in which the kernel gate notes which call it sends here, where it judges.
    ///
    /// # Errors
    /// It is no such map.
    pub fn with_notes(self, notes: OwnedFd) -> io::Result<Self> {
        let notes = Notes::of(notes).map_err(io::Error::other)?;
        Ok(Self { notes: Some(Arc::new(Mutex::new(notes))), ..self })
    }

    /// What a stopped call was before the kernel gate sent it here.
    fn as_it_was(&self, stopped: Stopped) -> Stopped {
        let noted = || self.notes.as_ref()?.lock().ok()?.take(&stopped);
        let number = if i64::from(stopped.number) == RESTART { noted().unwrap_or(stopped.number) } else { stopped.number };
        Stopped { number, ..stopped }
    }

    /// Takes a call if one waits; never waits itself.
    ///
    /// # Errors
    /// The kernel's; the listener is then of no use.
    pub fn receive(&self) -> Result<Received, Errno> {
        // The ioctl ignores O_NONBLOCK: it is asked only when there is something. There is one reader, so nobody else takes it.
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Received::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        let [fd] = &fds;
        self.take(fd.revents().unwrap_or(PollFlags::POLLERR))
    }

    /// Takes a call after `poll` has just told this of the listener. Never waits itself.
    ///
    /// # Errors
    /// As [`Listener::receive`].
    pub fn take(&self, events: PollFlags) -> Result<Received, Errno> {
        if !events.contains(PollFlags::POLLIN) {
            return if events.contains(PollFlags::POLLHUP) { Ok(Received::End) } else { Err(Errno::EIO) };
        }
        match notify::receive(self.as_fd()) {
            Ok(stopped) => Ok(Received::Call(Notice { listener: self.clone(), stopped: self.as_it_was(stopped), answered: Answered::NotYet })),
            // Its caller was killed in between.
            Err(Errno::ENOENT | Errno::EINTR) => Ok(Received::Nothing),
            Err(errno) => Err(errno),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    NotYet,
    Done,
}

/// One stopped call. Dropped without an answer it is refused: whatever goes wrong, nothing happens.
#[must_use = "a call that is dropped is refused"]
#[derive(Debug)]
pub struct Notice {
    listener: Listener,
    stopped: Stopped,
    answered: Answered,
}

impl Notice {
    /// The thread that made it, numbered as outside the box.
    #[must_use]
    pub fn tid(&self) -> i32 {
        self.stopped.tid
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        calls::kind(self.stopped.number)
    }

    /// An argument register; all six are there.
    pub(super) fn argument(&self, index: usize) -> u64 {
        self.stopped.arguments.get(index).copied().unwrap_or_default()
    }

    /// An argument that the kernel reads as `int`.
    pub(super) fn int(&self, index: usize) -> i32 {
        // Its lower half, as the kernel takes it.
        let [a, b, c, d, ..] = self.argument(index).to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    }

    /// Whether its caller still waits. Asked directly before a deed: what is done for nobody is not done.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        notify::is_waiting(self.listener.as_fd(), self.stopped.id)
    }

    /// It returned this.
    pub fn answer(mut self, value: i64) {
        self.finish(Answer::Value(value));
    }

    /// It failed with this.
    pub fn refuse(mut self, errno: Errno) {
        self.finish(Answer::Failed(errno));
    }

    /// It opened this.
    pub(super) fn give(self, fd: OwnedFd, on_exec: OnExec) -> Result<(), Errno> {
        self.give_first(fd, on_exec, |_| Ok(()))
    }

    /// It opened this, which nobody can run: ours may be gone a moment after the caller goes on, and one call does both.
    pub(super) fn give_at_once(mut self, fd: OwnedFd, on_exec: OnExec) -> Result<(), Errno> {
        let given = notify::give(self.listener.as_fd(), self.stopped.id, fd.as_fd(), on_exec);
        match given {
            Ok(()) => self.answered = Answered::Done,
            // The caller has no room for one more, or is gone.
            Err(errno) => self.finish(Answer::Failed(errno)),
        }
        given
    }

    /// It opens this, and `then` cuts it short: a caller that has no room for one more descriptor loses nothing. Other threads of it can see
    /// the descriptor a moment earlier; where `then` fails, it stays with them.
    ///
    /// Ours is gone before the caller goes on: it may write a program, close it and run it, which fails for as long as anybody has it open for
    /// writing. So this takes two calls, though one could do both.
    pub(super) fn give_first(mut self, fd: OwnedFd, on_exec: OnExec, then: impl FnOnce(OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
        // The caller has no room for one more, or is gone: that is its answer.
        let done = notify::put(self.listener.as_fd(), self.stopped.id, fd.as_fd(), on_exec).and_then(|number| then(fd).map(|()| number));
        match done {
            Ok(number) => self.finish(Answer::Value(number)),
            Err(errno) => self.finish(Answer::Failed(errno)),
        }
        done.map(drop)
    }

    /// Lets the kernel do it, which reads the caller's memory again: other threads may have changed what was judged. So only
    /// - `umask`, which has no memory to read;
    /// - `restart_syscall`, which goes on with what the kernel has kept of `nanosleep` and its like;
    /// - removing and moving a name in a folder that is the box's own, where Landlock refuses the kernel's copy any other folder. Not
    ///   linking: that needs no right but the one to make files, which is granted elsewhere too. Where the kernel gate judges, Landlock refuses none
    ///   of it, and the kernel gate judges the kernel's copy;
    /// - changing an open file where the caller's descriptors cannot be had: nothing that is read by its number alone, and no descriptor was
    ///   given for appending only;
    /// - in a box without namespaces, what lies outside of the trees that the gate serves: there Landlock grants the kernel's copy, whatever it
    ///   says by then, nothing but the private folder and plain devices. Modes, owners, times, attributes and sockets, of which Landlock knows
    ///   nothing, are done here or refused ([`super::bounds`]).
    pub(super) fn go_on(mut self) {
        self.finish(Answer::GoOn);
    }

    fn finish(&mut self, answer: Answer) {
        self.answered = Answered::Done;
        // ENOENT: nobody is there to hear it.
        let _ = notify::answer(self.listener.as_fd(), self.stopped.id, answer);
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if self.answered == Answered::NotYet {
            self.finish(Answer::Failed(Errno::EPERM));
        }
    }
}
