//! What the gate tells before a deed, and with which hands it is kept.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{self, Mode, OFlags};

use crate::record::{Loss, Way};

/// Takes a read lease on a file that is open for reading: `agentbox_kernel::lease::read_lease`.
pub type TakeLease = fn(BorrowedFd<'_>) -> io::Result<()>;

/// What a session needs from outside, opened before it is in any box.
#[derive(Debug)]
pub struct Hands {
    /// The root directory (`O_PATH`), through the same mounts as the vault's folder.
    pub root: OwnedFd,
    /// `/proc` (`O_PATH`) of the process namespace that the keeping process is in.
    pub proc: OwnedFd,
    /// How a lease is taken.
    pub lease: TakeLease,
}

impl Hands {
    /// Opens both where this process stands now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn here(lease: TakeLease) -> io::Result<Self> {
        let open = |path: &str| fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { root: open("/")?, proc: open("/proc")?, lease })
    }
}

/// Something that a deed is about to change.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The thing itself: `O_PATH | O_NOFOLLOW` or any other descriptor of it.
    pub object: BorrowedFd<'a>,
    /// The folder that its name is in (`O_PATH`), where the deed touches the name. Its times are kept once.
    pub folder: Option<BorrowedFd<'a>>,
    /// Its absolute path, without symbolic links, as `readlink` of the folder's descriptor tells it.
    pub path: &'a Path,
    /// What the deed does.
    pub loss: Loss,
}

/// A rename, told before it is done. Where both names are of one inode the kernel does nothing: then nothing is told, neither this nor
/// the loss of what stands at the target.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// What is renamed: `O_PATH | O_NOFOLLOW`.
    pub object: BorrowedFd<'a>,
    /// The folder that it leaves.
    pub from_folder: BorrowedFd<'a>,
    /// The folder that it goes to.
    pub to_folder: BorrowedFd<'a>,
    /// Its absolute path.
    pub from: &'a Path,
    /// Its absolute path after the deed.
    pub to: &'a Path,
}

/// What can be said of keeping a thing before it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foretold {
    /// It would be kept, or there is nothing in it to keep.
    Kept,
    /// Only where something older goes, or the try itself did not work.
    Unsure,
}

/// How it stands with a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session made it: nothing is kept, and `write` is the effect.
    Born,
    /// Its first version is in the vault already.
    Already,
    /// Its first version is kept now.
    First(Option<Way>),
    /// Its first version was lost in this session, unkept and allowed all the same: no later one is passed off as it.
    LostBefore,
    /// There is nothing to bring back: it had lost its last name before, or it is written to and is no file.
    Nothing,
}
