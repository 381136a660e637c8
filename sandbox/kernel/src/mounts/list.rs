//! Where something is mounted.

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

/// Every mount of this process's view; `proc` is a `/proc` that shows this process.
pub(crate) fn mounted(proc: BorrowedFd<'_>) -> Result<Vec<PathBuf>, Errno> {
    let mut text = Vec::new();
    let list = openat(proc, "self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(list).take(LONGEST).read_to_end(&mut text).map_err(|_| Errno::EIO)?;
    let at = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(|field| PathBuf::from(OsString::from_vec(unescaped(field))));
    Ok(text.split(|byte| *byte == b'\n').filter_map(at).collect())
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
