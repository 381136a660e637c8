//! The entries of boxes: a file each, which begins with the page of its word and goes on with what other boxes must know.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{trees::Reach, word::ABOVE};
use crate::sys::shared::{LENGTH, Words};

/// Number of the entries' format, that of the page included.
const FORMAT: u32 = 1;

/// Longest entry that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// Entries that are looked through. With more of them nobody would know of all boxes: no other one is started then.
const MOST: usize = 4096;

/// Words that a box takes turns by: as many boxes that overlap with it, and not with each other.
const MOST_WORDS: usize = 64;

/// How long the folder is waited for; whoever has it looks through some files.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

/// Why a box cannot take turns with others.
#[derive(Debug, thiserror::Error)]
pub enum NoTurns {
    /// A call failed.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody has it, and does not let go.
    #[error("{} is locked by another start that hangs; fix: end that one", .0.display())]
    Hangs(PathBuf),
    /// Another version of this program made the entry.
    #[error("{} is the entry of a box that another version of agentbox runs, which cannot be understood; fix: end that box first", .0.display())]
    Foreign(PathBuf),
    /// Too many.
    #[error("more than {MOST_WORDS} boxes write parts of what this one would write; fix: end some, or start it in a smaller folder")]
    TooMany,
}

impl NoTurns {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    format: u32,
    /// Of the machine: where the folder is shared by several, each has boxes of its own.
    boot: String,
    session: String,
    /// Whose words it takes turns by, in this order.
    words: BTreeSet<u32>,
    reach: Reach,
}

/// What a box has when it is entered.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) folder: OwnedFd,
    pub(super) me: u32,
    pub(super) words: Vec<Words>,
    /// The entry, locked; none of whoever only looks on.
    own: Option<File>,
}

impl Joined {
    /// Takes the entry away, with those of boxes that are gone, if nobody is at it; else the next one does that.
    pub(super) fn leave(&mut self) {
        let Some(own) = self.own.take() else { return };
        drop(own);
        if let Ok(turn) = openat(&self.folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            && flock(&turn, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = Others::read(self.folder.as_fd(), Path::new(""));
        }
    }
}

/// Enters a box.
pub(super) fn join(path: &Path, session: &str, reach: Reach) -> Result<Joined, NoTurns> {
    let folder = made(path)?;
    let boot = boot()?;
    let turn = locked(path)?;
    let others = Others::read(folder.as_fd(), path)?;
    let (me, own) = new(folder.as_fd(), path)?;
    let io = |what| move |error: io::Error| NoTurns::io(what, &path.join(name(me)), error);
    let mut words: BTreeSet<u32> =
        others.living.iter().filter(|other| other.boot == boot && other.reach.overlaps(&reach)).flat_map(|other| other.words.iter().copied()).collect();
    if words.is_empty() {
        words.insert(me);
    }
    if words.len() > MOST_WORDS {
        let _ = unlinkat(&folder, name(me), AtFlags::empty());
        return Err(NoTurns::TooMany);
    }
    let entry = Entry { format: FORMAT, boot, session: session.to_owned(), words, reach };
    let text = serde_json::to_vec(&entry).map_err(|error| io("writing")(error.into()))?;
    own.write_all_at(&text, LENGTH as u64).map_err(io("writing"))?;
    let mapped = mapped(folder.as_fd(), path, &entry.words)?;
    drop(turn);
    Ok(Joined { folder, me, words: mapped, own: Some(own) })
}

/// A box that is entered already, for its supervisor.
pub(super) fn of(path: &Path, session: &str) -> Option<Joined> {
    let folder = OwnedFd::from(File::open(path).ok()?);
    let (number, entry) = numbers(folder.as_fd()).ok()?.into_iter().find_map(|number| {
        let entry = text(&open(folder.as_fd(), number).ok()?)?;
        (entry.session == session).then_some((number, entry))
    })?;
    let words = mapped(folder.as_fd(), path, &entry.words).ok()?;
    Some(Joined { folder, me: number | ABOVE, words, own: None })
}

/// Whether the process of an entry lives, or its last call is not over. Where it cannot be told, it does.
pub(super) fn lives(folder: BorrowedFd<'_>, owner: u32) -> bool {
    match open(folder, owner & !ABOVE) {
        Ok(entry) => is_locked(&entry),
        Err(Errno::NOENT) => false,
        Err(_) => true,
    }
}

/// The session of an entry.
pub(super) fn session(folder: BorrowedFd<'_>, owner: u32) -> Option<String> {
    text(&open(folder, owner & !ABOVE).ok()?).map(|entry| entry.session)
}

fn name(number: u32) -> String {
    format!("{number:08x}")
}

fn made(path: &Path) -> Result<OwnedFd, NoTurns> {
    let io = |what| move |error: io::Error| NoTurns::io(what, path, error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("making"))?;
    let folder = File::open(path).map_err(io("opening"))?;
    let meta = folder.metadata().map_err(io("looking at"))?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(io("using")(io::Error::other("it must belong to this user, with mode 0700")));
    }
    Ok(folder.into())
}

/// The folder, for one start at a time.
fn locked(path: &Path) -> Result<File, NoTurns> {
    let io = |error: io::Error| NoTurns::io("locking", path, error);
    let folder = File::open(path).map_err(io)?;
    let began = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(NoTurns::Hangs(path.to_owned())),
            Err(error) => return Err(io(error.into())),
        }
    }
}

/// The entries that somebody else has, read while the folder is locked.
struct Others {
    living: Vec<Entry>,
}

impl Others {
    /// Reads them, and removes what nobody has or needs any more.
    fn read(folder: BorrowedFd<'_>, path: &Path) -> Result<Self, NoTurns> {
        let numbers = numbers(folder).map_err(|error| NoTurns::io("looking through", path, error))?;
        let (mut living, mut dead) = (Vec::new(), Vec::new());
        for number in numbers {
            let entry = match open(folder, number) {
                Ok(entry) => entry,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(NoTurns::io("opening", &path.join(name(number)), error.into())),
            };
            if is_locked(&entry) {
                living.push(text(&entry).filter(|entry| entry.format == FORMAT).ok_or_else(|| NoTurns::Foreign(path.join(name(number))))?);
            } else {
                dead.push(number);
            }
        }
        // The word of one that is gone may be that by which others take turns.
        for number in dead.into_iter().filter(|number| !living.iter().any(|entry| entry.words.contains(number))) {
            let _ = unlinkat(folder, name(number), AtFlags::empty());
        }
        Ok(Self { living })
    }
}

/// A new entry, locked, with a word that nobody has had.
fn new(folder: BorrowedFd<'_>, path: &Path) -> Result<(u32, File), NoTurns> {
    let how = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let number = number().map_err(|error| NoTurns::io("naming an entry in", path, error))?;
        let entry = match openat(folder, name(number), how, Mode::RUSR | Mode::WUSR) {
            Ok(entry) => File::from(entry),
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(NoTurns::io("making an entry in", path, error.into())),
        };
        // Written, and not only made as long: where the memory is full that fails here, and not in the midst of a deed.
        let ready = entry.write_all_at(&[0; LENGTH], 0).and_then(|()| Ok(flock(&entry, FlockOperation::NonBlockingLockExclusive)?));
        return match ready {
            Ok(()) => Ok((number, entry)),
            Err(error) => Err(NoTurns::io("locking an entry in", path, error)),
        };
    }
}

/// A number that was nobody's before, as far as chance goes: a word may still say it of one that is gone.
fn number() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok((u32::from_ne_bytes(bytes) & (ABOVE - 1)).max(1))
}

fn open(folder: BorrowedFd<'_>, number: u32) -> Result<File, Errno> {
    openat(folder, name(number), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

fn is_locked(entry: &File) -> bool {
    // Let go of with the descriptor.
    flock(entry, FlockOperation::NonBlockingLockShared).is_err()
}

fn text(entry: &File) -> Option<Entry> {
    let length = entry.metadata().ok()?.len().checked_sub(LENGTH as u64).filter(|length| *length <= LONGEST)?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    entry.read_exact_at(&mut bytes, LENGTH as u64).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn mapped(folder: BorrowedFd<'_>, path: &Path, words: &BTreeSet<u32>) -> Result<Vec<Words>, NoTurns> {
    words
        .iter()
        .map(|number| {
            let io = |error: io::Error| NoTurns::io("mapping", &path.join(name(*number)), error);
            let entry = openat(folder, name(*number), OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(|error| io(error.into()))?;
            Words::map(entry.as_fd()).map_err(|errno| io(errno.into()))
        })
        .collect()
}

/// Of all entries: one that is passed over could be that of a box with the same files.
fn numbers(folder: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let number = entry?.file_name().to_str().ok().and_then(|name| u32::from_str_radix(name, 16).ok());
        if number.is_some() && numbers.len() == MOST {
            return Err(io::Error::other(format!("there are more than {MOST} entries; fix: remove this folder when no box runs")));
        }
        numbers.extend(number);
    }
    Ok(numbers)
}

fn boot() -> Result<String, NoTurns> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| NoTurns::io("reading", path, error))
}
