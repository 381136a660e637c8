//! The shim's whole life: relays the terminal, forwards signals, stops and goes on with the agent, and ends as it did.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{read, write},
};

use super::{
    Filter, Terminal,
    protocol::{FromShim, LENGTH, ToShim},
    pty::Relay,
};
use crate::control::Exit;

/// Signals that are handed on to the agent.
const FORWARDED: &[Signal] = &[Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Bytes that wait for a slow side. While they do, the fast side is not read.
const MOST_WAITING: usize = 256 << 10;

/// Bytes of one read.
const CHUNK: usize = 64 << 10;

/// How long output that is still in the pty is waited for once the agent has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Attends to the terminal until the supervisor says how the agent ended.
///
/// # Errors
/// The supervisor has gone without a word, or the terminal broke; the caller exits with agentbox's own code.
pub fn attend(terminal: Terminal, supervisor: UnixStream) -> io::Result<Exit> {
    let mut heard = SigSet::empty();
    for signal in FORWARDED.iter().chain(&[Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGTSTP]) {
        heard.add(*signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&heard), None)?;
    let signals = SignalFd::with_flags(&heard, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    supervisor.set_nonblocking(true)?;
    let relay = terminal.into_relay();
    let mut shim = Shim {
        relay,
        supervisor,
        signals,
        to_box: Vec::new(),
        to_person: Vec::new(),
        filter: Filter::default(),
        heard: Vec::new(),
        reading: true,
        typing: false,
    };
    shim.begin()?;
    shim.run()
}

struct Shim {
    relay: Option<Relay>,
    supervisor: UnixStream,
    signals: SignalFd,
    /// Typed, and not yet taken by the pty.
    to_box: Vec<u8>,
    /// Filtered, and not yet taken by the real terminal.
    to_person: Vec<u8>,
    filter: Filter,
    /// Bytes of a message of the supervisor.
    heard: Vec<u8>,
    /// Whether the pty still gives output.
    reading: bool,
    /// Whether the real terminal is ours to read.
    typing: bool,
}

impl Shim {
    fn begin(&mut self) -> io::Result<()> {
        if let Some(relay) = &self.relay {
            let flags = OFlag::from_bits_retain(fcntl(&relay.master, FcntlArg::F_GETFL)?);
            fcntl(&relay.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            self.typing = relay.take_over()?;
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<Exit> {
        loop {
            let ready = self.wait(PollTimeout::NONE)?;
            if ready.signals {
                self.signals()?;
            }
            self.relay(&ready)?;
            if ready.supervisor
                && let Some(message) = self.supervisor()?
            {
                match message {
                    ToShim::Stopped => self.stop()?,
                    ToShim::Ended(exit) => {
                        self.last_words()?;
                        return Ok(exit);
                    }
                }
            }
        }
    }

    fn wait(&self, timeout: PollTimeout) -> io::Result<Ready> {
        let wanted = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(self.supervisor.as_fd(), PollFlags::POLLIN)];
        if let Some(relay) = &self.relay {
            let read = self.reading && self.to_person.len() < MOST_WAITING;
            fds.push(PollFd::new(relay.master.as_fd(), wanted(read, PollFlags::POLLIN) | wanted(!self.to_box.is_empty(), PollFlags::POLLOUT)));
            fds.push(PollFd::new(relay.output.as_fd(), wanted(!self.to_person.is_empty(), PollFlags::POLLOUT)));
            if let Some(input) = &relay.input {
                fds.push(PollFd::new(input.as_fd(), wanted(self.typing && self.to_box.len() < MOST_WAITING, PollFlags::POLLIN)));
            }
        }
        // A pty whose other end is closed reports that for ever: it is then no longer looked at.
        if !self.reading && self.to_box.is_empty() && fds.len() > 2 {
            fds.remove(2);
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let any = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready { signals: any(0), supervisor: any(1), terminal: fds.iter().skip(2).any(|fd| fd.any() == Some(true)) })
    }

    fn signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let number = u8::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(i32::from(number)) {
                Ok(Signal::SIGWINCH) => {
                    if let Some(relay) = &self.relay {
                        relay.resize();
                    }
                }
                Ok(Signal::SIGTSTP) => self.stop()?,
                Ok(Signal::SIGCONT) => self.go_on()?,
                Ok(_) => self.tell(FromShim::Signal(number)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, message: FromShim) {
        // Two bytes on an empty socket; a supervisor that does not read them has ended, which is noticed elsewhere.
        let _ = self.supervisor.write(&message.encode());
    }

    fn supervisor(&mut self) -> io::Result<Option<ToShim>> {
        let mut bytes = [0; LENGTH];
        match self.supervisor.read(&mut bytes) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor has ended; the box ended with it, and whatever waited was refused")),
            Ok(count) => {
                self.heard.extend_from_slice(bytes.get(..count).unwrap_or_default());
                let Some(whole) = self.heard.first_chunk::<LENGTH>().copied() else { return Ok(None) };
                self.heard.drain(..LENGTH);
                ToShim::decode(whole).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the supervisor said something else than a message"))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn relay(&mut self, ready: &Ready) -> io::Result<()> {
        let Some(relay) = &self.relay else { return Ok(()) };
        if !ready.terminal {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK];
        if self.typing
            && self.to_box.len() < MOST_WAITING
            && let Some(input) = &relay.input
            && readable(input)?
        {
            match read(input, &mut chunk) {
                // The real terminal has gone: SIGHUP says so to everybody.
                Ok(0) => self.typing = false,
                Ok(count) => self.to_box.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::EIO) => self.typing = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        drain(&relay.master, &mut self.to_box)?;
        if self.reading && self.to_person.len() < MOST_WAITING {
            self.reading = take(&relay.master, &mut chunk, &mut self.filter, &mut self.to_person)?;
        }
        if !self.to_person.is_empty() {
            // In the foreground a terminal takes what it is given; a slow one makes us wait here, and the box with us.
            (&relay.output).write_all(&self.to_person)?;
            self.to_person.clear();
        }
        Ok(())
    }

    /// As any program that is stopped in the foreground: the terminal as it was, then stop.
    fn stop(&mut self) -> io::Result<()> {
        if let Some(relay) = &self.relay {
            relay.give_back();
        }
        self.typing = false;
        raise(Signal::SIGSTOP)?;
        self.go_on()
    }

    fn go_on(&mut self) -> io::Result<()> {
        if let Some(relay) = &self.relay {
            self.typing = relay.take_over()?;
            relay.resize();
        }
        self.tell(FromShim::Signal(u8::try_from(Signal::SIGCONT as i32).unwrap_or(18)));
        Ok(())
    }

    /// What the agent wrote before it ended is still in the pty.
    fn last_words(&mut self) -> io::Result<()> {
        let end = Instant::now() + LAST_WORDS;
        while self.relay.is_some() && self.reading && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let ready = self.wait(PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO))?;
            if ready.signals {
                self.signals()?;
            }
            self.typing = false;
            self.relay(&ready)?;
        }
        Ok(())
    }
}

struct Ready {
    signals: bool,
    supervisor: bool,
    terminal: bool,
}

fn readable(input: &std::fs::File) -> io::Result<bool> {
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn drain(to: &OwnedFd, bytes: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => {}
            // Nobody reads in the box any more.
            Err(Errno::EIO) => {
                bytes.clear();
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads the pty's output once; `false` when its other end is closed for good.
fn take(from: &OwnedFd, chunk: &mut [u8], filter: &mut Filter, out: &mut Vec<u8>) -> io::Result<bool> {
    match read(from, chunk) {
        Ok(0) | Err(Errno::EIO) => Ok(false),
        Ok(count) => {
            filter.pass(chunk.get(..count).unwrap_or_default(), out);
            Ok(true)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}
