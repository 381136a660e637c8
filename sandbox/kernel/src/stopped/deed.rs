//! What a stopped call would do: read once, with every descriptor that it takes. What is judged and what is done are these.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, RenameFlags},
    sys::stat::{Mode, SFlag, fstatat},
};

use super::{
    attributes::Attributes,
    listener::Notice,
    read::{self, Read},
    resolve::{Object, Spot},
    stat::Stat,
    world::{Files, World},
};
use crate::sys::{access::may_write, notify::OnExec};

/// What a call would do to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Removes its name.
    Remove,
    /// Removes a folder.
    RemoveFolder,
    /// Gives its name to another thing.
    Replace,
    /// Gives it another name.
    Move,
    /// Exchanges it with the other thing that is moved.
    Exchange,
    /// Opens it for writing.
    Overwrite,
    /// Opens it for writing at its end.
    Append,
    /// Cuts it short.
    Truncate,
    /// Gives it one more name.
    Link,
    /// Changes its mode, owner, times or extended attributes.
    Attributes,
}

/// One thing that a call touches and that is there already.
#[derive(Clone, Debug)]
pub struct Touched<'d> {
    /// What happens to it.
    pub what: What,
    /// Where it is, as the agent sees it.
    pub path: PathBuf,
    /// The thing itself: a bare path's descriptor.
    pub object: BorrowedFd<'d>,
    /// The folder that its name is in; none for what has been opened by no name.
    pub folder: Option<BorrowedFd<'d>>,
    /// What it is.
    pub stat: Stat,
    /// Whether it lies in the box's own memory, where all was made in this box.
    pub own: bool,
    /// Where it will be, if it is moved or gets one more name.
    pub to: Option<(PathBuf, BorrowedFd<'d>)>,
}

/// A thing that a call touches, wherever it is.
#[derive(Clone, Copy, Debug)]
pub struct Thing<'d> {
    /// What happens to it.
    pub what: What,
    /// The thing itself, a bare path's descriptor, if it is held already.
    pub object: Option<BorrowedFd<'d>>,
    /// What it is.
    pub stat: Stat,
    /// Whether it lies in the box's own memory, where all was made in this box.
    pub own: bool,
}

/// A call with all that it takes to judge it and to do it.
#[derive(Debug)]
pub struct Deed {
    pub(super) act: Act,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Act {
    Open(Open),
    Remove { spot: Spot, folder: bool },
    Rename { from: Spot, to: Spot, flags: RenameFlags },
    Link { object: Object, from: Option<PathBuf>, to: Spot },
    MakeFolder { spot: Spot, mode: Mode },
    MakeLink { spot: Spot, target: CString },
    MakeNode { spot: Spot, kind: SFlag, mode: Mode },
    Truncate { object: Object, at: Where, length: i64 },
    Change { file: OwnedFd, object: Object, change: Change },
    Attributes { object: Object, at: Where, how: Attributes },
}

/// What is done through an open file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// It is no longer only for appending.
    Flags(OFlag),
    Length(i64),
    Space {
        how: FallocateFlags,
        offset: i64,
        length: i64,
    },
}

/// An opening.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) target: Target,
    /// Without those that only say how the path is resolved.
    pub(super) flags: OFlag,
    pub(super) mode: Mode,
    pub(super) exclusive: Exclusive,
    pub(super) on_exec: OnExec,
}

impl Open {
    /// Whether it leaves what is there as it is.
    pub(super) fn only_reads(&self) -> bool {
        self.flags & (OFlag::O_ACCMODE | OFlag::O_TRUNC) == OFlag::O_RDONLY
    }
}

/// Whether an opening is only for what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exclusive {
    No,
    Yes,
}

/// What is opened.
#[derive(Debug)]
pub(super) enum Target {
    /// A name that is free.
    Free(Spot),
    /// Something that is there.
    Object(Object, Where),
    /// A file of `/proc`, which holds nothing.
    Control(Object),
}

/// Where a thing was found.
#[derive(Debug)]
pub(super) enum Where {
    Spot(Spot),
    /// By a magic link; its path is what the kernel says.
    Nowhere,
}

/// What reading a call came to.
#[derive(Debug)]
pub enum Reading {
    /// Something that could lose what is there, or that only we may do.
    Deed(Notice, Deed),
    /// It is answered: it fails as it would have failed, or the kernel may do it.
    Answered,
}

impl Deed {
    /// Reads a call. Whatever fails as it would have failed without us is answered at once.
    ///
    /// Of a deed it leaves the turn taken ([`World::take_turn`]), for judging and doing it.
    pub fn read(notice: Notice, world: &World) -> Reading {
        let read = read::read(&notice, world);
        if !matches!(read, Ok(Read::Act(_))) {
            world.give_turn();
        }
        match read {
            Ok(Read::Act(act)) => Reading::Deed(notice, Self { act }),
            Ok(Read::GoOn) => {
                notice.go_on();
                Reading::Answered
            }
            Ok(Read::Made(socket, on_exec)) => {
                let _ = notice.give(socket, on_exec);
                Reading::Answered
            }
            Ok(Read::Nothing) => {
                notice.answer(0);
                Reading::Answered
            }
            Err(errno) => {
                notice.refuse(errno);
                Reading::Answered
            }
        }
    }

    /// Takes hold of what its names were only seen to lead to: before anything but doing it at once.
    ///
    /// # Errors
    /// EBUSY: a name leads to another thing by now. Or the kernel's.
    pub fn hold(&mut self) -> Result<(), Errno> {
        match &mut self.act {
            Act::Open(Open { target: Target::Object(object, Where::Spot(spot)), .. }) => object.hold(&spot.folder, &spot.name),
            Act::Remove { spot, .. } => spot.hold(),
            Act::Rename { from, to, .. } => from.hold().and_then(|()| to.hold()),
            // Never only glanced at.
            Act::Open(_)
            | Act::Link { .. }
            | Act::MakeFolder { .. }
            | Act::MakeLink { .. }
            | Act::MakeNode { .. }
            | Act::Truncate { .. }
            | Act::Change { .. }
            | Act::Attributes { .. } => Ok(()),
        }
    }

    /// What modes and mounts refuse anyway, as the kernel would tell it when it is done: nobody is asked about that, and nothing is kept.
    ///
    /// # Errors
    /// That.
    pub fn stands_to_reason(&self) -> Result<(), Errno> {
        match &self.act {
            Act::Open(open @ Open { target: Target::Object(object, _), .. }) if object.kind() == SFlag::S_IFREG && !open.only_reads() => {
                may_write(object.held()?)
            }
            Act::Open(_) | Act::Change { .. } | Act::MakeFolder { .. } | Act::MakeLink { .. } | Act::MakeNode { .. } => Ok(()),
            Act::Truncate { object, .. } => may_write(object.held()?),
            Act::Remove { spot, folder } => may_write(spot.folder.as_fd()).and_then(|()| if *folder { read::is_empty(spot) } else { Ok(()) }),
            Act::Rename { from, to, .. } => may_write(from.folder.as_fd()).and_then(|()| may_write(to.folder.as_fd())),
            Act::Link { to, .. } => may_write(to.folder.as_fd()),
            // The owner may change what nobody may write.
            Act::Attributes { object, .. } => match may_write(object.held()?) {
                Err(Errno::EROFS) => Err(Errno::EROFS),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }

    /// All that is there and that it touches, without where it is: that is costly to tell.
    pub fn things(&self, world: &World) -> impl Iterator<Item = Thing<'_>> {
        self.parts(world).into_iter().flatten().map(|part| part.bare(world))
    }

    /// The same, for judging and keeping, after [`Deed::hold`]. Nothing for what only makes.
    ///
    /// # Errors
    /// Where it is cannot be told: then it cannot be judged. EBUSY: it is not held.
    pub fn touches(&self, world: &World) -> Result<Vec<Touched<'_>>, Errno> {
        self.parts(world).into_iter().flatten().map(|part| part.whole(world)).collect()
    }

    fn parts(&self, world: &World) -> [Option<Part<'_>>; 2] {
        let one = match &self.act {
            Act::Open(open) if open.only_reads() => None,
            Act::Open(Open { target: Target::Object(object, place), flags, .. }) if object.kind() == SFlag::S_IFREG => {
                // Read through as well, it could be mapped and written anywhere.
                let appends = *flags & (OFlag::O_ACCMODE | OFlag::O_APPEND | OFlag::O_TRUNC) == OFlag::O_WRONLY | OFlag::O_APPEND;
                found(if appends && world.files() == Files::Had { What::Append } else { What::Overwrite }, object, place)
            }
            // What is new, and devices and pipes, hold nothing that could be lost.
            Act::Open(_) | Act::MakeFolder { .. } | Act::MakeLink { .. } | Act::MakeNode { .. } => None,
            Act::Remove { spot, folder } => {
                let what = if *folder { What::RemoveFolder } else { What::Remove };
                spot.object.as_ref().map(|object| Part { what, object, at: At::Spot(spot), to: None })
            }
            Act::Rename { from, to, flags } => {
                let exchange = flags.contains(RenameFlags::RENAME_EXCHANGE);
                let (moves, gives) = if exchange { (What::Exchange, What::Exchange) } else { (What::Move, What::Replace) };
                let source = from.object.as_ref().map(|object| Part { what: moves, object, at: At::Spot(from), to: Some(to) });
                let target = to.object.as_ref().map(|object| Part { what: gives, object, at: At::Spot(to), to: exchange.then_some(from) });
                return [source, target];
            }
            Act::Link { object, from, to } => {
                let place = from.as_ref().map_or(At::Nowhere, |path| At::Path(path));
                Some(Part { what: What::Link, object, at: place, to: Some(to) })
            }
            Act::Truncate { object, at: place, .. } => found(What::Truncate, object, place),
            Act::Attributes { object, at: place, .. } => match object.kind() {
                SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK => found(What::Attributes, object, place),
                _ => None,
            },
            Act::Change { object, change, .. } => match change {
                Change::Flags(_) | Change::Space { .. } => nameless(What::Overwrite, object),
                Change::Length(_) => nameless(What::Truncate, object),
            },
        };
        [one, None]
    }
}

/// One thing that is there, in the words of the act.
struct Part<'d> {
    what: What,
    object: &'d Object,
    at: At<'d>,
    /// Where it will be.
    to: Option<&'d Spot>,
}

impl<'d> Part<'d> {
    fn bare(&self, world: &World) -> Thing<'d> {
        let stat = self.object.stat;
        Thing { what: self.what, object: self.object.fd(), stat, own: world.is_own(stat.mount) }
    }

    fn whole(self, world: &World) -> Result<Touched<'d>, Errno> {
        let (path, folder) = match self.at {
            At::Spot(spot) => (spot.path(world)?, Some(spot.folder.as_fd())),
            At::Path(path) => (path.to_owned(), None),
            At::Nowhere => (path_of(world, self.object)?, None),
        };
        let to = self.to.map(|to| Ok::<_, Errno>((to.path(world)?, to.folder.as_fd()))).transpose()?;
        let stat = self.object.stat;
        Ok(Touched { what: self.what, path, object: self.object.held()?, folder, stat, own: world.is_own(stat.mount), to })
    }
}

fn found<'d>(what: What, object: &'d Object, at: &'d Where) -> Option<Part<'d>> {
    match at {
        Where::Spot(spot) => Some(Part { what, object, at: At::Spot(spot), to: None }),
        Where::Nowhere => nameless(what, object),
    }
}

enum At<'d> {
    Spot(&'d Spot),
    Path(&'d Path),
    Nowhere,
}

/// Removed: nobody else can have it any more.
fn nameless(what: What, object: &Object) -> Option<Part<'_>> {
    (object.stat.links > 0).then_some(Part { what, object, at: At::Nowhere, to: None })
}

/// Where a thing is that was come by without a name. What the kernel calls it must still lead to it: one whose name was removed while it has
/// others lies nobody knows where.
fn path_of(world: &World, object: &Object) -> Result<PathBuf, Errno> {
    let path = world.path_of(object.held()?)?;
    if object.stat.links > 0 {
        let there = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| Errno::EPERM)?;
        if (there.st_dev, there.st_ino) != object.stat.id() {
            return Err(Errno::EPERM);
        }
    }
    Ok(path)
}
