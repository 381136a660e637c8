//! What is in a layer, told as what would happen to the tree: made, changed, removed.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chmodat, fchmod, fgetxattr, openat, statat};
use serde::Serialize;

use super::{DEEPEST, Layers};

/// Entries of a layer that are told of; a dependency's folder has tens of thousands.
const MOST: usize = 500_000;

/// What the layer does to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Nothing was there.
    Made,
    /// Something was there, and is another one now.
    Changed,
    /// It is gone.
    Removed,
}

impl Effect {
    pub(crate) const fn letter(self) -> char {
        match self {
            Effect::Made => 'A',
            Effect::Changed => 'M',
            Effect::Removed => 'D',
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    pub(crate) effect: Effect,
    pub(crate) bytes: u64,
}

/// All changes, and whether there are more.
pub(crate) fn of(layers: &Layers) -> io::Result<(Vec<Change>, bool)> {
    let mut found = Vec::new();
    for tree in layers.trees() {
        let upper = folder(CWD, tree.upper.as_os_str())?;
        let lower = folder(CWD, tree.tree.as_os_str()).ok();
        walk(upper.as_fd(), lower.as_ref().map(OwnedFd::as_fd), &tree.tree, 0, &mut found)?;
    }
    let cut = found.len() >= MOST;
    Ok((found, cut))
}

fn walk(upper: BorrowedFd<'_>, lower: Option<BorrowedFd<'_>>, path: &Path, depth: usize, found: &mut Vec<Change>) -> io::Result<()> {
    for name in names(upper)? {
        if found.len() >= MOST || depth > DEEPEST {
            return Ok(());
        }
        let here = path.join(&name);
        let new = look(upper, &name)?.ok_or(io::ErrorKind::NotFound)?;
        let old = lower.map(|lower| look(lower, &name)).transpose()?.flatten();
        let bytes = u64::try_from(new.st_size).unwrap_or(0);
        if is_removal(&new) {
            if old.is_some() {
                found.push(Change { path: here, effect: Effect::Removed, bytes: 0 });
            }
            continue;
        }
        if kind(&new) != FileType::Directory {
            found.push(Change { path: here, effect: if old.is_some() { Effect::Changed } else { Effect::Made }, bytes });
            continue;
        }
        let inner = opened(upper, &name, &new)?;
        let stays = old.filter(|old| kind(old) == FileType::Directory && !is_opaque(inner.as_fd()));
        match (old, stays) {
            (None, _) => found.push(Change { path: here.clone(), effect: Effect::Made, bytes: 0 }),
            (Some(_), None) => found.push(Change { path: here.clone(), effect: Effect::Changed, bytes: 0 }),
            (Some(old), Some(_)) if attributes(&old) != attributes(&new) => found.push(Change { path: here.clone(), effect: Effect::Changed, bytes: 0 }),
            (Some(_), Some(_)) => {}
        }
        let below = stays.and_then(|_| lower.and_then(|lower| folder(lower, &name).ok()));
        let walked = walk(inner.as_fd(), below.as_ref().map(OwnedFd::as_fd), &here, depth + 1, found);
        if new.st_mode & 0o700 != 0o700 {
            // Looking changes nothing.
            fchmod(&inner, Mode::from_raw_mode(new.st_mode & 0o7777))?;
        }
        walked?;
    }
    Ok(())
}

/// Mode, owner and group.
pub(super) fn attributes(stat: &Stat) -> (u32, u32, u32) {
    (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// In a layer a removed name is a device that is none.
pub(super) fn is_removal(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a folder of the layer hides the one below.
pub(super) fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0; 4];
    fgetxattr(folder, c"user.overlay.opaque", &mut value).is_ok_and(|length| value.get(..length) == Some(b"y"))
}

/// What has a name, not followed.
pub(super) fn look(folder: BorrowedFd<'_>, name: &OsString) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A folder, opened for reading and never through a link.
pub(super) fn folder(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    Ok(openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder of the layer, which the box can have shut to its own user.
pub(super) fn opened(upper: BorrowedFd<'_>, name: &OsString, stat: &Stat) -> io::Result<OwnedFd> {
    if stat.st_mode & 0o700 != 0o700 {
        chmodat(upper, name, Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700), AtFlags::empty())?;
    }
    folder(upper, name)
}

/// Every name in a folder, in order.
pub(super) fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(OsString::from_vec(name));
        }
    }
    found.sort();
    Ok(found)
}
