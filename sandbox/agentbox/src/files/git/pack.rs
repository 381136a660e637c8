//! Reading packs: which objects an index names, and the very content that the pack holds for them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use super::{
    id::{Hash, Id},
    object::{self, Kind, LARGEST, Object},
    trouble::{Budget, Trouble},
};

/// Longest chain of differences; git itself makes none longer than 4095.
const DEEPEST: usize = 4096;
/// Bytes of unpacked bases kept for the next objects of the same pack.
const KEPT_BASES: usize = 64 << 20;
/// Largest index that is read: some ten million objects.
pub(crate) const LARGEST_INDEX: u64 = 512 << 20;

const BAD_INDEX: Trouble = Trouble::Malformed("a pack index");
const BAD_PACK: Trouble = Trouble::Malformed("a pack");

/// A version 2 index.
#[derive(Debug)]
pub(crate) struct Index {
    bytes: Vec<u8>,
    hash: Hash,
    count: usize,
}

impl Index {
    const FANOUT: usize = 8;
    const NAMES: usize = Self::FANOUT + 256 * 4;

    /// Takes the bytes of an index file.
    pub(crate) fn parse(hash: Hash, bytes: Vec<u8>) -> Result<Self, Trouble> {
        if bytes.get(..8) != Some(&[0xff, b't', b'O', b'c', 0, 0, 0, 2]) {
            return Err(BAD_INDEX);
        }
        let mut before = 0;
        for entry in 0..256 {
            let next = number(&bytes, Self::FANOUT + entry * 4)?;
            if next < before {
                return Err(BAD_INDEX);
            }
            before = next;
        }
        let index = Self { bytes, hash, count: before };
        let least = before.checked_mul(hash.len() + 8).and_then(|rows| rows.checked_add(Self::NAMES + 2 * hash.len()));
        if least.is_none_or(|least| index.bytes.len() < least) { Err(BAD_INDEX) } else { Ok(index) }
    }

    /// How many objects it names.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The name in a row.
    pub(crate) fn id(&self, row: usize) -> Option<Id> {
        let at = Self::NAMES + row.checked_mul(self.hash.len())?;
        if row < self.count { Id::from_raw(self.hash, self.bytes.get(at..at + self.hash.len())?) } else { None }
    }

    /// Where an object begins in the pack.
    pub(crate) fn offset(&self, id: &Id) -> Option<u64> {
        let first = usize::from(*id.raw().first()?);
        let mut low = if first == 0 { 0 } else { number(&self.bytes, Self::FANOUT + (first - 1) * 4).ok()? };
        let mut high = number(&self.bytes, Self::FANOUT + first * 4).ok()?;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)?.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.row_offset(middle),
            }
        }
        None
    }

    /// Where the object of a row begins.
    pub(crate) fn row_offset(&self, row: usize) -> Option<u64> {
        let short = Self::NAMES + self.count * (self.hash.len() + 4);
        let offset = number(&self.bytes, short + row * 4).ok()?;
        if offset & 0x8000_0000 == 0 {
            return u64::try_from(offset).ok();
        }
        let long = short + self.count * 4 + (offset & 0x7fff_ffff) * 8;
        self.bytes.get(long..long + 8)?.try_into().ok().map(u64::from_be_bytes)
    }
}

fn number(bytes: &[u8], at: usize) -> Result<usize, Trouble> {
    let four: [u8; 4] = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).ok_or(BAD_INDEX)?;
    usize::try_from(u32::from_be_bytes(four)).map_err(|_| BAD_INDEX)
}

/// A pack and its index.
#[derive(Debug)]
pub(crate) struct Pack {
    /// The name without `.pack`.
    pub(crate) stem: String,
    /// Its index.
    pub(crate) index: Index,
    file: File,
    bases: HashMap<u64, Arc<Object>>,
    kept: usize,
}

/// What an entry of a pack says before its data.
enum Entry {
    Whole(Kind),
    Near(u64),
    Far(Id),
}

impl Pack {
    /// Joins a pack and its index.
    pub(crate) fn new(stem: String, index: Index, file: File) -> Self {
        Self { stem, index, file, bases: HashMap::new(), kept: 0 }
    }

    /// An object of this pack, with its content checked against its name; `None` when the pack has it not, or has it not right.
    pub(crate) fn read(&mut self, id: &Id, budget: &mut Budget) -> Result<Option<Arc<Object>>, Trouble> {
        let Some(offset) = self.index.offset(id) else { return Ok(None) };
        let object = match self.at(offset, budget) {
            Err(Trouble::Malformed(_) | Trouble::Unreadable(..)) => return Ok(None),
            other => other?,
        };
        Ok((Id::of_content(id.hash(), object.kind, &object.content).as_ref() == Some(id)).then_some(object))
    }

    /// The object that begins at an offset, through all its differences. Only its name tells whether it is right.
    fn at(&mut self, offset: u64, budget: &mut Budget) -> Result<Arc<Object>, Trouble> {
        let mut chain = Vec::new();
        let mut at = offset;
        let mut object = loop {
            if let Some(base) = self.bases.get(&at) {
                break Arc::clone(base);
            }
            let (entry, size, data) = self.entry(at)?;
            if size > LARGEST {
                return Err(Trouble::Bound);
            }
            budget.bytes(size)?;
            let bytes = object::inflate(BufReader::with_capacity(4096, At { file: &self.file, at: data }), size)?;
            if bytes.len() != size {
                return Err(BAD_PACK);
            }
            let base = match entry {
                Entry::Whole(kind) => break self.keep(at, Object { kind, content: bytes }),
                Entry::Near(back) => at.checked_sub(back).filter(|base| *base < at).ok_or(BAD_PACK)?,
                Entry::Far(id) => self.index.offset(&id).ok_or(BAD_PACK)?,
            };
            chain.push((at, bytes));
            if chain.len() > DEEPEST {
                return Err(BAD_PACK);
            }
            at = base;
        };
        for (at, difference) in chain.into_iter().rev() {
            let content = apply(&object.content, &difference)?;
            budget.bytes(content.len())?;
            object = self.keep(at, Object { kind: object.kind, content });
        }
        Ok(object)
    }

    fn keep(&mut self, at: u64, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        if self.kept + object.content.len() > KEPT_BASES {
            self.bases.clear();
            self.kept = 0;
        }
        self.kept += object.content.len();
        self.bases.insert(at, Arc::clone(&object));
        object
    }

    /// The head of an entry: what it is, its unpacked size, and where its data begin.
    fn entry(&self, offset: u64) -> Result<(Entry, usize, u64), Trouble> {
        let mut head = At { file: &self.file, at: offset };
        let first = head.byte()?;
        let mut size = u64::from(first & 0x0f);
        let (mut more, mut shift) = (first & 0x80 != 0, 4);
        while more {
            let byte = head.byte()?;
            size |= u64::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57).ok_or(BAD_PACK)?;
            (more, shift) = (byte & 0x80 != 0, shift + 7);
        }
        let entry = match first >> 4 & 7 {
            1 => Entry::Whole(Kind::Commit),
            2 => Entry::Whole(Kind::Tree),
            3 => Entry::Whole(Kind::Blob),
            4 => Entry::Whole(Kind::Tag),
            6 => {
                let mut byte = head.byte()?;
                let mut back = u64::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    byte = head.byte()?;
                    back = back.checked_add(1).and_then(|back| back.checked_mul(128)).ok_or(BAD_PACK)? | u64::from(byte & 0x7f);
                }
                Entry::Near(back)
            }
            7 => {
                let mut raw = [0; 32];
                let raw = raw.get_mut(..self.index.hash.len()).ok_or(BAD_PACK)?;
                head.read_exact(raw).map_err(|_| BAD_PACK)?;
                Entry::Far(Id::from_raw(self.index.hash, raw).ok_or(BAD_PACK)?)
            }
            _ => return Err(BAD_PACK),
        };
        Ok((entry, usize::try_from(size).map_err(|_| Trouble::Bound)?, head.at))
    }
}

/// A place in a file, from which reading goes on.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl At<'_> {
    fn byte(&mut self) -> Result<u8, Trouble> {
        let mut byte = [0];
        self.read_exact(&mut byte).map_err(|_| BAD_PACK)?;
        Ok(u8::from_be_bytes(byte))
    }
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

/// Makes an object from its base and a difference, as gitformat-pack(5) says.
pub(crate) fn apply(base: &[u8], difference: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut rest = difference.iter().copied();
    if length(&mut rest)? != base.len() {
        return Err(BAD_PACK);
    }
    let size = length(&mut rest)?;
    if size > LARGEST {
        return Err(Trouble::Bound);
    }
    let mut made = Vec::with_capacity(size.min(1 << 20));
    while let Some(command) = rest.next() {
        if command & 0x80 != 0 {
            let mut part = |from: u8, bytes: u8| {
                let mut number = 0_usize;
                for byte in 0..bytes {
                    if command & 1 << (from + byte) != 0 {
                        number |= usize::from(rest.next().ok_or(BAD_PACK)?) << (8 * byte);
                    }
                }
                Ok::<usize, Trouble>(number)
            };
            let from = part(0, 4)?;
            let count = match part(4, 3)? {
                0 => 0x1_0000,
                count => count,
            };
            made.extend_from_slice(from.checked_add(count).and_then(|end| base.get(from..end)).ok_or(BAD_PACK)?);
        } else if command == 0 {
            return Err(BAD_PACK);
        } else {
            let before = made.len();
            made.extend(rest.by_ref().take(usize::from(command)));
            if made.len() != before + usize::from(command) {
                return Err(BAD_PACK);
            }
        }
        if made.len() > size {
            return Err(BAD_PACK);
        }
    }
    if made.len() == size { Ok(made) } else { Err(BAD_PACK) }
}

fn length(bytes: &mut impl Iterator<Item = u8>) -> Result<usize, Trouble> {
    let (mut size, mut shift) = (0_usize, 0);
    loop {
        let byte = bytes.next().ok_or(BAD_PACK)?;
        if shift > 56 {
            return Err(BAD_PACK);
        }
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}
