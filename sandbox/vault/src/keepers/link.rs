//! The inode itself, under a name in the vault: only where its last name goes, and a read lease proves that nobody can still write to it.
//!
//! A hard link shares the inode, so a write through any other door would reach the kept content. There is none: it had one name, which
//! goes; nobody has it open for writing or mapped so (the lease says), and the session answers a later open for writing of this inode,
//! which only `/proc/…/fd` could still name, by making a copy of it first.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{Held, Pass, Task};
use crate::{crash::step, facts, record::Loss};

pub(super) fn keep(task: &mut Task<'_>) -> Result<Held, Pass> {
    match task.loss {
        Loss::Name => {}
        Loss::Content => return Err(Pass::Next("a link would change with it")),
    }
    if task.facts.links != 1 {
        return Err(Pass::Next("it has other names, through which a linked copy would change"));
    }
    let (folder, name) = through_our_mount(task.root, task.path).map_err(|_| Pass::Next("its folder is not reachable from the vault"))?;
    // The caller's descriptor may be open for writing, which would refuse the lease: it is opened anew, for reading.
    let file = reopened(folder.as_fd(), name).map_err(|_| Pass::Next("it cannot be opened for reading"))?;
    if facts::identity(&file).map_err(Pass::io("looking at it"))? != task.id {
        return Err(Pass::Next("another file stands behind its name"));
    }
    (task.lease)(file.as_fd()).map_err(|_| Pass::Next("somebody has it open for writing, or no lease is to be had"))?;
    step("link").and_then(|()| fs::linkat(&folder, name, task.folder, task.name, AtFlags::empty())).map_err(|error| match error {
        Errno::EXIST => Pass::Stop(crate::error::Why::Io { what: "linking", error }),
        _ => Pass::Next("it cannot be linked into the vault"),
    })?;
    let linked = facts::look_at(task.folder, OsStr::new(task.name));
    match linked {
        // Two names now, both seen: the one that goes and ours. More means that somebody linked it meanwhile.
        Ok((id, facts)) if id == task.id && facts.links == 2 => Ok(Held { digest: None, lease: Some(file) }),
        Ok(_) | Err(_) => {
            fs::unlinkat(task.folder, task.name, AtFlags::empty()).map_err(Pass::io("taking a link back"))?;
            Err(Pass::Next("another file stood behind its name, or it got another name"))
        }
    }
}

fn reopened(folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()).or_else(|_| fs::openat(folder, name, flags, Mode::empty()))
}

/// The folder of a path, and the last name, through the mount that `root` was opened through. `linkat` wants both ends on one mount.
fn through_our_mount<'a>(root: BorrowedFd<'_>, path: &'a Path) -> rustix::io::Result<(OwnedFd, &'a OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let folder = path.parent().and_then(|folder| folder.strip_prefix("/").ok()).ok_or(Errno::INVAL)?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok((fs::openat2(root, folder, flags, Mode::empty(), beneath)?, name))
}
