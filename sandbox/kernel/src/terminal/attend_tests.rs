//! The shim's loop between two ptys, with a played supervisor: what it relays, and how it ends.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::{
        signal::Signal,
        termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};

use super::{
    Terminal, attend,
    protocol::{FromShim, LENGTH, ToShim},
};
use crate::{control::Exit, launch::Stdio, sys::terminal};

const DEADLINE: Duration = Duration::from_secs(20);

/// A real terminal with a shim on it.
struct Stage {
    /// What the person types to and reads from.
    person: File,
    /// The real terminal, to look at its settings.
    real: OwnedFd,
    before: Termios,
    supervisor: UnixStream,
    agent: Stdio,
    shim: thread::JoinHandle<std::io::Result<Exit>>,
}

impl Stage {
    /// Each of the three streams is the terminal, or nothing.
    fn set(on: [bool; 3]) -> Self {
        let pty = openpty(None, None).unwrap();
        let size = libc::winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        terminal::set_window_size(pty.slave.as_fd(), size).unwrap();
        let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
        let (terminal, agent) = Terminal::over(on.map(|on| if on { pty.slave.try_clone().unwrap() } else { null() })).unwrap();
        let (supervisor, shims) = UnixStream::pair().unwrap();
        supervisor.set_read_timeout(Some(DEADLINE)).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let shim = thread::spawn(move || attend(terminal, shims));
        Self { person: File::from(pty.master), real: pty.slave, before, supervisor, agent, shim }
    }

    fn inside(&self) -> File {
        File::from(self.agent.controlling.as_ref().unwrap().try_clone().unwrap())
    }

    fn says(&mut self, message: ToShim) {
        self.supervisor.write_all(&message.encode()).unwrap();
    }

    fn hears(&mut self) -> FromShim {
        let mut bytes = [0; LENGTH];
        self.supervisor.read_exact(&mut bytes).unwrap();
        FromShim::decode(bytes).unwrap()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.real).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    fn becomes_raw(&self) {
        let end = Instant::now() + DEADLINE;
        while !self.is_raw() {
            assert!(Instant::now() < end, "the terminal is not taken over");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything of the box ends; the shim with it. What the person saw from now on, and the exit.
    fn ends(mut self, exit: Exit) -> (Vec<u8>, std::io::Result<Exit>) {
        drop(self.agent);
        self.supervisor.write_all(&ToShim::Ended(exit).encode()).unwrap();
        let mut reader = self.person.try_clone().unwrap();
        let seen = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut chunk = [0; 4096];
            // EIO: nobody holds the terminal any more.
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                seen.extend_from_slice(&chunk[..count]);
            }
            seen
        });
        let result = self.shim.join().unwrap();
        assert_eq!(tcgetattr(&self.real).unwrap(), self.before, "the terminal is given back");
        drop(self.real);
        (seen.join().unwrap(), result)
    }
}

fn signal(signal: Signal) -> FromShim {
    FromShim::Signal(u8::try_from(signal as i32).unwrap())
}

/// Whether there is something to read, or comes within a moment.
fn readable(file: &File) -> bool {
    poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u8)).unwrap() == 1
}

fn reads(from: &mut File, words: &str) {
    let mut bytes = vec![0; words.len()];
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), words);
}

#[test]
fn what_is_typed_arrives_and_what_is_written_is_seen() {
    let mut stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let mut inside = stage.inside();
    let size = terminal::window_size(inside.as_fd()).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (33, 77));
    stage.person.write_all("grüß\r".as_bytes()).unwrap();
    reads(&mut inside, "grüß\n");
    // The box's own line discipline echoes, the real terminal does not once more.
    reads(&mut stage.person, "grüß\r\n");
    inside.write_all(b"\x1b[1mout\n\x1b]52;c;QQ==\x07").unwrap();
    drop(inside);
    let (seen, exit) = stage.ends(Exit::Code(7));
    assert_eq!(String::from_utf8_lossy(&seen), "\x1b[1mout\r\n");
    assert_eq!(exit.unwrap(), Exit::Code(7));
}

#[test]
fn five_megabytes_come_whole_through_a_slow_terminal() {
    let stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let mut inside = stage.inside();
    let expected: Vec<u8> = (0..800_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let sent = expected.clone();
    let writer = thread::spawn(move || inside.write_all(&sent).unwrap());
    let mut reader = stage.person.try_clone().unwrap();
    let mut seen = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    // The agent ends while most of its output is still on the way.
    while !writer.is_finished() {
        // All of it may have been read before the writer's thread has ended: then nothing more comes.
        if !readable(&reader) {
            continue;
        }
        let count = reader.read(&mut chunk).unwrap();
        seen.extend_from_slice(&chunk[..count]);
        if seen.len() < 5000 {
            thread::sleep(Duration::from_millis(50));
        }
    }
    writer.join().unwrap();
    let (rest, exit) = stage.ends(Exit::Code(0));
    seen.extend(rest);
    let seen = String::from_utf8(seen).unwrap().replace("\r\n", "\n");
    assert!(seen.into_bytes() == expected, "bytes are missing or out of order");
    assert_eq!(exit.unwrap(), Exit::Code(0));
}

/// A person who scrolls back, or whose line is down, must still be able to type Ctrl-C; and a program that reads nothing must be able to write.
#[test]
fn neither_direction_waits_for_the_other() {
    let mut stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let mut inside = stage.inside();
    let mut raw = tcgetattr(&inside).unwrap();
    cfmakeraw(&mut raw);
    tcsetattr(&inside, SetArg::TCSANOW, &raw).unwrap();
    let mut flood = inside.try_clone().unwrap();
    // More than every buffer between here and there, and nobody looks.
    let writer = thread::spawn(move || flood.write_all(&[b'x'; 1 << 20]));
    thread::sleep(Duration::from_millis(100));
    stage.person.write_all(b"\x03typed").unwrap();
    reads(&mut inside, "\x03typed");
    assert!(!writer.is_finished(), "the output does not wait for a terminal that takes nothing");
    // And signals still come through to the supervisor's side: its end is noticed at once.
    let Stage { supervisor, shim, .. } = stage;
    drop(supervisor);
    assert_eq!(shim.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_program_that_reads_nothing_can_write() {
    let mut stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let mut inside = stage.inside();
    let mut raw = tcgetattr(&inside).unwrap();
    cfmakeraw(&mut raw);
    tcsetattr(&inside, SetArg::TCSANOW, &raw).unwrap();
    let mut keys = stage.person.try_clone().unwrap();
    // More than the box's terminal holds.
    keys.write_all(&[b'k'; 100 << 10]).unwrap();
    inside.write_all(b"still here").unwrap();
    reads(&mut stage.person, "still here");
    drop(inside);
    assert_eq!(stage.ends(Exit::Signal(9)).1.unwrap(), Exit::Signal(9));
}

#[test]
fn a_supervisor_that_is_gone_is_told_of_and_the_terminal_given_back() {
    let stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let Stage { supervisor, shim, real, before, agent, person, .. } = stage;
    drop(supervisor);
    let error = shim.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("supervisor"), "{error}");
    assert_eq!(tcgetattr(&real).unwrap(), before);
    drop((agent, person));
}

#[test]
fn a_supervisor_that_talks_nonsense_ends_it() {
    let mut stage = Stage::set([true; 3]);
    stage.becomes_raw();
    stage.supervisor.write_all(b"??").unwrap();
    let Stage { shim, real, before, person, .. } = stage;
    assert_eq!(shim.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(tcgetattr(&real).unwrap(), before);
    drop(person);
}

#[test]
fn when_the_real_terminal_is_gone_so_is_the_boxs() {
    let stage = Stage::set([true; 3]);
    stage.becomes_raw();
    let mut inside = stage.inside();
    let Stage { person, real, mut supervisor, agent, shim, .. } = stage;
    drop((person, real));
    let mut bytes = [0; 2 * LENGTH];
    supervisor.read_exact(&mut bytes).unwrap();
    let told = bytes.chunks(LENGTH).map(|message| FromShim::decode([message[0], message[1]]).unwrap()).collect::<Vec<_>>();
    assert_eq!(told, [signal(Signal::SIGHUP), signal(Signal::SIGCONT)]);
    assert_eq!(inside.read(&mut [0; 8]).unwrap_or(0), 0, "the end of what is typed");
    assert!(inside.write(b"x").is_err(), "nobody sees it");
    // It goes on until the agent has ended.
    supervisor.write_all(&ToShim::Ended(Exit::Signal(1)).encode()).unwrap();
    assert_eq!(shim.join().unwrap().unwrap(), Exit::Signal(1));
    drop(agent);
}

#[test]
fn in_a_pipeline_the_terminal_is_left_alone_until_it_is_asked_for() {
    for on in [[true, false, true], [false, true, true], [true, false, false], [false, false, true]] {
        let mut stage = Stage::set(on);
        let agents = [&stage.agent.stdin, &stage.agent.stdout, &stage.agent.stderr].map(|stream| nix::unistd::isatty(stream).unwrap());
        assert_eq!(agents, on);
        let mut inside = stage.inside();
        // Both terminals make CR LF of LF; one is seen.
        inside.write_all(b"one\ntwo\n").unwrap();
        reads(&mut stage.person, "one\r\ntwo\r\n");
        assert!(!stage.is_raw(), "{on:?}");
        stage.says(ToShim::WantsTerminal);
        assert_eq!(stage.hears(), FromShim::Foreground);
        stage.becomes_raw();
        stage.person.write_all(b"keys\r").unwrap();
        reads(&mut inside, "keys\n");
        reads(&mut stage.person, "keys\r\n");
        inside.write_all(b"three\n").unwrap();
        drop(inside);
        let (seen, exit) = stage.ends(Exit::Code(0));
        assert_eq!(String::from_utf8_lossy(&seen), "three\r\n");
        assert_eq!(exit.unwrap(), Exit::Code(0));
    }
}

#[test]
fn without_a_terminal_there_is_nothing_to_relay() {
    let mut stage = Stage::set([false; 3]);
    assert!(stage.agent.controlling.is_none());
    stage.says(ToShim::Ended(Exit::Code(3)));
    assert_eq!(stage.shim.join().unwrap().unwrap(), Exit::Code(3));
}

#[test]
fn a_message_may_come_in_halves() {
    let mut stage = Stage::set([false; 3]);
    let [kind, value] = ToShim::Ended(Exit::Code(3)).encode();
    stage.supervisor.write_all(&[kind]).unwrap();
    thread::sleep(Duration::from_millis(30));
    stage.supervisor.write_all(&[value]).unwrap();
    assert_eq!(stage.shim.join().unwrap().unwrap(), Exit::Code(3));
}
