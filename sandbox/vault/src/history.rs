//! A session's records, taken together: what stood where when it began, and where that is now.
//!
//! Records name things by the path that they had at that moment. Renames are followed back, so that everything is told by the path
//! that it had in the beginning.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    births::{self, Births},
    facts::{Facts, Identity, Kind, Stamp},
    record::{Age, Body, Digest, Loss, Print, Record},
    sessions::{State, Told},
};

/// Milliseconds after its last record in which a session that died may still have done the deed.
const LAST_DEED: u64 = 1000;

/// What is known of an inode from before the session.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    /// The first that were told.
    pub(crate) facts: Facts,
    /// Its first content, or why there is none.
    pub(crate) body: Option<Result<Body, String>>,
    /// Size and time of the object with the content.
    pub(crate) object: (u64, Stamp),
    /// The record that gave the body was for a deed that did not happen, and its object may be gone.
    pub(crate) doubtful: bool,
    /// The session that keeps the body, where it is another one: what one moved away a second one has lost.
    pub(crate) by: Option<String>,
}

/// A thing from before the session that was lost under a name under which another one stood first: somebody else brought it there.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) at: u64,
}

/// A name from before the session that something was done to.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) id: Identity,
    pub(crate) kind: Kind,
    /// Where the thing is now under this name, as far as was told; nowhere when the name is gone.
    pub(crate) now: Option<PathBuf>,
    /// When something was last done to it.
    pub(crate) at: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) inodes: HashMap<Identity, Inode>,
    /// By the path in the beginning.
    pub(crate) names: BTreeMap<PathBuf, Name>,
    /// What has no such path that could be its own.
    pub(crate) seconds: HashMap<Identity, Second>,
    /// Folders in which something was lost, by the path in the beginning.
    pub(crate) folders: BTreeMap<PathBuf, Identity>,
    pub(crate) digests: HashMap<u64, Digest>,
    /// What stood at the touched paths when the session ended.
    pub(crate) left: HashSet<Print>,
    /// What was born later is the session's.
    pub(crate) after: Option<Stamp>,
    /// What was last changed before this is as the session left it.
    pub(crate) until: Option<Stamp>,
    /// Inodes that were written to through a name that the session gave them: their own names are told by no record.
    pub(crate) through: HashSet<Identity>,
    moves: Vec<(PathBuf, PathBuf)>,
    /// Names that the session gave to older inodes.
    pub(crate) made: HashSet<PathBuf>,
}

impl History {
    /// Takes the records together; of what was done, only what was done since that time (milliseconds since 1970).
    pub(crate) fn of(told: &Told, since: u64) -> Self {
        let mut history = Self { after: Some(told.start.after), ..Self::default() };
        let called_off = called_off(&told.records);
        let mut last = told.start.at;
        for (number, record) in told.records.iter().enumerate() {
            last = last.max(record.at().unwrap_or(0));
            history.take(record, called_off.contains(&number), since);
        }
        history.until = match told.state {
            State::Running => None,
            State::Ended(at) => Some(stamp(at)),
            State::Died => Some(stamp(last.saturating_add(LAST_DEED))),
        };
        history
    }

    fn take(&mut self, record: &Record, called_off: bool, since: u64) {
        // What a record says of an inode counts always; what it says of names only where it happened, and lately enough.
        let happened = |at: u64| !called_off && at >= since;
        match record {
            Record::Kept { at, path, id, loss, facts, body } => {
                self.learn(*id, facts, Some(Ok(body.clone())), called_off);
                if happened(*at) {
                    self.lose(path.path(), *id, facts.kind, *loss, *at);
                }
            }
            Record::Lost { at, path, id, loss, facts, why } => {
                self.learn(*id, facts, Some(Err(why.clone())), called_off);
                if happened(*at) {
                    self.lose(path.path(), *id, facts.kind, *loss, *at);
                }
            }
            Record::Again { at, path, id, loss } => {
                let kind = self.inodes.get(id).map_or(Kind::File, |inode| inode.facts.kind);
                if happened(*at) {
                    self.lose(path.path(), *id, kind, *loss, *at);
                }
            }
            Record::Facts { at, path, id, facts } => {
                self.learn(*id, facts, None, false);
                if happened(*at) {
                    self.lose(path.path(), *id, facts.kind, Loss::Content, *at);
                }
            }
            Record::Folder { path, id, facts, .. } => {
                self.learn(*id, facts, None, false);
                let path = self.in_the_beginning(path.path());
                self.folders.entry(path).or_insert(*id);
            }
            Record::Moved { at, from, to, id, age, kind } => {
                if happened(*at) {
                    self.moved(from.path(), to.path(), *id, *age, *kind, *at);
                }
            }
            Record::Exchanged { at, one, other } => {
                if happened(*at) {
                    // No path has this byte: nothing else is ever there.
                    let aside = Path::new("\0");
                    self.moved(one.0.path(), aside, one.1, one.2, one.3, *at);
                    self.moved(other.0.path(), one.0.path(), other.1, other.2, other.3, *at);
                    self.moved(aside, other.0.path(), one.1, one.2, one.3, *at);
                }
            }
            Record::Linked { at, path, .. } => {
                if happened(*at) {
                    self.made.insert(path.path().to_owned());
                }
            }
            Record::Hashed { number, digest } => {
                self.digests.insert(*number, *digest);
            }
            Record::Left { print, .. } => self.left.extend(*print),
            Record::Start(_)
            | Record::Made { .. }
            | Record::Undone { .. }
            | Record::Room { .. }
            | Record::Synced
            | Record::End { .. }
            | Record::Restored { .. } => {}
        }
    }

    fn learn(&mut self, id: Identity, facts: &Facts, body: Option<Result<Body, String>>, doubtful: bool) {
        let object = (facts.size, facts.mtime);
        let inode = self.inodes.entry(id).or_insert_with(|| Inode { facts: facts.clone(), body: None, object, doubtful: true, by: None });
        if let Some(body) = body
            && (inode.body.is_none() || inode.doubtful)
        {
            // The size goes with the content; all else with the first word.
            inode.facts.size = facts.size;
            inode.object = object;
            inode.body = Some(body);
            inode.doubtful = doubtful;
        }
    }

    fn lose(&mut self, path: &Path, id: Identity, kind: Kind, loss: Loss, at: u64) {
        let now = match loss {
            Loss::Name if self.made.remove(path) => return,
            Loss::Content if self.made.contains(path) => {
                self.through.insert(id);
                return;
            }
            Loss::Name => None,
            Loss::Content => Some(path.to_owned()),
        };
        let first = self.in_the_beginning(path);
        let name = self.names.entry(first).or_insert(Name { id, kind, now: now.clone(), at });
        // Something else may have been lost under the same name later; what stood there first counts.
        if name.id == id {
            name.now = now;
            name.at = at;
        } else {
            self.seconds.entry(id).or_insert_with(|| Second { path: path.to_owned(), kind, at });
        }
    }

    fn moved(&mut self, from: &Path, to: &Path, id: Identity, age: Age, kind: Kind, at: u64) {
        let made = self.made.remove(from);
        if made {
            self.made.insert(to.to_owned());
        } else if age == Age::Old {
            let first = self.in_the_beginning(from);
            let name = self.names.entry(first).or_insert(Name { id, kind, now: None, at });
            if name.id == id {
                name.now = Some(to.to_owned());
                name.at = at;
            }
        }
        if kind == Kind::Folder {
            for name in self.names.values_mut() {
                if let Some(moved) = name.now.as_deref().and_then(|now| below(now, from, to)) {
                    name.now = Some(moved);
                }
            }
            self.made = self.made.drain().map(|path| below(&path, from, to).unwrap_or(path)).collect();
        }
        self.moves.push((from.to_owned(), to.to_owned()));
    }

    /// The path that what stands at `path` now had in the beginning, where it is older than the session.
    pub(crate) fn in_the_beginning(&self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for (from, to) in self.moves.iter().rev() {
            if path == *to {
                path.clone_from(from);
            } else if let Some(before) = below(&path, to, from) {
                path = before;
            }
        }
        path
    }

    /// Whether an inode is from the session, as far as that can be told afterwards.
    pub(crate) fn born(&self, id: Identity) -> bool {
        births::known(id.dev) == Some(Births::OurClock) && id.born.zip(self.after).is_some_and(|(born, after)| born > after)
    }
}

/// A path below `from`, put below `to`.
pub(crate) fn below(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let (path, from) = (path.as_os_str().as_bytes(), from.as_os_str().as_bytes());
    let rest = path.strip_prefix(from).filter(|rest| rest.first() == Some(&b'/'))?;
    let mut put = to.as_os_str().to_owned();
    put.push(std::ffi::OsStr::from_bytes(rest));
    Some(put.into())
}

/// The end of a millisecond: what was changed within it was changed before it was over.
fn stamp(millis: u64) -> Stamp {
    let millis = millis.saturating_add(1);
    let nanos = u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
    Stamp(i64::try_from(millis / 1000).unwrap_or(i64::MAX), nanos)
}

/// The numbers of the records whose deed did not happen: each `Undone` calls off the last one before it that fits.
pub(crate) fn called_off(records: &[Record]) -> HashSet<usize> {
    let mut standing: HashMap<(&[u8], Identity), Vec<usize>> = HashMap::new();
    let mut off = HashSet::new();
    for (number, record) in records.iter().enumerate() {
        match record {
            Record::Kept { path, id, .. }
            | Record::Again { path, id, .. }
            | Record::Lost { path, id, .. }
            | Record::Moved { from: path, id, .. }
            | Record::Exchanged { one: (path, id, ..), .. }
            | Record::Linked { path, id, .. } => standing.entry((&path.0, *id)).or_default().push(number),
            Record::Undone { path, id } => {
                if let Some(number) = standing.get_mut(&(path.0.as_slice(), *id)).and_then(Vec::pop) {
                    off.insert(number);
                }
            }
            Record::Start(_)
            | Record::Facts { .. }
            | Record::Folder { .. }
            | Record::Made { .. }
            | Record::Room { .. }
            | Record::Synced
            | Record::Hashed { .. }
            | Record::Left { .. }
            | Record::End { .. }
            | Record::Restored { .. } => {}
        }
    }
    off
}
