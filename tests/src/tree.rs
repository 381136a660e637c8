//! A folder as it is, to be compared with what it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// What one name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What is in it: a file's bytes, a link's target, or what else it is.
    pub content: Content,
    /// Mode with its kind, owner, group.
    pub ids: (u32, u32, u32),
    /// Of files and links, in seconds and nanoseconds.
    pub modified: Option<(i64, i64)>,
}

/// What is in it.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File(Vec<u8>),
    /// A symbolic link.
    Link(PathBuf),
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Other,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::File(bytes) => write!(f, "{} bytes", bytes.len()),
            Content::Link(to) => write!(f, "-> {}", to.display()),
            Content::Folder => f.write_str("folder"),
            Content::Other => f.write_str("other"),
        }
    }
}

/// Everything below a folder, by its path in it.
///
/// # Panics
/// Something cannot be read.
#[must_use]
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().expect("its metadata");
            let kind = meta.file_type();
            let content = if kind.is_dir() {
                folders.push(path.clone());
                Content::Folder
            } else if kind.is_symlink() {
                Content::Link(fs::read_link(&path).expect("a link"))
            } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
                Content::Other
            } else {
                Content::File(fs::read(&path).expect("a file"))
            };
            let modified = (!kind.is_dir()).then(|| (meta.mtime(), meta.mtime_nsec()));
            let node = Node { content, ids: (meta.mode(), meta.uid(), meta.gid()), modified };
            found.insert(path.strip_prefix(root).expect("it lies below").to_owned(), node);
        }
    }
    found
}
