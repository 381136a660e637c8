//! Which of the shim's streams are a terminal, and the pty that stands in for it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    pty::openpty,
    sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
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

/// A pty between the real terminal and the box.
#[derive(Debug)]
pub(super) struct Relay {
    /// The shim's end.
    pub(super) master: OwnedFd,
    /// Where the person types; `None` where standard input is no terminal.
    pub(super) input: Option<File>,
    /// Where the person sees.
    pub(super) output: File,
    /// The real terminal's settings at the start.
    pub(super) settings: Option<Termios>,
}

impl Terminal {
    /// Looks at this process's standard streams. Each that is a terminal becomes the box's own pty for the agent, each other is
    /// handed on as it is, so that `isatty` answers in the box as it would outside.
    ///
    /// # Errors
    /// No pty can be had.
    pub fn open() -> Result<(Self, Stdio), TerminalError> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let is_terminal = |fd: BorrowedFd<'_>| isatty(fd).unwrap_or(false);
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(io_failed("copying a standard stream"));
        let on = [is_terminal(stdin.as_fd()), is_terminal(stdout.as_fd()), is_terminal(stderr.as_fd())];
        let streams = [copy(stdin.as_fd())?, copy(stdout.as_fd())?, copy(stderr.as_fd())?];
        if on == [false; 3] {
            let [stdin, stdout, stderr] = streams;
            return Ok((Self { relay: None }, Stdio { stdin, stdout, stderr, controlling: None }));
        }
        let [has_input, has_output, _] = on;
        let [real_in, real_out, real_err] = &streams;
        let seen = if has_output {
            real_out
        } else if on == [false, false, true] || !has_input {
            real_err
        } else {
            real_in
        };
        let settings = if has_input { Some(tcgetattr(real_in).map_err(failed("reading the terminal's settings"))?) } else { None };
        let pty = openpty(None, settings.as_ref()).map_err(failed("openpty"))?;
        if settings.is_none() {
            // The real terminal goes on translating line ends; the pty must not do it as well.
            let mut plain = tcgetattr(&pty.slave).map_err(failed("reading the pty's settings"))?;
            plain.output_flags.remove(OutputFlags::OPOST);
            tcsetattr(&pty.slave, SetArg::TCSANOW, &plain).map_err(failed("setting the pty"))?;
        }
        if let Ok(size) = terminal::window_size(seen.as_fd()) {
            terminal::set_window_size(pty.master.as_fd(), size).map_err(failed("sizing the pty"))?;
        }
        nix::fcntl::fcntl(&pty.master, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).map_err(failed("fcntl"))?;
        let output = File::from(copy(seen.as_fd())?);
        let input = if has_input { Some(File::from(copy(real_in.as_fd())?)) } else { None };
        let slave = || copy(pty.slave.as_fd());
        let [stdin, stdout, stderr] = streams;
        let stdio = Stdio {
            stdin: if on[0] { slave()? } else { stdin },
            stdout: if on[1] { slave()? } else { stdout },
            stderr: if on[2] { slave()? } else { stderr },
            controlling: Some(slave()?),
        };
        Ok((Self { relay: Some(Relay { master: pty.master, input, output, settings }) }, stdio))
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

impl Relay {
    /// Takes the real terminal over, if this process is in its foreground; from the background one only watches.
    pub(super) fn take_over(&self) -> Result<bool, Errno> {
        let (Some(input), Some(settings)) = (&self.input, &self.settings) else { return Ok(false) };
        if tcgetpgrp(input) != Ok(getpgrp()) {
            return Ok(false);
        }
        let mut raw = settings.clone();
        cfmakeraw(&mut raw);
        tcsetattr(input, SetArg::TCSADRAIN, &raw)?;
        Ok(true)
    }

    /// Gives it back as it was.
    pub(super) fn give_back(&self) {
        if let (Some(input), Some(settings)) = (&self.input, &self.settings)
            && tcgetpgrp(input) == Ok(getpgrp())
        {
            let _ = tcsetattr(input, SetArg::TCSADRAIN, settings);
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
