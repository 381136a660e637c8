//! The shim's whole life: relays the terminal, forwards signals, stops and goes on with the agent, and ends as it did.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, raise, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use super::{
    Filter, Terminal,
    protocol::{FromShim, LENGTH, ToShim},
    pty::{Relay, Typing, Writes},
    queue::{Got, Queue, Written, read},
};
use crate::{control::Exit, idle::Idle};

/// Signals that are handed on to the agent. SIGTSTP too: whether it stops is the agent's to say, as it would be without us.
const FORWARDED: &[Signal] = &[Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTSTP];

/// Bytes of one read.
const CHUNK: usize = 64 << 10;

/// Bytes that a terminal takes without waiting once `poll` says that it takes any (the kernel's WAKEUP_CHARS).
const SURELY_TAKEN: usize = 256;

/// How long the end of the box's output is waited for once the agent has ended. The pty ends by itself when the last process of the box is gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a terminal that takes nothing is waited for at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How often is looked whether a shell has brought us to the foreground: of a job that was running already it says nothing.
const LOOK: Duration = Duration::from_millis(300);

/// Attends to the terminal until the supervisor says how the agent ended.
///
/// # Errors
/// The supervisor has gone without a word, or the terminal broke; the caller exits with agentbox's own code. The terminal is given back in any case.
pub fn attend(terminal: Terminal, supervisor: UnixStream) -> io::Result<Exit> {
    Shim::new(terminal, supervisor)?.run()
}

struct Shim {
    relay: Option<Relay>,
    supervisor: UnixStream,
    signals: SignalFd,
    /// Typed, and not yet taken by the pty.
    to_box: Queue,
    /// Filtered, and not yet taken by the real terminal.
    to_person: Queue,
    filter: Filter,
    /// Bytes of a message of the supervisor.
    heard: Vec<u8>,
    chunk: Vec<u8>,
    /// Whether the pty still gives output.
    reading: bool,
    /// Whether the agent is to have what is typed, whenever we are in the foreground.
    wanted: bool,
    idle: Idle,
}

impl Shim {
    fn new(terminal: Terminal, supervisor: UnixStream) -> io::Result<Self> {
        let relay = terminal.into_relay();
        let mut heard = SigSet::empty();
        for signal in FORWARDED.iter().chain(&[Signal::SIGWINCH, Signal::SIGCONT]) {
            heard.add(*signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&heard), None)?;
        let signals = SignalFd::with_flags(&heard, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        supervisor.set_nonblocking(true)?;
        Ok(Self {
            reading: relay.is_some(),
            wanted: relay.as_ref().is_some_and(|relay| relay.typing == Typing::AtOnce),
            relay,
            supervisor,
            signals,
            to_box: Queue::default(),
            to_person: Queue::default(),
            filter: Filter::default(),
            heard: Vec::new(),
            chunk: vec![0; CHUNK],
            idle: Idle::default(),
        })
    }

    fn run(&mut self) -> io::Result<Exit> {
        self.take_over();
        loop {
            let waits = self.wanted && self.relay.as_ref().is_some_and(|relay| !relay.taken());
            let ready = self.wait(waits.then_some(LOOK))?;
            if ready.nothing && !waits {
                self.idle.came();
            }
            if ready.signals {
                self.signals()?;
            } else if waits {
                self.take_over();
            }
            self.relay(&ready)?;
            if ready.supervisor
                && let Some(message) = self.supervisor()?
            {
                match message {
                    ToShim::Stopped => self.stop(Signal::SIGTSTP)?,
                    ToShim::WantsTerminal => self.hand_over()?,
                    ToShim::Ended(exit) => {
                        self.last_words()?;
                        return Ok(exit);
                    }
                }
            }
        }
    }

    /// Waits for what can be gone on with. What nothing is wanted of is not watched: its hangup would be reported for ever.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut fds = Vec::with_capacity(5);
        let mut watch = |fd, on: &[(bool, PollFlags)]| {
            let flags: PollFlags = on.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
            (!flags.is_empty()).then(|| fds.push(PollFd::new(fd, flags))).map(|()| fds.len() - 1)
        };
        let signals = watch(self.signals.as_fd(), &[(true, PollFlags::POLLIN)]);
        let supervisor = watch(self.supervisor.as_fd(), &[(true, PollFlags::POLLIN)]);
        let (mut input, mut output) = (None, None);
        if let Some(relay) = &self.relay {
            watch(relay.master.as_fd(), &[(self.reading && self.to_person.has_room(), PollFlags::POLLIN), (!self.to_box.is_empty(), PollFlags::POLLOUT)]);
            input = watch(relay.input.as_fd(), &[(relay.taken() && self.to_box.has_room(), PollFlags::POLLIN)]);
            output = watch(relay.output.as_fd(), &[(!self.to_person.is_empty(), PollFlags::POLLOUT)]);
        }
        let timeout = timeout.map_or_else(|| self.idle.patience(), |timeout| PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX));
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Ready { nothing: true, ..Ready::default() }),
            Ok(_) => {}
            // Revents are then not to be trusted.
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno.into()),
        }
        let any = |index: Option<usize>| index.and_then(|index| fds.get(index)).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready { nothing: false, signals: any(signals), supervisor: any(supervisor), input: any(input), output: any(output) })
    }

    fn signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let number = u8::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(i32::from(number)) {
                Ok(Signal::SIGWINCH) => match &self.relay {
                    Some(relay) => {
                        relay.resize();
                        // The kernel tells the pty's foreground, in which the agent is not yet.
                        if !self.wanted {
                            self.tell(FromShim::Signal(number));
                        }
                    }
                    None => self.tell(FromShim::Signal(number)),
                },
                Ok(Signal::SIGCONT) => self.go_on(),
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

    fn tell_signal(&mut self, signal: Signal) {
        self.tell(FromShim::Signal(u8::try_from(signal as i32).unwrap_or(0)));
    }

    fn supervisor(&mut self) -> io::Result<Option<ToShim>> {
        let mut bytes = [0; LENGTH];
        let room = bytes.get_mut(self.heard.len()..).unwrap_or_default();
        match self.supervisor.read(room) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor has ended; the box ended with it, and whatever waited was refused")),
            Ok(count) => {
                self.heard.extend_from_slice(room.get(..count).unwrap_or_default());
                let Some(whole) = self.heard.first_chunk::<LENGTH>().copied() else { return Ok(None) };
                self.heard.clear();
                ToShim::decode(whole).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the supervisor said something else than a message"))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One round in both directions; neither waits for the other.
    fn relay(&mut self, ready: &Ready) -> io::Result<()> {
        let Some(relay) = &self.relay else { return Ok(()) };
        let mut here = true;
        if ready.input {
            match read(&relay.input, &mut self.chunk)? {
                Got::Bytes(count) => self.to_box.end().extend_from_slice(self.chunk.get(..count).unwrap_or_default()),
                Got::Nothing => {}
                Got::Gone => here = false,
            }
        }
        // Nobody in the box who could read: the bytes are as lost as in a terminal without a program.
        let _ = self.to_box.write_to(&relay.master, usize::MAX)?;
        if self.reading && self.to_person.has_room() {
            match read(&relay.master, &mut self.chunk)? {
                Got::Bytes(count) => {
                    let end = self.to_person.end();
                    let from = end.len();
                    self.filter.pass(self.chunk.get(..count).unwrap_or_default(), end);
                    if relay.doubles_line_ends() {
                        single_line_ends(end, from);
                    }
                }
                Got::Nothing => {}
                // Every descriptor of the pty's other end is closed, and nobody is left to open it anew.
                Got::Gone => self.reading = false,
            }
        }
        let most = match relay.writes {
            Writes::Never => usize::MAX,
            Writes::WhenFull if ready.output => SURELY_TAKEN,
            Writes::WhenFull => 0,
        };
        here &= self.to_person.write_to(&relay.output, most)? == Written::Some;
        if !here {
            self.hang_up();
        }
        Ok(())
    }

    /// The real terminal has gone. So goes the box's: its programs see what they would see without us.
    fn hang_up(&mut self) {
        self.relay = None;
        self.tell_signal(Signal::SIGHUP);
        self.tell_signal(Signal::SIGCONT);
    }

    fn take_over(&mut self) {
        if let Some(relay) = &mut self.relay
            && self.wanted
        {
            let was = relay.taken();
            if relay.take_over().is_err() {
                self.hang_up();
            } else if relay.taken() && !was {
                relay.resize();
            }
        }
    }

    /// The agent, in the background of its terminal until now, wants what is typed.
    fn hand_over(&mut self) -> io::Result<()> {
        if self.wanted {
            return self.stop(Signal::SIGTTIN);
        }
        self.wanted = true;
        self.take_over();
        match &self.relay {
            Some(relay) if !relay.taken() => {
                // As any job that reads from the background.
                self.wanted = false;
                self.stop(Signal::SIGTTIN)
            }
            _ => {
                self.tell(FromShim::Foreground);
                Ok(())
            }
        }
    }

    /// As any program that is stopped: the terminal as it was, then stop, until a shell lets us go on.
    fn stop(&mut self, signal: Signal) -> io::Result<()> {
        match &mut self.relay {
            Some(relay) if relay.taken() => {
                relay.give_back();
                // In raw mode the terminal did not tell the rest of the job; a script around us would wait for us, and its shell for it.
                kill(Pid::from_raw(0), signal)?;
            }
            _ => raise(signal)?,
        }
        // Here it stops, unless nobody could let it go on (an orphaned group): then the kernel drops the signal, and the agent goes on.
        let only = SigSet::from(signal);
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&only), None)?;
        if FORWARDED.contains(&signal) {
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&only), None)?;
        }
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        self.take_over();
        if let Some(relay) = &self.relay {
            relay.resize();
        }
        self.tell_signal(Signal::SIGCONT);
    }

    /// What the agent wrote before it ended is still in the pty, and with us.
    fn last_words(&mut self) -> io::Result<()> {
        let ended = Instant::now();
        let mut moved = ended;
        let mut left = usize::MAX;
        while self.relay.is_some() {
            self.reading &= ended.elapsed() < LAST_WORDS || !self.to_person.is_empty();
            if self.to_person.is_empty() && !self.reading {
                break;
            }
            if self.to_person.len() != left {
                (left, moved) = (self.to_person.len(), Instant::now());
            } else if moved.elapsed() > LAST_PATIENCE {
                break;
            }
            let ready = self.wait(Some(LOOK))?;
            if ready.signals {
                self.signals()?;
            }
            self.relay(&ready)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Ready {
    /// The wait was over before anything came.
    nothing: bool,
    signals: bool,
    supervisor: bool,
    input: bool,
    output: bool,
}

/// Undoes what the pty made of LF, for a terminal that does the same once more. Where CR and LF came apart, a CR too many does no harm.
fn single_line_ends(bytes: &mut Vec<u8>, from: usize) {
    let mut kept = from;
    for index in from..bytes.len() {
        let pair = (bytes.get(index).copied(), bytes.get(index + 1).copied());
        if let (Some(byte), next) = pair
            && (byte, next) != (b'\r', Some(b'\n'))
            && let Some(place) = bytes.get_mut(kept)
        {
            *place = byte;
            kept += 1;
        }
    }
    bytes.truncate(kept);
}
