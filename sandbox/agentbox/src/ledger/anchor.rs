//! The anchor: how many entries there are, how long the file is, and the seal of the last one, kept beside the ledger.
//!
//! It is written only after what it speaks of is on disk, so after a power cut it may be behind the ledger, never ahead of it. One
//! record of fixed size, written in place by one call within one sector: a reader or a crash meets the old one or the new one.

use std::{fs::File, io, os::unix::fs::FileExt};

use agentbox_core::ledger::GENESIS;
use serde::{Deserialize, Serialize};

/// Size of the record: below a sector of 512 bytes.
const SIZE: usize = 256;

/// The head of what is surely on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anchor {
    /// Entries.
    pub(crate) count: u64,
    /// Bytes of the file of entries.
    pub(crate) length: u64,
    /// Seal of the last entry.
    pub(crate) seal: String,
}

impl Anchor {
    /// The anchor of an empty ledger.
    pub(crate) fn genesis() -> Self {
        Self { count: 0, length: 0, seal: GENESIS.to_owned() }
    }

    /// The anchor in `file`; `None` where there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut chunk = [0; SIZE * 2];
        let read = file.read_at(&mut chunk, 0)?;
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if bytes.is_empty() {
            return Ok(None);
        }
        let not_one = || io::Error::new(io::ErrorKind::InvalidData, "it is no anchor");
        let anchor: Self = serde_json::from_slice(&bytes).map_err(|_| not_one())?;
        // Only what we would have written ourselves: any changed byte is seen.
        if anchor.record() == bytes { Ok(Some(anchor)) } else { Err(not_one()) }
    }

    /// Puts it into `file`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.record(), 0)
    }

    fn record(&self) -> Vec<u8> {
        // Numbers and 64 hexadecimal digits: never longer than SIZE.
        let mut record = serde_json::to_vec(self).unwrap_or_default();
        record.resize(SIZE - 1, b' ');
        record.push(b'\n');
        record
    }
}
