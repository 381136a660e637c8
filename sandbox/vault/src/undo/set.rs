//! Giving a thing its facts back: owner, attributes, mode, flags, times, in the order in which they do not undo each other.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{self, AtFlags, Gid, IFlags, Mode, OFlags, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use crate::{
    facts::{self, Facts, Identity, Kind, SETTABLE},
    keepers::timespec,
};

/// Sets all that can be set on the very thing. What could not be is told in words.
pub(super) fn set(folder: BorrowedFd<'_>, name: &OsStr, id: Identity, wanted: &Facts) -> Vec<String> {
    let object = match fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(object) => object,
        Err(error) => return vec![format!("its metadata cannot be set ({error})")],
    };
    let now = match facts::look(object.as_fd()) {
        Ok((there, now)) if there == id && now.kind == wanted.kind => now,
        Ok(_) => return vec!["its metadata was not set: another thing stands there".to_owned()],
        Err(error) => return vec![format!("its metadata cannot be set ({error})")],
    };
    let mut failed = Vec::new();
    let mut tried = |what: &str, done: Result<(), Errno>| {
        if let Err(error) = done {
            failed.push(format!("{what} ({error})"));
        }
    };
    if (now.uid, now.gid) != (wanted.uid, wanted.gid) {
        let (uid, gid) = (Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid)));
        tried("its owner cannot be set", fs::chownat(&object, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW));
    }
    // Names in it are the kernel's own for our descriptors: nobody else can put something else there.
    let itself = format!("/proc/self/fd/{}", object.as_raw_fd());
    let mode = Mode::from_raw_mode(wanted.mode);
    match wanted.kind {
        Kind::File | Kind::Folder => {
            let open = || fs::open(&itself, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
            let mut opened = open();
            if opened.as_ref().is_err_and(|error| *error == Errno::ACCESS) {
                let _ = fs::chmod(&itself, Mode::RWXU);
                opened = open();
            }
            match opened {
                Ok(file) => {
                    tried("its attributes cannot be set", set_attributes(file.as_fd(), wanted));
                    tried("its mode cannot be set", fs::fchmod(&file, mode));
                    tried("its times cannot be set", fs::futimens(&file, &times(wanted)));
                    tried("its flags cannot be set", set_flags(file.as_fd(), wanted));
                }
                Err(error) => tried("it cannot be opened", Err(error)),
            }
        }
        Kind::Link => tried("its times cannot be set", fs::utimensat(folder, name, &times(wanted), AtFlags::SYMLINK_NOFOLLOW)),
        Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block => {
            tried("its mode cannot be set", fs::chmod(&itself, mode));
            tried("its times cannot be set", fs::utimensat(folder, name, &times(wanted), AtFlags::SYMLINK_NOFOLLOW));
        }
    }
    failed
}

/// Both times of a folder, after the last change in it.
pub(super) fn set_times(folder: BorrowedFd<'_>, name: &OsStr, wanted: &Facts) -> Result<(), Errno> {
    fs::utimensat(folder, name, &times(wanted), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(wanted: &Facts) -> Timestamps {
    Timestamps { last_access: timespec(wanted.atime), last_modification: timespec(wanted.mtime) }
}

fn set_attributes(file: BorrowedFd<'_>, wanted: &Facts) -> Result<(), Errno> {
    let now = facts::attributes(file)?;
    let mut first = Ok(());
    // The default list of the folder it was made in, for one.
    for (name, _) in now.iter().filter(|(name, _)| !wanted.attributes.iter().any(|(other, _)| other == name)) {
        first = first.and(fs::fremovexattr(file, name.0.as_slice()));
    }
    for (name, value) in wanted.attributes.iter().filter(|wanted| !now.contains(wanted)) {
        first = first.and(fs::fsetxattr(file, name.0.as_slice(), &value.0, XattrFlags::empty()));
    }
    first
}

fn set_flags(file: BorrowedFd<'_>, wanted: &Facts) -> Result<(), Errno> {
    let now = match fs::ioctl_getflags(file) {
        Ok(now) => now,
        Err(_) if wanted.flags == 0 => return Ok(()),
        Err(error) => return Err(error),
    };
    let wanted = IFlags::from_bits_retain(wanted.flags) & SETTABLE;
    if now & SETTABLE == wanted { Ok(()) } else { fs::ioctl_setflags(file, (now - SETTABLE) | wanted) }
}

/// Whether a thing has these facts, but for its size and the time it was last read.
pub(super) fn has(wanted: &Facts, now: &Facts) -> bool {
    let modes = wanted.kind == Kind::Link || wanted.mode == now.mode;
    modes && wanted.uid == now.uid && wanted.gid == now.gid && wanted.mtime == now.mtime && wanted.attributes == now.attributes && wanted.flags == now.flags
}
