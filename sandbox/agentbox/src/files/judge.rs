//! What a stopped call means to the policy: for each thing that it touches an operation, with its effect.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use agentbox_core::{
    Digest, Effect, Evidence, Judgement, Operation, Refusal, Request, Resource, ResourceId, Verdict,
    ledger::{self, Draft, Durability, Journal, NotWritten},
    policy::Policy,
    safe,
};
use agentbox_kernel::stopped::{Thing, Touched, What, World};
use nix::sys::stat::{SFlag, fstat};

use super::{
    git::{self, Folder, Meanings},
    keep::may_hold_older,
};
use crate::run::globs;

/// Characters of a path that are shown.
const SHOWN: usize = 300;

/// Entries of a folder that is moved which are looked through for what patterns of the policy name.
const MOST_BENEATH: usize = 4096;

/// Second names that are remembered; of what got one later, losing a name counts as losing it.
const MOST_NAMES: usize = 4096;

/// Of those that are found, so many are shown; more would only make the card longer.
const MOST_TAKEN: usize = 16;

/// Since when a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It was there when the box began: somebody may miss it.
    Before,
    /// It was made in this box: the agent's own.
    Session,
}

/// What the policy says.
pub(super) enum Word {
    /// Go on. Whatever was judged by its content stays as it is while these descriptors are open.
    Yes(Vec<OwnedFd>),
    /// Ask the supervisor.
    Ask(Box<Request>),
    /// It could not be written down.
    No(Refusal),
}

/// Judges by the policy.
pub(super) struct Judge<'p> {
    policy: &'p Policy,
    session: &'p str,
    /// Places inside writable ones that have cells of their own: what is done to a folder above is done to them.
    own: Vec<PathBuf>,
    /// The literal parts of those that are patterns.
    patterns: Vec<PathBuf>,
    /// Knows what a file in a git directory is for. None where destroying is allowed wherever the agent may write: its word would change nothing.
    git: Option<RefCell<git::Judge>>,
    /// Second names that things were given in this box: as long as one stands, losing another loses nothing.
    names: RefCell<HashMap<(u64, u64), PathBuf>>,
}

impl<'p> Judge<'p> {
    /// What was born before `since` was not made in this box.
    pub(super) fn new(policy: &'p Policy, session: &'p str, since: SystemTime) -> Self {
        let files = &policy.settings().files;
        let places = files.gated.iter().chain(&files.read_only).chain(&files.masked).map(|path| path.pattern.clone());
        let (patterns, own): (Vec<PathBuf>, Vec<PathBuf>) = places.partition(|place| globs::is_glob(place));
        let patterns = patterns.iter().map(|pattern| literal(pattern)).collect();
        let git = (!files.gated.is_empty()).then(|| RefCell::new(git::Judge::new(Some(since))));
        Self { policy, session, own, patterns, git, names: RefCell::default() }
    }

    /// Whether what happens to a thing needs no judging, wherever it is: the box's own memory holds nothing but the agent's own works, and what
    /// the agent made elsewhere it may unmake, since where it could make it the policy lets it write. Git's files are judged by their place.
    pub(super) fn is_free(&self, thing: &Thing<'_>, since: Since) -> bool {
        thing.own || (since == Since::Session && self.git.is_none() && !may_hold_older(thing.what, &thing.stat, thing.own))
    }

    /// Judges one call by all that it touches.
    pub(super) fn judge(&self, touches: &[(Touched<'_>, Since)], tid: i32, world: &World) -> Word {
        let (meanings, still) = self.meanings(touches, world);
        let request = self.request(touches, &meanings, tid);
        if request.operations.is_empty() {
            self.remember(touches);
            return Word::Yes(still);
        }
        match self.policy.judge(request.clone()) {
            // Only counted: these are the agent's own works in a place that was given to it, and the vault's journal tells of each.
            Judgement::Allow(granted) => match ledger::commit(granted, self.session, &mut Counted) {
                Ok(permit) => match permit.consume(&request.digest, SystemTime::now()) {
                    Ok(()) => {
                        self.remember(touches);
                        Word::Yes(still)
                    }
                    Err(_) => Word::Ask(Box::new(request)),
                },
                Err(refusal) => Word::No(refusal),
            },
            Judgement::Hold(_) | Judgement::Deny(_) => Word::Ask(Box::new(request)),
        }
    }

    /// What a permit for the deed is bound to: things and contents, as they are now and stay while the descriptors are open.
    pub(super) fn digest(&self, touches: &[(Touched<'_>, Since)], world: &World) -> (Digest, Vec<OwnedFd>) {
        let (meanings, still) = self.meanings(touches, world);
        (digest(touches, &meanings), still)
    }

    /// What git would say of the deed. A file that is moved or linked into a git directory is judged by what is in it: it is held as it
    /// is, and one that somebody has open for writing could be another one a moment later.
    fn meanings(&self, touches: &[(Touched<'_>, Since)], world: &World) -> (Meanings, Vec<OwnedFd>) {
        let (Some(judge), Some((first, _))) = (&self.git, touches.first()) else { return (Meanings::default(), Vec::new()) };
        // Git keeps nothing in what a thing is like, but whether a file may be executed, of which it has its own record.
        if first.what == What::Attributes {
            return (Meanings::default(), Vec::new());
        }
        let comes = matches!(first.what, What::Move | What::Link) && first.stat.kind() == SFlag::S_IFREG;
        let still = comes.then(|| world.hold_still(first.object));
        let mut meanings = judge.borrow_mut().judge(Self::deed(first));
        let mut held = Vec::new();
        match still {
            None => {}
            Some(Ok(file)) => held.push(file),
            Some(Err(_)) => {
                if let Some(meaning) = meanings.target.as_mut().filter(|meaning| meaning.effect == Effect::Write) {
                    *meaning = git::Meaning::destroy("git.unclear", "the file is open for writing: what is in it now need not be in it afterwards");
                }
            }
        }
        (meanings, held)
    }

    fn deed<'t>(first: &'t Touched<'_>) -> git::Deed<'t> {
        let path = first.path.as_path();
        let to = first.to.as_ref().map(|(to, _)| to.as_path());
        match (first.what, to) {
            (What::Move, Some(to)) => git::Deed::Rename { from: path, to },
            (What::Exchange, Some(to)) => git::Deed::Exchange(path, to),
            (What::Link, Some(to)) => git::Deed::Link { from: path, to },
            (What::Overwrite | What::Truncate, _) => git::Deed::Overwrite(path),
            (What::Append, _) => git::Deed::Append(path),
            (What::Remove | What::RemoveFolder | What::Replace | What::Attributes, _) | (What::Move | What::Exchange | What::Link, None) => {
                git::Deed::Remove(path)
            }
        }
    }

    fn request(&self, touches: &[(Touched<'_>, Since)], meanings: &Meanings, tid: i32) -> Request {
        let mut operations = Vec::new();
        let first = touches.first().map(|(touch, _)| touch);
        for (touch, since) in touches {
            let meaning = match touch.what {
                What::Move => meanings.leaving.as_ref(),
                What::Exchange if first.is_some_and(|first| std::ptr::eq(touch, first)) => meanings.leaving.as_ref(),
                What::Link => meanings.leaving.as_ref().or(meanings.target.as_ref()),
                What::Remove | What::RemoveFolder | What::Replace | What::Exchange | What::Overwrite | What::Append | What::Truncate | What::Attributes => {
                    meanings.target.as_ref()
                }
            };
            match meaning {
                Some(meaning) => operations.push(by_git(meaning, &touch.path)),
                // As in `is_free`: else a file that `git init` has just made in a place whose writes are held could not be written twice.
                None if *since == Since::Session && !may_hold_older(touch.what, &touch.stat, touch.own) => {}
                None => operations.push(self.operation(touch, *since)),
            }
            // A free name to which something is moved can be git's matter, too.
            if let (What::Move | What::Link, Some((to, _)), Some(meaning), 1) = (touch.what, &touch.to, &meanings.target, touches.len()) {
                operations.push(by_git(meaning, to));
            }
            if matches!(touch.what, What::Move | What::Exchange | What::Replace | What::RemoveFolder) {
                operations.extend(self.beneath(touch));
            }
        }
        let evidence = Evidence { summary: summary(touches), excerpt: excerpt(touches, meanings), process: Some(tid), ..Evidence::default() };
        Request { operations, destination: None, digest: digest(touches, meanings), evidence }
    }

    fn operation(&self, touch: &Touched<'_>, since: Since) -> Operation {
        let (effect, reason) = match (touch.what, since) {
            (What::Move | What::Exchange, Since::Session) if touch.stat.kind() != SFlag::S_IFDIR => (Effect::Write, "it was made in this box"),
            (What::Move | What::Exchange, _) => self.moved(touch, "it leaves its place"),
            (_, Since::Session) => (Effect::Write, "it was made in this box"),
            (What::Overwrite | What::Truncate, Since::Before) if touch.stat.size == 0 => (Effect::Write, "nothing is in it"),
            // Such a descriptor can be made to write anywhere, or to cut the file short: so the first version is kept all the same.
            (What::Append, Since::Before) => (Effect::Write, "what is in it stays before what is appended"),
            (What::Overwrite, Since::Before) => (Effect::Destroy, "opened for writing, all that is in it can be destroyed"),
            (What::Truncate, Since::Before) => (Effect::Destroy, "what is behind the cut is destroyed"),
            (What::Attributes, Since::Before) => (Effect::Write, "its mode, owner, times or attributes change, and nothing that is in it"),
            (What::Remove | What::Replace, Since::Before) if self.has_another_name(touch) => (Effect::Write, "it keeps another name in the same place"),
            (What::Remove, Since::Before) => (Effect::Destroy, "the file is removed"),
            (What::RemoveFolder, Since::Before) => (Effect::Destroy, "the folder is removed"),
            (What::Replace, Since::Before) => (Effect::Destroy, "another thing takes its name"),
            (What::Link, Since::Before) => self.moved(touch, "by a name in another place its content can be destroyed"),
        };
        Operation::new(effect, action(touch.what), resource(&touch.path), reason)
    }

    /// Remembers what got a second name; whether it still has it is looked at when it counts.
    fn remember(&self, touches: &[(Touched<'_>, Since)]) {
        for (touch, _) in touches {
            let mut names = self.names.borrow_mut();
            if let (What::Link, Some((to, _))) = (touch.what, &touch.to)
                && names.len() < MOST_NAMES
            {
                names.insert(touch.stat.id(), to.clone());
            }
        }
    }

    /// Whether the thing stays under a name that it got in this box, where its loss would be judged alike. One call is done after the other, so
    /// that nobody takes that name away meanwhile; and when it goes, it is that one that is judged.
    fn has_another_name(&self, touch: &Touched<'_>) -> bool {
        let names = self.names.borrow();
        names.get(&touch.stat.id()).is_some_and(|other| stays_as(touch, other) && self.if_destroyed(other) == self.if_destroyed(&touch.path))
    }

    /// A move or another name inside one place loses nothing; elsewhere, the other place's cells count from then on.
    fn moved(&self, touch: &Touched<'_>, out: &'static str) -> (Effect, &'static str) {
        match &touch.to {
            Some((to, _)) if self.if_destroyed(&touch.path) == self.if_destroyed(to) => (Effect::Write, "it stays in its place, under another name"),
            Some(_) | None => (Effect::Destroy, out),
        }
    }

    /// What the policy would say of its being destroyed, and which place says so.
    fn if_destroyed(&self, path: &Path) -> (Verdict, String) {
        let operation = Operation::new(Effect::Destroy, "file.unlink", resource(path), "");
        let request = Request { operations: vec![operation], destination: None, digest: Digest::of([]), evidence: Evidence::default() };
        let (verdict, because) = self.policy.preview(&request);
        (verdict, because.place)
    }

    /// What a folder takes along that has cells of its own.
    fn beneath(&self, touch: &Touched<'_>) -> Vec<Operation> {
        let taken = |path: &Path, why: &str| Operation::new(Effect::Destroy, "file.rename", resource(path), why);
        let there = self.own.iter().filter(|own| own.starts_with(&touch.path) && **own != touch.path && own.symlink_metadata().is_ok());
        let mut found: Vec<Operation> = there.map(|own| taken(own, "a folder above it is moved, and takes it along")).collect();
        let is_folder = touch.stat.kind() == SFlag::S_IFDIR;
        // A pattern may name anything below its literal part.
        if is_folder && self.patterns.iter().any(|literal| literal.starts_with(&touch.path) || touch.path.starts_with(literal)) {
            let mut left = MOST_BENEATH;
            let mut folders = vec![touch.path.clone()];
            while let Some(folder) = folders.pop() {
                // One that cannot be looked into, or too many, could hold any of them.
                let Ok(entries) = std::fs::read_dir(&folder) else { return vec![anything(touch, "what is in it cannot be seen")] };
                for entry in entries {
                    let (Some(less), Ok(entry)) = (left.checked_sub(1), entry) else {
                        return vec![anything(touch, "more is in it than can be looked through for what a pattern of the policy names")];
                    };
                    left = less;
                    let path = entry.path();
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(path.clone());
                    }
                    if self.if_destroyed(&path).0 != Verdict::Allow {
                        found.push(taken(&path, "a folder above it is moved, and takes it along"));
                        if found.len() >= MOST_TAKEN {
                            return found;
                        }
                    }
                }
            }
        }
        found
    }
}

/// Whether `other` is a name of the touched thing, and not the very one that goes: that can be reached by its path of before as well, through a
/// link where a folder of it was, or in other letters where a file system takes them for the same.
fn stays_as(touch: &Touched<'_>, other: &Path) -> bool {
    let (Some(folder), Some(name), Some(here), Some(own)) = (other.parent(), other.file_name(), touch.folder, touch.path.file_name()) else { return false };
    let Ok(there) = Folder::absolute(folder) else { return false };
    let letters = |name: &OsStr| name.to_string_lossy().to_lowercase();
    let id = |below: &Path| there.facts(below).ok().flatten().map(|facts| facts.id());
    let is_here = fstat(here).is_ok_and(|here| id(Path::new("")) == Some((here.st_dev, here.st_ino)));
    id(Path::new(name)) == Some(touch.stat.id()) && !(is_here && letters(name) == letters(own))
}

/// Something below a folder, nobody knows what: the strictest of all places judges it, as it judges every path that is not plain.
fn anything(touch: &Touched<'_>, why: &str) -> Operation {
    Operation::new(Effect::Destroy, "file.rename", resource(&touch.path.join("..")), why)
}

/// The part of a pattern that every match begins with.
fn literal(pattern: &Path) -> PathBuf {
    pattern.components().take_while(|part| !globs::is_glob(Path::new(part))).collect()
}

/// Every thing that is touched, by path and identity, and every content that was judged.
fn digest(touches: &[(Touched<'_>, Since)], meanings: &Meanings) -> Digest {
    let judged = [&meanings.leaving, &meanings.target]
        .into_iter()
        .flatten()
        .flat_map(|meaning| [meaning.action.as_bytes().to_vec(), meaning.reason.as_bytes().to_vec(), meaning.judged.clone().unwrap_or_default()]);
    let parts: Vec<Vec<u8>> = touches
        .iter()
        .flat_map(|(touch, _)| {
            let to = touch.to.as_ref().map_or_else(Vec::new, |(path, _)| path.as_os_str().as_bytes().to_vec());
            let identity = [touch.stat.device.to_le_bytes(), touch.stat.inode.to_le_bytes()].concat();
            [action(touch.what).as_bytes().to_vec(), touch.path.as_os_str().as_bytes().to_vec(), to, identity]
        })
        .chain(judged)
        .collect();
    Digest::of(parts.iter().map(Vec::as_slice))
}

struct Counted;

impl Journal for Counted {
    fn append(&mut self, _: Draft, _: Durability) -> Result<u64, NotWritten> {
        Ok(0)
    }
}

fn by_git(meaning: &git::Meaning, path: &Path) -> Operation {
    Operation::new(meaning.effect, meaning.action, resource(path), meaning.reason.clone())
}

fn resource(path: &Path) -> Resource {
    Resource::rooted(ResourceId::file(path))
}

fn action(what: What) -> &'static str {
    match what {
        What::Remove => "file.unlink",
        What::RemoveFolder => "file.rmdir",
        What::Replace => "file.replace",
        What::Move | What::Exchange => "file.rename",
        What::Overwrite => "file.overwrite",
        What::Append => "file.append",
        What::Truncate => "file.truncate",
        What::Link => "file.link",
        What::Attributes => "file.setattr",
    }
}

fn shown(path: &Path) -> String {
    safe::line(&path.to_string_lossy(), SHOWN)
}

fn summary(touches: &[(Touched<'_>, Since)]) -> String {
    let Some((first, _)) = touches.first() else { return String::new() };
    match (&first.to, first.what) {
        (Some((to, _)), What::Link) => format!("link {} to {}", shown(&first.path), shown(to)),
        (Some((to, _)), What::Exchange) => format!("exchange {} and {}", shown(&first.path), shown(to)),
        (Some((to, _)), _) => format!("rename {} to {}", shown(&first.path), shown(to)),
        (None, What::Append) => format!("append to {}", shown(&first.path)),
        (None, What::Overwrite) => format!("open {} for writing", shown(&first.path)),
        (None, What::Truncate) => format!("truncate {}", shown(&first.path)),
        (None, What::RemoveFolder) => format!("remove the folder {}", shown(&first.path)),
        (None, What::Attributes) => format!("change the mode, owner, times or attributes of {}", shown(&first.path)),
        (None, What::Remove | What::Replace | What::Move | What::Exchange | What::Link) => format!("remove {}", shown(&first.path)),
    }
}

fn excerpt(touches: &[(Touched<'_>, Since)], meanings: &Meanings) -> String {
    let line = |(touch, since): &(Touched<'_>, Since)| {
        let size = touch.stat.size;
        let age = match since {
            Since::Before => "there before this box",
            Since::Session => "made in this box",
        };
        format!("{}: {size} bytes, {age}", shown(&touch.path))
    };
    let lost = meanings.leaving.iter().chain(&meanings.target).flat_map(|meaning| meaning.lost.iter().map(|lost| format!("lost: {}", safe::line(lost, SHOWN))));
    touches.iter().map(line).chain(lost).collect::<Vec<_>>().join("\n")
}
