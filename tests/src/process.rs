//! A process with a deadline, whose output is gathered while it runs.

use std::{
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// For anything that a test waits for; far beyond what it should take, since the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// How a process ended, and what it said.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; 128 and the signal's number where one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Itself, if it ended with this code.
    ///
    /// # Panics
    /// It did not; all it said is shown.
    #[allow(clippy::must_use_candidate, clippy::return_self_not_must_use, reason = "the check itself is what it is called for")]
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.out(), self.err());
        self
    }
}

/// A running process. Dropped, it is killed, by its own number.
#[derive(Debug)]
pub struct Going {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Going {
    /// Starts it, with nothing on its standard input.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::with_input(command, b"")
    }

    /// Starts it with these bytes on its standard input.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn with_input(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let mut readers =
            vec![gather(child.stdout.take().expect("a pipe"), Arc::clone(&stdout)), gather(child.stderr.take().expect("a pipe"), Arc::clone(&stderr))];
        if let Some(mut pipe) = child.stdin.take() {
            let input = input.to_owned();
            // A process that reads less than it is given is its own affair.
            readers.push(thread::spawn(move || drop(pipe.write_all(&input))));
        }
        Self { child, stdout, stderr, readers }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is not there any more.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// What it has said so far on standard output.
    ///
    /// # Panics
    /// A reader panicked.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().expect("no reader panics")).into_owned()
    }

    /// What it has said so far on standard error.
    ///
    /// # Panics
    /// A reader panicked.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no reader panics")).into_owned()
    }

    /// Waits until it has said this on standard output.
    ///
    /// # Panics
    /// It has not, by the deadline.
    #[track_caller]
    pub fn says(&self, words: &str) {
        until(&format!("it says {words:?}"), || self.out().contains(words), || format!("--- stdout\n{}\n--- stderr\n{}", self.out(), self.err()));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It runs on beyond the deadline.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < end, "it runs on\n--- stdout\n{}\n--- stderr\n{}", self.out(), self.err());
            thread::sleep(AGAIN);
        };
        for reader in std::mem::take(&mut self.readers) {
            while !reader.is_finished() {
                assert!(Instant::now() < end, "something holds its output open after its end: {}", self.err());
                thread::sleep(AGAIN);
            }
        }
        Finished {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: std::mem::take(&mut *self.stdout.lock().expect("no reader panics")),
            stderr: std::mem::take(&mut *self.stderr.lock().expect("no reader panics")),
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            into.lock().expect("nobody panics with it").extend_from_slice(&chunk[..count]);
        }
    })
}

/// Runs a command to its end.
#[must_use]
#[track_caller]
pub fn finish(command: &mut Command) -> Finished {
    Going::start(command).finish()
}

/// Waits for a condition.
///
/// # Panics
/// It is not met by the deadline; `else_say` is shown.
#[track_caller]
pub fn until(what: &str, mut met: impl FnMut() -> bool, else_say: impl FnOnce() -> String) {
    let end = Instant::now() + DEADLINE;
    while !met() {
        assert!(Instant::now() < end, "not until the deadline: {what}\n{}", else_say());
        thread::sleep(AGAIN);
    }
}

/// The processes whose parent this is.
///
/// # Panics
/// There is no `/proc`.
#[must_use]
pub fn children(parent: Pid) -> Vec<Pid> {
    let mut found: Vec<Pid> = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| status(*pid, "PPid").is_some_and(|value| value == parent.to_string()))
        .collect();
    found.sort();
    found
}

/// One line of `/proc/PID/status`.
#[must_use]
pub fn status(pid: Pid, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}
