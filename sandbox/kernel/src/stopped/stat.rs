//! What one `statx(2)` tells of a thing: all that judging and doing ask for.

use std::{ffi::CStr, os::fd::AsFd};

use nix::{errno::Errno, libc, sys::stat::SFlag};
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};

/// What a thing is.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// Its names.
    pub links: u64,
    /// In bytes.
    pub size: u64,
    /// Its file system, as in `st_dev`.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// What a device file stands for, as in `st_rdev`.
    pub stands_for: u64,
    /// The mount through which it was come by.
    pub mount: u64,
    /// When it was made, in seconds and nanoseconds since 1970, where the file system knows.
    pub born: Option<(i64, u32)>,
}

impl Stat {
    /// Of what a descriptor leads to.
    pub(super) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        Self::asked(fd, c"", AtFlags::EMPTY_PATH)
    }

    /// Of what has a name in a folder, be it a link.
    pub(super) fn at(folder: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        Self::asked(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    }

    /// Of where a path leads.
    pub(super) fn behind(folder: impl AsFd, path: &CStr) -> Result<Self, Errno> {
        Self::asked(folder, path, AtFlags::NO_AUTOMOUNT)
    }

    fn asked(folder: impl AsFd, path: &CStr, how: AtFlags) -> Result<Self, Errno> {
        let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let found = statx(folder, path, how, asked).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        Self::told(&found)
    }

    fn told(found: &Statx) -> Result<Self, Errno> {
        let has = |flag: StatxFlags| found.stx_mask & flag.bits() != 0;
        // Since 5.8.
        if !has(StatxFlags::MNT_ID) {
            return Err(Errno::ENOSYS);
        }
        Ok(Self {
            mode: found.stx_mode.into(),
            links: found.stx_nlink.into(),
            size: found.stx_size,
            device: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            stands_for: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
            mount: found.stx_mnt_id,
            born: has(StatxFlags::BTIME).then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
        })
    }

    /// What tells it from every other thing that is there.
    #[must_use]
    pub fn id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether it is the same thing, come by through the same mount. The birth tells a number that was given away again from its first owner.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (self.id(), self.mount, self.born) == (other.id(), other.mount, other.born)
    }

    /// Its kind alone.
    #[must_use]
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.mode) & SFlag::S_IFMT
    }

    /// Whether it lies on no disk: its file system is the kernel's own.
    pub(super) fn is_of_no_disk(&self) -> bool {
        libc::major(self.device) == 0
    }
}
