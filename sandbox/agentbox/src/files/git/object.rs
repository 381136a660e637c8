//! Reading what git objects say: loose files, commits, tags and trees.

use std::io::Read;

use flate2::bufread::ZlibDecoder;

use super::{
    id::{Hash, Id},
    trouble::Trouble,
};

/// Largest object that is read whole; a larger one is judged without being read.
pub(crate) const LARGEST: usize = 128 << 20;
/// Longest header of a loose object: the longest kind, a space, the digits of a length, a zero.
const HEADER: usize = 32;
/// Most parents that are read of one commit; real octopus merges have some dozens.
const MOST_PARENTS: usize = 4096;

/// The four kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A commit.
    Commit,
    /// A folder.
    Tree,
    /// A file's content.
    Blob,
    /// An annotated tag.
    Tag,
}

impl Kind {
    /// The word in an object's header.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Kind::Commit => "commit",
            Kind::Tree => "tree",
            Kind::Blob => "blob",
            Kind::Tag => "tag",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag].into_iter().find(|kind| kind.word().as_bytes() == word)
    }
}

/// An object whose content is known to hash to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its content without the header.
    pub(crate) content: Vec<u8>,
}

/// Unpacks a loose object. The caller compares its name.
pub(crate) fn loose(packed: &[u8]) -> Result<Object, Trouble> {
    const WHAT: Trouble = Trouble::Malformed("a loose object");
    let mut bytes = inflate(packed, LARGEST + HEADER)?;
    let end = bytes.iter().take(HEADER).position(|byte| *byte == 0).ok_or(WHAT)?;
    let header = bytes.get(..end).ok_or(WHAT)?;
    let space = header.iter().position(|byte| *byte == b' ').ok_or(WHAT)?;
    let (word, length) = header.split_at(space);
    let kind = Kind::of(word).ok_or(WHAT)?;
    let length = std::str::from_utf8(length).ok().and_then(|text| text.trim_start().parse::<usize>().ok());
    let content = bytes.split_off(end + 1);
    if length == Some(content.len()) { Ok(Object { kind, content }) } else { Err(WHAT) }
}

/// Unpacks a zlib stream of at most `most` bytes.
pub(crate) fn inflate(packed: impl std::io::BufRead, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    ZlibDecoder::new(packed).take(limit).read_to_end(&mut bytes).map_err(|_| Trouble::Malformed("a compressed object"))?;
    if bytes.len() > most { Err(Trouble::Bound) } else { Ok(bytes) }
}

/// What a commit or a tag says of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The commits it comes from; for a tag what it points to.
    pub(crate) parents: Vec<Id>,
    /// The tree of a commit.
    pub(crate) tree: Option<Id>,
    /// When it was committed or tagged, in seconds since 1970.
    pub(crate) time: i64,
    /// The first line of its message.
    pub(crate) subject: String,
}

impl Node {
    /// Reads an object as git does: the order of the first lines matters, and what git would not take as a parent is none.
    pub(crate) fn of(object: &Object) -> Result<Self, Trouble> {
        match object.kind {
            Kind::Commit => commit(&object.content).ok_or(Trouble::Malformed("a commit")),
            Kind::Tag => tag(&object.content).ok_or(Trouble::Malformed("a tag")),
            Kind::Tree | Kind::Blob => Ok(Self { parents: Vec::new(), tree: None, time: 0, subject: format!("a {}", object.kind.word()) }),
        }
    }
}

fn commit(content: &[u8]) -> Option<Node> {
    let mut lines = content.split(|byte| *byte == b'\n');
    let tree = Id::from_hex(lines.next()?.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::new();
    let mut time = 0;
    let mut line = lines.next()?;
    while let Some(parent) = line.strip_prefix(b"parent ") {
        parents.push(Id::from_hex(parent)?);
        if parents.len() > MOST_PARENTS {
            return None;
        }
        line = lines.next()?;
    }
    while !line.is_empty() {
        if let Some(committer) = line.strip_prefix(b"committer ") {
            time = moment(committer);
        }
        line = lines.next()?;
    }
    Some(Node { parents, tree: Some(tree), time, subject: subject(lines.next()) })
}

fn tag(content: &[u8]) -> Option<Node> {
    let mut lines = content.split(|byte| *byte == b'\n');
    let object = Id::from_hex(lines.next()?.strip_prefix(b"object ")?)?;
    let mut time = 0;
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if let Some(tagger) = line.strip_prefix(b"tagger ") {
            time = moment(tagger);
        }
    }
    Some(Node { parents: vec![object], tree: None, time, subject: subject(lines.next()) })
}

/// The seconds in `Name <mail> seconds zone`; the beginning of time where there are none.
pub(crate) fn moment(line: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(line);
    text.rsplit(' ').nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

fn subject(line: Option<&[u8]>) -> String {
    let line = line.unwrap_or_default();
    String::from_utf8_lossy(line.get(..line.len().min(400)).unwrap_or_default()).into_owned()
}

/// What is in a folder: names of trees and blobs. Commits of submodules live elsewhere and are left out.
pub(crate) fn tree(hash: Hash, content: &[u8]) -> Result<Vec<(Kind, Id)>, Trouble> {
    const WHAT: Trouble = Trouble::Malformed("a tree");
    let mut found = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or(WHAT)?;
        let zero = rest.iter().position(|byte| *byte == 0).ok_or(WHAT)?;
        let mode = rest.get(..space).ok_or(WHAT)?;
        let end = zero + 1 + hash.len();
        let id = rest.get(zero + 1..end).and_then(|raw| Id::from_raw(hash, raw)).ok_or(WHAT)?;
        match mode {
            b"40000" | b"040000" => found.push((Kind::Tree, id)),
            b"160000" => {}
            _ => found.push((Kind::Blob, id)),
        }
        rest = rest.get(end..).ok_or(WHAT)?;
    }
    Ok(found)
}
