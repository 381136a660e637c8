//! Bytes on their way from a fast side to a slow one.

use std::os::fd::AsFd;

use nix::{errno::Errno, unistd::write};

/// Bytes that wait for the slow side. While they do, the fast side is not read.
const MOST: usize = 256 << 10;

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    written: usize,
}

/// How writing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All, or as much as the other side took.
    Some,
    /// The other side has gone.
    Gone,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() < MOST
    }

    /// To append to.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        // What is written already makes room, once it is worth the move.
        if self.written >= MOST {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        &mut self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }

    /// Writes as much as the other side takes, at most `most` bytes.
    pub(super) fn write_to(&mut self, to: impl AsFd, most: usize) -> Result<Written, Errno> {
        let mut left = most;
        while left > 0 && self.written < self.bytes.len() {
            let end = self.bytes.len().min(self.written.saturating_add(left));
            match write(&to, self.bytes.get(self.written..end).unwrap_or_default()) {
                Ok(count) => {
                    self.written += count;
                    left -= count;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EIO) => {
                    self.clear();
                    return Ok(Written::Gone);
                }
                Err(errno) => return Err(errno),
            }
        }
        if self.written == self.bytes.len() {
            self.clear();
        }
        Ok(Written::Some)
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The other side has gone.
    Gone,
}

/// Reads a terminal once.
pub(super) fn read(from: impl AsFd, chunk: &mut [u8]) -> Result<Got, Errno> {
    match nix::unistd::read(from, chunk) {
        Ok(0) | Err(Errno::EIO) => Ok(Got::Gone),
        Ok(count) => Ok(Got::Bytes(count)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Got::Nothing),
        Err(errno) => Err(errno),
    }
}
