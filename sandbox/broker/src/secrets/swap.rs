//! Puts placeholders in the place of secrets in texts and streams, never the other way round.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::placeholder::encoded;

/// A shorter secret stands in too many texts by chance.
const LEAST: usize = 8;

/// Each secret with what takes its place. It has no `Debug`.
#[derive(Default)]
pub(crate) struct Swaps {
    /// The longest first: one may be the beginning of another.
    pairs: Vec<(Finder<'static>, Vec<u8>)>,
    /// All that is looked for, in order.
    ordered: Vec<Vec<u8>>,
}

impl Swaps {
    /// Of secrets and their placeholders.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (secret, placeholder) in pairs.into_iter().filter(|(secret, _)| secret.len() >= LEAST) {
            let json = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            for (from, to) in [(secret.to_owned(), placeholder.to_owned()), (encoded(secret), encoded(placeholder)), (json(secret), json(placeholder))] {
                if !all.iter().any(|(known, _)| *known == from.as_bytes()) {
                    all.push((from.into_bytes(), to.into_bytes()));
                }
            }
        }
        all.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Self::of(all.into_iter().map(|(from, to)| (Finder::new(&from).into_owned(), to)).collect())
    }

    fn of(pairs: Vec<(Finder<'static>, Vec<u8>)>) -> Self {
        let mut ordered: Vec<Vec<u8>> = pairs.iter().map(|(from, _)| from.needle().to_vec()).collect();
        ordered.sort();
        Self { pairs, ordered }
    }

    /// `None` where nothing is to be changed.
    pub(crate) fn in_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        for (from, to) in &self.pairs {
            let text = changed.as_deref().unwrap_or(bytes);
            let mut found = from.find_iter(text).peekable();
            if found.peek().is_none() {
                continue;
            }
            let (mut new, mut done) = (Vec::with_capacity(text.len()), 0);
            for at in found {
                new.extend_from_slice(text.get(done..at).unwrap_or_default());
                new.extend_from_slice(to);
                done = at + from.needle().len();
            }
            new.extend_from_slice(text.get(done..).unwrap_or_default());
            changed = Some(new);
        }
        changed
    }

    /// The same for text.
    pub(crate) fn in_text(&self, text: &str) -> Option<String> {
        self.in_bytes(text.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// Those alone whose placeholder has its secret's length: a text that says how long it is stays true.
    pub(crate) fn of_equal_lengths(&self) -> Self {
        Self::of(self.pairs.iter().filter(|(from, to)| from.needle().len() == to.len()).cloned().collect())
    }

    /// Whether every placeholder has its secret's length, so that a stream keeps its own.
    pub(crate) fn keep_lengths(&self) -> bool {
        self.pairs.iter().all(|(from, to)| from.needle().len() == to.len())
    }

    /// How many bytes at the end could be the beginning of a secret.
    fn begun(&self, bytes: &[u8]) -> usize {
        let longest = self.pairs.first().map_or(0, |(from, _)| from.needle().len());
        let start = bytes.len().saturating_sub(longest.saturating_sub(1));
        // What begins with the tail stands directly behind it.
        let begins = |tail: &[u8]| self.ordered.get(self.ordered.partition_point(|from| from.as_slice() < tail)).is_some_and(|from| from.starts_with(tail));
        (start..bytes.len()).find(|at| bytes.get(*at..).is_some_and(begins)).map_or(0, |at| bytes.len() - at)
    }
}

/// One stream that is looked through piece by piece.
#[derive(Default)]
pub(crate) struct Stream {
    kept: BytesMut,
}

impl Stream {
    /// What of this piece, and of what was kept back, can go on.
    pub(crate) fn piece(&mut self, swaps: &Swaps, piece: Bytes) -> Bytes {
        let joined = if self.kept.is_empty() {
            piece
        } else {
            self.kept.extend_from_slice(&piece);
            self.kept.split().freeze()
        };
        let mut swapped = match swaps.in_bytes(&joined) {
            Some(changed) => Bytes::from(changed),
            None => joined,
        };
        let back = swaps.begun(&swapped);
        if back > 0 {
            self.kept.extend_from_slice(&swapped.split_off(swapped.len() - back));
        }
        swapped
    }

    /// Whether nothing is kept back.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was kept back at the end.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        (!self.kept.is_empty()).then(|| self.kept.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cret/with\"signs";
    const STANDS: &str = "p9acer/with\"signs";

    #[test]
    fn in_every_spelling() {
        let swaps = Swaps::new([(SECRET, STANDS), ("short", "xxxxx"), ("s3cret/w", "p9acer/w")]);
        let text = format!("a {SECRET} b {} c {} d s3cret/w short", encoded(SECRET), SECRET.replace('"', "\\\""));
        let swapped = swaps.in_text(&text).unwrap();
        assert!(!swapped.contains("s3cret") && swapped.contains("short") && swapped.contains(STANDS) && swapped.contains(&encoded(STANDS)), "{swapped}");
        assert!(swaps.in_text("nothing of the kind").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn cuts_hide_nothing(parts in proptest::collection::vec(prop_oneof![Just(SECRET.to_owned()), Just("s3cret".to_owned()), "[a-z]{0,6}"], 0..12), size in 1..9usize) {
            let swaps = Swaps::new([(SECRET, STANDS)]);
            let whole = parts.concat();
            let (mut stream, mut out) = (Stream::default(), Vec::new());
            for piece in whole.as_bytes().chunks(size) {
                out.extend_from_slice(&stream.piece(&swaps, Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&stream.rest().unwrap_or_default());
            prop_assert_eq!(String::from_utf8(out).unwrap(), whole.replace(SECRET, STANDS));
        }
    }
}
