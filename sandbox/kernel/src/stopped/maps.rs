//! The files of `/proc` by which a user namespace gets its ids, opened in the caller's place.
//!
//! The kernel looks at who has opened such a file when it is written: somebody in that namespace, or in the one right above it. For a
//! namespace within another that is not us. So a child enters the caller's namespace, where it may do nothing that the caller may not, opens the
//! one file, hands it over, and ends.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sched::{CloneFlags, setns},
    sys::stat::{Mode, fstat},
};

use super::world::World;
use crate::{control::Control, trial::in_child};

/// Opens the file that `held` leads to for the caller.
///
/// # Errors
/// The kernel's. `EACCES`: no child could be had, or none in that namespace.
pub(super) fn open(held: BorrowedFd<'_>, flags: OFlag, tid: i32, world: &World) -> Result<OwnedFd, Errno> {
    let of_caller = world.of_process(tid, "ns/user", OFlag::O_RDONLY)?;
    let own = openat(world.outer_proc(), "self/ns/user", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let identity = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    if identity(of_caller.as_fd())? == identity(own.as_fd())? {
        return world.reopen(held, flags);
    }
    let (ours, theirs) = Control::pair()?;
    let opened = || -> Result<OwnedFd, Errno> {
        setns(&of_caller, CloneFlags::CLONE_NEWUSER)?;
        // By the child's own descriptors: those of its parent are not for somebody of that namespace.
        openat(world.outer_proc(), format!("self/fd/{}", held.as_raw_fd()).as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
    };
    let handed = || match opened() {
        Ok(file) => theirs.send(&0, &[file.as_raw_fd()]).map(|()| String::new()).map_err(|error| error.to_string()),
        Err(errno) => theirs.send(&(errno as i32), &[]).map(|()| String::new()).map_err(|error| error.to_string()),
    };
    in_child(handed).result().map_err(|_| Errno::EACCES)?;
    match ours.receive::<i32>() {
        Ok(Some((0, mut files))) => files.pop().ok_or(Errno::EACCES),
        Ok(Some((errno, _))) => Err(Errno::from_raw(errno)),
        Ok(None) | Err(_) => Err(Errno::EACCES),
    }
}
