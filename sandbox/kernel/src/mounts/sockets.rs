//! Socket files of processes outside that would be seen in the box: Docker's, a database's, an agent's that holds keys.
//!
//! A read-only mount does not keep anybody from connecting to a socket file, and Landlock before ABI 9 does not either. So every socket
//! file that is bound at the start and lies outside of the box's own folders is masked. One that is bound later is not; nor is one that was
//! bound by a relative path or in another network namespace, which the kernel does not tell.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::{Path, PathBuf},
};

/// The kernel's list for the network namespace of the reader: read it before entering the box's.
const LIST: &str = "/proc/self/net/unix";

/// Columns before the path.
const COLUMNS: usize = 7;

/// The socket files that are bound now, by their real paths.
pub(crate) fn bound() -> Vec<PathBuf> {
    // Without /proc there is no box either, and that is said elsewhere.
    let list = fs::read(LIST).unwrap_or_default();
    let mut found: Vec<PathBuf> = list.split(|byte| *byte == b'\n').filter_map(path_of).filter_map(real).collect();
    found.sort();
    found.dedup();
    found
}

fn path_of(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    for _ in 0..COLUMNS {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        rest = rest.get(end..)?;
    }
    // One space, then the path with whatever is in it. Abstract names begin with `@`.
    let path = rest.get(1..)?;
    path.starts_with(b"/").then(|| Path::new(std::ffi::OsStr::from_bytes(path)))
}

fn real(path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    fs::symlink_metadata(&real).is_ok_and(|meta| meta.file_type().is_socket()).then_some(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_socket_is_found_by_its_real_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("with a space");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(bound().contains(&path), "{:?}", bound());
    }

    #[test]
    fn lines_of_all_kinds_are_read() {
        let line = |text: &'static str| path_of(text.as_bytes()).map(|path| path.to_str().unwrap());
        assert_eq!(line("0000000000000000: 00000002 00000000 00010000 0001 01 20134 /run/a b"), Some("/run/a b"));
        assert_eq!(line("0000000000000000: 00000002 00000000 00010000 0001 01    34 @abstract"), None);
        assert_eq!(line("0000000000000000: 00000003 00000000 00000000 0001 03 18271"), None);
        assert_eq!(line("Num       RefCount Protocol Flags    Type St Inode Path"), None);
        assert_eq!(line(""), None);
    }
}
