//! Where the running kernel keeps the fields that the programs read: a small reader of its own description of its types (BTF).
//!
//! Rust for BPF has no relocations of fields, so the programs take offsets as constants that are set before they are loaded. A field that
//! is not there, or is not as wide as the programs read it, is said and never guessed.
//!
//! The format is the kernel's `Documentation/bpf/btf.rst`.

/// Where the kernel shows its types.
pub(super) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// The longest description that is read, in bytes; those of today are a tenth of it.
pub(super) const LONGEST: u64 = 64 << 20;

/// Structures within structures that are followed, and types behind names of types.
const DEEPEST: u32 = 16;

/// The header as of its first version, in bytes; what is longer says so itself.
const HEADER: usize = 24;
const MAGIC: u16 = 0xeb9f;

/// Bytes of a type before what its kind adds, and of a structure's member.
const TYPE: usize = 12;
const MEMBER: usize = 12;

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const SECTION: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Why a field cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BtfError {
    /// The description itself cannot be read.
    #[error("the kernel's types cannot be read: {0}")]
    Malformed(&'static str),
    /// No such structure.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// No such field in it.
    #[error("this kernel has no {0}")]
    NoField(String),
    /// It is not what the programs read.
    #[error("this kernel's {0} has {1} bytes, and not {2}")]
    Width(String, u32, u32),
}

/// A type as it stands in the description.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    info: u32,
    /// Its size, or the type that it leads to.
    size: u32,
    /// Where that begins which its kind adds.
    more: usize,
}

impl Type {
    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }
}

/// The types of a kernel.
#[derive(Debug)]
pub(super) struct Types<'b> {
    bytes: &'b [u8],
    /// Where the texts lie.
    texts: &'b [u8],
    /// By number; 0 is void.
    types: Vec<Type>,
    /// Those that are structures with a name.
    structures: Vec<Type>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

impl<'b> Types<'b> {
    /// Reads a description.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, BtfError> {
        let short = BtfError::Malformed("it is cut short");
        let field = |at: usize| word(bytes, at).map(|word| word as usize).ok_or_else(|| short.clone());
        if bytes.first_chunk::<2>().is_none_or(|magic| u16::from_ne_bytes(*magic) != MAGIC) {
            return Err(BtfError::Malformed("it does not begin as one"));
        }
        let (header, types_at, types_long, texts_at, texts_long) = (field(4)?, field(8)?, field(12)?, field(16)?, field(20)?);
        if header < HEADER {
            return Err(BtfError::Malformed("its head is too short"));
        }
        // Five words of 32 bits do not overflow where usize has 64; where it has 32 they do not lie in a slice either.
        let part = |at: usize, long: usize| {
            let begin = header.checked_add(at)?;
            bytes.get(begin..begin.checked_add(long)?)
        };
        let (all, texts) = (part(types_at, types_long).ok_or_else(|| short.clone())?, part(texts_at, texts_long).ok_or_else(|| short.clone())?);
        let mut types = vec![Type { name: 0, info: 0, size: 0, more: 0 }];
        let mut at = 0;
        while at < all.len() {
            let (Some(name), Some(info), Some(size)) = (word(all, at), word(all, at + 4), word(all, at + 8)) else { return Err(short) };
            let kind = Type { name, info, size, more: at + TYPE };
            at = kind.more + beyond(kind)?;
            types.push(kind);
        }
        if at != all.len() {
            return Err(short);
        }
        let structures = types.iter().copied().filter(|kind| kind.kind() == STRUCT && kind.name != 0).collect();
        Ok(Self { bytes: all, texts, types, structures })
    }

    /// Where a field lies in a structure, in bytes: `["file", "f_path", "dentry"]`. It must be this wide.
    pub(super) fn offset(&self, path: &[&str], width: u32) -> Result<u32, BtfError> {
        let told = || path.join(".");
        let missing = || BtfError::NoField(told());
        let (structure, fields) = path.split_first().ok_or_else(missing)?;
        let mut of = self.structure(structure).ok_or_else(|| BtfError::NoStruct((*structure).to_owned()))?;
        let mut offset = 0_u32;
        for field in fields {
            let (bits, kind) = self.member(of, field, 0).ok_or_else(missing)?;
            if bits % 8 != 0 {
                return Err(BtfError::Malformed("a field does not begin with a byte"));
            }
            offset = offset.checked_add(bits / 8).ok_or_else(missing)?;
            of = kind;
        }
        match self.width(of) {
            Some(found) if found == width => Ok(offset),
            found => Err(BtfError::Width(told(), found.unwrap_or(0), width)),
        }
    }

    /// How many arguments the kernel's function of this name takes; `None` where it has none of this name.
    pub(super) fn parameters(&self, name: &str) -> Option<usize> {
        let function = self.types.iter().find(|kind| kind.kind() == FUNCTION && self.is_called(kind.name, name))?;
        let prototype = self.types.get(function.size as usize)?;
        (prototype.kind() == PROTOTYPE).then(|| prototype.count())
    }

    fn structure(&self, name: &str) -> Option<Type> {
        self.structures.iter().copied().find(|kind| self.is_called(kind.name, name))
    }

    /// Whether the text there is this one, without a byte more.
    fn is_called(&self, at: u32, name: &str) -> bool {
        let text = self.texts.get(at as usize..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// A member's place in bits, and its type; also of a structure without a name within this one.
    fn member(&self, of: Type, name: &str, depth: u32) -> Option<(u32, Type)> {
        if depth > DEEPEST || !matches!(of.kind(), STRUCT | UNION) {
            return None;
        }
        // With this bit set, the upper byte of a place is the width of a bit field.
        let has_bit_fields = of.info >> 31 == 1;
        for number in 0..of.count() {
            let at = of.more + number * MEMBER;
            let (called, kind, place) = (word(self.bytes, at)?, word(self.bytes, at + 4)?, word(self.bytes, at + 8)?);
            let (bits, is_bit_field) = if has_bit_fields { (place & 0x00ff_ffff, place >> 24 != 0) } else { (place, false) };
            let kind = self.resolved(kind)?;
            if self.is_called(called, name) {
                return (!is_bit_field).then_some((bits, kind));
            }
            if self.is_called(called, "")
                && let Some((within, kind)) = self.member(kind, name, depth + 1)
            {
                return Some((bits.checked_add(within)?, kind));
            }
        }
        None
    }

    /// The type behind names and qualifiers.
    fn resolved(&self, number: u32) -> Option<Type> {
        let mut kind = *self.types.get(number as usize)?;
        for _ in 0..DEEPEST {
            if !matches!(kind.kind(), TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
                return Some(kind);
            }
            kind = *self.types.get(kind.size as usize)?;
        }
        None
    }

    fn width(&self, of: Type) -> Option<u32> {
        match of.kind() {
            INT | STRUCT | UNION | ENUM | ENUM64 => Some(of.size),
            POINTER => Some(8),
            ARRAY => {
                // Its element, and how many there are; of arrays in arrays nothing is read.
                let element = self.resolved(word(self.bytes, of.more)?).filter(|element| element.kind() != ARRAY)?;
                self.width(element)?.checked_mul(word(self.bytes, of.more + 8)?)
            }
            _ => None,
        }
    }
}

/// Bytes that a kind adds to its type.
fn beyond(of: Type) -> Result<usize, BtfError> {
    Ok(match of.kind() {
        INT | VARIABLE | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | SECTION | ENUM64 => 12 * of.count(),
        ENUM | PROTOTYPE => 8 * of.count(),
        // Pointers, forward declarations, names, qualifiers, functions, floats.
        POINTER | 7 | TYPEDEF..=FUNCTION | 16 | TYPE_TAG => 0,
        // What is longer than it says would shift all that follows.
        _ => return Err(BtfError::Malformed("it has a kind of type that is not known")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A description with these types, each its words and what follows, and these texts.
    fn description(types: &[&[u32]], texts: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().copied().flatten().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let long = |part: &[u8]| u32::try_from(part.len()).unwrap();
        for word in [24, 0, long(&types), long(&types), long(texts)] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(texts);
        bytes
    }

    const TEXTS: &[u8] = b"\0file\0f_mode\0inner\0uint\0bit\0";
    const FILE: u32 = 1;
    const F_MODE: u32 = 6;
    const INNER: u32 = 13;
    const UINT: u32 = 19;
    const BIT: u32 = 24;

    /// `struct file { struct { char pad[8]; uint f_mode; }; uint bit: 3; struct {…} inner; }`
    fn example() -> Vec<u8> {
        description(
            &[
                &[UINT, INT << 24, 4, 32],
                &[UINT, TYPEDEF << 24, 1],
                &[0, STRUCT << 24 | 1, 12, F_MODE, 2, 64],
                &[FILE, 1 << 31 | STRUCT << 24 | 3, 40, 0, 3, 128, BIT, 2, 3 << 24 | 224, INNER, 3, 256],
            ],
            TEXTS,
        )
    }

    #[test]
    fn a_field_is_found_also_in_a_structure_without_a_name() {
        let bytes = example();
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.offset(&["file", "f_mode"], 4), Ok(16 + 8));
        assert_eq!(types.offset(&["file", "inner", "f_mode"], 4), Ok(32 + 8));
    }

    #[test]
    fn what_is_not_there_or_not_so_wide_is_said() {
        let bytes = example();
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.offset(&["file", "f_mode"], 8), Err(BtfError::Width("file.f_mode".to_owned(), 4, 8)));
        assert_eq!(types.offset(&["file", "f_inode"], 8), Err(BtfError::NoField("file.f_inode".to_owned())));
        assert_eq!(types.offset(&["inode", "i_mode"], 2), Err(BtfError::NoStruct("inode".to_owned())));
        assert_eq!(types.offset(&["file", "bit"], 4), Err(BtfError::NoField("file.bit".to_owned())), "a bit field has no address");
        assert_eq!(types.offset(&["fil", "f_mode"], 4), Err(BtfError::NoStruct("fil".to_owned())), "a name is whole");
        assert_eq!(Types::read(b"").err(), Some(BtfError::Malformed("it does not begin as one")));
        for length in 2..bytes.len() {
            assert!(Types::read(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn an_array_is_as_wide_as_all_that_is_in_it() {
        // `struct file { uint f_mode[3]; }`, and one whose elements are such arrays.
        let array = |of: u32, count: u32| [0, ARRAY << 24, 0, of, 1, count];
        let bytes = description(&[&[UINT, INT << 24, 4, 32], &array(1, 3), &array(2, 2), &[FILE, STRUCT << 24 | 2, 36, F_MODE, 2, 64, INNER, 3, 160]], TEXTS);
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.offset(&["file", "f_mode"], 12), Ok(8));
        assert_eq!(types.offset(&["file", "f_mode"], 4), Err(BtfError::Width("file.f_mode".to_owned(), 12, 4)));
        assert!(types.offset(&["file", "inner"], 24).is_err());
    }

    #[test]
    fn a_ring_of_types_has_an_end() {
        let bytes = description(&[&[0, TYPEDEF << 24, 1], &[0, STRUCT << 24 | 1, 4, 0, 2, 0], &[FILE, STRUCT << 24 | 1, 4, 0, 2, 0]], TEXTS);
        assert!(Types::read(&bytes).unwrap().offset(&["file", "f_mode"], 4).is_err());
        let bytes = description(&[&[0, TYPEDEF << 24, 1], &[FILE, STRUCT << 24 | 1, 4, F_MODE, 1, 0]], TEXTS);
        assert!(Types::read(&bytes).unwrap().offset(&["file", "f_mode"], 4).is_err());
    }

    #[test]
    fn this_kernel_is_read() {
        let Ok(bytes) = std::fs::read(KERNEL) else {
            println!("SKIPPED: this kernel shows no types");
            return;
        };
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.offset(&["path", "mnt"], 8), Ok(0));
        assert!(types.offset(&["file", "f_path", "dentry"], 8).unwrap() >= 8);
        assert_eq!((types.parameters("d_path"), types.parameters("d_paths")), (Some(3), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Types::read(&bytes).map(|types| types.offset(&["file", "f_mode"], 4));
        }

        #[test]
        fn any_types_are_read_or_refused(words in proptest::collection::vec(prop_oneof![0..40_u32, (0..24_u32).prop_map(|kind| kind << 24 | 2), any::<u32>()], 0..60)) {
            let bytes = description(&[&words], TEXTS);
            if let Ok(types) = Types::read(&bytes) {
                let _ = types.offset(&["file", "f_mode"], 4);
                let _ = types.parameters("file");
            }
        }

        #[test]
        fn a_byte_that_is_not_so_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = example();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Types::read(&bytes).map(|types| types.offset(&["file", "inner", "f_mode"], 4));
        }
    }
}
