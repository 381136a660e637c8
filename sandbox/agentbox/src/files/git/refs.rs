//! Reading refs as git reads them: loose files over `packed-refs`, and the reflogs beside them.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use rustix::fs::FileType;

use super::{
    folder::{Folder, whole},
    id::{Hash, Id},
    object,
    trouble::{Budget, Trouble},
};

/// Largest loose ref: a name of an object or of another ref.
pub(crate) const LARGEST_REF: u64 = 8 << 10;
/// Largest `packed-refs`: some million refs.
pub(crate) const LARGEST_PACKED: u64 = 64 << 20;
/// Largest reflog.
pub(crate) const LARGEST_LOG: u64 = 64 << 20;
/// Deepest folder below `refs` or `logs`.
const DEEPEST: usize = 32;
/// Most refs or logs.
const MOST: usize = 100_000;

/// What a ref says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// An object.
    Object(Id),
    /// Another ref.
    Symbolic(String),
}

impl Value {
    /// The object, unless it is symbolic.
    pub(crate) const fn object(&self) -> Option<Id> {
        match self {
            Value::Object(id) => Some(*id),
            Value::Symbolic(_) => None,
        }
    }
}

/// Understands the bytes of a loose ref exactly as git does.
pub(crate) fn value(hash: Hash, bytes: &[u8]) -> Result<Value, Trouble> {
    const WHAT: Trouble = Trouble::Malformed("a ref");
    if let Some(target) = bytes.strip_prefix(b"ref:") {
        let target = std::str::from_utf8(target).map_err(|_| WHAT)?.trim();
        let sound = target.starts_with("refs/") && !target.contains("..") && !target.contains(|c: char| c.is_control() || c == ' ');
        return if sound { Ok(Value::Symbolic(target.to_owned())) } else { Err(WHAT) };
    }
    let (digits, rest) = bytes.split_at_checked(hash.len() * 2).ok_or(WHAT)?;
    match rest.first() {
        None => {}
        Some(byte) if byte.is_ascii_whitespace() => {}
        Some(_) => return Err(WHAT),
    }
    let id = Id::from_hex(digits).filter(|id| !id.is_zero()).ok_or(WHAT)?;
    Ok(Value::Object(id))
}

/// Understands `packed-refs`. A file that git would search wrongly, because its lines are out of order, is refused.
pub(crate) fn packed(hash: Hash, bytes: &[u8]) -> Result<BTreeMap<String, Id>, Trouble> {
    const WHAT: Trouble = Trouble::Malformed("packed-refs");
    let mut found: BTreeMap<String, Id> = BTreeMap::new();
    let text = match bytes.strip_suffix(b"\n") {
        Some(text) => text,
        None if bytes.is_empty() => return Ok(found),
        None => return Err(WHAT),
    };
    for (row, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if row == 0 && line.starts_with(b"#") || line.starts_with(b"^") {
            continue;
        }
        let (digits, name) = line.split_at_checked(hash.len() * 2).ok_or(WHAT)?;
        let id = Id::from_hex(digits).ok_or(WHAT)?;
        let name = name.strip_prefix(b" ").and_then(|name| std::str::from_utf8(name).ok()).filter(|name| name.starts_with("refs/")).ok_or(WHAT)?;
        if found.last_key_value().is_some_and(|(last, _)| last.as_bytes() >= name.as_bytes()) {
            return Err(WHAT);
        }
        found.insert(name.to_owned(), id);
    }
    Ok(found)
}

/// The `packed-refs` of a repository.
pub(crate) fn packed_of(git: &Folder, hash: Hash) -> Result<BTreeMap<String, Id>, Trouble> {
    match git.read(Path::new("packed-refs"), LARGEST_PACKED, "packed-refs")? {
        Some(bytes) => packed(hash, &bytes),
        None => Ok(BTreeMap::new()),
    }
}

/// A loose ref, or another file that holds one value.
pub(crate) fn loose(git: &Folder, hash: Hash, path: &Path) -> Result<Option<Value>, Trouble> {
    git.read(path, LARGEST_REF, "a ref")?.map(|bytes| value(hash, &bytes)).transpose()
}

/// Every ref that keeps what it reaches, and every HEAD or put-aside work that stands on an object of its own.
///
/// Refs of a running bisection or rebase come and go, and keep nothing.
pub(crate) fn all(git: &Folder, hash: Hash, budget: &mut Budget) -> Result<BTreeMap<String, Value>, Trouble> {
    let mut found: BTreeMap<String, Value> = packed_of(git, hash)?.into_iter().map(|(name, id)| (name, Value::Object(id))).collect();
    for path in files(git, Path::new("refs"), budget)? {
        let Some(name) = path.to_str() else { continue };
        // A ref that git would not understand keeps nothing.
        match loose(git, hash, &path) {
            Ok(Some(value)) => drop(found.insert(name.to_owned(), value)),
            Ok(None) => {}
            Err(Trouble::Malformed(_) | Trouble::Unsteady(_)) => drop(found.remove(name)),
            Err(other) => return Err(other),
        }
    }
    found.retain(|name, _| !is_passing(name));
    let mut heads = vec![PathBuf::new()];
    heads.extend(worktrees(git)?);
    for folder in heads {
        for name in STANDING {
            let path = folder.join(name);
            if let (Ok(Some(value)), Some(name)) = (loose(git, hash, &path), path.to_str()) {
                found.insert(name.to_owned(), value);
            }
        }
    }
    Ok(found)
}

/// Files besides refs that keep what they name: HEAD, and the work that a rebase or merge put aside.
pub(crate) const STANDING: [&str; 4] = ["HEAD", "MERGE_AUTOSTASH", "rebase-merge/autostash", "rebase-apply/autostash"];

/// Whether refs of this name only live as long as a running bisection or rebase.
pub(crate) fn is_passing(name: &str) -> bool {
    name.starts_with("refs/bisect/") || name.starts_with("refs/rewritten/")
}

/// Whether a ref stands for what another repository had when it was last asked.
pub(crate) fn is_tracking(name: &str) -> bool {
    name.starts_with("refs/remotes/") || name.starts_with("refs/prefetch/")
}

/// The folders of linked worktrees, below the git directory.
pub(crate) fn worktrees(git: &Folder) -> Result<Vec<PathBuf>, Trouble> {
    let names = git.names(Path::new("worktrees"), "the folder of worktrees")?;
    Ok(names.into_iter().map(|(name, _)| Path::new("worktrees").join(name)).collect())
}

/// A line of a reflog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What the ref was, unless it came to be.
    pub(crate) before: Option<Id>,
    /// What it became, unless it went.
    pub(crate) after: Option<Id>,
    /// When, in seconds since 1970.
    pub(crate) time: i64,
}

impl Line {
    /// The objects it names.
    pub(crate) fn ids(self) -> impl Iterator<Item = Id> {
        self.before.into_iter().chain(self.after)
    }
}

/// The lines of a reflog. What is not understood names nothing.
pub(crate) fn log(hash: Hash, bytes: &[u8]) -> Vec<Line> {
    let digits = hash.len() * 2;
    let id = |hex: Option<&[u8]>| hex.and_then(Id::from_hex).filter(|id| !id.is_zero());
    let line = |line: &[u8]| {
        let who = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
        Line { before: id(line.get(..digits)), after: id(line.get(digits + 1..2 * digits + 1)), time: object::moment(who) }
    };
    bytes.split(|byte| *byte == b'\n').map(line).filter(|line| line.ids().next().is_some()).collect()
}

/// Which reflogs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    /// All: what one of them names may be needed.
    All,
    /// Those that stay as they are: what one of them names is kept by it. Git adds lines to a log where it stands.
    Steady,
}

/// Every reflog: where it lies, and its lines.
pub(crate) fn logs(git: &Folder, hash: Hash, which: Logs, budget: &mut Budget) -> Result<Vec<(PathBuf, Vec<Line>)>, Trouble> {
    const WHAT: &str = "a reflog";
    let mut found = Vec::new();
    let mut roots = vec![PathBuf::from("logs")];
    roots.extend(worktrees(git)?.into_iter().map(|folder| folder.join("logs")));
    for root in roots {
        for path in files(git, &root, budget)? {
            if let Some((file, facts)) = git.file_of_now(&path, WHAT)?
                && (which == Logs::All || git.is_steady(&file, &facts))
            {
                let bytes = whole(file, LARGEST_LOG, WHAT)?;
                budget.bytes(bytes.len())?;
                found.push((path, log(hash, &bytes)));
            }
        }
    }
    Ok(found)
}

/// The commits at which the history of a repository is cut.
pub(crate) fn shallow(git: &Folder) -> Result<HashSet<Id>, Trouble> {
    Ok(cuts(&git.read(Path::new("shallow"), LARGEST_LOG, "the list of cut commits")?.unwrap_or_default()))
}

/// Reads the list of commits at which a shallow history is cut.
pub(crate) fn cuts(bytes: &[u8]) -> HashSet<Id> {
    bytes.split(|byte| *byte == b'\n').filter_map(Id::from_hex).collect()
}

/// The files below a folder that can be refs or logs: git passes over locks.
fn files(git: &Folder, root: &Path, budget: &mut Budget) -> Result<Vec<PathBuf>, Trouble> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for (name, kind) in git.names(&folder, "a folder of refs")? {
            budget.bytes(name.len())?;
            let path = folder.join(&name);
            let is_lock = name.to_str().is_none_or(|name| name.ends_with(".lock"));
            match kind {
                FileType::Directory if depth < DEEPEST => waiting.push((path, depth + 1)),
                FileType::RegularFile if !is_lock => found.push(path),
                _ => {}
            }
            if found.len() > MOST {
                return Err(Trouble::Bound);
            }
        }
    }
    Ok(found)
}
