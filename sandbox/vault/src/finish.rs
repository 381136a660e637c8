//! The end of a session: what it left behind is written down, and what it kept is hashed and shared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    fs::{self, AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::{
    bytes::Bytes,
    crash::step,
    error::VaultError,
    facts, folder,
    journal::Writer,
    keepers::hash_content,
    record::{Body, Digest, Print, Record, Way, now},
    room::{BYTES, added_up},
    session::object_name,
    vault::{JOURNAL, Vault, errno, io_error, wait_for},
};

/// How objects are opened.
pub(crate) const OBJECT: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What a session kept and did not, for its last words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Things whose first version is kept.
    pub kept: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What was lost unkept, and why, in order.
    pub lost: Vec<(Bytes, String)>,
    /// Older sessions that went to make room.
    pub dropped: Vec<String>,
}

impl Vault {
    /// Ends a session whose keeping process is gone: writes down what stands at the paths that it touched, and hashes what it kept
    /// for at most so long. The rest is hashed when it is asked for. The caller's own `Session`, which it shares with the process that
    /// kept, must be dropped before: it holds the journal's lock.
    ///
    /// # Errors
    /// There is no such session, or the kernel's.
    pub fn finish(&self, name: &str, hashing: Duration) -> Result<Summary, VaultError> {
        let deadline = Instant::now() + hashing;
        let session = self.session_folder(name)?;
        let failed = |what| errno(what, self.path());
        let (mut journal, mut records) = self.go_on(session.as_fd())?;
        self.let_go(session.as_fd(), &mut journal, &mut records)?;
        if !records.iter().any(|record| matches!(record, Record::End { .. })) {
            let root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("opening /"))?;
            let mut last: Vec<Record> = Vec::new();
            let touched: BTreeSet<Bytes> = records.iter().flat_map(Record::paths).cloned().collect();
            for path in touched {
                let print = print(root.as_fd(), &path);
                last.push(Record::Left { path, print });
            }
            last.push(Record::End { at: now() });
            journal.add_all(&last).map_err(io_error("writing a journal", self.path()))?;
        }
        sync_copies(session.as_fd(), &records).map_err(failed("syncing what was kept"))?;
        self.seal_session(session.as_fd(), &mut journal, &records, Some(deadline)).map_err(failed("hashing what was kept"))?;
        journal.sync().map_err(io_error("syncing", self.path()))?;
        let bytes = added_up(session.as_fd(), &mut std::collections::HashSet::new()).map_err(failed("adding up"))?;
        say_bytes(session.as_fd(), bytes).map_err(failed("saying what a session takes"))?;
        drop(journal);
        self.gc_when_due();
        Ok(summed_up(&records))
    }

    /// Hashes what is not hashed yet, of one session that is over.
    ///
    /// # Errors
    /// There is no such session, or the kernel's.
    pub fn seal(&self, name: &str) -> Result<(), VaultError> {
        let session = self.session_folder(name)?;
        let (mut journal, mut records) = self.go_on(session.as_fd())?;
        self.let_go(session.as_fd(), &mut journal, &mut records)?;
        self.seal_session(session.as_fd(), &mut journal, &records, None).map_err(errno("hashing what was kept", self.path()))?;
        journal.sync().map_err(io_error("syncing", self.path()))
    }

    /// Lets go of links to inodes that stand where they stood: the deed never happened, and whoever writes there would write here too.
    fn let_go(&self, session: BorrowedFd<'_>, journal: &mut Writer, records: &mut Vec<Record>) -> Result<(), VaultError> {
        let failed = |what| errno(what, self.path());
        let root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("opening /"))?;
        let mut off = Vec::new();
        for record in records.iter() {
            let Record::Kept { path, id, body: Body::Object { number, way: Way::Link, .. }, .. } = record else { continue };
            let name = object_name(*number);
            let shared = facts::look_at(session, OsStr::new(&name)).is_ok_and(|(linked, facts)| linked == *id && facts.links > 1);
            if shared && print(root.as_fd(), path).is_some_and(|print| print.id == *id) {
                off.push((Record::Undone { path: path.clone(), id: *id }, name));
            }
        }
        for (record, name) in off {
            journal.add(&record).map_err(io_error("writing a journal", self.path()))?;
            records.push(record);
            folder::remove(session, name).map_err(failed("letting go of a link"))?;
        }
        Ok(())
    }

    /// Adds a record to a session that is over.
    pub(crate) fn note(&self, name: &str, record: &Record) -> Result<(), VaultError> {
        let session = self.session_folder(name)?;
        let (mut journal, _) = self.go_on(session.as_fd())?;
        journal.add(record).and_then(|()| journal.sync()).map_err(io_error("writing a journal", self.path()))
    }

    /// Opens a journal for more records. The supervisor's own descriptor, which a running session shares, holds the lock already:
    /// then the caller vouches that the keeping process is gone.
    fn go_on(&self, session: BorrowedFd<'_>) -> Result<(Writer, Vec<Record>), VaultError> {
        let failed = |what| errno(what, self.path());
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let journal = fs::openat(session, JOURNAL, flags, Mode::empty()).map_err(failed("opening a journal"))?;
        wait_for(journal.as_fd(), FlockOperation::NonBlockingLockExclusive).map_err(failed("locking a journal: does the session still run?"))?;
        Writer::go_on(File::from(journal)).map_err(io_error("reading a journal", self.path()))
    }

    /// Hashes what is not hashed yet, and then gives equal contents one inode. Between the two, the digests go to the disk: the shared
    /// inode has another time, and is known by its digest alone.
    fn seal_session(&self, session: BorrowedFd<'_>, journal: &mut Writer, records: &[Record], until: Option<Instant>) -> Result<(), Errno> {
        let mut hashed: BTreeMap<u64, Digest> = BTreeMap::new();
        for record in records {
            if let Record::Hashed { number, digest } = record {
                hashed.insert(*number, *digest);
            }
        }
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut known: Vec<Record> = Vec::new();
        for record in records {
            let Record::Kept { facts: kept, body: Body::Object { number, digest, .. }, .. } = record else { continue };
            if hashed.contains_key(number) {
                continue;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let object = match fs::openat(session, object_name(*number), OBJECT, Mode::empty()) {
                Ok(object) => object,
                // Taken back, or not readable for its own mode: it stays as it is.
                Err(Errno::NOENT | Errno::ACCESS) => continue,
                Err(error) => return Err(error),
            };
            let (_, now) = facts::look(object.as_fd())?;
            if now.size != kept.size || now.mtime != kept.mtime {
                // Not what was kept. Whoever asks for it is told.
                continue;
            }
            let digest = match digest {
                Some(digest) => *digest,
                None => hash_content(object.as_fd(), kept.size)?,
            };
            step("hashed")?;
            known.push(Record::Hashed { number: *number, digest });
            hashed.insert(*number, digest);
        }
        journal.add_all(&known).map_err(io)?;
        journal.sync().map_err(io)?;
        let mut shelves: HashMap<String, OwnedFd> = HashMap::new();
        for (number, digest) in &hashed {
            let name = object_name(*number);
            match fs::openat(session, &name, OBJECT, Mode::empty()) {
                Ok(object) => self.share(session, &name, &object, digest, &mut shelves)?,
                Err(Errno::NOENT | Errno::ACCESS) => {}
                Err(error) => return Err(error),
            }
        }
        fs::fsync(session)?;
        journal.add(&Record::Synced).map_err(io)
    }

    /// Gives a content its name by digest, or lets the object be another name of the content that has it already.
    fn share(&self, session: BorrowedFd<'_>, name: &str, object: &OwnedFd, digest: &Digest, shelves: &mut HashMap<String, OwnedFd>) -> Result<(), Errno> {
        let hex = digest.hex();
        let (prefix, rest) = hex.split_at_checked(2).ok_or(Errno::INVAL)?;
        if !shelves.contains_key(prefix) {
            shelves.insert(prefix.to_owned(), folder::made(self.inner.objects.as_fd(), prefix)?);
        }
        let shelf = shelves.get(prefix).ok_or(Errno::INVAL)?;
        step("name by digest")?;
        let (id, mine) = facts::look(object.as_fd())?;
        // An inode that still has its own name elsewhere is not the vault's alone, and not for others.
        if mine.links != 1 {
            return Ok(());
        }
        match fs::linkat(session, name, shelf, rest, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            // Too many names, or none allowed: it stays the session's own.
            Err(Errno::MLINK | Errno::PERM) => return Ok(()),
            Err(error) => return Err(error),
        }
        let (other, facts) = facts::look_at(shelf.as_fd(), OsStr::new(rest))?;
        if other == id || facts.size != mine.size {
            return Ok(());
        }
        // The times of an object are its own only until it is hashed: from then on the digest tells whether it is whole.
        let spare = format!("{name}.new");
        match fs::linkat(shelf, rest, session, &spare, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::MLINK | Errno::PERM) => return Ok(()),
            Err(error) => return Err(error),
        }
        step("share a content")?;
        fs::renameat(session, &spare, session, name)
    }
}

/// Writes the copies to the disk that the session did not come to.
fn sync_copies(session: BorrowedFd<'_>, records: &[Record]) -> Result<(), Errno> {
    let synced = records.iter().rposition(|record| *record == Record::Synced).unwrap_or(0);
    for record in records.iter().skip(synced) {
        let Record::Kept { body: Body::Object { number, way: Way::Copy, .. }, .. } = record else { continue };
        match fs::openat(session, object_name(*number), OBJECT, Mode::empty()) {
            Ok(object) => fs::fdatasync(&object)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    fs::fsync(session)
}

/// What stands at a path; nothing where a link or nothing is on the way.
pub(crate) fn print(root: BorrowedFd<'_>, path: &Bytes) -> Option<Print> {
    let (folder, name) = folder::parent(root, path.path()).ok()?;
    let (id, facts) = facts::look_at(folder.as_fd(), name).ok()?;
    Some(Print::of(id, &facts))
}

fn say_bytes(session: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    let spare = "bytes.new";
    let file = fs::openat(session, spare, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)?;
    rustix::io::write(&file, bytes.to_string().as_bytes())?;
    fs::renameat(session, spare, session, BYTES)
}

fn summed_up(records: &[Record]) -> Summary {
    let mut summary = Summary::default();
    let mut bytes: BTreeMap<u64, u64> = BTreeMap::new();
    for record in records {
        match record {
            Record::Kept { facts, body, .. } => {
                summary.kept += 1;
                if let Body::Object { number, way: Way::Copy | Way::Link | Way::Reflink, .. } = body {
                    bytes.insert(*number, facts.size);
                }
            }
            Record::Lost { path, why, .. } => summary.lost.push((path.clone(), why.clone())),
            Record::Room { sessions, .. } => summary.dropped.extend(sessions.iter().cloned()),
            Record::Start(_)
            | Record::Again { .. }
            | Record::Facts { .. }
            | Record::Folder { .. }
            | Record::Moved { .. }
            | Record::Exchanged { .. }
            | Record::Linked { .. }
            | Record::Made { .. }
            | Record::Undone { .. }
            | Record::Synced
            | Record::Hashed { .. }
            | Record::Left { .. }
            | Record::End { .. }
            | Record::Restored { .. } => {}
        }
    }
    summary.bytes = bytes.values().sum();
    summary
}
