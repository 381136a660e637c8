//! Walking history: which commits would be reached by nothing any more, and which objects something needs.

use std::{
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    id::Id,
    object::{self, Kind, Node},
    store::{Store, Without},
    trouble::Trouble,
};

/// Steps that the walk goes on after nothing new turned up, for histories whose clocks went wrong. Too few only shows
/// more commits as lost than are.
const SLOP: usize = 256;

/// A commit that nothing else reaches.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Its name.
    pub(crate) id: Id,
    /// What it says.
    pub(crate) node: Arc<Node>,
}

/// How the walk knows a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Wanted,
    Kept,
}

/// The commits and tags that `from` reaches and `kept` does not, newest first.
///
/// Never leaves one out that is lost; may name one that is not, when clocks lie. Names that are not here are
/// passed over, so the caller asks first whether those it starts from are.
pub(crate) fn lost(store: &mut Store<'_>, from: &[Id], kept: &[Id]) -> Result<Vec<Lost>, Trouble> {
    let mut walk = Walk::default();
    for id in kept {
        walk.reach(store, id, Mark::Kept)?;
    }
    for id in from {
        walk.reach(store, id, Mark::Wanted)?;
    }
    let mut found: Vec<Lost> = Vec::new();
    let (mut idle, mut oldest) = (0, i64::MAX);
    while let Some((_, id)) = walk.queue.pop() {
        walk.waiting.remove(&id);
        let Some(mark) = walk.marks.get(&id).copied() else { continue };
        let Some(node) = store.node(&id)? else { continue };
        match mark {
            Mark::Wanted => {
                walk.wanted -= 1;
                walk.lost += 1;
                oldest = oldest.min(node.time);
                found.push(Lost { id, node: Arc::clone(&node) });
            }
            Mark::Kept => {}
        }
        for parent in &node.parents {
            walk.reach(store, parent, mark)?;
        }
        if walk.wanted == 0 {
            if walk.lost == 0 {
                return Ok(Vec::new());
            }
            idle = if walk.queue.peek().is_some_and(|(time, _)| *time >= oldest) { 0 } else { idle + 1 };
            if idle > SLOP {
                break;
            }
        }
    }
    found.retain(|lost| walk.marks.get(&lost.id) == Some(&Mark::Wanted));
    Ok(found)
}

#[derive(Default)]
struct Walk {
    marks: HashMap<Id, Mark>,
    queue: BinaryHeap<(i64, Id)>,
    /// What is in the queue.
    waiting: HashSet<Id>,
    /// How many of them are marked as wanted.
    wanted: usize,
    /// How many were taken out as wanted, and are not known as kept since.
    lost: usize,
}

impl Walk {
    fn reach(&mut self, store: &mut Store<'_>, id: &Id, mark: Mark) -> Result<(), Trouble> {
        let before = self.marks.get(id).copied();
        if before == Some(Mark::Kept) || before == Some(mark) {
            return Ok(());
        }
        let Some(node) = store.node(id)? else { return Ok(()) };
        self.marks.insert(*id, mark);
        if self.waiting.insert(*id) {
            self.lost -= usize::from(before == Some(Mark::Wanted));
            self.queue.push((node.time, *id));
            self.wanted += usize::from(mark == Mark::Wanted);
        } else {
            // It waited as wanted, and will be taken out of the queue as kept.
            self.wanted -= 1;
        }
        Ok(())
    }
}

/// Whether `from` comes from `wanted`, which need not be here itself: it may be borrowed from another repository.
pub(crate) fn comes_from(store: &mut Store<'_>, from: Id, wanted: &Id) -> Result<bool, Trouble> {
    let (mut seen, mut waiting) = (HashSet::from([from]), vec![from]);
    while let Some(id) = waiting.pop() {
        if id == *wanted {
            return Ok(true);
        }
        if let Some(node) = store.node(&id)? {
            waiting.extend(node.parents.iter().copied().filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(false)
}

/// The commits that git finds from the roots when it takes history for cut at some.
pub(crate) fn found(store: &mut Store<'_>, roots: Vec<Id>, cuts: &HashSet<Id>) -> Result<HashSet<Id>, Trouble> {
    let (mut seen, mut waiting) = (roots.iter().copied().collect::<HashSet<Id>>(), roots);
    while let Some(id) = waiting.pop() {
        if cuts.contains(&id) {
            continue;
        }
        if let Some(node) = store.node(&id)? {
            waiting.extend(node.parents.iter().copied().filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(seen)
}

/// All objects that the roots need: commits, tags, trees and blobs. Roots that are not here are passed over.
///
/// # Errors
/// [`Trouble::Incomplete`] when something that is needed is not here, so that what it needs cannot be known.
pub(crate) fn closure(store: &mut Store<'_>, roots: &[Id], shallow: &HashSet<Id>) -> Result<Arc<HashSet<Id>>, Trouble> {
    if let Some(known) = store.memory().closure(roots) {
        return Ok(known);
    }
    let mut needed = HashSet::new();
    // Apart from the others: a forged tree may call a real tree a blob, which must not hide what that tree needs.
    let mut blobs = HashSet::new();
    let mut waiting: Vec<(Id, bool)> = roots.iter().map(|id| (*id, true)).collect();
    while let Some((id, may_be_gone)) = waiting.pop() {
        if !needed.insert(id) {
            continue;
        }
        let Some(object) = store.object(&id, Without::Nothing)? else {
            if may_be_gone {
                continue;
            }
            return Err(Trouble::Incomplete);
        };
        match object.kind {
            Kind::Blob => {}
            Kind::Commit | Kind::Tag => {
                let node = Node::of(&object)?;
                let cut = shallow.contains(&id);
                waiting.extend(node.tree.iter().map(|tree| (*tree, false)));
                waiting.extend(node.parents.iter().map(|parent| (*parent, cut)));
            }
            Kind::Tree => {
                for (kind, entry) in object::tree(store.hash(), &object.content)? {
                    if kind == Kind::Blob {
                        blobs.insert(entry);
                    } else {
                        waiting.push((entry, false));
                    }
                }
            }
        }
    }
    needed.extend(blobs);
    let needed = Arc::new(needed);
    store.memory().remember_closure(roots.to_vec(), Arc::clone(&needed));
    Ok(needed)
}
