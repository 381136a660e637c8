//! What the registers and the memory of a stopped call say, and what fails as it would have failed without us.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, OFlag, RenameFlags, fcntl},
    libc,
    sys::stat::{Mode, SFlag},
};

use super::{
    act, attributes,
    bounds::bounded,
    calls::Kind,
    deed::{Act, Change, Exclusive, Open, Target, Where},
    listener::Notice,
    memory,
    resolve::{Dots, Follow, Found, From, Look, Object, Spot},
    sockets,
    stat::Stat,
    world::{Files, Roots, Trailing, World},
};
use crate::sys::{access::may_write, notify::OnExec};

/// What whoever makes a user namespace writes in `/proc`: the kernel lets the namespace's owner do it; see [`super::maps`].
const IN_PROC: &[&[u8]] = &[b"uid_map", b"gid_map", b"setgroups"];

/// What the arguments say.
pub(super) enum Read {
    Act(Act),
    /// The kernel may do it.
    GoOn,
    /// It succeeds without doing anything.
    Nothing,
    /// It made this.
    Made(OwnedFd, OnExec),
}

/// Reads the arguments.
pub(super) fn read(notice: &Notice, world: &World) -> Result<Read, Errno> {
    match arguments(notice, world)? {
        Read::Act(act) => bounded(act, world),
        other => Ok(other),
    }
}

fn arguments(notice: &Notice, world: &World) -> Result<Read, Errno> {
    let tid = notice.tid();
    let kind = notice.kind().ok_or(Errno::ENOSYS)?;
    let from = |dirfd| From { world, tid, dirfd, look: Look::Hold };
    // Bounds are for what is held.
    let look = if world.bounds().is_some() { Look::Hold } else { Look::Glance };
    let by_name = |dirfd| From { world, tid, dirfd, look };
    let here = libc::AT_FDCWD;
    let path = |argument| memory::path(tid, notice.argument(argument));
    let two = |first, second| memory::two_paths(tid, notice.argument(first), notice.argument(second));
    match kind {
        Kind::Unknown(errno) => Err(errno),
        Kind::SetFlags => change(world, notice, Change::Flags(OFlag::from_bits_retain(notice.int(2)))),
        Kind::Ftruncate => change(world, notice, Change::Length(notice.argument(1).cast_signed())),
        Kind::Fallocate => {
            let how = FallocateFlags::from_bits_retain(notice.int(1));
            change(world, notice, Change::Space { how, offset: notice.argument(2).cast_signed(), length: notice.argument(3).cast_signed() })
        }
        Kind::Attributes(call) => attributes::read(call, notice, world),
        Kind::Restart => Ok(Read::GoOn),
        Kind::Umask => {
            world.forget_masks();
            Ok(Read::GoOn)
        }
        Kind::Mkdir => make(&from(here), path(0), Trailing::Slash, |spot| Act::MakeFolder { spot, mode: mode_of(notice.int(1)) }),
        Kind::MkdirAt => make(&from(notice.int(0)), path(1), Trailing::Slash, |spot| Act::MakeFolder { spot, mode: mode_of(notice.int(2)) }),
        Kind::Mknod => node(&from(here), path(0), notice.int(1)),
        Kind::MknodAt => node(&from(notice.int(0)), path(1), notice.int(2)),
        Kind::Symlink => {
            let target = link_target(path(0)?)?;
            make(&from(here), path(1), Trailing::None, |spot| Act::MakeLink { spot, target })
        }
        Kind::SymlinkAt => {
            let target = link_target(path(0)?)?;
            make(&from(notice.int(1)), path(2), Trailing::None, |spot| Act::MakeLink { spot, target })
        }
        Kind::Socket => sockets::make(notice, world),
        Kind::Connect => sockets::connect(notice, world),
        Kind::Bind => sockets::bind(notice, world),
        Kind::Listen => sockets::listen(notice, world),
        Kind::Open => open(world, &by_name(here), path(0), notice.int(1), notice.int(2)),
        Kind::OpenAt => open(world, &by_name(notice.int(0)), path(1), notice.int(2), notice.int(3)),
        Kind::Creat => open(world, &by_name(here), path(0), libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, notice.int(1)),
        Kind::Unlink => remove(&by_name(here), path(0), 0),
        Kind::UnlinkAt => remove(&by_name(notice.int(0)), path(1), notice.int(2)),
        Kind::Rmdir => remove(&by_name(here), path(0), libc::AT_REMOVEDIR),
        Kind::Rename => rename((&by_name(here), &by_name(here)), &two(0, 1)?, 0),
        Kind::RenameAt => rename((&by_name(notice.int(0)), &by_name(notice.int(2))), &two(1, 3)?, 0),
        Kind::RenameAt2 => rename((&by_name(notice.int(0)), &by_name(notice.int(2))), &two(1, 3)?, notice.int(4)),
        Kind::Link => link(world, (&from(here), &path(0)?), (&from(here), &path(1)?), 0),
        Kind::LinkAt => link(world, (&from(notice.int(0)), &path(1)?), (&from(notice.int(2)), &path(3)?), notice.int(4)),
        Kind::Truncate => truncate(world, &from(here), &path(0)?, notice.argument(1).cast_signed()),
    }
}

fn mode_of(mode: i32) -> Mode {
    Mode::from_bits_truncate(mode.cast_unsigned() & 0o7777)
}

fn link_target(target: CString) -> Result<CString, Errno> {
    if target.is_empty() { Err(Errno::ENOENT) } else { Ok(target) }
}

/// Makes a name that is free.
fn make(from: &From<'_>, path: Result<CString, Errno>, may_end_in: Trailing, act: impl FnOnce(Spot) -> Act) -> Result<Read, Errno> {
    match from.find(&path?, Follow::No)? {
        Found::Spot(spot) if spot.object.is_some() => Err(Errno::EEXIST),
        Found::Spot(spot) if spot.trailing == Trailing::Slash && may_end_in == Trailing::None => Err(Errno::ENOENT),
        Found::Spot(spot) => Ok(Read::Act(act(spot))),
        Found::Folder(..) | Found::Itself(_) => Err(Errno::EEXIST),
    }
}

/// Devices are nobody's to make in a box.
fn node(from: &From<'_>, path: Result<CString, Errno>, mode: i32) -> Result<Read, Errno> {
    let kind = match SFlag::from_bits_truncate(mode.cast_unsigned()) & SFlag::S_IFMT {
        kind if kind.is_empty() => SFlag::S_IFREG,
        kind @ (SFlag::S_IFREG | SFlag::S_IFIFO | SFlag::S_IFSOCK) => kind,
        SFlag::S_IFDIR => return Err(Errno::EPERM),
        SFlag::S_IFCHR | SFlag::S_IFBLK => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    make(from, path, Trailing::None, |spot| Act::MakeNode { spot, kind, mode: mode_of(mode) })
}

fn open(world: &World, from: &From<'_>, path: Result<CString, Errno>, flags: i32, mode: i32) -> Result<Read, Errno> {
    let flags = OFlag::from_bits_retain(flags);
    let mode = Mode::from_bits_truncate(mode.cast_unsigned());
    let on_exec = if flags.contains(OFlag::O_CLOEXEC) { OnExec::Close } else { OnExec::Keep };
    // As kernels from 6.4 on; before, it made a file.
    if flags.contains(OFlag::O_CREAT | OFlag::O_DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    let exclusive = flags.contains(OFlag::O_CREAT | OFlag::O_EXCL);
    let follow = if flags.contains(OFlag::O_NOFOLLOW) || exclusive { Follow::Folders } else { Follow::Yes };
    let kept = flags - (OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
    // Landlock lets the box make it in its private folder alone; most programs can do without.
    if world.bounds().is_some() && flags.contains(OFlag::O_TMPFILE) {
        return Ok(Read::GoOn);
    }
    let only_reads = flags & (OFlag::O_ACCMODE | OFlag::O_TRUNC) == OFlag::O_RDONLY;
    let only_new = if exclusive { Exclusive::Yes } else { Exclusive::No };
    let opening = |target| Ok(Read::Act(Act::Open(Open { target, flags: kept, mode, exclusive: only_new, on_exec })));
    let (object, at) = match from.find(&path?, follow)? {
        Found::Folder(_, fd) if world.bounds().is_some() && only_reads && !flags.contains(OFlag::O_CREAT) => (Object::of(fd)?, Where::Nowhere),
        Found::Folder(..) => return Err(Errno::EISDIR),
        Found::Itself(object) => (object, Where::Nowhere),
        Found::Spot(mut spot) => match spot.object.take() {
            None if !flags.contains(OFlag::O_CREAT) => return Err(Errno::ENOENT),
            // Even where it leads to what is no folder.
            _ if spot.trailing == Trailing::Slash && flags.contains(OFlag::O_CREAT) => return Err(Errno::EISDIR),
            None => return opening(Target::Free(spot)),
            Some(mut object) => {
                // By its name only a plain file is opened, and only where no call of another thread can put a pipe in its place, which would hold everybody up.
                if object.kind() != SFlag::S_IFREG || spot.scratch || !act::is_plain(kept) {
                    object.hold(&spot.folder, &spot.name)?;
                }
                (object, Where::Spot(spot))
            }
        },
    };
    if exclusive {
        return Err(Errno::EEXIST);
    }
    // It is there, and is only to be read: the kernel asks Landlock, which lets nothing be made. Beside a secret it grants what was there at
    // the start alone, so there it is opened here.
    if only_reads
        && let Some(bounds) = world.bounds()
        && !bounds.is_read_here(&object, world)?
    {
        return Ok(Read::GoOn);
    }
    let slash = matches!(&at, Where::Spot(Spot { trailing: Trailing::Slash, .. }));
    let kind = object.kind();
    if kind == SFlag::S_IFLNK {
        return Err(Errno::ELOOP);
    }
    if kind == SFlag::S_IFDIR {
        return if only_reads && !flags.contains(OFlag::O_CREAT) { opening(Target::Object(object, at)) } else { Err(Errno::EISDIR) };
    }
    if slash || flags.contains(OFlag::O_DIRECTORY) {
        return Err(Errno::ENOTDIR);
    }
    if kind == SFlag::S_IFSOCK {
        return Err(Errno::ENXIO);
    }
    if object.is_of_proc() {
        return match at {
            Where::Spot(spot) if world.roots() == Roots::Various && IN_PROC.contains(&spot.name.to_bytes()) => opening(Target::Control(object)),
            // As Landlock says it to the box.
            Where::Spot(_) | Where::Nowhere => Err(Errno::EACCES),
        };
    }
    opening(Target::Object(object, at))
}

/// A name that something is mounted on stays, whoever asks.
fn is_no_mount(spot: &Spot) -> Result<(), Errno> {
    let Some(object) = &spot.object else { return Ok(()) };
    if object.stat.mount == spot.ground.mount { Ok(()) } else { Err(Errno::EBUSY) }
}

/// Git tries to remove every folder above a file that it has removed, and relies on its failing.
pub(super) fn is_empty(spot: &Spot) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // What may not be read is left to the kernel.
    let Ok(mut entries) = Dir::openat(&spot.folder, spot.name.as_c_str(), flags, Mode::empty()) else { return Ok(()) };
    let is_own = |name: &std::ffi::CStr| matches!(name.to_bytes(), b"." | b"..");
    if entries.iter().take(3).flatten().any(|entry| !is_own(entry.file_name())) { Err(Errno::ENOTEMPTY) } else { Ok(()) }
}

fn remove(from: &From<'_>, path: Result<CString, Errno>, flags: i32) -> Result<Read, Errno> {
    let folder = match flags {
        0 => false,
        libc::AT_REMOVEDIR => true,
        _ => return Err(Errno::EINVAL),
    };
    let spot = match from.find(&path?, Follow::No)? {
        Found::Spot(spot) => spot,
        Found::Folder(..) if !folder => return Err(Errno::EISDIR),
        Found::Folder(Dots::One, _) => return Err(Errno::EINVAL),
        Found::Folder(Dots::Two, _) => return Err(Errno::ENOTEMPTY),
        Found::Folder(Dots::Root, _) => return Err(Errno::EBUSY),
        Found::Itself(_) => return Err(Errno::EPERM),
    };
    let object = spot.object.as_ref().ok_or(Errno::ENOENT)?;
    let is_folder = object.kind() == SFlag::S_IFDIR;
    if !folder && spot.trailing == Trailing::Slash {
        return Err(if is_folder { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    // Whoever may not change the folder is told that first.
    let told = |errno| may_write(spot.folder.as_fd()).and(Err(errno));
    match (folder, is_folder) {
        (true, false) => return told(Errno::ENOTDIR),
        (false, true) => return told(Errno::EISDIR),
        (true, true) | (false, false) => {}
    }
    if spot.scratch {
        return Ok(Read::GoOn);
    }
    is_no_mount(&spot)?;
    Ok(Read::Act(Act::Remove { spot, folder }))
}

/// The end of a rename.
fn end(found: Found) -> Result<Spot, Errno> {
    match found {
        Found::Spot(spot) => Ok(spot),
        Found::Folder(..) => Err(Errno::EBUSY),
        Found::Itself(_) => Err(Errno::EPERM),
    }
}

fn rename((from, to): (&From<'_>, &From<'_>), (old, new): &(CString, CString), flags: i32) -> Result<Read, Errno> {
    let flags = RenameFlags::from_bits(flags.cast_unsigned()).ok_or(Errno::EINVAL)?;
    if flags.contains(RenameFlags::RENAME_EXCHANGE) && flags != RenameFlags::RENAME_EXCHANGE {
        return Err(Errno::EINVAL);
    }
    // For layers of file systems; some cannot do it, and their callers go another way.
    if flags.contains(RenameFlags::RENAME_WHITEOUT) {
        return Err(Errno::EINVAL);
    }
    let exchange = flags.contains(RenameFlags::RENAME_EXCHANGE);
    let first = from.find(old, Follow::No)?;
    let to = to.find_beside((from, old, &first), new, Follow::No)?;
    let from = first;
    if let (Found::Spot(from), Found::Spot(to)) = (&from, &to)
        && from.ground.mount != to.ground.mount
    {
        return Err(Errno::EXDEV);
    }
    let from = end(from)?;
    let to = end(to).map_err(|errno| match errno {
        // It is there, as folders go.
        Errno::EBUSY if flags.contains(RenameFlags::RENAME_NOREPLACE) => Errno::EEXIST,
        errno => errno,
    })?;
    let is_folder = |object: &Object| object.kind() == SFlag::S_IFDIR;
    let source = from.object.as_ref().ok_or(Errno::ENOENT)?;
    match &to.object {
        None if exchange => return Err(Errno::ENOENT),
        Some(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
        Some(target) if exchange && !is_folder(target) && to.trailing == Trailing::Slash => return Err(Errno::ENOTDIR),
        Some(_) | None => {}
    }
    if !is_folder(source) && (from.trailing == Trailing::Slash || (!exchange && to.trailing == Trailing::Slash)) {
        return Err(Errno::ENOTDIR);
    }
    if from.scratch && to.scratch {
        return Ok(Read::GoOn);
    }
    if to.object.as_ref().is_some_and(|target| target.stat.id() == source.stat.id()) {
        return Ok(Read::Nothing);
    }
    is_no_mount(&from).and_then(|()| is_no_mount(&to))?;
    Ok(Read::Act(Act::Rename { from, to, flags }))
}

fn link(world: &World, from: (&From<'_>, &CString), to: (&From<'_>, &CString), flags: i32) -> Result<Read, Errno> {
    if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = if flags & libc::AT_SYMLINK_FOLLOW != 0 { Follow::Yes } else { Follow::Folders };
    let (object, path, mount) = if from.1.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        (Some(from.0.itself()?), None, None)
    } else {
        match from.0.find(from.1, follow)? {
            Found::Folder(..) => (None, None, None),
            Found::Itself(object) => (Some(object), None, None),
            Found::Spot(mut spot) => {
                let object = spot.object.take().ok_or(Errno::ENOENT)?;
                if spot.trailing == Trailing::Slash && object.kind() != SFlag::S_IFDIR {
                    return Err(Errno::ENOTDIR);
                }
                (Some(object), Some(spot.path(world)?), Some(spot.ground.mount))
            }
        }
    };
    let to = match to.0.find(to.1, Follow::No)? {
        Found::Spot(spot) => spot,
        Found::Folder(..) | Found::Itself(_) => return Err(Errno::EEXIST),
    };
    if to.object.is_some() {
        return Err(Errno::EEXIST);
    }
    if to.trailing == Trailing::Slash {
        return Err(Errno::ENOENT);
    }
    if mount.is_some_and(|mount| mount != to.ground.mount) {
        return Err(Errno::EXDEV);
    }
    match object.filter(|object| object.kind() != SFlag::S_IFDIR) {
        None => may_write(to.folder.as_fd()).and(Err(Errno::EPERM)),
        Some(object) => Ok(Read::Act(Act::Link { object, from: path, to })),
    }
}

fn truncate(_: &World, from: &From<'_>, path: &CString, length: i64) -> Result<Read, Errno> {
    if length < 0 {
        return Err(Errno::EINVAL);
    }
    let (object, at) = match from.find(path, Follow::Yes)? {
        Found::Folder(..) => return Err(Errno::EISDIR),
        Found::Itself(object) => (object, Where::Nowhere),
        Found::Spot(mut spot) => (spot.object.take().ok_or(Errno::ENOENT)?, Where::Spot(spot)),
    };
    if object.kind() != SFlag::S_IFDIR && matches!(&at, Where::Spot(Spot { trailing: Trailing::Slash, .. })) {
        return Err(Errno::ENOTDIR);
    }
    match object.kind() {
        SFlag::S_IFREG => Ok(Read::Act(Act::Truncate { object, at, length })),
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// Done at once, unless the file is for appending: that was judged as losing nothing.
fn change(world: &World, notice: &Notice, change: Change) -> Result<Read, Errno> {
    let number = notice.int(0);
    if world.files() == Files::Refused {
        // There is nothing of which it was said that it is for appending.
        return Ok(Read::GoOn);
    }
    if number < 0 {
        return Err(Errno::EBADF);
    }
    let file = world.file_of(notice.tid(), number)?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    let is_writable = flags & OFlag::O_ACCMODE != OFlag::O_RDONLY && !flags.contains(OFlag::O_PATH);
    let stat = Stat::of(&file)?;
    if is_writable && flags.contains(OFlag::O_APPEND) && stat.kind() == SFlag::S_IFREG {
        let fd = world.reopen(file.as_fd(), OFlag::O_PATH)?;
        return Ok(Read::Act(Act::Change { file, object: Object::from_parts(fd, stat), change }));
    }
    // If it has gone, the file can be that of another process with its number.
    if !notice.is_waiting() {
        return Err(Errno::EINTR);
    }
    act::change(world, &file, change).map(|()| Read::Nothing)
}
