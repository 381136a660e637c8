//! Objects and packs that go: a loss when something needs them and no other copy is right.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        folder::{Folder, whole},
        id::Id,
        meaning::Meaning,
        object::{self, LARGEST},
        refs::{self, Line, Logs, Value},
        store::Without,
        trouble::{Budget, Trouble},
        walk::{Lost, closure, found},
    },
    Case, MOST_OWN, Source,
};

/// How much of two files is compared at a time.
const STEP: usize = 64 << 10;

impl Case<'_> {
    pub(super) fn loose_removed(&mut self, id: &Id) -> Result<Meaning, Trouble> {
        if self.store().object(id, Without::Loose)?.is_some() {
            return Ok(Meaning::write("git.object.duplicate", format!("a pack holds {} too", id.short())));
        }
        if self.needed()?.contains(id) {
            let reason = format!("{} is the only copy of an object that a ref or reflog needs", id.short());
            return Ok(Meaning::destroy("git.object.remove", reason));
        }
        self.known.memory.forget_object(id);
        Ok(Meaning::write("git.object.prune", format!("no ref and no reflog needs {}", id.short())))
    }

    /// A new object is the agent's own, unless a pack has it: a second copy makes an old one nobody's own.
    pub(super) fn loose_added(&mut self, id: &Id) -> Result<Meaning, Trouble> {
        let mut store = self.store();
        if !store.borrows()? && store.object(id, Without::Nothing)?.is_none() && self.known.own.len() < MOST_OWN {
            self.known.own.insert(*id);
        }
        Ok(Meaning::write("git.object.add", format!("{} is added", id.short())))
    }

    pub(super) fn loose_replaced(&mut self, id: &Id, source: &Source) -> Result<Meaning, Trouble> {
        if self.facts.is_none() {
            return self.loose_added(id);
        }
        let packed = opened(&source.path)?.map(|file| whole(file, u64::try_from(LARGEST).unwrap_or(u64::MAX), "a loose object")).transpose()?;
        let same = packed
            .and_then(|packed| object::loose(&packed).ok())
            .is_some_and(|object| Id::of_content(self.hash, object.kind, &object.content).as_ref() == Some(id));
        Ok(if same {
            Meaning::write("git.object.duplicate", format!("{} is written again, the same", id.short()))
        } else {
            Meaning::destroy("git.object.rewrite", format!("{} would be replaced by something else", id.short()))
        })
    }

    pub(super) fn index_removed(&mut self, stem: &str) -> Result<Meaning, Trouble> {
        let pack = PathBuf::from(format!("objects/pack/{stem}.pack"));
        if self.git.facts(&pack).map_err(|error| Trouble::Unreadable("a pack", error))?.is_none() {
            return Ok(Meaning::write("git.pack.duplicate", "the index of a pack that is gone goes"));
        }
        let meaning = self.spared(stem)?;
        if meaning.effect == agentbox_core::Effect::Write {
            // Git deletes the index first; without it nobody can tell what is in the pack.
            self.known.covered.insert(stem.to_owned());
        }
        Ok(meaning)
    }

    pub(super) fn pack_removed(&mut self, stem: &str) -> Result<Meaning, Trouble> {
        self.spared(stem)
    }

    /// Whether a pack can be spared.
    fn spared(&mut self, stem: &str) -> Result<Meaning, Trouble> {
        let Some(listed) = self.store().listed(stem)? else {
            return Ok(if self.known.covered.contains(stem) {
                Meaning::write("git.pack.duplicate", "all that this pack holds is elsewhere or not needed")
            } else {
                Meaning::destroy("git.pack.remove", "the pack has no index, so what is lost with it cannot be told")
            });
        };
        // What was opened may be gone when the next one is judged.
        self.known.memory.forget_packs();
        let mut store = self.store();
        let mut only = Vec::new();
        for id in &listed {
            if store.object(id, Without::Pack(stem))?.is_none() {
                only.push(*id);
            }
        }
        store.memory().forget_packs();
        if only.is_empty() {
            return Ok(Meaning::write("git.pack.duplicate", format!("all {} objects of this pack are elsewhere too", listed.len())));
        }
        let needed = self.needed()?;
        let lost = only.iter().filter(|id| needed.contains(*id)).count();
        self.known.memory.forget_packs();
        if lost > 0 {
            let reason = format!("{lost} objects that refs or reflogs need are in this pack and nowhere else");
            return Ok(Meaning::destroy("git.pack.remove", reason));
        }
        for id in &only {
            self.known.memory.forget_object(id);
        }
        Ok(Meaning::write("git.pack.prune", format!("{} objects of this pack are needed by no ref and no reflog, the others are elsewhere too", only.len())))
    }

    pub(super) fn pack_file_replaced(&mut self, source: &Source) -> Result<Meaning, Trouble> {
        if self.facts.is_none() {
            return Ok(Meaning::write("git.pack.add", "a pack is added"));
        }
        let there = self.git.file(&self.below, "a pack")?.map(|(file, _)| file);
        let same = match (there, opened(&source.path)?) {
            (Some(there), Some(new)) => same(there, new, &mut self.budget)?,
            _ => false,
        };
        Ok(if same {
            Meaning::write("git.pack.duplicate", "a pack is written again, the same")
        } else {
            Meaning::destroy("git.pack.rewrite", "a pack or its index would be replaced by something else")
        })
    }

    /// Git takes what is before a cut for gone, and drops it when it next tidies up.
    pub(super) fn cut_replaced(&mut self, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let (before, after) = (refs::shallow(&self.git)?, refs::cuts(bytes));
        let roots = self.roots()?;
        let mut hidden = Vec::new();
        let mut store = self.store();
        for cut in after.difference(&before) {
            for parent in store.node(cut)?.iter().flat_map(|node| &node.parents) {
                if let Some(node) = store.node(parent)? {
                    hidden.push(Lost { id: *parent, node });
                }
            }
        }
        if !hidden.is_empty() {
            let found = found(&mut store, roots, &after)?;
            hidden.retain(|lost| !found.contains(&lost.id));
        }
        if hidden.is_empty() || self.is_own(&hidden) {
            return Ok(Meaning::write("git.history.cut", "history that is not here, or that refs or reflogs find without it, is noted as cut off"));
        }
        let reason = "git would take history that is here for cut off, and drop it when it next tidies up";
        Ok(Meaning::destroy("git.history.cut", reason).with_lost(&hidden))
    }

    /// All that refs and reflogs need.
    fn needed(&mut self) -> Result<Arc<HashSet<Id>>, Trouble> {
        let roots = self.roots()?;
        let shallow = refs::shallow(&self.git)?;
        let reftable = self.git.facts(Path::new("reftable")).map_err(|error| Trouble::Unreadable("the tables of refs", error))?.is_some();
        let mut store = self.store();
        if reftable || store.borrows()? {
            return Err(Trouble::Incomplete);
        }
        closure(&mut store, &roots, &shallow)
    }

    /// What refs and reflogs name, in order.
    fn roots(&mut self) -> Result<Vec<Id>, Trouble> {
        let mut roots: BTreeSet<Id> = refs::all(&self.git, self.hash, &mut self.budget)?.values().filter_map(Value::object).collect();
        // A loose ref that was made meanwhile, whatever it says, only hides the packed one of its name.
        roots.extend(refs::packed_of(&self.git, self.hash)?.into_values());
        let logs = refs::logs(&self.git, self.hash, Logs::All, &mut self.budget)?;
        roots.extend(logs.into_iter().flat_map(|(_, lines)| lines).flat_map(Line::ids));
        Ok(roots.into_iter().collect())
    }
}

fn opened(path: &Path) -> Result<Option<File>, Trouble> {
    const WHAT: &str = "the file that takes another's place";
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let folder = Folder::absolute(folder).map_err(|error| Trouble::Unreadable(WHAT, error))?;
    Ok(folder.file(Path::new(name), WHAT)?.map(|(file, _)| file))
}

fn same(mut one: File, mut other: File, budget: &mut Budget) -> Result<bool, Trouble> {
    loop {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let step = u64::try_from(STEP).unwrap_or(u64::MAX);
        let read = (&mut one).take(step).read_to_end(&mut here).and_then(|_| (&mut other).take(step).read_to_end(&mut there));
        if read.is_err() || here != there {
            return Ok(false);
        }
        if here.is_empty() {
            return Ok(true);
        }
        budget.bytes(here.len())?;
    }
}
