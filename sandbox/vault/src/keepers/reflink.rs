//! A copy that shares its blocks until one of the two changes: btrfs, xfs, bcachefs and others. Across mounts of one file system since
//! Linux 5.18.

use std::os::fd::AsFd;

use rustix::{fs, io::Errno};

use super::{Held, Pass, Task, create, stamp};
use crate::crash::step;

pub(super) fn keep(task: &mut Task<'_>) -> Result<Held, Pass> {
    if *task.no_reflink {
        return Err(Pass::Next("the file system has no reflinks"));
    }
    let object = create(task.folder, task.name).map_err(Pass::io("making an object"))?;
    let cloned = step("reflink").and_then(|()| fs::ioctl_ficlone(&object, task.file));
    match cloned.and_then(|()| stamp(object.as_fd(), task.facts.mtime)) {
        Ok(()) => Ok(Held { digest: None, leased: false }),
        Err(error) => {
            fs::unlinkat(task.folder, task.name, fs::AtFlags::empty()).map_err(Pass::io("taking an object back"))?;
            match error {
                Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS => {
                    *task.no_reflink = true;
                    Err(Pass::Next("the file system has no reflinks"))
                }
                // Another file system, or one of two files without copy-on-write.
                Errno::XDEV | Errno::INVAL | Errno::PERM | Errno::ACCESS | Errno::TXTBSY => Err(Pass::Next("it cannot be reflinked")),
                // Out of room for metadata: a link takes less.
                _ => Err(Pass::Next("the reflink failed")),
            }
        }
    }
}
