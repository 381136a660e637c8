//! Knows a secret again without keeping it: a keyed fingerprint, and where in a text the very same bytes lie.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A shorter value stands in many texts by chance.
pub const SHORTEST: usize = 8;

/// A longer one is known by this many bytes of its beginning.
const LONGEST: usize = 4096;

/// 2^61 - 1, a prime: products of two remainders fit into 128 bits.
const PRIME: u64 = (1 << 61) - 1;

/// What a box's fingerprints are made with. Made for each box, kept in its processes, never written down. It has no `Debug`.
#[derive(Clone)]
pub struct FingerprintKey([u8; 32]);

/// Of one value. Without the key it tells no more than its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Which entry of the request's list of credentials it is of.
    pub credential: usize,
    /// In bytes.
    length: usize,
    rolling: u64,
    strong: Digest,
}

impl FingerprintKey {
    /// With these random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Of `value`, which stands for the credential at this index. `None` where it is too short to be looked for.
    #[must_use]
    pub fn of(&self, credential: usize, value: &[u8]) -> Option<Fingerprint> {
        let value = value.get(..value.len().min(LONGEST)).unwrap_or_default();
        if value.len() < SHORTEST {
            return None;
        }
        let base = self.base();
        let rolling = value.iter().fold(0, |sum, byte| add(multiply(sum, base), u64::from(*byte) + 1));
        Some(Fingerprint { credential, length: value.len(), rolling, strong: self.strong(value) })
    }

    /// Where in `text` the value lies first, in bytes from its beginning.
    #[must_use]
    pub fn find(&self, wanted: &Fingerprint, text: &[u8]) -> Option<usize> {
        let length = wanted.length;
        if !(SHORTEST..=LONGEST).contains(&length) || text.len() < length {
            return None;
        }
        let base = self.base();
        // What the oldest byte weighs when it leaves the window.
        let weight = (1..length).fold(1, |weight, _| multiply(weight, base));
        let mut rolling = 0;
        for (at, byte) in text.iter().enumerate() {
            if let Some(oldest) = at.checked_sub(length).and_then(|oldest| text.get(oldest)) {
                rolling = add(rolling, PRIME - multiply(weight, u64::from(*oldest) + 1));
            }
            rolling = add(multiply(rolling, base), u64::from(*byte) + 1);
            let start = (at + 1).checked_sub(length);
            if rolling == wanted.rolling
                && let Some(start) = start
                && text.get(start..=at).is_some_and(|window| self.strong(window) == wanted.strong)
            {
                return Some(start);
            }
        }
        None
    }

    fn base(&self) -> u64 {
        let (first, _) = self.0.split_at(8);
        let seed = first.iter().fold(0_u64, |seed, byte| (seed << 8) | u64::from(*byte));
        // Small bases would not mix.
        seed % (PRIME - 1024) + 512
    }

    fn strong(&self, value: &[u8]) -> Digest {
        Digest::of([self.0.as_slice(), value])
    }
}

const fn add(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder of PRIME fits into 61 bits")]
const fn multiply(a: u64, b: u64) -> u64 {
    (a as u128 * b as u128 % PRIME as u128) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> FingerprintKey {
        FingerprintKey::new(std::array::from_fn(|index| u8::try_from(index).unwrap() ^ 0x5a))
    }

    #[test]
    fn finds_the_very_bytes() {
        let key = key();
        let wanted = key.of(3, b"rw_0123456789abcdef").unwrap();
        assert_eq!((wanted.credential, key.find(&wanted, b"a\nTOKEN=rw_0123456789abcdef\n")), (3, Some(8)));
        assert_eq!(key.find(&wanted, b"rw_0123456789abcdef"), Some(0));
        assert_eq!(key.find(&wanted, b"rw_0123456789abcdeF"), None);
        assert_eq!(FingerprintKey::new([7; 32]).find(&wanted, b"rw_0123456789abcdef"), None, "another box's key");
        assert!(key.of(0, b"short").is_none());
        assert!(!format!("{wanted:?}").contains("rw_"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn as_a_plain_search_does(text in proptest::collection::vec(0..4_u8, 0..300), start in 0..290_usize, length in 8..20_usize) {
            let key = key();
            if let Some(value) = text.get(start..start + length) {
                let wanted = key.of(0, value).unwrap();
                let plain = text.windows(length).position(|window| window == value);
                prop_assert_eq!(key.find(&wanted, &text), plain);
            }
            let other = key.of(0, &[9; 12]).unwrap();
            prop_assert_eq!(key.find(&other, &text), None);
        }
    }
}
