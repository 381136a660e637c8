//! The vault as the supervisor and people's commands have it.

use std::{
    fs::{DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::{
    bytes::Bytes,
    error::VaultError,
    facts, folder,
    journal::Writer,
    record::{FORMAT, Record, Start, now},
    room::Room,
    session::Session,
    settings::Settings,
    subject::Hands,
};

/// Longest name of a session.
const LONGEST_NAME: usize = 64;

/// How long to wait for a vault from which sessions are being dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The file that is locked while a session runs.
pub(crate) const JOURNAL: &str = "journal";

/// A vault that is open.
#[derive(Clone, Debug)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) folder: OwnedFd,
    pub(crate) sessions: OwnedFd,
    pub(crate) objects: OwnedFd,
}

/// How a session begins.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    /// Its name: that of the box.
    pub name: &'a str,
    /// The trees that it may change, absolute.
    pub roots: &'a [PathBuf],
    /// What runs, for people.
    pub about: &'a str,
    /// The session that this one undoes.
    pub undoes: Option<&'a str>,
}

impl Vault {
    /// Opens the vault in a folder, and makes it where it is not there.
    ///
    /// # Errors
    /// It cannot be made, or others could reach what is in it.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, VaultError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("making it", path))?;
        let opened = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let folder = opened.map_err(errno("opening it", path))?;
        let (_, facts) = facts::look(folder.as_fd()).map_err(errno("looking at it", path))?;
        let open = |problem: String| Err(VaultError::Open { path: path.to_owned(), problem });
        if facts.uid != rustix::process::geteuid().as_raw() {
            return open(format!("it belongs to uid {}", facts.uid));
        }
        if facts.mode & 0o077 != 0 {
            return open(format!("its mode is {:04o}", facts.mode));
        }
        let sessions = folder::made(folder.as_fd(), "sessions").map_err(errno("making sessions/", path))?;
        let objects = folder::made(folder.as_fd(), "objects").map_err(errno("making objects/", path))?;
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), settings, folder, sessions, objects }) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Begins a session. The supervisor does so before it forks; the process that keeps goes on with it.
    ///
    /// # Errors
    /// The name is taken or is none, or the journal cannot be made.
    pub fn begin(&self, begin: &Begin<'_>, hands: Hands) -> Result<Session, VaultError> {
        let name = checked(begin.name)?;
        let failed = |what| errno(what, &self.inner.path);
        let _lock = self.lock(FlockOperation::NonBlockingLockShared)?;
        fs::mkdirat(&self.inner.sessions, name, Mode::RWXU).map_err(failed("making a session's folder"))?;
        let folder = folder::open(self.inner.sessions.as_fd(), name).map_err(failed("opening a session's folder"))?;
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let journal = fs::openat(&folder, JOURNAL, flags, Mode::RUSR | Mode::WUSR).map_err(failed("making a journal"))?;
        // Somebody may be looking at this very moment whether it runs.
        wait_for(journal.as_fd(), FlockOperation::NonBlockingLockExclusive).map_err(failed("locking a journal"))?;
        let (id, facts) = facts::look(journal.as_fd()).map_err(failed("looking at a journal"))?;
        // Without a birth time nothing is ever taken for the session's own.
        let after = id.born.unwrap_or(facts.mtime);
        let mut journal = Writer::new(File::from(journal));
        let start = Start {
            format: FORMAT,
            session: name.to_owned(),
            at: now(),
            after,
            boot: boot(),
            roots: begin.roots.iter().map(|root| Bytes::from(root.as_path())).collect(),
            about: begin.about.to_owned(),
            undoes: begin.undoes.map(str::to_owned),
        };
        journal.add(&Record::Start(start)).map_err(io_error("writing a journal", &self.inner.path))?;
        let room = Room::new(self.clone(), name.to_owned());
        Ok(Session::new(name.to_owned(), folder, journal, (id, after), hands, self.inner.settings.clone(), room))
    }

    /// Locks the vault, or gives up after a while.
    pub(crate) fn lock(&self, operation: FlockOperation) -> Result<OwnedFd, VaultError> {
        let failed = |what| errno(what, &self.inner.path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = fs::openat(&self.inner.folder, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(failed("opening its lock"))?;
        wait_for(lock.as_fd(), operation).map_err(failed("locking it"))?;
        Ok(lock)
    }

    pub(crate) fn session_folder(&self, name: &str) -> Result<OwnedFd, VaultError> {
        match folder::open(self.inner.sessions.as_fd(), checked(name)?) {
            Ok(folder) => Ok(folder),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(VaultError::NoSession { name: name.to_owned(), path: self.inner.path.clone() }),
            Err(error) => Err(errno("opening a session's folder", &self.inner.path)(error)),
        }
    }
}

/// Tries for a lock until it is to be had or patience is at its end.
pub(crate) fn wait_for(file: BorrowedFd<'_>, operation: FlockOperation) -> Result<(), Errno> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match fs::flock(file, operation) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}

/// A session's name, which is a file's name too.
pub(crate) fn checked(name: &str) -> Result<&str, VaultError> {
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('-');
    if fits && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Ok(name);
    }
    Err(VaultError::BadName { name: name.chars().take(LONGEST_NAME).collect() })
}

/// Which boot of the machine this is; empty where nobody says.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { what, path, source }
}

pub(crate) fn errno(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> VaultError {
    let path = path.to_owned();
    move |error| VaultError::Io { what, path, source: error.into() }
}
