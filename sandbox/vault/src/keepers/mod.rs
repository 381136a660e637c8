//! The ways to keep a file's content, in the order in which they are tried.

mod copy;
mod link;
mod reflink;

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

pub(crate) use copy::{copy_content, hash_content, may_copy};
pub(crate) use link::Through;
use rustix::fs::{self, Mode, OFlags, Timespec, Timestamps};

use crate::{
    error::Why,
    facts::{Facts, Identity, Stamp},
    record::{Digest, Loss, Way},
    settings::Settings,
    subject::TakeLease,
};

/// One way.
pub(crate) struct Keeper {
    pub(crate) way: Way,
    /// Tries; what it made stands under `Task::name` in `Task::folder`, and nothing stands there after a `Pass`.
    pub(crate) keep: fn(&mut Task<'_>) -> Result<Held, Pass>,
}

/// All ways. The last answers for good: when it passes, the thing is not kept.
pub(crate) const KEEPERS: &[Keeper] =
    &[Keeper { way: Way::Reflink, keep: reflink::keep }, Keeper { way: Way::Link, keep: link::keep }, Keeper { way: Way::Copy, keep: copy::keep }];

/// What is to be kept, and where.
pub(crate) struct Task<'a> {
    /// The file, opened by us, for reading.
    pub(crate) file: BorrowedFd<'a>,
    pub(crate) id: Identity,
    pub(crate) facts: &'a Facts,
    pub(crate) path: &'a Path,
    pub(crate) loss: Loss,
    /// The session's folder in the vault.
    pub(crate) folder: BorrowedFd<'a>,
    /// The name of the object to be made.
    pub(crate) name: &'a str,
    /// The root directory through the mount that the vault was opened through.
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) lease: TakeLease,
    pub(crate) through: &'a mut Through,
    pub(crate) settings: &'a Settings,
    /// Bytes that this session has copied.
    pub(crate) copied: u64,
    /// Set when the file systems turn out not to be able to reflink.
    pub(crate) no_reflink: &'a mut bool,
}

/// A kept content.
pub(crate) struct Held {
    pub(crate) digest: Option<Digest>,
    /// The file that was read is leased: it is to be kept open until the deed is done, and nobody opens it for writing until then.
    pub(crate) leased: bool,
}

/// Why a way is not open.
pub(crate) enum Pass {
    /// The next may be.
    Next(&'static str),
    /// None is.
    Stop(Why),
}

impl Pass {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |error| Self::Stop(Why::Io { what, error })
    }
}

/// A new object, empty, for writing.
pub(crate) fn create(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    crate::crash::step("create an object")?;
    fs::openat(folder, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)
}

/// Gives an object the time of the original: by size and time a kept content is known again before it is hashed.
pub(crate) fn stamp(object: BorrowedFd<'_>, mtime: Stamp) -> rustix::io::Result<()> {
    let time = timespec(mtime);
    fs::futimens(object, &Timestamps { last_access: time, last_modification: time })
}

pub(crate) fn timespec(stamp: Stamp) -> Timespec {
    Timespec { tv_sec: stamp.0, tv_nsec: stamp.1.into() }
}
