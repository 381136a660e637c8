//! Which of the shim's streams are a terminal, and the pty that stands in for it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    pty::openpty,
    sys::termios::{LocalFlags, OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    unistd::{getpgrp, isatty, tcgetpgrp},
};

use crate::{launch::Stdio, sys::terminal};

/// The terminal cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// No pty, or a stream that cannot be copied.
    #[error("no terminal for the box: {what}")]
    Setup {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl Fn(Errno) -> TerminalError {
    move |errno| TerminalError::Setup { what, source: errno.into() }
}

fn io_failed(what: &'static str) -> impl Fn(io::Error) -> TerminalError {
    move |source| TerminalError::Setup { what, source }
}

/// The shim's side of the box's streams.
#[derive(Debug)]
pub struct Terminal {
    relay: Option<Relay>,
}

/// When the agent gets what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    /// From the start: input and output are the terminal.
    AtOnce,
    /// When it asks, since in `agentbox run -- cmd | less` what is typed is most likely for `less`.
    WhenAsked,
}

/// A pty between the real terminal and the box.
#[derive(Debug)]
pub(super) struct Relay {
    /// The shim's end.
    pub(super) master: OwnedFd,
    /// Where the person types.
    pub(super) input: File,
    /// Where the person sees.
    pub(super) output: File,
    /// Whether writing to `output` may wait.
    pub(super) writes: Writes,
    pub(super) typing: Typing,
    /// The real terminal's settings before it was taken over.
    settings: Termios,
    taken: bool,
}

/// How a full terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// By EAGAIN.
    Never,
    /// By waiting; a few bytes after `poll` do not.
    WhenFull,
}

impl Terminal {
    /// Looks at this process's standard streams. Each that is a terminal becomes the box's own pty for the agent, each other is
    /// handed on as it is, so that `isatty` answers in the box as it would outside.
    ///
    /// # Errors
    /// No pty can be had.
    pub fn open() -> Result<(Self, Stdio), TerminalError> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(io_failed("copying a standard stream"));
        Self::over([copy(io::stdin().as_fd())?, copy(io::stdout().as_fd())?, copy(io::stderr().as_fd())?])
    }

    /// As [`Terminal::open`], for streams that are given.
    pub(super) fn over(streams: [OwnedFd; 3]) -> Result<(Self, Stdio), TerminalError> {
        let on = streams.each_ref().map(|stream| isatty(stream).unwrap_or(false));
        let [in_on, out_on, error_on] = on;
        let [stdin, stdout, stderr] = streams;
        let (typed, seen) = match on {
            [true, true, _] => (&stdin, &stdout),
            [true, false, true] => (&stdin, &stderr),
            [true, false, false] => (&stdin, &stdin),
            [false, true, _] => (&stdout, &stdout),
            [false, false, true] => (&stderr, &stderr),
            [false, false, false] => return Ok((Self { relay: None }, Stdio { stdin, stdout, stderr, controlling: None })),
        };
        let (input, _) = anew(typed.as_fd()).map_err(io_failed("copying a standard stream"))?;
        let (output, writes) = anew(seen.as_fd()).map_err(io_failed("copying a standard stream"))?;
        let settings = tcgetattr(&input).map_err(failed("reading the terminal's settings"))?;
        let typing = if in_on && out_on { Typing::AtOnce } else { Typing::WhenAsked };
        let mut inside = settings.clone();
        // An agent in the background of its terminal must still be able to write to it.
        inside.local_flags.remove(LocalFlags::TOSTOP);
        let pty = openpty(None, Some(&inside)).map_err(failed("openpty"))?;
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(failed("fcntl"))?;
        let flags = OFlag::from_bits_retain(fcntl(&pty.master, FcntlArg::F_GETFL).map_err(failed("fcntl"))?);
        fcntl(&pty.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(failed("fcntl"))?;
        let slave = || pty.slave.try_clone().map_err(io_failed("copying the pty"));
        let relay = Relay { master: pty.master, input, output, writes, typing, settings, taken: false };
        relay.resize();
        let or_slave = |stream: OwnedFd, on: bool| if on { slave() } else { Ok(stream) };
        let stdio =
            Stdio { stdin: or_slave(stdin, in_on)?, stdout: or_slave(stdout, out_on)?, stderr: or_slave(stderr, error_on)?, controlling: Some(slave()?) };
        Ok((Self { relay: Some(relay) }, stdio))
    }

    pub(super) fn into_relay(self) -> Option<Relay> {
        self.relay
    }

    /// Whether the agent draws on a terminal that people look at.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.relay.is_some()
    }

    /// The shim's end of the pty, which our other processes must not keep.
    #[must_use]
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        self.relay.as_ref().map(|relay| relay.master.as_fd())
    }
}

/// The terminal opened once more: a description of our own may be non-blocking, which one that is shared with the user's shell must not be.
fn anew(stream: BorrowedFd<'_>) -> io::Result<(File, Writes)> {
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => Ok((file, Writes::Never)),
        // After `su` the terminal is still the other user's.
        Err(_) => Ok((File::from(stream.try_clone_to_owned()?), Writes::WhenFull)),
    }
}

impl Relay {
    /// Whether what is typed goes to the box, and the box's output needs no translation.
    pub(super) fn taken(&self) -> bool {
        self.taken
    }

    /// Whether the real terminal turns LF into CR LF, as the pty already did.
    pub(super) fn doubles_line_ends(&self) -> bool {
        !self.taken && self.settings.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR)
    }

    /// Takes the real terminal over, if this process is in its foreground; from the background one only watches.
    pub(super) fn take_over(&mut self) -> Result<(), Errno> {
        if !self.is_ours() {
            self.taken = false;
            return Ok(());
        }
        if !self.taken {
            self.settings = tcgetattr(&self.input)?;
        }
        let mut raw = self.settings.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.input, SetArg::TCSADRAIN, &raw)?;
        self.taken = true;
        Ok(())
    }

    /// Gives it back as it was.
    pub(super) fn give_back(&mut self) {
        if self.taken && self.is_ours() {
            let _ = tcsetattr(&self.input, SetArg::TCSADRAIN, &self.settings);
        }
        self.taken = false;
    }

    /// Where it is nobody's controlling terminal here, there is no foreground and background.
    fn is_ours(&self) -> bool {
        match tcgetpgrp(&self.input) {
            Ok(group) => group == getpgrp(),
            Err(errno) => errno == Errno::ENOTTY,
        }
    }

    /// Makes the pty as large as the real terminal.
    pub(super) fn resize(&self) {
        if let Ok(size) = terminal::window_size(self.output.as_fd()) {
            let _ = terminal::set_window_size(self.master.as_fd(), size);
        }
    }
}

impl Drop for Relay {
    /// On every way out, a panic included.
    fn drop(&mut self) {
        self.give_back();
    }
}
