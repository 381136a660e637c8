//! The box as the file gate sees it: its files, and the processes outside whose numbers the notifications carry.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::CStr,
    fs::File,
    io::Read as _,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    sched::{CloneFlags, setns},
    sys::stat::Mode,
};
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::mounts;

/// For how long a mask that was read counts: a number of a process can be another's after that.
const MASK_LASTS: Duration = Duration::from_millis(50);

/// Masks that are remembered.
const MOST_MASKS: usize = 1024;

/// A `status` file of `/proc` is a few kilobytes; the mask stands near its top.
const STATUS: u64 = 4096;

/// Whether every process of the box has the box's own root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// None can have another: user namespaces are refused, and without one nobody changes its root.
    One,
    /// The agent may make user namespaces, and in one of them change its root.
    Various,
}

/// What the gate needs to resolve a path and to do a deed.
#[derive(Debug)]
pub struct World {
    proc: OwnedFd,
    root: OwnedFd,
    roots: Roots,
    /// Mounts that are the box's own memory.
    own: Vec<u64>,
    masks: RefCell<HashMap<i32, (Instant, Mode)>>,
}

impl World {
    /// `/proc` of the namespace that this process was started in: to be opened before [`World::enter`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn proc() -> Result<OwnedFd, Errno> {
        open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Moves this process, which has one thread, into the box's user and mount namespaces; not among its processes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(proc: OwnedFd, user: BorrowedFd<'_>, mounts: BorrowedFd<'_>, roots: Roots) -> Result<Self, Errno> {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
        setns(mounts, CloneFlags::CLONE_NEWNS)?;
        Self::here(proc, roots)
    }

    /// The files that this process sees.
    pub(super) fn here(proc: OwnedFd, roots: Roots) -> Result<Self, Errno> {
        let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mount_at = |folder: &Path| mount_of(open(folder, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?.as_fd()).ok();
        // A folder that is no mount of its own holds what was there before.
        let whole = mount_of(root.as_fd())?;
        let own: Vec<u64> = mounts::private_folders().iter().filter_map(|folder| mount_at(folder)).filter(|mount| *mount != whole).collect();
        Ok(Self { proc, root, roots, own, masks: RefCell::default() })
    }

    pub(super) fn roots(&self) -> Roots {
        self.roots
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A file of a process in `/proc` outside.
    pub(super) fn of_process(&self, tid: i32, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.proc, format!("{tid}/{name}").as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Opens anew what a descriptor of ours leads to.
    pub(super) fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.proc, own_fd(fd).as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// A name for what a descriptor of ours leads to, relative to [`World::proc_fd`].
    pub(super) fn name_of(fd: BorrowedFd<'_>) -> String {
        own_fd(fd)
    }

    pub(super) fn proc_fd(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// Where a folder lies, as the agent sees it.
    pub(super) fn path_of(&self, fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
        readlinkat(&self.proc, own_fd(fd).as_str()).map(PathBuf::from)
    }

    /// Whether a folder is in the box's own memory, where nothing is that anybody could miss.
    pub(super) fn is_scratch(&self, folder: BorrowedFd<'_>) -> bool {
        mount_of(folder).is_ok_and(|mount| self.own.contains(&mount))
    }

    /// The number that a process has in the box.
    pub(super) fn number_inside(&self, tid: i32) -> Result<String, Errno> {
        let status = self.status(tid)?;
        // From our namespace inwards: the box's is the next one, where it has one.
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).ok_or(Errno::EIO)?;
        numbers.split_whitespace().take(2).last().map(str::to_owned).ok_or(Errno::EIO)
    }

    fn status(&self, tid: i32) -> Result<String, Errno> {
        let mut text = String::new();
        let status = self.of_process(tid, "status", OFlag::O_RDONLY)?;
        File::from(status).take(STATUS).read_to_string(&mut text).map_err(|_| Errno::EIO)?;
        Ok(text)
    }

    /// Whether a signal waits that the thread has a handler for, or that would end it: something that it would see if its call were not held.
    pub(super) fn is_wanted(&self, tid: i32) -> Result<bool, Errno> {
        let status = self.status(tid)?;
        let set = |name: &str| {
            let hex = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(Errno::EIO)?;
            u64::from_str_radix(hex.trim(), 16).map_err(|_| Errno::EIO)
        };
        let pending = (set("SigPnd:")? | set("ShdPnd:")?) & !set("SigBlk:")? & !set("SigIgn:")?;
        Ok(pending & set("SigCgt:")? != 0)
    }

    /// The mask of the modes of what the caller makes.
    pub(super) fn mask(&self, tid: i32) -> Result<Mode, Errno> {
        let mut masks = self.masks.borrow_mut();
        if let Some((since, mask)) = masks.get(&tid)
            && since.elapsed() < MASK_LASTS
        {
            return Ok(*mask);
        }
        let text = self.status(tid)?;
        let octal = text.lines().find_map(|line| line.strip_prefix("Umask:")).ok_or(Errno::EIO)?;
        let mask = u32::from_str_radix(octal.trim(), 8).ok().and_then(Mode::from_bits).ok_or(Errno::EIO)?;
        if masks.len() >= MOST_MASKS {
            masks.clear();
        }
        masks.insert(tid, (Instant::now(), mask));
        Ok(mask)
    }

    /// A mask is about to change; threads share it, so all are read anew.
    pub(super) fn forget_masks(&self) {
        self.masks.borrow_mut().clear();
    }
}

fn own_fd(fd: BorrowedFd<'_>) -> String {
    format!("self/fd/{}", fd.as_raw_fd())
}

fn mount_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let found = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 { Err(Errno::ENOSYS) } else { Ok(found.stx_mnt_id) }
}

/// A path's last name and what is before it.
pub(super) fn split(path: &CStr) -> (&[u8], &[u8], Trailing) {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let (whole, slashes) = bytes.split_at(end);
    let start = whole.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (before, last) = whole.split_at(start);
    (before, last, if slashes.is_empty() { Trailing::None } else { Trailing::Slash })
}

/// Whether a path ends in a slash, and so means a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailing {
    None,
    Slash,
}

/// The folders of a box, for its policy: absolute, as the agent names them.
pub(super) fn joined(folder: &Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    folder.join(std::ffi::OsStr::from_bytes(name))
}
