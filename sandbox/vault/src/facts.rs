//! What a file is besides its content: which inode, which kind, owner, mode, times, flags, extended attributes.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    fs::{self, AtFlags, FileType, IFlags, Statx, StatxFlags, StatxTimestamp},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    births::{self, Births},
    bytes::Bytes,
};

/// Longest list of attribute names, and longest value, that Linux allows (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MOST: usize = 64 * 1024;

/// A moment as a file system keeps it: seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp(pub i64, pub u32);

impl From<StatxTimestamp> for Stamp {
    fn from(time: StatxTimestamp) -> Self {
        Self(time.tv_sec, time.tv_nsec)
    }
}

/// Which inode. The birth time tells a number that was given away again from its first owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Major number in the upper half, minor in the lower.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// When it was born, where the file system knows.
    pub born: Option<Stamp>,
}

impl Identity {
    /// From a device as in `st_dev`, and a birth time in seconds and nanoseconds; the descriptor leads to the thing.
    ///
    /// # Errors
    /// EBADF: there is none, and nothing is known of the device.
    pub(crate) fn new(fd: Option<BorrowedFd<'_>>, device: u64, ino: u64, born: Option<(i64, u32)>) -> Result<Self, Errno> {
        let dev = pair(fs::major(device), fs::minor(device));
        let births = births::known(dev).map_or_else(|| births::of(dev, fd.ok_or(Errno::BADF)?), Ok)?;
        let born = born.filter(|_| births != Births::Never);
        Ok(Self { dev, ino, born: born.map(|(seconds, nanoseconds)| Stamp(seconds, nanoseconds)) })
    }
}

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Kind {
    pub(crate) fn of(mode: u32) -> Option<Self> {
        Some(match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::Character,
            FileType::BlockDevice => Self::Block,
            FileType::Unknown => return None,
        })
    }
}

/// All of a file but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which kind.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits: the lower twelve.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that the inode had.
    pub links: u32,
    /// Bytes of content.
    pub size: u64,
    /// Bytes that it took on disk.
    pub stored: u64,
    /// Last read.
    pub atime: Stamp,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of anything; cannot be set, tells whether it is still as it was.
    pub ctime: Stamp,
    /// Device number, for devices.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub device: u64,
    /// Inode flags as `lsattr` shows them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub flags: u32,
    /// Extended attributes, access control lists among them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(Bytes, Bytes)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(flags: &u32) -> bool {
    *flags == 0
}

/// Flags that a person can set; the others are the file system's own business.
pub(crate) const SETTABLE: IFlags = IFlags::APPEND
    .union(IFlags::COMPRESSED)
    .union(IFlags::DIRSYNC)
    .union(IFlags::IMMUTABLE)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::SYNC);

/// Which inode and all facts that do not need the file to be opened.
pub(crate) fn look(fd: BorrowedFd<'_>) -> Result<(Identity, Facts), Errno> {
    let stat = fs::statx(fd, c"", AtFlags::EMPTY_PATH, mask())?;
    told(&stat, births::of(device(&stat), fd)?)
}

/// The same for a name in a folder, not followed.
pub(crate) fn look_at(folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<(Identity, Facts), Errno> {
    let stat = fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, mask())?;
    told(&stat, births::of_name(device(&stat), folder, name)?)
}

fn mask() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

fn pair(major: u32, minor: u32) -> u64 {
    u64::from(major) << 32 | u64::from(minor)
}

fn device(stat: &Statx) -> u64 {
    pair(stat.stx_dev_major, stat.stx_dev_minor)
}

fn told(stat: &Statx, births: Births) -> Result<(Identity, Facts), Errno> {
    let born = (births != Births::Never && stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| stat.stx_btime.into());
    let identity = Identity { dev: device(stat), ino: stat.stx_ino, born };
    let mode = u32::from(stat.stx_mode);
    let kind = Kind::of(mode).ok_or(Errno::IO)?;
    let facts = Facts {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink,
        size: stat.stx_size,
        stored: stat.stx_blocks.saturating_mul(512),
        atime: stat.stx_atime.into(),
        mtime: stat.stx_mtime.into(),
        ctime: stat.stx_ctime.into(),
        device: pair(stat.stx_rdev_major, stat.stx_rdev_minor),
        flags: 0,
        attributes: Vec::new(),
    };
    Ok((identity, facts))
}

/// Adds what only an opened file or folder tells: flags and attributes.
pub(crate) fn look_inside(fd: BorrowedFd<'_>, facts: &mut Facts) -> Result<(), Errno> {
    facts.flags = match fs::ioctl_getflags(fd) {
        Ok(flags) => (flags & SETTABLE).bits(),
        // Not every file system has them.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => 0,
        Err(error) => return Err(error),
    };
    facts.attributes = attributes(fd)?;
    Ok(())
}

/// All extended attributes that we may read.
pub(crate) fn attributes(fd: BorrowedFd<'_>) -> Result<Vec<(Bytes, Bytes)>, Errno> {
    let mut short = [0u8; 256];
    let mut long = Vec::new();
    let names = match fs::flistxattr(fd, &mut short[..]) {
        Ok(length) => short.get(..length).unwrap_or_default(),
        Err(Errno::RANGE) => {
            long.resize(XATTR_MOST, 0);
            let length = fs::flistxattr(fd, &mut long[..])?;
            long.get(..length).unwrap_or_default()
        }
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 256];
        let length = match fs::fgetxattr(fd, name, &mut value[..]) {
            Err(Errno::RANGE) => {
                value.resize(XATTR_MOST, 0);
                fs::fgetxattr(fd, name, &mut value[..])
            }
            other => other,
        };
        match length {
            Ok(length) => {
                value.truncate(length);
                found.push((Bytes(name.to_owned()), Bytes(value)));
            }
            // Gone meanwhile, or one of the trusted ones that only root reads.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether what stands there is still the very file, unchanged since these facts were told.
pub(crate) fn unchanged(was: &Facts, now: &Facts) -> bool {
    was.kind == now.kind && was.size == now.size && was.mtime == now.mtime && was.ctime == now.ctime
}

/// The identity alone.
pub(crate) fn identity(fd: impl AsFd) -> Result<Identity, Errno> {
    look(fd.as_fd()).map(|(identity, _)| identity)
}
