//! The short name of a hold: easy to read out and to type, hard to guess.

use serde::{Deserialize, Serialize};

/// Crockford's base 32: no `i`, `l`, `o`, `u`, so nothing is mistaken for a digit.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Six letters are 30 bits: one guess in a thousand million, and each guess is a message that the desk can refuse.
const LENGTH: usize = 6;

/// The name of a hold, e.g. `k7m2qp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HoldId(String);

impl HoldId {
    /// Spells 30 of `random`'s bits.
    #[must_use]
    pub fn spell(random: u32) -> Self {
        let letter = |index: usize| {
            let five = (random >> (5 * index)) & 31;
            LETTERS.get(five as usize).copied().map_or('0', char::from)
        };
        Self((0..LENGTH).map(letter).collect())
    }

    /// Reads what a person typed: case does not matter, `o` is taken for `0`, `i` and `l` for `1`.
    ///
    /// # Errors
    /// It is not six such letters.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let read = |c: char| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        let id: String = text.trim().chars().take(LENGTH + 1).map(read).collect();
        let good = id.len() == LENGTH && id.bytes().all(|b| LETTERS.contains(&b));
        if good { Ok(Self(id)) } else { Err("a hold's name is six letters and digits, as `agentbox holds` prints them") }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HoldId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<HoldId> for String {
    fn from(id: HoldId) -> String {
        id.0
    }
}

impl std::fmt::Display for HoldId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::HoldId;

    #[test]
    fn spells_and_reads_back() {
        for random in [0, 1, 31, 32, 0x3fff_ffff, 0xdead_beef] {
            let id = HoldId::spell(random);
            assert_eq!(HoldId::parse(id.as_str()), Ok(id.clone()));
            assert_eq!(HoldId::parse(&format!(" {} ", id.as_str().to_uppercase())), Ok(id));
        }
        assert_ne!(HoldId::spell(1), HoldId::spell(1 << 25));
    }

    #[test]
    fn forgives_the_usual_slips_and_nothing_else() {
        assert_eq!(HoldId::parse("OIL000").map(String::from), Ok("011000".to_owned()));
        for bad in ["", "abc", "abcdefg", "abc de", "abcdeu", "../../", "abcde\u{301}", "\u{1b}[2Jab"] {
            assert!(HoldId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
