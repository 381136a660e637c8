//! The files of a workspace that people write: bounded, without following links.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

/// Of one file: secrets lie near the beginning of what people write.
pub(crate) const LONGEST: u64 = 1 << 20;

/// Folders whose files nobody writes by hand.
const PASSED_OVER: &[&str] = &["node_modules", "target", "objects", "__pycache__", ".venv", "venv"];

/// What lies in a folder, but for folders that nobody writes by hand; in order of their names.
pub(crate) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().filter(|entry| !PASSED_OVER.iter().any(|name| entry.file_name() == *name)).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

/// The first bytes of a regular file. A link or a pipe that has come in its place is not waited for.
pub(crate) fn beginning(path: &Path) -> Option<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The same, where it is text.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = beginning(path)?;
    if bytes.contains(&0) { None } else { Some(String::from_utf8_lossy(&bytes).into_owned()) }
}
