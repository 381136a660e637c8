//! Calls that change what a thing is like, not what is in it: mode, owner, times, extended attributes.
//!
//! Landlock has no right for them, and the kernel would read their paths anew: so they are all done here, on what was judged.

use std::{
    ffi::{CStr, CString},
    io::Read as _,
    os::fd::OwnedFd,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    libc,
    sys::{
        stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat},
};
use rustix::fs::{XattrFlags, fremovexattr, fsetxattr};

use super::{
    deed::{Act, Where},
    listener::Notice,
    memory,
    read::Read,
    resolve::{Follow, Found, From, Look, Object, Spot},
    world::{Roots, Trailing, World},
};

/// The kernel's bound for the name of an extended attribute, without its NUL.
const NAME_MAX: usize = 255;

/// The kernel's bound for its value.
const VALUE_MAX: u64 = 64 << 10;

/// What `/proc` says of an open file, or of a namespace's users, is shorter.
const SHORT: u64 = 16 << 10;

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    Mode(Mode),
    /// None stays as it is.
    Owner(Option<Uid>, Option<Gid>),
    /// Of access and of change.
    Times(TimeSpec, TimeSpec),
    Set {
        name: CString,
        value: Vec<u8>,
        how: XattrFlags,
    },
    Unset(CString),
}

/// The calls that do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Chmod,
    Fchmod,
    FchmodAt,
    FchmodAt2,
    Chown,
    Lchown,
    Fchown,
    FchownAt,
    Utime,
    Utimes,
    FutimesAt,
    UtimensAt,
    SetXattr,
    LsetXattr,
    FsetXattr,
    RemoveXattr,
    LremoveXattr,
    FremoveXattr,
}

/// Why there is no such attribute on what is neither a file nor a folder.
fn foreign(name: &CStr) -> Errno {
    if name.to_bytes().contains(&b'.') { Errno::EPERM } else { Errno::EOPNOTSUPP }
}

/// How the call names its thing.
enum Named {
    /// By a path, whose argument this is, from the caller's folder.
    Path(usize, Follow),
    /// From a folder, whose argument this is; the path; the flags.
    At(usize, usize, i32),
    /// By an open file, whose argument this is.
    File(usize),
}

/// Reads such a call.
pub(super) fn read(call: Call, notice: &Notice, world: &World) -> Result<Read, Errno> {
    let named = match call {
        Call::Chmod | Call::Chown | Call::Utime | Call::Utimes | Call::SetXattr | Call::RemoveXattr => Named::Path(0, Follow::Yes),
        Call::Lchown | Call::LsetXattr | Call::LremoveXattr => Named::Path(0, Follow::Folders),
        Call::FchmodAt => Named::At(0, 1, 0),
        Call::FutimesAt if notice.argument(1) == 0 && notice.int(0) != libc::AT_FDCWD => Named::File(0),
        Call::FutimesAt => Named::At(0, 1, 0),
        Call::FchmodAt2 => Named::At(0, 1, notice.int(3)),
        Call::FchownAt => Named::At(0, 1, notice.int(4)),
        // Without a path it is the open file that is meant.
        Call::UtimensAt if notice.argument(1) == 0 && notice.int(0) != libc::AT_FDCWD => match notice.int(3) {
            0 => Named::File(0),
            _ => return Err(Errno::EINVAL),
        },
        Call::UtimensAt => Named::At(0, 1, notice.int(3)),
        Call::Fchmod | Call::Fchown | Call::FsetXattr | Call::FremoveXattr => Named::File(0),
    };
    change(call, &named, notice, world)
}

fn change(call: Call, named: &Named, notice: &Notice, world: &World) -> Result<Read, Errno> {
    let Some(how) = attributes(call, notice, world)? else { return Ok(Read::Nothing) };
    let (object, at) = find(named, notice, world)?;
    if object.is_of_proc() {
        return Err(Errno::EPERM);
    }
    Ok(Read::Act(Act::Attributes { object, at, how }))
}

/// None: nothing would change.
fn attributes(call: Call, notice: &Notice, world: &World) -> Result<Option<Attributes>, Errno> {
    let mode = |argument| Mode::from_bits_truncate(notice.int(argument).cast_unsigned() & 0o7777);
    Ok(Some(match call {
        Call::Chmod | Call::Fchmod => Attributes::Mode(mode(1)),
        Call::FchmodAt | Call::FchmodAt2 => Attributes::Mode(mode(2)),
        Call::Chown | Call::Lchown | Call::Fchown => owner(notice, 1, world)?,
        Call::FchownAt => owner(notice, 2, world)?,
        Call::Utime => times(notice, 1, Unit::Second)?,
        Call::Utimes => times(notice, 1, Unit::Microsecond)?,
        Call::FutimesAt => times(notice, 2, Unit::Microsecond)?,
        Call::UtimensAt => match times(notice, 2, Unit::Nanosecond)? {
            Attributes::Times(accessed, changed) if accessed == TimeSpec::UTIME_OMIT && changed == TimeSpec::UTIME_OMIT => return Ok(None),
            times => times,
        },
        Call::SetXattr | Call::LsetXattr | Call::FsetXattr => set(notice)?,
        Call::RemoveXattr | Call::LremoveXattr | Call::FremoveXattr => Attributes::Unset(name(notice)?),
    }))
}

fn owner(notice: &Notice, argument: usize, world: &World) -> Result<Attributes, Errno> {
    let said = |argument| match notice.int(argument).cast_unsigned() {
        u32::MAX => None,
        id => Some(id),
    };
    let user = said(argument).map(|id| outer(notice.tid(), "uid_map", id, world)).transpose()?;
    let group = said(argument + 1).map(|id| outer(notice.tid(), "gid_map", id, world)).transpose()?;
    Ok(Attributes::Owner(user.map(Uid::from_raw), group.map(Gid::from_raw)))
}

/// What an id of the caller is here: it may live in a user namespace of its own.
fn outer(tid: i32, map: &str, id: u32, world: &World) -> Result<u32, Errno> {
    if world.roots() == Roots::One {
        return Ok(id);
    }
    let mut text = String::new();
    std::fs::File::from(world.of_process(tid, map, OFlag::O_RDONLY)?).take(SHORT).read_to_string(&mut text).map_err(|_| Errno::EIO)?;
    let mut ranges = text.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?, numbers.next()?))
    });
    ranges.find_map(|(inside, here, count)| id.checked_sub(inside).filter(|offset| *offset < count)?.checked_add(here)).ok_or(Errno::EINVAL)
}

/// What the second number of a time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// There is none.
    Second,
    Microsecond,
    Nanosecond,
}

fn times(notice: &Notice, argument: usize, unit: Unit) -> Result<Attributes, Errno> {
    let address = notice.argument(argument);
    if address == 0 {
        return Ok(Attributes::Times(TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW));
    }
    let length = if unit == Unit::Second { 16 } else { 32 };
    let bytes = memory::bytes(notice.tid(), address, length)?;
    let (words, _) = bytes.as_chunks::<8>();
    let word = |index: usize| words.get(index).copied().map(i64::from_ne_bytes).ok_or(Errno::EFAULT);
    let time = |index: usize| {
        Ok(match unit {
            Unit::Second => TimeSpec::new(word(index)?, 0),
            Unit::Microsecond => match (word(index * 2)?, word(index * 2 + 1)?) {
                (seconds, micro @ 0..1_000_000) => TimeSpec::new(seconds, micro * 1000),
                _ => return Err(Errno::EINVAL),
            },
            Unit::Nanosecond => match (word(index * 2)?, word(index * 2 + 1)?) {
                // With these the seconds mean nothing.
                (_, libc::UTIME_NOW) => TimeSpec::UTIME_NOW,
                (_, libc::UTIME_OMIT) => TimeSpec::UTIME_OMIT,
                // Too many of them are refused by the kernel, after it has looked for the path.
                (seconds, nano) => TimeSpec::new(seconds, nano),
            },
        })
    };
    Ok(Attributes::Times(time(0)?, time(1)?))
}

fn name(notice: &Notice) -> Result<CString, Errno> {
    let name = memory::path(notice.tid(), notice.argument(1)).map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::ERANGE } else { errno })?;
    if name.is_empty() || name.to_bytes().len() > NAME_MAX { Err(Errno::ERANGE) } else { Ok(name) }
}

fn set(notice: &Notice) -> Result<Attributes, Errno> {
    let how = XattrFlags::from_bits_retain(notice.int(4).cast_unsigned());
    if !(XattrFlags::CREATE | XattrFlags::REPLACE).contains(how) {
        return Err(Errno::EINVAL);
    }
    let name = name(notice)?;
    let size = notice.argument(3);
    if size > VALUE_MAX {
        return Err(Errno::E2BIG);
    }
    let value = memory::bytes(notice.tid(), notice.argument(2), usize::try_from(size).map_err(|_| Errno::E2BIG)?)?;
    Ok(Attributes::Set { name, value, how })
}

fn find(named: &Named, notice: &Notice, world: &World) -> Result<(Object, Where), Errno> {
    let tid = notice.tid();
    let (dirfd, path, follow, empty) = match *named {
        Named::Path(path, follow) => (libc::AT_FDCWD, path, follow, false),
        Named::At(folder, path, flags) => {
            if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                return Err(Errno::EINVAL);
            }
            let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { Follow::Yes } else { Follow::Folders };
            (notice.int(folder), path, follow, flags & libc::AT_EMPTY_PATH != 0)
        }
        Named::File(file) => {
            let number = notice.int(file);
            if number < 0 || is_bare(tid, number, world)? {
                return Err(Errno::EBADF);
            }
            return Ok((From { world, tid, dirfd: number, look: Look::Hold }.itself()?, Where::Nowhere));
        }
    };
    let from = From { world, tid, dirfd, look: Look::Hold };
    let path = memory::path(tid, notice.argument(path))?;
    if empty && path.is_empty() {
        return Ok((from.itself()?, Where::Nowhere));
    }
    if let Some(object) = from.thing(&path, follow) {
        return Ok((object, Where::Nowhere));
    }
    Ok(match from.find(&path, follow)? {
        // Whoever may not look into it has no `.` in it.
        Found::Folder(_, fd) => (Object::of(openat(&fd, c".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)?, Where::Nowhere),
        Found::Itself(object) => (object, Where::Nowhere),
        Found::Spot(mut spot) => {
            let object = spot.object.take().ok_or(Errno::ENOENT)?;
            if object.kind() != SFlag::S_IFDIR && matches!(spot, Spot { trailing: Trailing::Slash, .. }) {
                return Err(Errno::ENOTDIR);
            }
            (object, Where::Spot(spot))
        }
    })
}

/// Whether an open file of the caller is only a name for something: the kernel takes it for no open file.
fn is_bare(tid: i32, number: i32, world: &World) -> Result<bool, Errno> {
    // A descriptor's link can be read and written as its file can: by a bare path neither.
    if world.about(tid, &format!("fd/{number}")).is_ok_and(|link| link.mode & 0o600 != 0) {
        return Ok(false);
    }
    let mut text = String::new();
    let about =
        world.of_process(tid, &format!("fdinfo/{number}"), OFlag::O_RDONLY).map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })?;
    std::fs::File::from(about).take(SHORT).read_to_string(&mut text).map_err(|_| Errno::EBADF)?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok()).ok_or(Errno::EIO)?;
    Ok(flags & libc::O_PATH != 0)
}

/// Does it.
pub(super) fn apply(object: &Object, how: &Attributes, world: &World) -> Result<(), Errno> {
    let name = World::name_of(object.held()?);
    let name = name.as_str();
    match how {
        // The name is a magic link, which leads to the thing itself, be it a link.
        Attributes::Mode(mode) => fchmodat(world.fds(), name, *mode, FchmodatFlags::FollowSymlink),
        Attributes::Owner(user, group) => fchownat(world.fds(), name, *user, *group, AtFlags::empty()),
        Attributes::Times(accessed, changed) => utimensat(world.fds(), name, accessed, changed, UtimensatFlags::FollowSymlink),
        Attributes::Set { name, value, how } => {
            let file = readable(object, name, world)?;
            fsetxattr(file, name.as_c_str(), value, *how).map_err(|error| Errno::from_raw(error.raw_os_error()))
        }
        Attributes::Unset(name) => {
            let file = readable(object, name, world)?;
            fremovexattr(file, name.as_c_str()).map_err(|error| Errno::from_raw(error.raw_os_error()))
        }
    }
}

/// The thing opened, as attributes want it before Linux 6.13.
fn readable(object: &Object, name: &CStr, world: &World) -> Result<OwnedFd, Errno> {
    match object.kind() {
        SFlag::S_IFREG | SFlag::S_IFDIR => {}
        // Users have no attributes on these, and the others' are not the agent's.
        _ => return Err(foreign(name)),
    }
    match world.reopen(object.held()?, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Err(Errno::EACCES) if object.kind() == SFlag::S_IFREG => world.reopen(object.held()?, OFlag::O_WRONLY | OFlag::O_NONBLOCK),
        opened => opened,
    }
}
