//! Programs that print a secret: run before the box begins and outside of it, bounded in time and in what they print.

use std::{
    fmt,
    io::{self, Read as _},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::secret::LONGEST;

/// How long one may take; some ask a desktop's keyring, which asks a person.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often one that runs is looked after.
const STEP: Duration = Duration::from_millis(20);

/// Why it printed nothing that could be used.
#[derive(Debug)]
pub(super) enum Failed {
    Start(io::Error),
    Status(ExitStatus),
    TooSlow,
    Output,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "did not start: {error}"),
            Self::Status(status) => write!(f, "ended with {status}"),
            Self::TooSlow => f.write_str("did not end in time"),
            Self::Output => f.write_str("printed something that is not UTF-8, or did not close its output"),
        }
    }
}

/// What it printed.
pub(super) fn run(command: &mut Command) -> Result<String, Failed> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(Failed::Start)?;
    let Some(stdout) = child.stdout.take() else { return Err(Failed::Output) };
    // Read beside the wait: a command that prints more than a pipe holds would otherwise never end.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.take(LONGEST + 1).read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(STEP),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failed::TooSlow);
            }
        }
    };
    if !status.success() {
        return Err(Failed::Status(status));
    }
    // A grandchild may hold the pipe open; it is not waited for longer than the command itself may take.
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::sleep(STEP);
    }
    if !reader.is_finished() {
        return Err(Failed::Output);
    }
    reader.join().ok().and_then(Result::ok).ok_or(Failed::Output)
}
