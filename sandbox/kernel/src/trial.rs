//! Tries something in a forked child, so that what it does to itself stays there: the only honest way to know what a kernel lets us do.

use std::{
    io::{Read, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::sys::fork::{Side, exit_now, fork};

/// The longest a trial may take; each takes milliseconds, and a machine under load gets a thousand times that. Whole boxes are tried in
/// tests, also on machines that are emulated.
const DEADLINE: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 10 });

/// The longest answer of a trial in bytes: one sentence.
const LONGEST: u64 = 4096;

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// What it came to say; `Err` is its own word for a failure.
    Said(Result<String, String>),
    /// A signal ended it.
    Killed(Signal),
    /// It could not be made, took too long, or said nothing.
    Failed(String),
}

impl Trial {
    /// One result of all endings.
    pub(crate) fn result(self) -> Result<String, String> {
        match self {
            Self::Said(result) => result,
            Self::Killed(signal) => Err(format!("the trial was ended by {signal}")),
            Self::Failed(why) => Err(why),
        }
    }
}

/// Runs `work` in a child and gives what it returned.
///
/// The child should keep away from std's streams and from tracing: see [`fork`].
pub(crate) fn in_child(work: impl FnOnce() -> Result<String, String>) -> Trial {
    let (mut reader, mut writer) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(error) => return Trial::Failed(format!("no pipe: {error}")),
    };
    match fork() {
        Err(error) => Trial::Failed(format!("no child: {error}")),
        Ok(Side::Child) => {
            drop(reader);
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            // A panic must not unwind into the parent's frames, of which this is a copy.
            let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the trial panicked".to_owned()));
            let (mark, text) = match &said {
                Ok(text) => (b"+", text),
                Err(text) => (b"-", text),
            };
            let written = writer.write_all(mark).and_then(|()| writer.write_all(text.as_bytes()));
            exit_now(u8::from(written.is_err()))
        }
        Ok(Side::Parent(child)) => {
            drop(writer);
            let mut said = Vec::new();
            let read = read_until(&mut reader, &mut said);
            if read.is_err() {
                // Our own child, not yet waited for: the number is still its.
                let _ = kill(child, Signal::SIGKILL);
            }
            let ended = wait(child);
            match (read, ended) {
                (_, Ok(WaitStatus::Signaled(_, signal, _))) if read.is_ok() => Trial::Killed(signal),
                (Err(error), _) => Trial::Failed(format!("the trial did not answer: {error}")),
                (Ok(()), Err(error)) => Trial::Failed(format!("the trial was lost: {error}")),
                (Ok(()), Ok(_)) => parse(&said),
            }
        }
    }
}

fn parse(said: &[u8]) -> Trial {
    match said.split_first() {
        Some((b'+', text)) => Trial::Said(Ok(String::from_utf8_lossy(text).into_owned())),
        Some((_, text)) => Trial::Said(Err(String::from_utf8_lossy(text).into_owned())),
        None => Trial::Failed("the trial said nothing".to_owned()),
    }
}

fn wait(child: Pid) -> Result<WaitStatus, Errno> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            ended => return ended,
        }
    }
}

fn read_until(reader: &mut std::io::PipeReader, said: &mut Vec<u8>) -> Result<(), Errno> {
    let end = Instant::now() + DEADLINE;
    let mut room = LONGEST;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::ETIMEDOUT);
        }
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], patience) {
            Ok(0) => return Err(Errno::ETIMEDOUT),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        }
        let mut chunk = [0; 512];
        let count = reader.read(&mut chunk).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        if count == 0 || room == 0 {
            return Ok(());
        }
        let kept = chunk.get(..count).unwrap_or(&chunk);
        room = room.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        said.extend_from_slice(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_every_ending() {
        assert_eq!(in_child(|| Ok("fine".to_owned())), Trial::Said(Ok("fine".to_owned())));
        assert_eq!(in_child(|| Err("EPERM".to_owned())), Trial::Said(Err("EPERM".to_owned())));
        let killed = in_child(|| {
            let _ = nix::sys::signal::raise(Signal::SIGKILL);
            Ok(String::new())
        });
        assert_eq!(killed, Trial::Killed(Signal::SIGKILL));
        assert_eq!(in_child(|| exit_now(3)), Trial::Failed("the trial said nothing".to_owned()));
    }

    #[test]
    fn a_panic_stays_in_the_child() {
        assert_eq!(in_child(|| std::panic::resume_unwind(Box::new(()))), Trial::Said(Err("the trial panicked".to_owned())));
    }
}
