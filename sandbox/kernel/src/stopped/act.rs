//! Does a judged call, on the very descriptors that were judged, as the user whose box it is and without any power over files.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, OFlag, OpenHow, RenameFlags, ResolveFlag, fallocate, fcntl, openat, openat2, renameat2},
    libc,
    sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat, stat, umask},
    unistd::{UnlinkatFlags, ftruncate, linkat, symlinkat, unlinkat},
};

use super::{
    attributes,
    bounds::Doer,
    deed::{Act, Change, Deed, Exclusive, Open, Target, Where},
    listener::Notice,
    maps,
    reserve::{Placed, Wanted},
    resolve::{Object, Spot},
    stat::Stat,
    world::World,
};
use crate::mounts::devices::CONSOLE;

/// As the kernel has it; libc says nothing, since `open` adds it.
const LARGE: OFlag = OFlag::from_bits_retain(if cfg!(target_arch = "aarch64") { 0o400_000 } else { 0o100_000 });

/// What a plain file is opened with besides.
const PLAIN: OFlag = OFlag::O_APPEND.union(OFlag::O_TRUNC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_SYNC).union(OFlag::O_NOATIME);

/// How a deed went.
#[derive(Debug)]
#[must_use = "what is not done yet must be judged, or tried, again"]
pub enum Performed {
    /// The caller has its answer: done, or failed with this.
    Answered(Result<(), Errno>),
    /// Another thread was faster, and made what was not there: this is another deed than the one that was judged.
    Another(Notice, Deed),
    /// The other end of a pipe is not there yet: try again.
    Later(Notice, Deed),
}

/// What one act came to.
enum Done {
    /// This is the call's answer.
    Value,
    /// The caller gets this.
    Opened(OwnedFd),
    /// The caller gets this file, which has no right to be executed: it gets none before ours is gone, since that is done here, too.
    OpenedForData(OwnedFd),
    /// The caller gets this, and then it is cut short, by the other one if it was not opened for writing itself.
    ToCut(OwnedFd, Option<OwnedFd>),
    /// See [`Performed`].
    Another(Act),
    Later(Act),
}

impl Done {
    /// A file that has this mode, or less.
    fn opened(fd: OwnedFd, mode: Mode) -> Self {
        let runs = mode.intersects(Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH);
        if runs { Self::Opened(fd) } else { Self::OpenedForData(fd) }
    }
}

impl Notice {
    /// Whether a signal waits for the caller that it has a handler for: something typed, most likely. A held call keeps such signals from it,
    /// so whoever holds one looks from time to time, and answers EINTR.
    #[must_use]
    pub fn is_wanted_elsewhere(&self, world: &World) -> bool {
        world.is_wanted(self.tid()).unwrap_or(true)
    }
}

impl Deed {
    /// Does it, and answers the caller, in this gate's turn: the one in which it was read and judged, or a new one if all that it names is held
    /// ([`Deed::hold`]), and looked at again here.
    pub fn perform(self, notice: Notice, world: &World) -> Performed {
        let performed = self.done(notice, world);
        if !matches!(performed, Performed::Another(..)) {
            world.give_turn();
        }
        performed
    }

    fn done(self, notice: Notice, world: &World) -> Performed {
        if let Err(errno) = world.take_turn() {
            notice.refuse(errno);
            return Performed::Answered(Err(errno));
        }
        // Whoever has gone, or was answered by a signal, is not acted for.
        if !notice.is_waiting() {
            return Performed::Answered(Err(Errno::EINTR));
        }
        let on_exec = match &self.act {
            Act::Open(open) => open.on_exec,
            Act::Remove { .. }
            | Act::Rename { .. }
            | Act::Link { .. }
            | Act::MakeFolder { .. }
            | Act::MakeLink { .. }
            | Act::MakeNode { .. }
            | Act::Truncate { .. }
            | Act::Change { .. }
            | Act::Attributes { .. } => crate::sys::notify::OnExec::Close,
        };
        // Where no mount refuses it: what was held may have been moved about meanwhile.
        let stays = world.bounds().map_or(Ok(Doer::Gate), |bounds| bounds.doer(&self.act, world));
        if let Err(errno) = stays.and_then(|doer| if doer == Doer::Gate { Ok(()) } else { Err(Errno::EACCES) }) {
            notice.refuse(errno);
            return Performed::Answered(Err(errno));
        }
        let done = perform(self.act, notice.tid(), world);
        // A caller that goes on does not do so in our turn; what is cut short is so in it.
        if !matches!(done, Ok(Done::ToCut(..) | Done::Another(_))) {
            world.give_turn();
        }
        match done {
            Ok(Done::Value) => {
                notice.answer(0);
                Performed::Answered(Ok(()))
            }
            Ok(Done::Opened(fd)) => Performed::Answered(notice.give(fd, on_exec)),
            Ok(Done::OpenedForData(fd)) => Performed::Answered(notice.give_at_once(fd, on_exec)),
            Ok(Done::ToCut(fd, cut)) => Performed::Answered(notice.give_first(fd, on_exec, move |fd| ftruncate(cut.as_ref().unwrap_or(&fd), 0))),
            Ok(Done::Another(act)) => Performed::Another(notice, Self { act }),
            Ok(Done::Later(act)) => Performed::Later(notice, Self { act }),
            Err(errno) => {
                notice.refuse(errno);
                Performed::Answered(Err(errno))
            }
        }
    }
}

fn perform(act: Act, tid: i32, world: &World) -> Result<Done, Errno> {
    match act {
        Act::Open(open) => opened(open, tid, world),
        Act::Remove { spot, folder } => {
            spot.stands()?;
            unlinkat(&spot.folder, spot.name.as_c_str(), if folder { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir })?;
            Ok(Done::Value)
        }
        Act::Rename { from, to, flags } => renamed(from, to, flags),
        Act::Link { object, to, .. } => {
            let name = World::name_of(object.held()?);
            linkat(world.fds(), name.as_str(), &to.folder, to.name.as_c_str(), AtFlags::AT_SYMLINK_FOLLOW)?;
            Ok(Done::Value)
        }
        Act::MakeFolder { spot, mode } => match world.reserve().place(&Wanted::Folder, &spot, mode, tid, world)? {
            Placed::Folder | Placed::File(_) => Ok(Done::Value),
            Placed::No => as_masked(tid, world, || mkdirat(&spot.folder, spot.name.as_c_str(), mode)).map(|()| made(&spot, world)),
        },
        Act::MakeLink { spot, target } => symlinkat(target.as_c_str(), &spot.folder, spot.name.as_c_str()).map(|()| made(&spot, world)),
        Act::MakeNode { spot, kind, mode } => as_masked(tid, world, || mknodat(&spot.folder, spot.name.as_c_str(), kind, mode, 0)).map(|()| made(&spot, world)),
        Act::Truncate { object, length, .. } => {
            ftruncate(world.reopen(object.held()?, OFlag::O_WRONLY)?, length)?;
            Ok(Done::Value)
        }
        Act::Attributes { object, how, .. } => attributes::apply(&object, &how, world).map(|()| Done::Value),
        Act::Change { file, change: how, .. } => change(world, &file, how).map(|()| Done::Value),
    }
}

/// Remembers what has just been made.
fn made(spot: &Spot, world: &World) -> Done {
    let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if world.bounds().is_some()
        && let Ok(made) = openat(&spot.folder, spot.name.as_c_str(), how, nix::sys::stat::Mode::empty())
    {
        world.remember(made.as_fd());
    }
    Done::Value
}

/// Does something through an open file of the caller.
pub(super) fn change(world: &World, file: &OwnedFd, change: Change) -> Result<(), Errno> {
    match change {
        Change::Flags(flags) => fcntl(file, FcntlArg::F_SETFL(flags)).map(drop),
        Change::Space { how, offset, length } => fallocate(file, how, offset, length),
        Change::Length(length) => match ftruncate(file, length) {
            // Landlock wrote down at its opening that the caller may not cut what lies in that tree; a file that could be opened for
            // writing has been judged, or was made by its opening.
            Err(Errno::EACCES) => ftruncate(world.reopen(file.as_fd(), OFlag::O_WRONLY)?, length),
            done => done,
        },
    }
}

fn renamed(from: Spot, to: Spot, flags: RenameFlags) -> Result<Done, Errno> {
    from.stands()?;
    if flags.contains(RenameFlags::RENAME_EXCHANGE) || to.object.is_some() {
        to.stands()?;
        renameat2(&from.folder, from.name.as_c_str(), &to.folder, to.name.as_c_str(), flags)?;
        return Ok(Done::Value);
    }
    // The name was free when it was judged: if it is not any more, something would be replaced that nobody has judged.
    match renameat2(&from.folder, from.name.as_c_str(), &to.folder, to.name.as_c_str(), RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(Done::Value),
        Err(Errno::EEXIST) if !flags.contains(RenameFlags::RENAME_NOREPLACE) => {
            let object = Object::at(&to.folder, &to.name)?;
            Ok(Done::Another(Act::Rename { from, to: Spot { object: Some(object), ..to }, flags }))
        }
        // A file system without that flag. Where another thread is faster than the next two lines it replaces a file that it has just made itself.
        Err(Errno::EINVAL) if flags.is_empty() => {
            to.stands()?;
            renameat2(&from.folder, from.name.as_c_str(), &to.folder, to.name.as_c_str(), RenameFlags::empty())?;
            Ok(Done::Value)
        }
        Err(errno) => Err(errno),
    }
}

/// What is made gets the caller's mask. One thread does all deeds, so nobody else makes anything meanwhile.
pub(super) fn as_masked<T>(tid: i32, world: &World, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let (mask, own) = (world.mask(tid)?, world.own_mask());
    if mask == own {
        return make();
    }
    umask(mask);
    let made = make();
    // What this process makes for itself must not get the mask of an agent, which could be one that nobody can read through.
    umask(own);
    made
}

fn opened(open: Open, tid: i32, world: &World) -> Result<Done, Errno> {
    let Open { target, flags, mode, exclusive, on_exec } = open;
    match target {
        Target::Free(spot) => {
            // Exclusive also means that no link is followed.
            let how = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let made = match world.reserve().place(&Wanted::File(flags | OFlag::O_NOCTTY), &spot, mode, tid, world) {
                Ok(Placed::File(fd)) => Ok(fd),
                Ok(Placed::Folder | Placed::No) => as_masked(tid, world, || openat(&spot.folder, spot.name.as_c_str(), how, mode)),
                Err(errno) => Err(errno),
            };
            match made {
                Ok(fd) => {
                    world.remember(fd.as_fd());
                    Ok(Done::opened(fd, mode))
                }
                Err(Errno::EEXIST) if exclusive == Exclusive::No => {
                    let target = newcomer(spot)?;
                    Ok(Done::Another(Act::Open(Open { target, flags, mode, exclusive, on_exec })))
                }
                Err(errno) => Err(errno),
            }
        }
        Target::Control(object) => maps::open(object.held()?, flags - OFlag::O_TRUNC, tid, world).map(Done::Opened),
        Target::Object(object, Where::Spot(spot)) if object.fd().is_none() => match by_name(&object, &spot, flags)? {
            Some(done) => Ok(done),
            None => Ok(Done::Another(Act::Open(Open { target: newcomer(spot)?, flags, mode, exclusive, on_exec }))),
        },
        Target::Object(object, at) => match object.kind() {
            SFlag::S_IFREG => file(&object, flags, world),
            SFlag::S_IFIFO => {
                let blocks = !flags.contains(OFlag::O_NONBLOCK);
                match world.reopen(object.held()?, flags | OFlag::O_NONBLOCK) {
                    Ok(fd) => {
                        if blocks {
                            let set = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?) - OFlag::O_NONBLOCK;
                            fcntl(&fd, FcntlArg::F_SETFL(set))?;
                        }
                        Ok(Done::Opened(fd))
                    }
                    Err(Errno::ENXIO) if blocks => Ok(Done::Later(Act::Open(Open { target: Target::Object(object, at), flags, mode, exclusive, on_exec }))),
                    Err(errno) => Err(errno),
                }
            }
            SFlag::S_IFCHR => device(&object, flags - OFlag::O_TRUNC, tid, world).map(Done::Opened),
            SFlag::S_IFDIR if flags & (OFlag::O_ACCMODE | OFlag::O_TRUNC) == OFlag::O_RDONLY => world.reopen(object.held()?, flags).map(Done::Opened),
            SFlag::S_IFDIR => Err(Errno::EISDIR),
            // Block devices; the box has none, and its mounts open none.
            _ => Err(Errno::EACCES),
        },
    }
}

/// What has a name that was free.
fn newcomer(spot: Spot) -> Result<Target, Errno> {
    let object = Object::at(&spot.folder, &spot.name)?;
    if object.kind() == SFlag::S_IFLNK {
        // Made in this moment, and never resolved: a loop of one's own making.
        return Err(Errno::ELOOP);
    }
    Ok(Target::Object(object, Where::Spot(spot)))
}

/// Opens a plain file that was glanced at for writing. None: what was opened is another thing, which nobody has judged; it is closed again as it was.
fn by_name(object: &Object, spot: &Spot, flags: OFlag) -> Result<Option<Done>, Errno> {
    // O_NOFOLLOW would stay among the flags that the caller can see; O_LARGEFILE is what `open` adds itself.
    // Somebody outside can have put a pipe there by now, for whose other end this process must not wait.
    let at_once = (flags - OFlag::O_TRUNC) | LARGE | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = match openat2(&spot.folder, spot.name.as_c_str(), OpenHow::new().flags(at_once).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS)) {
        Ok(fd) => fd,
        // A pipe without a reader; a file on which somebody has a lease.
        Err(Errno::ENXIO | Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let now = Stat::of(&fd)?;
    if !now.is_of(&object.stat) {
        return Ok(None);
    }
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(&fd, FcntlArg::F_SETFL(flags - OFlag::O_TRUNC))?;
    }
    Ok(Some(match cut(fd, None, now.size, flags)? {
        Done::Opened(fd) => Done::opened(fd, Mode::from_bits_truncate(now.mode)),
        other => other,
    }))
}

fn file(object: &Object, flags: OFlag, world: &World) -> Result<Done, Errno> {
    let fd = world.reopen(object.held()?, flags - OFlag::O_TRUNC)?;
    // The kernel, too, asks for the right to write.
    let other = if writes(flags) || !flags.contains(OFlag::O_TRUNC) { None } else { Some(world.reopen(object.held()?, OFlag::O_WRONLY)?) };
    cut(fd, other, object.stat.size, flags)
}

/// Whether one can write through what is opened so.
fn writes(flags: OFlag) -> bool {
    let access = flags & OFlag::O_ACCMODE;
    access == OFlag::O_WRONLY || access == OFlag::O_RDWR
}

/// Whether a plain file can be opened so by its name: `openat2` refuses what `open` does not know, and what cannot be written through is cut by another
/// descriptor.
pub(super) fn is_plain(flags: OFlag) -> bool {
    writes(flags) && PLAIN.union(LARGE).contains(flags - OFlag::O_ACCMODE)
}

/// Sees to it that what was opened is cut short, if that was asked for: by the other descriptor, where one cannot write through it.
fn cut(fd: OwnedFd, other: Option<OwnedFd>, size: u64, flags: OFlag) -> Result<Done, Errno> {
    if !flags.contains(OFlag::O_TRUNC) {
        return Ok(Done::Opened(fd));
    }
    if size == 0 {
        // Nothing to lose: only its time of change is set.
        ftruncate(other.as_ref().unwrap_or(&fd), 0)?;
        return Ok(Done::Opened(fd));
    }
    Ok(Done::ToCut(fd, other))
}

/// A device; `/dev/tty` is the caller's terminal, not ours.
fn device(object: &Object, flags: OFlag, tid: i32, world: &World) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_NOCTTY;
    if object.stat.stands_for != libc::makedev(5, 0) {
        return world.reopen(object.held()?, flags);
    }
    let terminal = terminal_of(tid, world)?;
    world.reopen(terminal.as_fd(), flags)
}

/// The terminal that controls the caller's session, found where the caller has it open, else among the box's own.
fn terminal_of(tid: i32, world: &World) -> Result<OwnedFd, Errno> {
    let mut text = String::new();
    File::from(world.of_process(tid, "stat", OFlag::O_RDONLY)?).take(4096).read_to_string(&mut text).map_err(|_| Errno::EIO)?;
    // Behind the name, which may hold anything: state, parent, group, session, terminal.
    let number = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(4)).and_then(|word| word.parse::<i32>().ok()).ok_or(Errno::EIO)?;
    let number = number.cast_unsigned();
    if number == 0 {
        return Err(Errno::ENXIO);
    }
    let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
    let device = libc::makedev((number >> 8) & 0xfff, minor);
    let is_it =
        |fd: BorrowedFd<'_>| fstat(fd).is_ok_and(|found| found.st_rdev == device && SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR);
    for open in 0..3 {
        if let Ok(fd) = world.of_process(tid, &format!("fd/{open}"), OFlag::O_PATH)
            && is_it(fd.as_fd())
        {
            return Ok(fd);
        }
    }
    for path in [CONSOLE.to_owned(), format!("/dev/pts/{minor}")] {
        if stat(path.as_str()).is_ok()
            && let Ok(fd) = openat(world.root(), path.trim_start_matches('/'), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            && is_it(fd.as_fd())
        {
            return Ok(fd);
        }
    }
    Err(Errno::ENXIO)
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, rc::Rc, sync::mpsc, time::Duration};

    use nix::{fcntl::open, unistd::mkfifo};

    use super::*;
    use crate::stopped::{resolve::Ground, world::Trailing};

    fn opened_in(folder: &std::path::Path, change: fn(&std::path::Path), flags: OFlag) -> Result<Option<i32>, Errno> {
        let path = folder.join("one");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, "old").unwrap();
        let at = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let object = Object::at(&at, c"one").unwrap();
        let ground = Ground { mount: object.stat.mount, proc: false };
        let spot = Spot { folder: Rc::new(at), name: CString::from(c"one"), object: None, trailing: Trailing::None, ground, scratch: false };
        change(&path);
        by_name(&object, &spot, flags).map(|done| {
            done.map(|done| match done {
                Done::Opened(fd) | Done::OpenedForData(fd) | Done::ToCut(fd, _) => fcntl(&fd, FcntlArg::F_GETFL).unwrap(),
                _ => panic!("not opened"),
            })
        })
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let pipe: fn(&std::path::Path) = |path| {
                std::fs::remove_file(path).unwrap();
                mkfifo(path, Mode::S_IRWXU).unwrap();
            };
            let of_pipe = opened_in(folder.path(), pipe, OFlag::O_WRONLY);
            let plain = opened_in(folder.path(), |_| {}, OFlag::O_WRONLY | OFlag::O_APPEND);
            let at_once = opened_in(folder.path(), |_| {}, OFlag::O_RDWR | OFlag::O_NONBLOCK);
            done.send((of_pipe, plain, at_once)).unwrap();
        });
        let (of_pipe, plain, at_once) = ended.recv_timeout(Duration::from_secs(60)).expect("it waits for nobody");
        assert_eq!(of_pipe, Ok(None));
        let has = |flags: Result<Option<i32>, Errno>, wanted: OFlag| {
            OFlag::from_bits_retain(flags.unwrap().unwrap()) & (OFlag::O_APPEND | OFlag::O_NONBLOCK) == wanted
        };
        assert!(has(plain, OFlag::O_APPEND) && has(at_once, OFlag::O_NONBLOCK), "{plain:?} {at_once:?}");
    }
}
