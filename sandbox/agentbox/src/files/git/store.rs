//! The objects of one repository, each checked against its name before it is believed.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    folder::{Folder, Stamp, whole},
    id::{Hash, Id},
    object::{self, LARGEST, Node, Object},
    pack::{Index, LARGEST_INDEX, Pack},
    trouble::{Budget, Trouble},
};

/// Most packs that are looked at.
const MOST_PACKS: usize = 2_000;
/// Most commits remembered between judgements.
const MOST_NODES: usize = 200_000;

/// Copies of an object that are about to go, and so do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without<'a> {
    /// Every copy counts.
    Nothing,
    /// The loose file does not.
    Loose,
    /// The pack of this name does not.
    Pack(&'a str),
}

/// What is remembered of one repository between judgements.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By the folder that they lie in; none where a change of it may not have shown yet.
    packs: Option<(Option<Stamp>, Vec<Pack>)>,
    nodes: HashMap<Id, Arc<Node>>,
    closure: Option<(Vec<Id>, Arc<HashSet<Id>>)>,
}

impl Memory {
    /// Forgets everything: something that other objects may hang on can be gone.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets one object that nothing hangs on, and the list of packs.
    pub(crate) fn forget_object(&mut self, id: &Id) {
        self.nodes.remove(id);
    }

    /// Forgets the packs: one of them is about to go.
    pub(crate) fn forget_packs(&mut self) {
        self.packs = None;
    }

    /// What these roots need, if it was worked out before.
    pub(crate) fn closure(&self, roots: &[Id]) -> Option<Arc<HashSet<Id>>> {
        self.closure.as_ref().filter(|(of, _)| of == roots).map(|(_, closure)| Arc::clone(closure))
    }

    /// Remembers what these roots need.
    pub(crate) fn remember_closure(&mut self, roots: Vec<Id>, closure: Arc<HashSet<Id>>) {
        self.closure = Some((roots, closure));
    }
}

/// The objects of one repository, for one judgement.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    git: &'a Folder,
    hash: Hash,
    memory: &'a mut Memory,
    /// Whether the packs were looked at in this judgement already.
    looked: bool,
    /// What is left of the work this judgement may take.
    pub(crate) budget: &'a mut Budget,
}

impl<'a> Store<'a> {
    /// Opens the objects below a git directory.
    pub(crate) fn new(git: &'a Folder, hash: Hash, memory: &'a mut Memory, budget: &'a mut Budget) -> Self {
        Self { git, hash, memory, looked: false, budget }
    }

    /// What is remembered.
    pub(crate) const fn memory(&mut self) -> &mut Memory {
        self.memory
    }

    /// The hash that names objects here.
    pub(crate) const fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether objects may be borrowed from another repository, which is not looked at.
    pub(crate) fn borrows(&self) -> Result<bool, Trouble> {
        let facts = self.git.facts(Path::new("objects/info/alternates"));
        Ok(facts.map_err(|error| Trouble::Unreadable("the list of other repositories", error))?.is_some())
    }

    /// An object from wherever a right copy of it is; `None` when there is none.
    pub(crate) fn object(&mut self, id: &Id, without: Without<'_>) -> Result<Option<Arc<Object>>, Trouble> {
        if id.hash() != self.hash {
            return Ok(None);
        }
        self.budget.object(0)?;
        if without != Without::Loose
            && let Some(found) = self.loose(id)?
        {
            return Ok(Some(Arc::new(found)));
        }
        self.load_packs()?;
        for pack in self.memory.packs.iter_mut().flat_map(|(_, packs)| packs) {
            if without == Without::Pack(&pack.stem) {
                continue;
            }
            if let Some(found) = pack.read(id, self.budget)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What a commit or tag says; `None` when it is not here.
    pub(crate) fn node(&mut self, id: &Id) -> Result<Option<Arc<Node>>, Trouble> {
        if let Some(node) = self.memory.nodes.get(id) {
            self.budget.object(0)?;
            return Ok(Some(Arc::clone(node)));
        }
        let Some(object) = self.object(id, Without::Nothing)? else { return Ok(None) };
        let node = Arc::new(Node::of(&object)?);
        if self.memory.nodes.len() >= MOST_NODES {
            self.memory.nodes.clear();
        }
        self.memory.nodes.insert(*id, Arc::clone(&node));
        Ok(Some(node))
    }

    /// The names of all objects in a pack; `None` when it has no index.
    pub(crate) fn listed(&mut self, stem: &str) -> Result<Option<Vec<Id>>, Trouble> {
        let path = PathBuf::from(format!("objects/pack/{stem}.idx"));
        let Some(bytes) = self.git.read(&path, LARGEST_INDEX, "a pack index")? else { return Ok(None) };
        let index = Index::parse(self.hash, bytes)?;
        let mut rows: Vec<usize> = (0..index.len()).collect();
        // In the order of the pack, so that the other packs are read more or less from front to back.
        rows.sort_by_key(|row| index.row_offset(*row));
        rows.into_iter().map(|row| index.id(row).ok_or(Trouble::Malformed("a pack index"))).collect::<Result<_, _>>().map(Some)
    }

    fn loose(&mut self, id: &Id) -> Result<Option<Object>, Trouble> {
        let packed = self.git.read(&loose_path(id), u64::try_from(LARGEST).unwrap_or(u64::MAX), "a loose object")?;
        let Some(packed) = packed else { return Ok(None) };
        let object = match object::loose(&packed) {
            Err(Trouble::Malformed(_)) => return Ok(None),
            other => other?,
        };
        self.budget.bytes(object.content.len())?;
        Ok((Id::of_content(self.hash, object.kind, &object.content).as_ref() == Some(id)).then_some(object))
    }

    fn load_packs(&mut self) -> Result<(), Trouble> {
        if self.looked && self.memory.packs.is_some() {
            return Ok(());
        }
        self.looked = true;
        let folder = Path::new("objects/pack");
        let facts = self.git.facts(folder).map_err(|error| Trouble::Unreadable("the folder of packs", error))?;
        let Some(facts) = facts else {
            self.memory.packs = None;
            return Ok(());
        };
        let stamp = facts.is_settled().then(|| facts.stamp());
        if self.memory.packs.as_ref().is_some_and(|(of, _)| of.is_some() && *of == stamp) {
            return Ok(());
        }
        self.memory.packs = None;
        let mut packs = Vec::new();
        for (name, _) in self.git.names(folder, "the folder of packs")? {
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".idx")) else { continue };
            // An index without a pack, or one that is not understood, holds nothing that could be relied on.
            let Some((file, _)) = self.git.file(&folder.join(format!("{stem}.pack")), "a pack")? else { continue };
            let Some((index, _)) = self.git.file(&folder.join(&name), "a pack index")? else { continue };
            if let Ok(index) = Index::parse(self.hash, whole(index, LARGEST_INDEX, "a pack index")?) {
                packs.push(Pack::new(stem.to_owned(), index, file));
            }
            if packs.len() > MOST_PACKS {
                return Err(Trouble::Bound);
            }
        }
        self.memory.packs = Some((stamp, packs));
        Ok(())
    }
}

/// Where a loose object lies.
pub(crate) fn loose_path(id: &Id) -> PathBuf {
    let hex = id.hex();
    let (folder, name) = hex.split_at(2);
    PathBuf::from(format!("objects/{folder}/{name}"))
}
