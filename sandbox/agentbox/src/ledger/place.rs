//! Where the ledger lies, and that nobody else can write there.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::LedgerError;

/// How long to wait for another box that is writing: it holds the lock for one write, never for a sync.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries for the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The folder of this user's ledger: `$XDG_STATE_HOME/agentbox/ledger`.
///
/// # Errors
/// The environment does not say.
pub(crate) fn folder() -> Result<PathBuf, LedgerError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("agentbox/ledger")).ok_or(LedgerError::Nowhere)
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { what, path, source }
}

/// Makes the folder where it is not there, and checks that it is its user's alone.
pub(super) fn make(folder: &Path) -> Result<(), LedgerError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("making", folder))?;
    // Not followed: a link could be turned elsewhere after the check.
    let meta = fs::symlink_metadata(folder).map_err(io_error("looking at", folder))?;
    let open = |problem: String| Err(LedgerError::Open { path: folder.to_owned(), problem });
    if !meta.is_dir() {
        return open("it is no folder".to_owned());
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return open(format!("it belongs to uid {}", meta.uid()));
    }
    if meta.mode() & 0o077 != 0 {
        return open(format!("its mode is {:04o}", meta.mode() & 0o7777));
    }
    Ok(())
}

/// Opens one of the ledger's files for reading and writing, never through a link.
pub(super) fn open(path: &Path) -> Result<File, LedgerError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(io_error("opening", path))
}

/// Makes a new file's name last through a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("syncing", folder))
}

/// The lock on the ledger, held until it is dropped.
pub(super) struct Locked<'a>(&'a File);

/// Who else may hold the lock at the same time.
#[derive(Clone, Copy)]
pub(super) enum Sharing {
    /// Nobody.
    Alone,
    /// Other readers.
    Readers,
}

/// Locks, or gives up: a process that holds the lock and does not move must not hang every box.
pub(super) fn lock(file: &File, sharing: Sharing) -> io::Result<Locked<'_>> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let tried = match sharing {
            Sharing::Alone => file.try_lock(),
            Sharing::Readers => file.try_lock_shared(),
        };
        match tried {
            Ok(()) => return Ok(Locked(file)),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::WouldBlock) => return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds its lock")),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the file would let go of it too; there is nothing to do about an error.
        let _ = self.0.unlock();
    }
}
