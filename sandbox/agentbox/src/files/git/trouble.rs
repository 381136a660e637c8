//! Why something in a git directory could not be read, and how much work one judgement may take.

use std::time::{Duration, Instant};

use rustix::io::Errno;

/// Longest time that one judgement may take; a held process waits for it.
const LONGEST: Duration = Duration::from_secs(5);
/// Most objects that one judgement may read. A repository with a longer history is judged without knowing it all.
const MOST_OBJECTS: u32 = 100_000;
/// Most bytes, uncompressed, that one judgement may read.
const MOST_BYTES: u64 = 1 << 30;

/// What stood in the way. Whoever meets one judges as if the worst were true.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The repository is larger than one judgement may take.
    #[error("the repository is too large to check in time")]
    Bound,
    /// A file is not what git would have written.
    #[error("{0} cannot be understood")]
    Malformed(&'static str),
    /// A file that was made in this session could become another one, and nobody would be asked.
    #[error("{0} is open for writing or has another name, so that it could become another one unseen")]
    Unsteady(&'static str),
    /// Objects that history mentions are not here: a shallow, partial or borrowing repository.
    #[error("parts of the history are not in this repository")]
    Incomplete,
    /// The kernel refused.
    #[error("{0} cannot be read")]
    Unreadable(&'static str, #[source] Errno),
}

/// What is left of the work that one judgement may take.
#[derive(Debug)]
pub(crate) struct Budget {
    until: Instant,
    objects: u32,
    bytes: u64,
}

impl Budget {
    /// The full measure, from now.
    pub(crate) fn new() -> Self {
        Self { until: Instant::now() + LONGEST, objects: MOST_OBJECTS, bytes: MOST_BYTES }
    }

    /// Pays for one object of so many bytes.
    pub(crate) fn object(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.objects = self.objects.checked_sub(1).ok_or(Trouble::Bound)?;
        self.bytes(bytes)
    }

    /// Pays for reading so many bytes.
    pub(crate) fn bytes(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.bytes = u64::try_from(bytes).ok().and_then(|bytes| self.bytes.checked_sub(bytes)).ok_or(Trouble::Bound)?;
        if Instant::now() > self.until { Err(Trouble::Bound) } else { Ok(()) }
    }
}
