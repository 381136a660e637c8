//! A copy, within limits: holes stay holes, and it is hashed while it is read.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    fs::{self, SeekFrom},
    io::{self, Errno},
};

use super::{Held, Pass, Task, create, stamp};
use crate::{crash::step, error::Why, facts, record::Digest};

/// Bytes a read, and a block of the digest.
const BLOCK: usize = 64 * 1024;

/// What is all zeros is left a hole, in units of this.
const PAGE: usize = 4096;

/// Copies below this do not ask how full the file system is: the kernel says it soon enough.
const SMALL: u64 = 1 << 20;

/// On a small file system this part of it is left alone, instead of the settings' floor.
const FLOOR_PART: u64 = 20;

/// Tries, where somebody writes to it meanwhile.
const TRIES: usize = 2;

pub(super) fn keep(task: &mut Task<'_>) -> Result<Held, Pass> {
    may_copy(task).map_err(Pass::Stop)?;
    for _ in 0..TRIES {
        let object = create(task.folder, task.name).map_err(Pass::io("making an object"))?;
        let copied = copy_content(task.file, object.as_fd(), task.facts.size).and_then(|digest| stamp(object.as_fd(), task.facts.mtime).map(|()| digest));
        // Its ctime says less: a rename changes it too, and as often as somebody likes.
        let unchanged = facts::look(task.file).is_ok_and(|(_, now)| (now.size, now.mtime) == (task.facts.size, task.facts.mtime));
        match copied {
            Ok(digest) if unchanged => return Ok(Held { digest: Some(digest), leased: false }),
            Ok(_) => fs::unlinkat(task.folder, task.name, fs::AtFlags::empty()).map_err(Pass::io("taking an object back"))?,
            Err(error) => {
                fs::unlinkat(task.folder, task.name, fs::AtFlags::empty()).map_err(Pass::io("taking an object back"))?;
                return Err(Pass::Stop(Why::Io { what: "copying", error }));
            }
        }
    }
    Err(Pass::Stop(Why::Changing))
}

/// Whether a copy of it is within the limits.
pub(crate) fn may_copy(task: &Task<'_>) -> Result<(), Why> {
    let bytes = task.facts.stored.min(task.facts.size);
    if bytes > task.settings.copy_file {
        return Err(Why::TooBig { bytes, most: task.settings.copy_file, because: String::new() });
    }
    if task.copied.saturating_add(bytes) > task.settings.copy_session {
        return Err(Why::CopiesUsedUp { most: task.settings.copy_session });
    }
    if bytes > SMALL {
        let disk = fs::fstatvfs(task.folder).map_err(Why::io("asking for free room"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let floor = task.settings.floor.min(disk.f_blocks.saturating_mul(disk.f_frsize) / FLOOR_PART);
        if free.saturating_sub(bytes) < floor {
            return Err(Why::DiskFull { free, floor });
        }
    }
    Ok(())
}

/// Copies all content and hashes it.
pub(crate) fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<Digest, Errno> {
    let digest = blocks(from, size, |at, block| {
        step("copy a part")?;
        let mut start = 0usize;
        // Runs of pages that hold something, each written at once.
        for run in block.chunks(PAGE).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let length: usize = run.iter().map(|page| page.len()).sum();
            if run.first().is_some_and(|page| !is_zero(page)) {
                write_all(to, block.get(start..start + length).ok_or(Errno::IO)?, at + start as u64)?;
            }
            start += length;
        }
        Ok(())
    })?;
    // Where it ends in a hole, nothing has made it long enough.
    fs::ftruncate(to, size)?;
    Ok(digest)
}

/// Hashes a content.
pub(crate) fn hash_content(from: BorrowedFd<'_>, size: u64) -> Result<Digest, Errno> {
    blocks(from, size, |_, _| Ok(()))
}

/// Reads all blocks that are not holes, hands on those that are not all zeros, and hashes: BLAKE3 of the size and of each such block
/// behind its offset. So a hole of a terabyte costs nothing, and holes and zeros hash to the same.
fn blocks(from: BorrowedFd<'_>, size: u64, mut each: impl FnMut(u64, &[u8]) -> Result<(), Errno>) -> Result<Digest, Errno> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut buffer = vec![0u8; usize::try_from(size).unwrap_or(BLOCK).min(BLOCK)];
    let mut at = 0u64;
    while at < size {
        let data = next_data(from, at, size)?;
        at = data - data % BLOCK as u64;
        if data == size {
            break;
        }
        let most = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
        let block = buffer.get_mut(..most).ok_or(Errno::IO)?;
        read_all(from, block, at)?;
        if !is_zero(block) {
            hasher.update(&at.to_le_bytes());
            hasher.update(block);
            each(at, block)?;
        }
        at += most as u64;
    }
    Ok(hasher.finalize().into())
}

fn is_zero(bytes: &[u8]) -> bool {
    let chunks = bytes.chunks_exact(16);
    let rest = chunks.remainder();
    let mut chunks = chunks;
    chunks.all(|chunk| chunk == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

/// Where the next data is.
fn next_data(file: BorrowedFd<'_>, at: u64, size: u64) -> Result<u64, Errno> {
    match fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data.clamp(at, size)),
        // Nothing but a hole until the end.
        Err(Errno::NXIO) => Ok(size),
        // A file system that does not know: all is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(at),
        Err(error) => Err(error),
    }
}

fn read_all(from: BorrowedFd<'_>, mut into: &mut [u8], mut at: u64) -> Result<(), Errno> {
    while !into.is_empty() {
        match io::pread(from, &mut *into, at) {
            // Shorter than it was: the caller sees that it changed.
            Ok(0) => return Err(Errno::IO),
            Ok(got) => {
                into = into.get_mut(got..).unwrap_or_default();
                at += got as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match io::pwrite(to, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(done) => {
                bytes = bytes.get(done..).unwrap_or_default();
                at += done as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
