//! Reading below a git directory: bounded, through descriptors, never following a link.
//!
//! What was made in the session counts only where it stays as it is: whoever made it may still have it open for writing, and another name of it may
//! lie where writing is free. Every other opening of it for writing is judged.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::{Duration, SystemTime},
};

use agentbox_kernel::lease;
use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags},
    io::Errno,
};

use super::trouble::Trouble;

/// Most names read from one folder: more than git puts in any.
const MOST_NAMES: usize = 200_000;

/// Longer than a step of the clock by which files are stamped: those are 1 to 10 ms.
const STEP: Duration = Duration::from_millis(20);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    /// What was born since then must be steady to be read.
    session: Option<SystemTime>,
}

/// What kind of thing a name is, and when it was born.
#[derive(Debug)]
pub(crate) struct Facts(Statx);

impl Facts {
    /// Whether it is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Its device and its inode number.
    pub(crate) fn id(&self) -> (u64, u64) {
        (fs::makedev(self.0.stx_dev_major, self.0.stx_dev_minor), self.0.stx_ino)
    }

    /// Its inode number.
    pub(crate) const fn inode(&self) -> u64 {
        self.0.stx_ino
    }

    /// How many names it has.
    pub(crate) const fn names(&self) -> u32 {
        self.0.stx_nlink
    }

    /// Length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// When the inode came to be, where the file system tells.
    pub(crate) fn born(&self) -> Option<SystemTime> {
        let known = self.0.stx_mask & StatxFlags::BTIME.bits() != 0;
        let seconds = u64::try_from(self.0.stx_btime.tv_sec).ok()?;
        known.then(|| SystemTime::UNIX_EPOCH + Duration::new(seconds, self.0.stx_btime.tv_nsec))
    }

    /// Changes whenever the content of a folder, or the inode itself, changes.
    pub(crate) const fn stamp(&self) -> Stamp {
        let s = &self.0;
        Stamp(s.stx_dev_major, s.stx_dev_minor, s.stx_ino, s.stx_ctime.tv_sec, s.stx_ctime.tv_nsec, s.stx_size)
    }

    /// Whether the stamp will be another one after the next change: that by which files are stamped goes in steps of some milliseconds, and what
    /// another process changes in the same step does not show.
    pub(crate) fn is_settled(&self) -> bool {
        let seconds = u64::try_from(self.0.stx_ctime.tv_sec).unwrap_or(u64::MAX >> 1);
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, self.0.stx_ctime.tv_nsec));
        changed.is_some_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|since| since > STEP))
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(u32::from(self.0.stx_mode))
    }
}

/// Identity and change time of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32, u32, u64, i64, u32, u64);

impl Folder {
    /// Opens a folder by its absolute path, which must be free of links.
    pub(crate) fn absolute(path: &Path) -> Result<Self, Errno> {
        let root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Self { fd: root, session: None }.folder(path.strip_prefix("/").map_err(|_| Errno::INVAL)?)
    }

    /// Reads what was made since then only while nobody could change it unseen.
    pub(crate) fn wary(self, session: Option<SystemTime>) -> Self {
        Self { session, ..self }
    }

    /// Opens a folder below this one. It need not be readable: what may be changed may be unreadable all the same.
    pub(crate) fn folder(&self, below: &Path) -> Result<Self, Errno> {
        Ok(Self { fd: self.open(below, OFlags::PATH | OFlags::DIRECTORY)?, session: self.session })
    }

    /// What a name below this folder is; `None` when nothing is there.
    pub(crate) fn facts(&self, below: &Path) -> Result<Option<Facts>, Errno> {
        let opened = match self.open(below, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other?,
        };
        let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        fs::statx(opened, "", AtFlags::EMPTY_PATH, want).map(|facts| Some(Facts(facts)))
    }

    /// Opens a regular file for reading, with its facts; `None` when nothing is there.
    pub(crate) fn file(&self, below: &Path, what: &'static str) -> Result<Option<(File, Facts)>, Trouble> {
        let Some((file, facts)) = self.file_of_now(below, what)? else { return Ok(None) };
        if self.is_steady(&file, &facts) { Ok(Some((file, facts))) } else { Err(Trouble::Unsteady(what)) }
    }

    /// Whether a file stays what it is unless somebody is asked.
    pub(crate) fn is_steady(&self, file: &File, facts: &Facts) -> bool {
        let old = self.session.is_none_or(|session| facts.born().is_some_and(|born| born < session));
        old || (facts.names() == 1 && lease::is_still(file.as_fd()))
    }

    /// As [`Folder::file`], for what another process may be adding to at this moment.
    pub(crate) fn file_of_now(&self, below: &Path, what: &'static str) -> Result<Option<(File, Facts)>, Trouble> {
        let unreadable = |error| Trouble::Unreadable(what, error);
        let opened = match self.open(below, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(unreadable)?,
        };
        let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let facts = Facts(fs::statx(opened.as_fd(), "", AtFlags::EMPTY_PATH, want).map_err(unreadable)?);
        if facts.is_folder() {
            return Ok(None);
        }
        if facts.is_file() { Ok(Some((File::from(opened), facts))) } else { Err(Trouble::Malformed(what)) }
    }

    /// The whole of a regular file of at most `longest` bytes; `None` when nothing is there.
    pub(crate) fn read(&self, below: &Path, longest: u64, what: &'static str) -> Result<Option<Vec<u8>>, Trouble> {
        let Some((file, _)) = self.file(below, what)? else { return Ok(None) };
        whole(file, longest, what).map(Some)
    }

    /// The names in a folder below this one, sorted; none where it is not there.
    pub(crate) fn names(&self, below: &Path, what: &'static str) -> Result<Vec<(OsString, FileType)>, Trouble> {
        let unreadable = |error| Trouble::Unreadable(what, error);
        let folder = match self.open(below, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            other => other.map_err(unreadable)?,
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = OsStr::from_bytes(name).to_owned();
                // Some file systems do not tell in the listing.
                let kind = match entry.file_type() {
                    FileType::Unknown => self.facts(&below.join(&name)).map_err(unreadable)?.map_or(FileType::Unknown, |facts| facts.kind()),
                    known => known,
                };
                found.push((name, kind));
            }
            if found.len() > MOST_NAMES {
                return Err(Trouble::Bound);
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    fn open(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something on the way was renamed meanwhile; a few tries are what the manual page asks for.
        for _ in 0..8 {
            match fs::openat2(&self.fd, below, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Reads a file to its end, unless that is further than `longest`.
pub(crate) fn whole(file: File, longest: u64, what: &'static str) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let read = file.take(longest.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Trouble::Unreadable(what, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > longest { Err(Trouble::Bound) } else { Ok(bytes) }
}
