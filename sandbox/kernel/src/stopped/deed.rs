//! What a stopped call would do: read once, with every descriptor that it takes. What is judged and what is done are these.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, RenameFlags},
    sys::stat::{FileStat, Mode, SFlag, fstatat},
};

use super::{
    attributes::Attributes,
    listener::Notice,
    read::{self, Read},
    resolve::{Object, Spot},
    world::{Files, World},
};
use crate::sys::notify::OnExec;

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
    /// Its metadata.
    pub stat: FileStat,
    /// Whether it lies in the box's own memory, where all was made in this box.
    pub own: bool,
    /// Where it will be, if it is moved or gets one more name.
    pub to: Option<(PathBuf, BorrowedFd<'d>)>,
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
    pub(super) on_exec: OnExec,
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
    pub fn read(notice: Notice, world: &World) -> Reading {
        match read::read(&notice, world) {
            Ok(Read::Act(act)) => Reading::Deed(notice, Self { act }),
            Ok(Read::GoOn) => {
                notice.go_on();
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

    /// All that is there and that it touches, for judging and keeping. Nothing for what only makes.
    ///
    /// # Errors
    /// Where it is cannot be told: then it cannot be judged.
    pub fn touches(&self, world: &World) -> Result<Vec<Touched<'_>>, Errno> {
        let of = |what, object, spot| touched(world, what, object, spot);
        Ok(match &self.act {
            Act::Open(Open { target: Target::Free(_) | Target::Control(_), .. }) => Vec::new(),
            Act::Open(Open { target: Target::Object(object, at), flags, .. }) if object.kind() == SFlag::S_IFREG => {
                // Read through as well, it could be mapped and written anywhere.
                let appends = *flags & (OFlag::O_ACCMODE | OFlag::O_APPEND | OFlag::O_TRUNC) == OFlag::O_WRONLY | OFlag::O_APPEND;
                let what = if appends && world.files() == Files::Had { What::Append } else { What::Overwrite };
                match at {
                    Where::Spot(spot) => vec![of(what, object, spot)?],
                    Where::Nowhere => nameless(world, what, object)?,
                }
            }
            // Devices and pipes hold nothing that could be lost.
            Act::Open(_) => Vec::new(),
            Act::Remove { spot, folder } => {
                let what = if *folder { What::RemoveFolder } else { What::Remove };
                spot.object.iter().map(|object| of(what, object, spot)).collect::<Result<_, _>>()?
            }
            Act::Rename { from, to, flags } => {
                let exchange = flags.contains(RenameFlags::RENAME_EXCHANGE);
                let mut all = Vec::with_capacity(2);
                if let Some(object) = &from.object {
                    let what = if exchange { What::Exchange } else { What::Move };
                    all.push(Touched { to: Some((to.path(world)?, to.folder.as_fd())), ..of(what, object, from)? });
                }
                if let Some(object) = &to.object {
                    let what = if exchange { What::Exchange } else { What::Replace };
                    let back = if exchange { Some((from.path(world)?, from.folder.as_fd())) } else { None };
                    all.push(Touched { to: back, ..of(what, object, to)? });
                }
                all
            }
            Act::Link { object, from, to } => {
                let path = match from {
                    Some(path) => path.clone(),
                    None => path_of(world, object)?,
                };
                let to = Some((to.path(world)?, to.folder.as_fd()));
                vec![Touched { to, ..plain(world, What::Link, path, object) }]
            }
            Act::Truncate { object, at, .. } => match at {
                Where::Spot(spot) => vec![of(What::Truncate, object, spot)?],
                Where::Nowhere => nameless(world, What::Truncate, object)?,
            },
            Act::Attributes { object, at, .. } => match (object.kind(), at) {
                (SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK, Where::Spot(spot)) => vec![of(What::Attributes, object, spot)?],
                (SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK, Where::Nowhere) => nameless(world, What::Attributes, object)?,
                _ => Vec::new(),
            },
            Act::Change { object, change, .. } => match change {
                Change::Flags(_) | Change::Space { .. } => nameless(world, What::Overwrite, object)?,
                Change::Length(_) => nameless(world, What::Truncate, object)?,
            },
        })
    }
}

fn touched<'d>(world: &World, what: What, object: &'d Object, spot: &'d Spot) -> Result<Touched<'d>, Errno> {
    Ok(Touched { folder: Some(spot.folder.as_fd()), ..plain(world, what, spot.path(world)?, object) })
}

fn plain<'d>(world: &World, what: What, path: PathBuf, object: &'d Object) -> Touched<'d> {
    let fd = object.fd.as_fd();
    Touched { what, path, object: fd, folder: None, stat: object.stat, own: world.is_own(fd), to: None }
}

/// Where a thing is that was come by without a name. What the kernel calls it must still lead to it: one whose name was removed while it has
/// others lies nobody knows where.
fn path_of(world: &World, object: &Object) -> Result<PathBuf, Errno> {
    let path = world.path_of(object.fd.as_fd())?;
    if object.stat.st_nlink > 0 {
        let there = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| Errno::EPERM)?;
        if (there.st_dev, there.st_ino) != (object.stat.st_dev, object.stat.st_ino) {
            return Err(Errno::EPERM);
        }
    }
    Ok(path)
}

fn nameless<'d>(world: &World, what: What, object: &'d Object) -> Result<Vec<Touched<'d>>, Errno> {
    // Removed: nobody else can have it any more.
    if object.stat.st_nlink == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![plain(world, what, path_of(world, object)?, object)])
}
