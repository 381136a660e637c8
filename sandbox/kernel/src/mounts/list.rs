//! What is mounted, and where.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    os::{fd::BorrowedFd, unix::ffi::OsStringExt as _},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

/// The list of a machine with many containers, in bytes.
const LONGEST: u64 = 4 << 20;

/// A mount.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// Its number, as `statx` has it.
    pub(crate) id: u64,
    /// Its file system's device, `8:1`.
    pub(crate) device: String,
    /// The folder of its file system that is mounted.
    pub(crate) root: PathBuf,
    /// Where.
    pub(crate) at: PathBuf,
}

/// Every mount of this process's view; `proc` is a `/proc` that shows this process.
pub(crate) fn all(proc: BorrowedFd<'_>) -> Result<Vec<Mounted>, Errno> {
    let mut text = Vec::new();
    let list = openat(proc, "self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(list).take(LONGEST).read_to_end(&mut text).map_err(|_| Errno::EIO)?;
    let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescaped(field)));
    let mount = |line: &[u8]| {
        // Number, parent's number, device, root, place.
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
        Some(Mounted { id, device, root: path(fields.next()?), at: path(fields.next()?) })
    };
    Ok(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
}

/// Where something is mounted, of the same.
pub(crate) fn mounted(proc: BorrowedFd<'_>) -> Result<Vec<PathBuf>, Errno> {
    Ok(all(proc)?.into_iter().map(|mount| mount.at).collect())
}

/// The kernel writes spaces, tabs, newlines and backslashes in octal.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd as _, path::Path};

    use super::*;

    #[test]
    fn odd_names_are_read_as_they_are() {
        assert_eq!(unescaped(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescaped(br"/a\9\04"), br"/a\9\04");
    }

    #[test]
    fn the_mounts_are_found() {
        let mounted = mounted(File::open("/proc").unwrap().as_fd()).unwrap();
        assert!(mounted.iter().any(|at| at == Path::new("/proc")) && mounted.iter().any(|at| at == Path::new("/")), "{mounted:?}");
    }
}
