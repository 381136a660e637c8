//! A kept content, verified before anything is made of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use crate::{
    facts::{self, Identity},
    finish::OBJECT,
    keepers::{copy_content, hash_content},
    record::{Body, Digest},
    session::object_name,
    undo::Undo,
};

/// A content that is what was kept.
#[derive(Debug)]
pub(crate) struct Content {
    object: Option<OwnedFd>,
    pub(crate) size: u64,
    /// What it hashes to. Without one, size and time were all there is to tell: the session still runs.
    digest: Option<Digest>,
}

impl Undo {
    /// The kept content of a file from before the session. The words say why there is none.
    pub(super) fn content(&self, id: Identity) -> Result<Content, String> {
        let inode = self.history.inodes.get(&id).ok_or("nothing of it was kept")?;
        let body = match &inode.body {
            Some(Ok(body)) => body,
            Some(Err(why)) => return Err(format!("it was not kept: {why}")),
            None => return Err("nothing of it was kept".to_owned()),
        };
        let (number, digest) = match body {
            Body::Object { number, digest, .. } => (*number, digest.or_else(|| self.history.digests.get(number).copied())),
            Body::None => return Ok(Content { object: None, size: 0, digest: None }),
            Body::Target(_) => return Err("it was a link".to_owned()),
        };
        let session = self.vault.session_folder(inode.by.as_deref().unwrap_or(&self.told.start.session)).map_err(|error| error.to_string())?;
        let name = object_name(number);
        let object = opened(session.as_fd(), &name).map_err(|error| format!("the kept copy cannot be opened: {error}"))?;
        let changed = || "the kept copy is not what was kept: it was changed or damaged, and is left alone".to_owned();
        let (_, now) = facts::look(object.as_fd()).map_err(|error| format!("the kept copy cannot be looked at: {error}"))?;
        let (size, mtime) = inode.object;
        if now.size != size {
            return Err(changed());
        }
        match digest {
            Some(digest) => {
                let found = hash_content(object.as_fd(), size).map_err(|error| format!("the kept copy cannot be read: {error}"))?;
                if found != digest {
                    return Err(changed());
                }
            }
            None if now.mtime != mtime => return Err(changed()),
            None => {}
        }
        Ok(Content { object: Some(object), size, digest })
    }
}

fn opened(session: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match fs::openat(session, name, OBJECT, Mode::empty()) {
        // The inode itself, with a mode that does not let its owner read: in the vault the mode is of no more use.
        Err(Errno::ACCESS) => {
            fs::chmodat(session, name, Mode::RUSR, AtFlags::empty())?;
            fs::openat(session, name, OBJECT, Mode::empty())
        }
        other => other,
    }
}

impl Content {
    /// Writes it into an empty file, or over another content. What is written is verified again: the object lies still, but the disk
    /// may not have read the same twice.
    pub(crate) fn write(&self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(object) = &self.object else { return fs::ftruncate(to, 0) };
        if fs::ioctl_ficlone(to, object).is_ok() {
            return fs::ftruncate(to, self.size);
        }
        fs::ftruncate(to, 0)?;
        let copied = copy_content(object.as_fd(), to, self.size)?;
        match self.digest {
            Some(digest) if digest != copied => Err(Errno::IO),
            Some(_) | None => Ok(()),
        }
    }

    /// All of it.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Errno> {
        self.object.as_ref().map_or(Ok(Vec::new()), |object| read(object.as_fd(), self.size))
    }

    /// Whether a file has this content.
    pub(crate) fn is_in(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        let (_, now) = facts::look(file)?;
        if now.size != self.size {
            return Ok(false);
        }
        let Some(object) = &self.object else { return Ok(true) };
        let wanted = match self.digest {
            Some(digest) => digest,
            None => hash_content(object.as_fd(), self.size)?,
        };
        Ok(hash_content(file, now.size)? == wanted)
    }
}

/// Opens a regular file for reading, never through a link and never waiting.
pub(super) fn readable(folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<OwnedFd, Errno> {
    fs::openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

/// The first bytes of a file, as many as it had a moment ago.
pub(super) fn read(file: BorrowedFd<'_>, size: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Errno::FBIG)?];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, at as u64) {
            Ok(0) => break,
            Ok(got) => at += got,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}
