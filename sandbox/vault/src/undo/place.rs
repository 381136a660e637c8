//! Making a thing anew beside its place, and putting it there only when nothing stands there.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{content::Content, set::set};
use crate::{
    crash::step,
    facts::{self, Facts, Identity, Kind},
};

/// Tries for a name beside the place that is free.
const TRIES: u32 = 1000;

/// What a thing is made of.
pub(super) enum Stuff<'a> {
    /// A kept content.
    Content(&'a Content),
    /// A symbolic link's target.
    Target(&'a [u8]),
    /// Another name of a file that stands there already.
    Name(&'a OwnedFd, &'a OsStr),
    /// Its kind is all.
    Kind,
}

/// What a name beside a place is for.
#[derive(Clone, Copy)]
pub(super) enum Spare {
    /// Something that is being made: it can be made again.
    New,
    /// Something that is being removed: it was kept.
    Gone,
    /// The very thing that will be renamed to its place.
    Held,
}

impl Spare {
    fn prefix(self) -> &'static str {
        match self {
            Self::New => ".agentbox-undo-new-",
            Self::Gone => ".agentbox-undo-gone-",
            Self::Held => ".agentbox-undo-held-",
        }
    }
}

/// Whether a name was left by an undo that was killed, and nothing is lost with it.
pub(super) fn is_left_over(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    [Spare::New, Spare::Gone].iter().any(|spare| name.starts_with(spare.prefix().as_bytes()))
}

/// Runs `make` with names beside the place until one is free. The name.
pub(super) fn beside(spare: Spare, mut make: impl FnMut(&str) -> Result<(), Errno>) -> Result<String, Errno> {
    for number in 0..TRIES {
        let spare = format!("{}{}-{number}", spare.prefix(), rustix::process::getpid().as_raw_nonzero());
        match make(&spare) {
            Ok(()) => return Ok(spare),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// Makes a thing and puts it under its name. What could not be set is told; nothing is left beside the place after an error.
pub(super) fn put(folder: BorrowedFd<'_>, name: &OsStr, facts: &Facts, stuff: &Stuff<'_>) -> Result<(Identity, Vec<String>), Errno> {
    let mut made = None;
    let spare = beside(Spare::New, |spare| {
        made = make(folder, spare, facts, stuff)?;
        Ok(())
    })?;
    let spare_name = OsStr::new(&spare);
    let id = match made {
        Some(id) => id,
        // Made without a descriptor: it is ours by its owner, which nobody else can give it.
        None => facts::look_at(folder, spare_name).and_then(|(id, now)| {
            let ours = now.kind == facts.kind && (matches!(stuff, Stuff::Name(..)) || now.uid == rustix::process::geteuid().as_raw());
            if ours { Ok(id) } else { Err(Errno::BUSY) }
        })?,
    };
    // A folder stays open to us until everything is in it, and what may not be changed could not be renamed.
    let mode = if facts.kind == Kind::Folder { facts.mode | 0o700 } else { facts.mode };
    let first = Facts { flags: 0, mode, ..facts.clone() };
    let mut told = match stuff {
        Stuff::Name(..) => Vec::new(),
        Stuff::Content(_) | Stuff::Target(_) | Stuff::Kind => set(folder, spare_name, id, &first),
    };
    let placed = step("put in place").and_then(|()| fs::renameat_with(folder, &spare, folder, name, RenameFlags::NOREPLACE));
    if let Err(error) = placed {
        let flags = if facts.kind == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let _ = fs::unlinkat(folder, &spare, flags);
        return Err(error);
    }
    if matches!(stuff, Stuff::Name(..)) {
        // Renaming one name of an inode over another does nothing, and leaves both: then ours is one too many.
        let _ = fs::unlinkat(folder, &spare, AtFlags::empty());
    }
    if facts.flags != 0 && facts.kind == Kind::File && !matches!(stuff, Stuff::Name(..)) {
        told.extend(set(folder, name, id, facts));
    }
    Ok((id, told))
}

/// Makes it, and tells which inode it is where a descriptor does.
fn make(folder: BorrowedFd<'_>, spare: &str, facts: &Facts, stuff: &Stuff<'_>) -> Result<Option<Identity>, Errno> {
    step("make beside the place")?;
    let node = |kind| fs::mknodat(folder, spare, kind, Mode::RUSR | Mode::WUSR, device(facts.device)).map(|()| None);
    match (facts.kind, stuff) {
        (Kind::File | Kind::Link | Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block, Stuff::Name(at, name)) => {
            fs::linkat(at, *name, folder, spare, AtFlags::empty()).map(|()| None)
        }
        (Kind::File, Stuff::Content(content)) => {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = fs::openat(folder, spare, flags, Mode::RUSR | Mode::WUSR)?;
            let written = content.write(file.as_fd()).and_then(|()| facts::identity(&file));
            written.map(Some).inspect_err(|_| {
                let _ = fs::unlinkat(folder, spare, AtFlags::empty());
            })
        }
        (Kind::Link, Stuff::Target(target)) => fs::symlinkat(*target, folder, spare).map(|()| None),
        (Kind::Folder, _) => fs::mkdirat(folder, spare, Mode::RWXU).map(|()| None),
        (Kind::Fifo, _) => node(FileType::Fifo),
        (Kind::Socket, _) => node(FileType::Socket),
        (Kind::Character, _) => node(FileType::CharacterDevice),
        (Kind::Block, _) => node(FileType::BlockDevice),
        (Kind::File | Kind::Link, _) => Err(Errno::INVAL),
    }
}

fn device(number: u64) -> u64 {
    let part = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    fs::makedev(part(number >> 32), part(number))
}

/// Folders on the way to a path that are missing, the topmost first.
pub(super) fn missing(path: &Path, exists: impl Fn(&Path) -> bool) -> Vec<&Path> {
    let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !exists(folder)).collect();
    missing.reverse();
    missing
}
