//! The judge: one file operation at a time, before it is done.

mod logs;
mod objects;
mod refs;

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use agentbox_core::Effect;

use super::{
    find::{Spot, spot},
    folder::{Facts, Folder, whole},
    id::{Hash, Id},
    meaning::{Meaning, Meanings},
    slot::{Slot, is_lock_of},
    store::{Memory, Store},
    trouble::{Budget, Trouble},
};

/// Most repositories remembered between judgements.
const MOST_KNOWN: usize = 64;
/// Most objects remembered as the agent's own; later ones are judged as anybody's.
const MOST_OWN: usize = 1_000_000;
/// Largest settings file that is looked through for the hash and the format of refs.
const LARGEST_CONFIG: u64 = 1 << 20;

/// One file operation. Paths are absolute and free of links and dots: where the judged descriptors are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed<'a> {
    /// A file or an empty folder goes.
    Remove(&'a Path),
    /// A file or folder moves, over whatever is at its target.
    Rename {
        /// Where it is.
        from: &'a Path,
        /// Where it will be.
        to: &'a Path,
    },
    /// Two names change places.
    Exchange(&'a Path, &'a Path),
    /// A file's content may be changed or cut where it is.
    Overwrite(&'a Path),
    /// A file may be written at its end.
    Append(&'a Path),
    /// Something new comes to be where nothing is.
    #[allow(dead_code, reason = "calls that can only make something are not stopped yet")]
    Create(&'a Path),
    /// A file gets a second name where nothing is.
    Link {
        /// The name it has.
        from: &'a Path,
        /// The new one.
        to: &'a Path,
    },
}

/// Judges file operations in git directories, and remembers what it found out.
#[derive(Debug)]
pub(crate) struct Judge {
    session: Option<SystemTime>,
    known: HashMap<PathBuf, Known>,
}

/// What is remembered of a repository.
#[derive(Debug)]
struct Known {
    folder: (u64, Option<SystemTime>),
    memory: Memory,
    /// Refs that this judge saw come to be: the agent's own.
    made: HashSet<String>,
    /// Objects that this judge saw come to be, where no copy was before.
    own: HashSet<Id>,
    /// Packs whose index went, or may go, since all they hold is elsewhere.
    covered: HashSet<String>,
}

/// A path in a repository, opened.
struct Case<'a> {
    git: Folder,
    below: PathBuf,
    slot: Slot,
    facts: Option<Facts>,
    hash: Hash,
    session: Option<SystemTime>,
    known: &'a mut Known,
    budget: Budget,
}

/// What replaces something.
struct Source {
    bytes: Option<Vec<u8>>,
    facts: Facts,
    path: PathBuf,
}

impl Judge {
    /// Begins with the start of the session: repositories and files born after it are the agent's own. Without it, none is.
    ///
    /// Commits and refs are the agent's own when this judge saw them come to be; a new judge knows none.
    pub(crate) fn new(session: Option<SystemTime>) -> Self {
        Self { session, known: HashMap::new() }
    }

    /// Judges an operation that is about to be done.
    pub(crate) fn judge(&mut self, deed: Deed<'_>) -> Meanings {
        let (leaving, target) = match deed {
            Deed::Remove(path) => (None, self.on(path, |case| case.removed())),
            Deed::Rename { from, to } => {
                (self.on(from, |case| case.moved(to)), self.on(to, |case| case.replaced(from)).or_else(|| dressed(from, to, self.session)))
            }
            Deed::Exchange(one, other) => (self.on(one, |case| case.exchanged()), self.on(other, |case| case.exchanged())),
            Deed::Overwrite(path) => (None, self.on(path, |case| case.overwritten())),
            Deed::Append(path) => (None, self.on(path, |case| case.appended())),
            Deed::Create(path) => (None, self.on(path, |case| case.created())),
            Deed::Link { from, to } => (self.on(from, |case| Ok(case.named(to))), self.on(to, |case| case.linked(from))),
        };
        Meanings { leaving, target }
    }

    fn on(&mut self, path: &Path, judge: impl FnOnce(&mut Case<'_>) -> Result<Option<Meaning>, Trouble>) -> Option<Meaning> {
        let spot = spot(path, self.session)?;
        let slot = Slot::of(&spot.below);
        let judged = self.case(&spot, slot).and_then(|mut case| judge(&mut case));
        let meaning = judged.unwrap_or_else(|trouble| Some(Meaning::unclear("git.unclear", "this changes a git directory", &trouble)));
        if meaning.as_ref().is_some_and(|meaning| meaning.effect == Effect::Destroy)
            && let Some(known) = self.known.get_mut(&spot.git)
        {
            // It may be approved, and then nothing that was seen before need be there.
            known.memory.forget();
            known.covered.clear();
        }
        meaning
    }

    fn case(&mut self, spot: &Spot, slot: Slot) -> Result<Case<'_>, Trouble> {
        let unreadable = |error| Trouble::Unreadable("the git directory", error);
        let git = Folder::absolute(&spot.git).map_err(unreadable)?.wary(self.session);
        let identity = git.facts(Path::new("")).map_err(unreadable)?.map(|facts| (facts.inode(), facts.born())).ok_or(Trouble::Incomplete)?;
        let facts = git.facts(&spot.below).map_err(unreadable)?;
        let hash = hash_of(&git)?;
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        let fresh = || Known { folder: identity, memory: Memory::default(), made: HashSet::new(), own: HashSet::new(), covered: HashSet::new() };
        let known = self.known.entry(spot.git.clone()).or_insert_with(fresh);
        if known.folder != identity {
            *known = fresh();
        }
        Ok(Case { git, below: spot.below.clone(), slot, facts, hash, session: self.session, known, budget: Budget::new() })
    }
}

fn hash_of(git: &Folder) -> Result<Hash, Trouble> {
    let text = git.read(Path::new("config"), LARGEST_CONFIG, "the settings")?.unwrap_or_default();
    let text: String = String::from_utf8_lossy(&text).to_ascii_lowercase().split_whitespace().collect();
    Ok(if text.contains("objectformat=sha256") || text.contains("objectformat=\"sha256") { Hash::Sha256 } else { Hash::Sha1 })
}

impl Case<'_> {
    fn store(&mut self) -> Store<'_> {
        Store::new(&self.git, self.hash, &mut self.known.memory, &mut self.budget)
    }

    fn is_folder(&self) -> bool {
        self.facts.as_ref().is_some_and(Facts::is_folder)
    }

    /// It goes for good.
    fn removed(&mut self) -> Result<Option<Meaning>, Trouble> {
        if self.facts.is_none() {
            return Ok(self.unless_foreign(Meaning::write("git.nothing", "nothing is there")));
        }
        if self.is_folder() {
            // The kernel only removes an empty one, which git relies on: it tries each folder upwards.
            let empty = self.git.names(&self.below, "a folder that would go")?.is_empty();
            return Ok(match self.slot {
                Slot::Frame if empty => Some(frame()),
                _ => self.unless_foreign(Meaning::write("git.folder", "an empty folder in the git directory goes")),
            });
        }
        Ok(match self.slot.clone() {
            Slot::Foreign | Slot::Shelf => None,
            Slot::Frame => Some(frame()),
            Slot::State => Some(Meaning::write("git.state", "git makes this file anew when it needs it")),
            Slot::Passing => Some(Meaning::write("git.lock", "a lock or temporary file of git goes")),
            Slot::Shallow => Some(Meaning::write("git.history.join", "git no longer takes history for cut")),
            Slot::Standing => Some(self.standing_removed()?),
            Slot::Ref(name) => Some(self.ref_removed(&name)?),
            Slot::PackedRefs => Some(self.packed_replaced(&[])?),
            Slot::Log => Some(self.log_removed()?),
            Slot::Loose(id) => Some(self.loose_removed(&id)?),
            Slot::Pack(stem) => Some(self.pack_removed(&stem)?),
            Slot::Index(stem) => Some(self.index_removed(&stem)?),
            Slot::Alternates => Some(Meaning::destroy("git.object.remove", "the objects that are borrowed from another repository would be out of reach")),
            Slot::Reftable => Some(reftable()),
        })
    }

    /// It goes to another name.
    fn moved(&mut self, to: &Path) -> Result<Option<Meaning>, Trouble> {
        if self.is_folder() && !self.slot.is_fleeting() {
            return Ok(self.unless_foreign(Meaning::destroy("git.directory.remove", "a folder of git's own would no longer be where git looks for it")));
        }
        if self.slot.is_fleeting() && (self.is_folder() || self.names() > 1) && !self.is_fleeting_here(to) {
            return Ok(Some(alias()));
        }
        // A reflog under another name is a reflog still, and found as one.
        let stays_log = self.slot == Slot::Log && spot(to, self.session).is_some_and(|to| self.is_here(&to) && Slot::of(&to.below) == Slot::Log);
        if stays_log && !self.is_folder() {
            return Ok(Some(Meaning::write("git.reflog.move", "a reflog gets another name")));
        }
        self.removed()
    }

    /// It gets one more name: by one elsewhere a part of history, or what has become one, could be written over.
    fn named(&self, to: &Path) -> Option<Meaning> {
        let is_part = !self.is_folder() && (!self.slot.is_fleeting() || self.names() > 1) && self.facts.as_ref().is_some_and(|facts| self.is_new(facts));
        // One in this repository is judged as what comes to be there.
        let is_here = spot(to, self.session).is_some_and(|to| self.is_here(&to) && Slot::of(&to.below) != Slot::Foreign);
        if is_part && !is_here { self.unless_foreign(alias()) } else { None }
    }

    /// Whether it was made in the session. What was there before is judged by the places of its names.
    fn is_new(&self, facts: &Facts) -> bool {
        self.session.is_some_and(|session| facts.born().is_none_or(|born| born >= session))
    }

    fn names(&self) -> u32 {
        self.facts.as_ref().map_or(0, Facts::names)
    }

    /// Whether a path is a temporary one of this very repository.
    fn is_fleeting_here(&self, path: &Path) -> bool {
        spot(path, self.session).is_some_and(|spot| self.is_here(&spot) && Slot::of(&spot.below).is_fleeting())
    }

    /// Something else takes its place.
    fn replaced(&mut self, from: &Path) -> Result<Option<Meaning>, Trouble> {
        if self.slot == Slot::Foreign {
            // Whatever it is, git replaces its files only so.
            let lock = spot(from, self.session).is_some_and(|spot| self.is_here(&spot) && is_lock_of(&spot.below, &self.below));
            return Ok(lock.then(|| Meaning::write("git.lock", "git replaces a file by its lock")));
        }
        let source = self.source(from)?;
        if let Some(brought) = self.brought(from, &source.facts) {
            return Ok(Some(brought));
        }
        if self.is_folder() || source.facts.is_folder() {
            let there = self.facts.is_some() && !self.slot.is_fleeting();
            return Ok(Some(if there || self.slot == Slot::Frame { frame() } else { Meaning::write("git.folder", "a folder comes into the git directory") }));
        }
        if source.facts.names() > 1 && !self.slot.is_fleeting() && self.is_new(&source.facts) {
            return Ok(Some(alias()));
        }
        let bytes = source.bytes.clone().unwrap_or_default();
        Ok(match self.slot.clone() {
            Slot::Foreign => None,
            Slot::Frame | Slot::Shelf => Some(frame()),
            Slot::State => Some(Meaning::write("git.state", "git writes anew what it keeps beside history")),
            Slot::Passing => Some(Meaning::write("git.lock", "a lock or temporary file of git comes to be")),
            Slot::Standing => Some(self.standing_replaced(&bytes)?.with_judged(bytes)),
            Slot::Ref(name) => Some(self.ref_replaced(&name, &bytes)?.with_judged(bytes)),
            Slot::PackedRefs => Some(self.packed_replaced(&bytes)?.with_judged(bytes)),
            Slot::Log => Some(self.log_replaced(&bytes)?.with_judged(bytes)),
            Slot::Shallow => Some(self.cut_replaced(&bytes)?.with_judged(bytes)),
            Slot::Loose(id) => Some(self.loose_replaced(&id, &source)?),
            Slot::Pack(_) | Slot::Index(_) => Some(self.pack_file_replaced(&source)?),
            Slot::Alternates if self.facts.is_none() => Some(Meaning::write("git.object.add", "objects are borrowed from another repository")),
            Slot::Alternates => Some(Meaning::destroy("git.object.remove", "objects borrowed from another repository may be out of reach")),
            Slot::Reftable => Some(if self.facts.is_none() { Meaning::write("git.ref.add", "a table of refs is added") } else { reftable() }),
        })
    }

    fn exchanged(&mut self) -> Result<Option<Meaning>, Trouble> {
        Ok(self.unless_foreign(Meaning::destroy("git.file.exchange", "files of git's own would change places, which git never does")))
    }

    /// Its content may become any other.
    fn overwritten(&mut self) -> Result<Option<Meaning>, Trouble> {
        let Some(facts) = &self.facts else { return self.created() };
        let meaning = if facts.is_file() && facts.len() == 0 {
            Meaning::write("git.file.fill", "an empty file of git is written")
        } else if !self.slot.is_fleeting() {
            Meaning::destroy("git.file.overwrite", "a part of history would be written over in place, which git never does")
        } else if facts.is_file() && facts.names() > 1 {
            Meaning::destroy("git.file.overwrite", "a file that also has another name would be written over under a name of git's")
        } else {
            Meaning::write("git.state", "git writes anew what it keeps beside history")
        };
        Ok(self.unless_foreign(meaning))
    }

    fn appended(&mut self) -> Result<Option<Meaning>, Trouble> {
        if self.slot == Slot::Log || self.slot.is_fleeting() {
            return Ok(Some(Meaning::write("git.reflog.append", "git adds a line to what it keeps")));
        }
        self.overwritten()
    }

    fn created(&mut self) -> Result<Option<Meaning>, Trouble> {
        Ok(self.unless_foreign(Meaning::write("git.add", "a new file comes into the git directory")))
    }

    fn linked(&mut self, from: &Path) -> Result<Option<Meaning>, Trouble> {
        if self.slot == Slot::Foreign {
            return Ok(None);
        }
        let source = self.source(from)?;
        if self.slot.is_fleeting()
            && let Some(brought) = self.brought(from, &source.facts)
        {
            return Ok(Some(brought));
        }
        if !self.slot.is_fleeting() && self.is_new(&source.facts) && (source.facts.names() > 1 || !self.is_fleeting_here(from)) {
            return Ok(Some(alias()));
        }
        if let Slot::Loose(id) = self.slot
            && self.facts.is_none()
        {
            return self.loose_added(&id).map(Some);
        }
        Ok(Some(Meaning::write("git.add", "a file gets a name in the git directory")))
    }

    /// Refuses that a file from before the session is brought under a name that git may delete freely.
    fn brought(&self, from: &Path, facts: &Facts) -> Option<Meaning> {
        let of_git = spot(from, self.session).is_some_and(|from| self.is_here(&from) && Slot::of(&from.below) != Slot::Foreign);
        let own = self.session.is_some_and(|session| facts.born().is_some_and(|born| born >= session));
        let reason = "a file from elsewhere would come under a name that git deletes or rewrites as it likes";
        (!of_git && !own).then(|| Meaning::destroy("git.file.bring", reason))
    }

    fn is_here(&self, spot: &Spot) -> bool {
        Folder::absolute(&spot.git).ok().and_then(|git| git.facts(Path::new("")).ok().flatten()).map(|facts| facts.inode()) == Some(self.known.folder.0)
    }

    fn source(&self, from: &Path) -> Result<Source, Trouble> {
        const WHAT: &str = "the file that takes another's place";
        let (Some(folder), Some(name)) = (from.parent(), from.file_name()) else { return Err(Trouble::Malformed(WHAT)) };
        let folder = Folder::absolute(folder).map_err(|error| Trouble::Unreadable(WHAT, error))?;
        let facts = folder.facts(Path::new(name)).map_err(|error| Trouble::Unreadable(WHAT, error))?.ok_or(Trouble::Malformed(WHAT))?;
        let longest = match &self.slot {
            Slot::Standing | Slot::Ref(_) => Some(super::refs::LARGEST_REF),
            Slot::PackedRefs => Some(super::refs::LARGEST_PACKED),
            Slot::Log | Slot::Shallow => Some(super::refs::LARGEST_LOG),
            Slot::Loose(_) | Slot::Pack(_) | Slot::Index(_) | Slot::Frame | Slot::Shelf => None,
            Slot::Alternates | Slot::Reftable | Slot::State | Slot::Passing | Slot::Foreign => None,
        };
        let opened = if longest.is_some() { folder.file(Path::new(name), WHAT)? } else { None };
        let bytes = match (opened, longest) {
            (Some((file, _)), Some(longest)) => Some(whole(file, longest, WHAT)?),
            _ => None,
        };
        Ok(Source { bytes, facts, path: from.to_owned() })
    }

    fn unless_foreign(&self, meaning: Meaning) -> Option<Meaning> {
        (self.slot != Slot::Foreign).then_some(meaning)
    }
}

/// Refuses that a folder from before the session becomes a git directory, where git may delete much of what it holds.
fn dressed(from: &Path, to: &Path, session: Option<SystemTime>) -> Option<Meaning> {
    if to.file_name() != Some(OsStr::new(".git")) || spot(from, session).is_some() {
        return None;
    }
    let born = Folder::absolute(from).ok()?.facts(Path::new("")).ok().flatten().and_then(|facts| facts.born());
    let own = session.is_some_and(|session| born.is_some_and(|born| born >= session));
    (!own).then(|| Meaning::destroy("git.file.bring", "a folder from before would become a git directory, where git deletes or rewrites much as it likes"))
}

/// Git gives its files no second name, but for a temporary one that goes at once.
fn alias() -> Meaning {
    Meaning::destroy("git.file.alias", "a file of git's would have another name as well, by which it could be written over unseen")
}

fn frame() -> Meaning {
    Meaning::destroy("git.directory.remove", "the repository would no longer be one, and all its history with it")
}

fn reftable() -> Meaning {
    Meaning::destroy("git.ref.unclear", "this repository keeps its refs as reftables, which are not understood here, so a lost ref would not be seen")
}
