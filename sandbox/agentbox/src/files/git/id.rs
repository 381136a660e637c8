//! Names of git objects, and the hash they are made with.

use std::fmt;

use ring::digest;

use super::object::Kind;

/// Longest name in bytes: SHA-256.
const LONGEST: usize = 32;

/// Which hash a repository names its objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Hash {
    /// Twenty bytes.
    Sha1,
    /// Thirty-two bytes.
    Sha256,
}

impl Hash {
    /// Length of a name in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
        }
    }

    /// The hash whose names have so many hexadecimal digits.
    const fn of_digits(digits: usize) -> Option<Self> {
        match digits {
            40 => Some(Hash::Sha1),
            64 => Some(Hash::Sha256),
            _ => None,
        }
    }
}

/// The name of one object. Names of another hash are never equal to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    hash: Hash,
    bytes: [u8; LONGEST],
}

impl Id {
    /// Reads 40 or 64 hexadecimal digits and nothing else.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let hash = Hash::of_digits(text.len())?;
        let mut bytes = [0; LONGEST];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
        }
        Some(Self { hash, bytes })
    }

    /// Takes raw bytes, which must be of the hash's length.
    pub(crate) fn from_raw(hash: Hash, raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        if raw.len() != hash.len() {
            return None;
        }
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        Some(Self { hash, bytes })
    }

    /// The name that an object with this content has.
    pub(crate) fn of_content(hash: Hash, kind: Kind, content: &[u8]) -> Option<Self> {
        let algorithm = match hash {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        };
        let mut sum = digest::Context::new(algorithm);
        sum.update(format!("{} {}\0", kind.word(), content.len()).as_bytes());
        sum.update(content);
        Self::from_raw(hash, sum.finish().as_ref())
    }

    /// Which hash made it.
    pub(crate) const fn hash(self) -> Hash {
        self.hash
    }

    /// The bytes of the name.
    pub(crate) fn raw(&self) -> &[u8] {
        self.bytes.get(..self.hash.len()).unwrap_or(&self.bytes)
    }

    /// Whether it is the name that stands for "no object".
    pub(crate) fn is_zero(&self) -> bool {
        self.bytes == [0; LONGEST]
    }

    /// All its digits.
    pub(crate) fn hex(&self) -> String {
        self.raw().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first digits, as git shows them to people.
    pub(crate) fn short(&self) -> String {
        self.hex().chars().take(9).collect()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
