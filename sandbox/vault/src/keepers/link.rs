//! The inode itself, under a name in the vault: only where its last name goes, and a read lease proves that nobody can still write to it.
//!
//! A hard link shares the inode, so a write through any other door would reach the kept content. There is none: it had one name, which
//! goes; nobody has it open for writing or mapped so (the lease says), and the session answers a later open for writing of this inode,
//! which only `/proc/…/fd` could still name, by making a copy of it first.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, OFlags},
    io::Errno,
};

use super::{Held, Pass, Task};
use crate::{crash::step, facts, folder, record::Loss};

pub(super) fn keep(task: &mut Task<'_>) -> Result<Held, Pass> {
    match task.loss {
        Loss::Name => {}
        Loss::Content => return Err(Pass::Next("a link would change with it")),
    }
    if task.facts.links != 1 {
        return Err(Pass::Next("it has other names, through which a linked copy would change"));
    }
    let name = task.path.file_name().ok_or(Pass::Next("it has no name"))?;
    let unreachable = |_| Pass::Next("its folder is not reachable from the vault");
    let folder = task.through.folder_of(task.root, task.path).map_err(unreachable)?;
    (task.lease)(task.file.as_fd()).map_err(|_| Pass::Next("somebody has it open for writing, or no lease is to be had"))?;
    let linked = step("link").and_then(|()| fs::linkat(folder, name, task.folder, task.name, AtFlags::empty())).map_err(|error| match error {
        Errno::EXIST => Pass::Stop(crate::error::Why::Io { what: "linking", error }),
        _ => Pass::Next("it cannot be linked into the vault"),
    });
    if let Err(pass) = linked {
        // Perhaps that folder was another's place by now.
        task.through.0 = None;
        return Err(pass);
    }
    let linked = facts::look_at(task.folder, OsStr::new(task.name));
    match linked {
        // Two names now, both seen: the one that goes and ours. More means that somebody linked it meanwhile.
        Ok((id, facts)) if id == task.id && facts.links == 2 => Ok(Held { digest: None, leased: true }),
        Ok(_) | Err(_) => {
            fs::unlinkat(task.folder, task.name, AtFlags::empty()).map_err(Pass::io("taking a link back"))?;
            task.through.0 = None;
            Err(Pass::Next("another file stood behind its name, or it got another name"))
        }
    }
}

/// The folder of the last path that was linked from. Most that goes, goes with its neighbours.
#[derive(Debug, Default)]
pub(crate) struct Through(Option<(PathBuf, OwnedFd)>);

impl Through {
    /// The folder of a path through the mount that `root` was opened through: `linkat` wants both ends on one mount. Another folder
    /// may stand there by now; what was linked is looked at afterwards anyway.
    fn folder_of(&mut self, root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<BorrowedFd<'_>> {
        let parent = path.parent().ok_or(Errno::INVAL)?;
        if self.0.as_ref().is_none_or(|(last, _)| last != parent) {
            self.0 = Some((parent.to_owned(), folder::beneath(root, parent, OFlags::PATH | OFlags::DIRECTORY)?));
        }
        self.0.as_ref().map(|(_, folder)| folder.as_fd()).ok_or(Errno::INVAL)
    }
}
