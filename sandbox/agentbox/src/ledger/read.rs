//! Reads the ledger: line by line with a bound, and checks all of it against seals and anchor.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use agentbox_core::ledger::Entry;

use super::{
    ANCHOR, ENTRIES, LONGEST_LINE, LedgerError,
    anchor::Anchor,
    chain::{Follows, cut},
    place::{self, Sharing, io_error},
};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// One line of the file.
#[derive(Debug)]
pub(crate) enum Line {
    /// With its end, which is left out.
    Whole {
        /// The line.
        bytes: Vec<u8>,
        /// Where it starts.
        at: u64,
    },
    /// The last one, without its end.
    Torn {
        /// How much of it there is.
        length: u64,
    },
    /// Longer than any entry.
    TooLong {
        /// Where it starts.
        at: u64,
    },
}

/// The lines of the file from somewhere on.
pub(crate) struct Lines<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where in the file the buffer starts.
    at: u64,
    ended: bool,
}

impl<'a> Lines<'a> {
    /// The lines from byte `at` on.
    pub(crate) fn from(file: &'a File, at: u64) -> Self {
        Self { file, buffer: Vec::new(), at, ended: false }
    }

    /// The next one. After `Torn` or `TooLong` there is nothing more to read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let at = self.at;
                let bytes = self.buffer.drain(..=end).take(end).collect();
                self.at += end as u64 + 1;
                return Ok(Some(Line::Whole { bytes, at }));
            }
            if self.buffer.len() > LONGEST_LINE {
                self.ended = true;
                return Ok(Some(Line::TooLong { at: self.at }));
            }
            let mut chunk = vec![0; CHUNK];
            let read = self.file.read_at(&mut chunk, self.at + self.buffer.len() as u64)?;
            if read == 0 {
                self.ended = true;
                let length = self.buffer.len() as u64;
                return Ok((length > 0).then_some(Line::Torn { length }));
            }
            self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
    }
}

/// What a check of the whole ledger found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Entries that are sealed to each other from the first on.
    pub(crate) entries: u64,
    /// Of these, how many the anchor vouches for.
    pub(crate) anchored: u64,
    /// Seal of the last good entry.
    pub(crate) seal: String,
    /// What is wrong, if anything is.
    pub(crate) problem: Option<String>,
}

impl Report {
    /// Entries that follow the anchor: written, and perhaps not on disk yet.
    pub(crate) fn unsynced(&self) -> u64 {
        self.entries.saturating_sub(self.anchored)
    }
}

/// Opens the file of entries for reading; `None` where there is no ledger yet.
///
/// # Errors
/// It is there and cannot be read, or its anchor is there and it is not.
pub(crate) fn open(folder: &Path) -> Result<Option<File>, LedgerError> {
    let path = folder.join(ENTRIES);
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.join(ANCHOR).exists() => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LedgerError::Broken(format!("{} is gone, its anchor is there", path.display()))),
        Err(source) => Err(io_error("opening", &path)(source)),
    }
}

/// Checks every entry of the ledger in `folder`, and its end against the anchor.
///
/// # Errors
/// It cannot be read. What is wrong with what was read is in the report.
pub(crate) fn verify(folder: &Path) -> Result<Report, LedgerError> {
    let path = folder.join(ENTRIES);
    let Some(entries) = open(folder)? else {
        return Ok(Report { entries: 0, anchored: 0, seal: Anchor::genesis().seal, problem: None });
    };
    // No writer moves while we read: what looks torn is torn.
    let _locked = place::lock(&entries, Sharing::Readers).map_err(io_error("locking", &path))?;
    let anchor_path = folder.join(ANCHOR);
    let anchor = File::open(&anchor_path).and_then(|file| Anchor::read(&file));
    let anchor = match anchor {
        Ok(Some(anchor)) => anchor,
        Ok(None) => return Ok(broken(Anchor::genesis(), 0, "its anchor is empty".to_owned())),
        Err(error) => return Ok(broken(Anchor::genesis(), 0, format!("its anchor {}: {error}", anchor_path.display()))),
    };
    let mut head = Anchor::genesis();
    let mut lines = Lines::from(&entries, 0);
    let problem = loop {
        if head.count == anchor.count && head != anchor {
            break Some(format!("entry {} is not the one that was anchored", head.count));
        }
        match lines.next().map_err(io_error("reading", &path))? {
            None => break None,
            Some(Line::Whole { bytes, at }) => match Entry::follows(&head, &bytes) {
                Ok(next) => head = next,
                Err(why) => break Some(format!("the entry after number {} (byte {at}) {why}", head.count)),
            },
            Some(Line::Torn { length }) => break Some(format!("after entry {} come {length} bytes that are no whole entry", head.count)),
            Some(Line::TooLong { at }) => break Some(format!("the line at byte {at} is longer than any entry")),
        }
    };
    let problem = match problem {
        Some(problem) if head.count >= anchor.count => {
            Some(format!("{problem}; it lies after the anchor: a crash while writing, or a change to what was not on disk yet. The next box sets it aside"))
        }
        Some(problem) => Some(problem),
        None if head.count < anchor.count => Some(cut(head.length, &anchor)),
        None => None,
    };
    Ok(Report { entries: head.count, anchored: anchor.count, seal: head.seal, problem })
}

fn broken(head: Anchor, anchored: u64, problem: String) -> Report {
    Report { entries: head.count, anchored, seal: head.seal, problem: Some(problem) }
}
