//! Makes a layer real: each change once, after what it would lose is kept, and nothing over what others changed meanwhile.
//!
//! What has been applied leaves the layer with the same rename. So a run that is cut off anywhere is gone on with by the next one.

use std::{
    cell::Cell,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use agentbox_vault::{Kept, Loss, Session, Subject};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr,
        fremovexattr, fsetxattr, futimens, mkdirat, mknodat, openat, readlinkat, renameat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    DEEPEST, Layers,
    changes::{attributes, folder, is_opaque, is_removal, kind, look, names, opened},
};
use crate::files::keep::keep_or_tell;

/// What is done where others changed something since the box began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflicts {
    /// It stays as it is, and so does the layer's.
    Stay,
    /// The layer's counts.
    AreOverwritten,
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) made: usize,
    pub(crate) changed: usize,
    pub(crate) removed: usize,
    /// Changed by others since the box began.
    pub(crate) conflicts: Vec<PathBuf>,
    /// Not done, and why.
    pub(crate) failed: Vec<(PathBuf, String)>,
}

/// Applies all layers of a box, which is over.
pub(crate) fn apply(layers: &Layers, vault: &Session, conflicts: Conflicts) -> Report {
    let mut work = Work { began: layers.began(), vault, conflicts, report: Report::default(), next: Cell::new(0) };
    for tree in layers.trees() {
        let both = folder(CWD, tree.upper.as_os_str()).and_then(|upper| Ok((upper, folder(CWD, tree.tree.as_os_str())?)));
        match both {
            Ok((upper, lower)) => work.fold(upper.as_fd(), lower.as_fd(), &tree.tree, 0),
            Err(error) => work.report.failed.push((tree.tree, error.to_string())),
        }
    }
    work.report
}

struct Work<'v> {
    began: (i64, i64),
    vault: &'v Session,
    conflicts: Conflicts,
    report: Report,
    next: Cell<u64>,
}

/// Why one change is not made.
enum Not {
    Conflict,
    Failed(String),
}

impl From<io::Error> for Not {
    fn from(error: io::Error) -> Self {
        Not::Failed(error.to_string())
    }
}

impl From<Errno> for Not {
    fn from(errno: Errno) -> Self {
        Not::Failed(io::Error::from(errno).to_string())
    }
}

impl Work<'_> {
    fn fold(&mut self, upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, path: &Path, depth: usize) {
        let names = match names(upper) {
            Ok(names) if depth <= DEEPEST => names,
            Ok(_) => return self.report.failed.push((path.to_owned(), "too many folders in each other".to_owned())),
            Err(error) => return self.report.failed.push((path.to_owned(), error.to_string())),
        };
        for name in names {
            let here = path.join(&name);
            match self.one(upper, lower, &name, &here, depth) {
                Ok(()) => {}
                Err(Not::Conflict) => self.report.conflicts.push(here),
                Err(Not::Failed(why)) => self.report.failed.push((here, why)),
            }
        }
    }

    fn one(&mut self, upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, name: &OsString, path: &Path, depth: usize) -> Result<(), Not> {
        let new = look(upper, name)?.ok_or(Errno::NOENT)?;
        let old = look(lower, name)?;
        if is_removal(&new) {
            if let Some(old) = old {
                self.remove(lower, name, &old, path)?;
                self.report.removed += 1;
            }
            return Ok(unlinkat(upper, name, AtFlags::empty())?);
        }
        if kind(&new) == FileType::Directory {
            return self.a_folder(upper, lower, name, path, (&new, old), depth);
        }
        let kept = match &old {
            Some(old) if kind(old) == FileType::Directory => {
                self.remove(lower, name, old, path)?;
                None
            }
            Some(old) => {
                self.untouched(old)?;
                self.keep(lower, name, path)?
            }
            None => {
                // It is older than this session, and gets a name in the tree.
                let object = openat(upper, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                Some(self.vault.linked(object.as_fd(), lower, path).map_err(|not| Not::Failed(not.to_string()))?)
            }
        };
        let put = self.put(upper, lower, name, &new);
        match kept {
            Some(kept) if put.is_err() => kept.failed(),
            kept => drop(kept),
        }
        put?;
        if old.is_some() {
            self.report.changed += 1
        } else {
            self.report.made += 1
        }
        Ok(())
    }

    fn a_folder(
        &mut self,
        upper: BorrowedFd<'_>,
        lower: BorrowedFd<'_>,
        name: &OsString,
        path: &Path,
        (new, old): (&Stat, Option<Stat>),
        depth: usize,
    ) -> Result<(), Not> {
        let inner = opened(upper, name, new)?;
        let stays = match old {
            Some(old) if kind(&old) == FileType::Directory && !is_opaque(inner.as_fd()) => Some(old),
            Some(old) => {
                self.remove(lower, name, &old, path)?;
                self.report.changed += 1;
                None
            }
            None => {
                self.report.made += 1;
                None
            }
        };
        if stays.is_none() {
            self.vault.made(lower, path).map_err(|not| Not::Failed(not.to_string()))?;
            mkdirat(lower, name, Mode::RWXU)?;
        }
        let below = folder(lower, name)?;
        self.fold(inner.as_fd(), below.as_fd(), path, depth + 1);
        match stays {
            None => {
                dress(inner.as_fd(), below.as_fd(), new)?;
            }
            Some(old) if attributes(&old) != attributes(new) => {
                let kept = self.vault.changed_metadata(below.as_fd(), path).map_err(|not| Not::Failed(not.to_string()))?;
                owned(below.as_fd(), &old, new)?;
                fchmod(&below, Mode::from_raw_mode(new.st_mode & 0o7777))?;
                drop(kept);
                self.report.changed += 1;
            }
            Some(_) => {}
        }
        match unlinkat(upper, name, AtFlags::REMOVEDIR) {
            // What could not be applied is still in it.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether nobody changed it since the box began.
    fn untouched(&self, old: &Stat) -> Result<(), Not> {
        let since = (old.st_ctime, i64::try_from(old.st_ctime_nsec).unwrap_or(i64::MAX));
        if self.conflicts == Conflicts::Stay && since >= self.began { Err(Not::Conflict) } else { Ok(()) }
    }

    fn keep(&self, lower: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<Kept<'_>>, Not> {
        let object = openat(lower, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let subject = Subject { object: object.as_fd(), folder: Some(lower), path, loss: Loss::Name };
        keep_or_tell(self.vault, &subject).map_err(|not| Not::Failed(not.to_string()))
    }

    /// Takes a thing of the tree away, with all that is in it, unless others changed something of it.
    fn remove(&self, lower: BorrowedFd<'_>, name: &OsString, old: &Stat, path: &Path) -> Result<(), Not> {
        self.all_untouched(lower, name, old, 0)?;
        self.take_away(lower, name, old, path, 0)
    }

    fn all_untouched(&self, lower: BorrowedFd<'_>, name: &OsString, old: &Stat, depth: usize) -> Result<(), Not> {
        self.untouched(old)?;
        if kind(old) == FileType::Directory && depth <= DEEPEST {
            let inner = folder(lower, name)?;
            for name in names(inner.as_fd())? {
                if let Some(old) = look(inner.as_fd(), &name)? {
                    self.all_untouched(inner.as_fd(), &name, &old, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn take_away(&self, lower: BorrowedFd<'_>, name: &OsString, old: &Stat, path: &Path, depth: usize) -> Result<(), Not> {
        let is_folder = kind(old) == FileType::Directory;
        if is_folder && depth <= DEEPEST {
            let inner = folder(lower, name)?;
            for name in names(inner.as_fd())? {
                if let Some(old) = look(inner.as_fd(), &name)? {
                    self.take_away(inner.as_fd(), &name, &old, &path.join(&name), depth + 1)?;
                }
            }
        }
        let kept = self.keep(lower, name, path)?;
        unlinkat(lower, name, if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() })?;
        drop(kept);
        Ok(())
    }

    /// Moves a thing that is no folder from the layer into the tree, over what has its name.
    fn put(&self, upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, name: &OsString, new: &Stat) -> Result<(), Not> {
        if kind(new) == FileType::RegularFile {
            without_notes(upper, name, new)?;
        }
        match renameat(upper, name, lower, name) {
            Ok(()) => return Ok(()),
            Err(Errno::XDEV) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.next.set(self.next.get() + 1);
        let passing = OsString::from(format!(".agentbox-applying-{}-{}", std::process::id(), self.next.get()));
        let made = copied(upper, lower, name, &passing, new).and_then(|()| Ok(renameat(lower, &passing, lower, name)?));
        if let Err(error) = made {
            let _ = unlinkat(lower, &passing, AtFlags::empty());
            return Err(error.into());
        }
        Ok(unlinkat(upper, name, AtFlags::empty())?)
    }
}

/// Takes overlayfs's own notes off a file, which mean nothing outside of the layer.
fn without_notes(upper: BorrowedFd<'_>, name: &OsString, new: &Stat) -> Result<(), Errno> {
    if new.st_mode & 0o600 != 0o600 {
        chmodat(upper, name, Mode::from_raw_mode(new.st_mode & 0o7777 | 0o600), AtFlags::empty())?;
    }
    let file = openat(upper, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    for note in noted(file.as_fd())?.into_iter().filter(|note| note.starts_with(b"user.overlay.")) {
        fremovexattr(&file, note.as_slice())?;
    }
    if new.st_mode & 0o600 != 0o600 {
        fchmod(&file, Mode::from_raw_mode(new.st_mode & 0o7777))?;
    }
    Ok(())
}

/// The names of the extended attributes that a user may set.
fn noted(file: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut list = vec![0_u8; 64 << 10];
    let length = match flistxattr(file, list.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    Ok(names.filter(|name| name.starts_with(b"user.")).map(<[u8]>::to_vec).collect())
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps { last_access: time(stat.st_atime, stat.st_atime_nsec), last_modification: time(stat.st_mtime, stat.st_mtime_nsec) }
}

fn owned(file: BorrowedFd<'_>, old: &Stat, new: &Stat) -> Result<(), Errno> {
    if (old.st_uid, old.st_gid) == (new.st_uid, new.st_gid) {
        return Ok(());
    }
    fchown(file, Some(Uid::from_raw(new.st_uid)), Some(Gid::from_raw(new.st_gid)))
}

/// Gives a thing what its model in the layer has: attributes, owner, mode, times.
fn dress(model: BorrowedFd<'_>, thing: BorrowedFd<'_>, new: &Stat) -> Result<(), Errno> {
    for name in noted(model)?.into_iter().filter(|name| !name.starts_with(b"user.overlay.")) {
        let mut value = vec![0_u8; 64 << 10];
        let length = fgetxattr(model, name.as_slice(), value.as_mut_slice())?;
        fsetxattr(thing, name.as_slice(), value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    let own = rustix::fs::fstat(thing)?;
    owned(thing, &own, new)?;
    fchmod(thing, Mode::from_raw_mode(new.st_mode & 0o7777))?;
    futimens(thing, &times(new))
}

/// Copies a thing that is no folder, where the tree is on another file system than the layer.
fn copied(upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, name: &OsStr, to: &OsStr, new: &Stat) -> io::Result<()> {
    let at = |flags: OFlags, mode: Mode, folder: BorrowedFd<'_>, name: &OsStr| -> io::Result<OwnedFd> {
        Ok(openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?)
    };
    match kind(new) {
        FileType::RegularFile => {
            let mut from = File::from(at(OFlags::RDONLY, Mode::empty(), upper, name)?);
            let mut into = File::from(at(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR, lower, to)?);
            io::copy(&mut from, &mut into)?;
            into.sync_all()?;
            Ok(dress(from.as_fd(), into.as_fd(), new)?)
        }
        FileType::Symlink => {
            symlinkat(readlinkat(upper, name, Vec::new())?, lower, to)?;
            chownat(lower, to, Some(Uid::from_raw(new.st_uid)), Some(Gid::from_raw(new.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(utimensat(lower, to, &times(new), AtFlags::SYMLINK_NOFOLLOW)?)
        }
        FileType::Fifo => Ok(mknodat(lower, to, FileType::Fifo, Mode::from_raw_mode(new.st_mode & 0o7777), 0)?),
        FileType::Socket | FileType::Directory | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            Err(io::Error::other("a socket or a device stays in the layer"))
        }
    }
}
