//! One session's keeping: what stands before each deed.

mod foretell;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use crate::{
    births::{self, Births},
    bytes::Bytes,
    crash::step,
    error::{NotKept, Why},
    facts::{self, Facts, Identity, Kind, Stamp},
    journal::Writer,
    keepers::{Held, KEEPERS, Keeper, Pass, Task, Through},
    record::{Age, Body, Loss, Record, Way, now},
    room::Room,
    settings::Settings,
    subject::{Hands, Move, Outcome, Subject},
};

/// Proof that a thing was kept. Held until the deed is done: while it lives, a lease keeps writers away.
#[must_use = "drop it after the deed, or say that the deed failed"]
#[derive(Debug)]
pub struct Kept<'s> {
    session: &'s Session,
    outcome: Outcome,
    mark: Option<Mark>,
    _lease: Option<OwnedFd>,
}

#[derive(Debug)]
struct Mark {
    path: Bytes,
    id: Identity,
    /// Whether the record is one of `keep`, which may have made a link.
    kept: bool,
}

impl Kept<'_> {
    /// How it stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The deed was not done: it failed, or it was refused.
    pub fn failed(self) {
        if let Some(mark) = &self.mark {
            self.session.take_back(mark);
        }
    }
}

/// A running session's hold on the vault. One process keeps; any number of its threads.
#[derive(Debug)]
pub struct Session {
    name: String,
    /// The session's folder in the vault.
    folder: OwnedFd,
    hands: Hands,
    settings: Settings,
    /// What was born later, by the file system's clock, is the session's own.
    after: Stamp,
    /// The file system that the vault is on.
    dev: u64,
    /// Whether its clock is this kernel's.
    our_clock: bool,
    room: Room,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Writer,
    known: HashMap<Identity, Known>,
    facts_known: HashSet<Identity>,
    folders_known: HashSet<Identity>,
    next: u64,
    copied: u64,
    no_reflink: bool,
    through: Through,
    unsynced: Vec<u64>,
    /// Whether a record was written since the last sync.
    dirty: bool,
    /// The folder's own names were never synced.
    fresh: bool,
}

/// What is known of an inode that is kept.
#[derive(Debug)]
struct Known {
    /// The object with its content, when that is the inode itself.
    linked: Option<u64>,
    /// How often it was asked for.
    asked: u64,
    /// Its first version could not be kept, and is gone.
    lost: bool,
}

impl Session {
    pub(crate) fn new(name: String, folder: OwnedFd, journal: Writer, after: (Identity, Stamp), hands: Hands, settings: Settings, room: Room) -> Self {
        let state = State {
            journal,
            known: HashMap::new(),
            facts_known: HashSet::new(),
            folders_known: HashSet::new(),
            next: 0,
            copied: 0,
            no_reflink: false,
            through: Through::default(),
            unsynced: Vec::new(),
            dirty: true,
            fresh: true,
        };
        Self {
            name,
            folder,
            hands,
            settings,
            after: after.1,
            dev: after.0.dev,
            our_clock: births::known(after.0.dev) == Some(Births::OurClock),
            room,
            state: Mutex::new(state),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread leaves the journal whole: `Writer::add` is all or nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the session made an inode. Where the file system tells no birth time, nothing is.
    #[must_use]
    pub fn born(&self, id: Identity) -> bool {
        let comparable = id.dev == self.dev || self.our_clock && births::known(id.dev) == Some(Births::OurClock);
        comparable && id.born.is_some_and(|born| born > self.after)
    }

    /// The same for what `statx` has told already: the device as in `st_dev`, and the birth in seconds and nanoseconds. Without a descriptor
    /// nothing is told of a file system that was not seen before.
    #[must_use]
    pub fn age(&self, object: Option<BorrowedFd<'_>>, device: u64, inode: u64, born: Option<(i64, u32)>) -> Age {
        // What cannot be told is somebody's.
        Identity::new(object, device, inode, born).map_or(Age::Old, |id| self.age_of(id))
    }

    /// Keeps the first version of a thing, before the deed. To be called with the supervisor's own credentials.
    ///
    /// # Errors
    /// It could not be kept, and why. Nothing is left behind then, and nothing is recorded: see [`Session::lost`].
    pub fn keep(&self, subject: &Subject<'_>) -> Result<Kept<'_>, NotKept> {
        self.keep_within(subject, u64::MAX)
    }

    /// As [`Session::keep`], where it takes no copy of more than so many bytes: for whoever holds others up meanwhile.
    ///
    /// # Errors
    /// [`Why::TakesLong`]: it would. And as there.
    pub fn keep_quickly(&self, subject: &Subject<'_>, most: u64) -> Result<Kept<'_>, NotKept> {
        self.keep_within(subject, most)
    }

    fn keep_within(&self, subject: &Subject<'_>, most: u64) -> Result<Kept<'_>, NotKept> {
        let (id, mut facts) = facts::look(subject.object).map_err(Why::io("looking at it"))?;
        if self.born(id) {
            return Ok(Kept { session: self, outcome: Outcome::Born, mark: None, _lease: None });
        }
        let path = Bytes::from(subject.path);
        let mark = Some(Mark { path: path.clone(), id, kept: true });
        let mut state = self.state();
        // A write changes nothing of the folder.
        let folder = if subject.loss == Loss::Name { subject.folder } else { None };
        self.keep_folder(&mut state, folder, subject.path)?;
        if let Some(known) = state.known.get_mut(&id) {
            known.asked += 1;
            if let (Some(number), Loss::Content) = (known.linked, subject.loss) {
                if facts.size > most {
                    return Err(Why::TakesLong.into());
                }
                self.unshare(number, &facts)?;
                known.linked = None;
            }
            let outcome = if known.lost { Outcome::LostBefore } else { Outcome::Already };
            state.write(&Record::Again { at: now(), path, id, loss: subject.loss })?;
            return Ok(Kept { session: self, outcome, mark, _lease: None });
        }
        let written_to = subject.loss == Loss::Content && facts.kind != Kind::File;
        if facts.links == 0 || written_to {
            return Ok(Kept { session: self, outcome: Outcome::Nothing, mark: None, _lease: None });
        }
        let (body, lease) = self.body(&mut state, (subject, most), id, &mut facts)?;
        let (way, number) = match body {
            Body::Object { number, way, .. } => (Some(way), Some(number)),
            Body::None | Body::Target(_) => (None, None),
        };
        let written =
            step("record").map_err(Why::io("recording")).and_then(|()| state.write(&Record::Kept { at: now(), path, id, loss: subject.loss, facts, body }));
        if let Err(why) = written {
            if let Some(number) = number {
                // An unlisted object; `gc` takes it where this fails.
                let _ = fs::unlinkat(&self.folder, object_name(number), AtFlags::empty());
            }
            return Err(why.into());
        }
        if let (Some(number), Some(Way::Copy)) = (number, way) {
            state.unsynced.push(number);
        }
        state.known.insert(id, Known { linked: number.filter(|_| way == Some(Way::Link)), asked: 1, lost: false });
        Ok(Kept { session: self, outcome: Outcome::First(way), mark, _lease: lease })
    }

    /// Records that a thing is lost although it could not be kept, because it was allowed all the same.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn lost(&self, subject: &Subject<'_>, because: &NotKept) -> Result<(), NotKept> {
        let (id, facts) = facts::look(subject.object).map_err(Why::io("looking at it"))?;
        let mut state = self.state();
        self.keep_folder(&mut state, subject.folder, subject.path)?;
        let why = because.why.to_string();
        state.write(&Record::Lost { at: now(), path: subject.path.into(), id, loss: subject.loss, facts, why })?;
        state.known.entry(id).or_insert(Known { linked: None, asked: 1, lost: true });
        Ok(())
    }

    /// Records mode, owner, times and attributes before they first change: chmod, chown, utimes, xattrs, flags.
    ///
    /// # Errors
    /// They could not be kept.
    pub fn changed_metadata(&self, object: BorrowedFd<'_>, path: &Path) -> Result<Kept<'_>, NotKept> {
        let (id, mut facts) = facts::look(object).map_err(Why::io("looking at it"))?;
        if self.born(id) {
            return Ok(Kept { session: self, outcome: Outcome::Born, mark: None, _lease: None });
        }
        let mut state = self.state();
        if !state.facts_known.contains(&id) {
            if matches!(facts.kind, Kind::File | Kind::Folder) {
                let _ = self.opened(object, &mut facts);
            }
            state.write(&Record::Facts { at: now(), path: path.into(), id, facts })?;
            state.facts_known.insert(id);
            return Ok(Kept { session: self, outcome: Outcome::First(None), mark: None, _lease: None });
        }
        Ok(Kept { session: self, outcome: Outcome::Already, mark: None, _lease: None })
    }

    /// Records a rename, before it is done. What stands at the target is kept on its own.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn moved(&self, moved: &Move<'_>) -> Result<Kept<'_>, NotKept> {
        let (id, facts) = facts::look(moved.object).map_err(Why::io("looking at it"))?;
        let age = self.age_of(id);
        let mut state = self.state();
        self.keep_folder(&mut state, Some(moved.from_folder), moved.from)?;
        self.keep_folder(&mut state, Some(moved.to_folder), moved.to)?;
        if age == Age::Born && facts.kind != Kind::Folder {
            // Nothing older than the session can be under its name.
            return Ok(Kept { session: self, outcome: Outcome::Born, mark: None, _lease: None });
        }
        let record = Record::Moved { at: now(), from: moved.from.into(), to: moved.to.into(), id, age, kind: facts.kind };
        self.keep_times(&mut state, moved.object, moved.from, id, facts)?;
        state.write(&record)?;
        Ok(Kept { session: self, outcome: Outcome::Already, mark: Some(Mark { path: moved.from.into(), id, kept: false }), _lease: None })
    }

    /// Records that two things are about to change places: `one.from` is where the first is, `one.to` where the second is.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn exchanged(&self, one: &Move<'_>, other: BorrowedFd<'_>) -> Result<Kept<'_>, NotKept> {
        let (first, first_facts) = facts::look(one.object).map_err(Why::io("looking at it"))?;
        let (second, second_facts) = facts::look(other).map_err(Why::io("looking at it"))?;
        if first == second {
            return Ok(Kept { session: self, outcome: Outcome::Already, mark: None, _lease: None });
        }
        let mut state = self.state();
        self.keep_folder(&mut state, Some(one.from_folder), one.from)?;
        self.keep_folder(&mut state, Some(one.to_folder), one.to)?;
        let record = Record::Exchanged {
            at: now(),
            one: (one.from.into(), first, self.age_of(first), first_facts.kind),
            other: (one.to.into(), second, self.age_of(second), second_facts.kind),
        };
        self.keep_times(&mut state, one.object, one.from, first, first_facts)?;
        self.keep_times(&mut state, other, one.to, second, second_facts)?;
        state.write(&record)?;
        Ok(Kept { session: self, outcome: Outcome::Already, mark: Some(Mark { path: one.from.into(), id: first, kept: false }), _lease: None })
    }

    fn age_of(&self, id: Identity) -> Age {
        if self.born(id) { Age::Born } else { Age::Old }
    }

    /// Records another name of an inode, before it is made: what is removed under it later is no loss of the session's beginning.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn linked(&self, object: BorrowedFd<'_>, folder: BorrowedFd<'_>, path: &Path) -> Result<Kept<'_>, NotKept> {
        let id = facts::identity(object).map_err(Why::io("looking at it"))?;
        let mut state = self.state();
        self.keep_folder(&mut state, Some(folder), path)?;
        state.write(&Record::Linked { at: now(), path: path.into(), id })?;
        Ok(Kept { session: self, outcome: Outcome::Already, mark: Some(Mark { path: path.into(), id, kept: false }), _lease: None })
    }

    /// Records that something was made, where the caller happens to know. `folder` is where.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn made(&self, folder: BorrowedFd<'_>, path: &Path) -> Result<(), NotKept> {
        let mut state = self.state();
        self.keep_folder(&mut state, Some(folder), path)?;
        Ok(state.write(&Record::Made { at: now(), path: path.into() })?)
    }

    /// Writes all that was kept to the disk. Before a deed that a person was asked about; for all others within
    /// [`SYNC_EVERY`](crate::SYNC_EVERY) of the keeping.
    ///
    /// # Errors
    /// The kernel's: the disk is full or broken.
    pub fn sync(&self) -> io::Result<()> {
        let (journal, copies, fresh) = {
            let mut state = self.state();
            if !state.dirty {
                return Ok(());
            }
            state.dirty = false;
            (state.journal.file()?, std::mem::take(&mut state.unsynced), std::mem::replace(&mut state.fresh, false))
        };
        let synced = self.sync_all(&journal, &copies, fresh);
        let mut state = self.state();
        if synced.is_err() {
            state.dirty = true;
            state.fresh |= fresh;
            state.unsynced.extend(copies);
            return synced;
        }
        // Only a record of what is on disk already may say so; whether it gets there itself does not matter.
        if state.dirty { Ok(()) } else { state.journal.add(&Record::Synced) }
    }

    fn sync_all(&self, journal: &File, copies: &[u64], fresh: bool) -> io::Result<()> {
        for number in copies {
            match fs::openat(&self.folder, object_name(*number), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(object) => fs::fdatasync(&object)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The names of objects, then what lists them.
        fs::fsync(&self.folder)?;
        journal.sync_data()?;
        if fresh {
            self.room.sync_sessions()?;
        }
        Ok(())
    }

    /// The facts of the folder of a path, before the first loss in it.
    fn keep_folder(&self, state: &mut State, folder: Option<BorrowedFd<'_>>, path: &Path) -> Result<(), Why> {
        let (Some(folder), Some(path)) = (folder, path.parent()) else { return Ok(()) };
        let (id, facts) = facts::look(folder).map_err(Why::io("looking at its folder"))?;
        self.keep_times(state, folder, path, id, facts)
    }

    /// The facts of a folder before they change without anybody setting them. Moving one to another folder changes its own times on
    /// some file systems (xfs).
    fn keep_times(&self, state: &mut State, folder: BorrowedFd<'_>, path: &Path, id: Identity, mut facts: Facts) -> Result<(), Why> {
        if facts.kind != Kind::Folder || self.born(id) || state.folders_known.contains(&id) {
            return Ok(());
        }
        let _ = self.opened(folder, &mut facts);
        state.write(&Record::Folder { at: now(), path: path.into(), id, facts })?;
        state.folders_known.insert(id);
        Ok(())
    }

    fn body(&self, state: &mut State, (subject, most): (&Subject<'_>, u64), id: Identity, facts: &mut Facts) -> Result<(Body, Option<OwnedFd>), Why> {
        match facts.kind {
            Kind::Link => {
                let target = fs::readlinkat(subject.object, c"", Vec::new()).map_err(Why::io("reading the link"))?;
                Ok((Body::Target(Bytes(target.into_bytes())), None))
            }
            Kind::Folder => {
                // A folder that we may not read has no attributes that we could bring back.
                let _ = self.opened(subject.object, facts);
                Ok((Body::None, None))
            }
            Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block => Ok((Body::None, None)),
            Kind::File => {
                let file = self.opened(subject.object, facts);
                match (file, facts.size) {
                    (Ok(_), 0) | (Err(Errno::ACCESS | Errno::PERM), 0) => Ok((Body::None, None)),
                    (Ok(file), _) => self.content(state, (subject, most), id, facts, file),
                    (Err(error), _) => Err(Why::Unreadable(error)),
                }
            }
        }
    }

    /// Opens a thing for reading by its descriptor, so that it is the very thing, and adds what that tells.
    fn opened(&self, object: BorrowedFd<'_>, facts: &mut Facts) -> Result<OwnedFd, Errno> {
        let path = format!("self/fd/{}", object.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // The time of the last read stays as it is, where it is ours.
        let file = fs::openat(&self.hands.proc, &path, flags | OFlags::NOATIME, Mode::empty())
            .or_else(|error| if error == Errno::PERM { fs::openat(&self.hands.proc, &path, flags, Mode::empty()) } else { Err(error) })?;
        facts::look_inside(file.as_fd(), facts)?;
        Ok(file)
    }

    fn content(
        &self,
        state: &mut State,
        (subject, most): (&Subject<'_>, u64),
        id: Identity,
        facts: &Facts,
        file: OwnedFd,
    ) -> Result<(Body, Option<OwnedFd>), Why> {
        // Making room removes what other sessions kept.
        if most != u64::MAX && !self.room.has(facts.stored)? {
            return Err(Why::TakesLong);
        }
        if let Some(gone) = self.room.make(facts.stored)? {
            state.write(&Record::Room { at: now(), sessions: gone })?;
        }
        let number = state.next;
        state.next += 1;
        let name = object_name(number);
        let (way, Held { digest, leased }) = first_way(&mut self.task(state, subject, id, facts, &file, &name), |keeper, task| match keeper.way {
            Way::Copy if facts.size > most => Err(Pass::Stop(Why::TakesLong)),
            Way::Reflink | Way::Link | Way::Copy => (keeper.keep)(task),
        })?;
        self.room.take(facts.stored);
        if way == Way::Copy {
            state.copied = state.copied.saturating_add(facts.stored);
        }
        Ok((Body::Object { number, way, digest }, leased.then_some(file)))
    }

    fn task<'a>(&'a self, state: &'a mut State, subject: &Subject<'a>, id: Identity, facts: &'a Facts, file: &'a OwnedFd, name: &'a str) -> Task<'a> {
        Task {
            file: file.as_fd(),
            id,
            facts,
            path: subject.path,
            loss: subject.loss,
            folder: self.folder.as_fd(),
            name,
            root: self.hands.root.as_fd(),
            lease: self.hands.lease,
            settings: &self.settings,
            copied: state.copied,
            through: &mut state.through,
            no_reflink: &mut state.no_reflink,
        }
    }

    /// Makes a copy of an object that is the inode itself, because somebody is about to write to it.
    fn unshare(&self, number: u64, facts: &Facts) -> Result<(), Why> {
        let (old, new) = (object_name(number), format!("{}.new", object_name(number)));
        let made = || -> Result<(), Errno> {
            let from = fs::openat(&self.folder, &old, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
            let to = crate::keepers::create(self.folder.as_fd(), &new)?;
            if fs::ioctl_ficlone(&to, &from).is_err() {
                crate::keepers::copy_content(from.as_fd(), to.as_fd(), facts.size)?;
            }
            crate::keepers::stamp(to.as_fd(), facts.mtime)?;
            fs::fdatasync(&to)?;
            step("unshare")?;
            fs::renameat(&self.folder, &new, &self.folder, &old)
        };
        made().map_err(|error| {
            let _ = fs::unlinkat(&self.folder, &new, AtFlags::empty());
            Why::Io { what: "copying what was linked", error }
        })
    }

    /// A deed did not happen.
    fn take_back(&self, mark: &Mark) {
        let mut state = self.state();
        // Where the record fails, undo finds the thing standing where it was.
        if state.write(&Record::Undone { path: mark.path.clone(), id: mark.id }).is_err() {
            return;
        }
        if !mark.kept {
            return;
        }
        if let Some(Known { linked: Some(number), asked: 1, .. }) = state.known.get(&mark.id) {
            // The inode lives on under its own name: a name in the vault would share every later write. Asked for more than once,
            // another deed may have taken the last name, so it stays, and `keep` copies it before anybody writes.
            let _ = fs::unlinkat(&self.folder, object_name(*number), AtFlags::empty());
            state.known.remove(&mark.id);
        }
    }
}

impl State {
    fn write(&mut self, record: &Record) -> Result<(), Why> {
        self.dirty = true;
        self.journal.add(record).map_err(|error| Why::Journal(error.to_string()))
    }
}

/// Tries the ways in their order, each by `attempt`.
fn first_way<'a, T>(task: &mut Task<'a>, attempt: impl Fn(&Keeper, &mut Task<'a>) -> Result<T, Pass>) -> Result<(Way, T), Why> {
    let mut because: Vec<&str> = Vec::new();
    for keeper in KEEPERS {
        match attempt(keeper, task) {
            Ok(kept) => return Ok((keeper.way, kept)),
            Err(Pass::Next(why)) => because.push(why),
            Err(Pass::Stop(Why::TooBig { bytes, most, .. })) => return Err(Why::TooBig { bytes, most, because: because.join("; ") }),
            Err(Pass::Stop(why)) => return Err(why),
        }
    }
    Err(Why::Kind("no way is left to keep it"))
}

/// The name of an object in its session's folder.
pub(crate) fn object_name(number: u64) -> String {
    format!("o{number}")
}
