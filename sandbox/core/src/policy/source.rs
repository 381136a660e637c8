//! One policy file's text: where a byte of it stands, and how an error about it is shown.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::{LayerKind, LayerText, PolicyError};
use crate::safe;

/// Longest policy file. A person's policy is a few KiB; a generated list of hosts still fits.
pub(super) const LONGEST_FILE: usize = 1 << 20;

/// Most characters of a source line that an error shows.
const WIDEST: usize = 140;

/// A policy file that is text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) base: PathBuf,
    pub(super) kind: LayerKind,
    pub(super) text: String,
    /// Where each line starts.
    lines: Vec<usize>,
}

/// A spot in a file, for errors and for "where does this come from".
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) source: Arc<Source>,
    pub(super) range: Range<usize>,
    /// `agentbox.toml:12`
    pub(super) label: Arc<str>,
}

impl Mark {
    /// An error that points here.
    pub(super) fn error(&self, message: &str, hint: Option<&str>) -> PolicyError {
        self.source.error(&self.range, message, hint)
    }

    /// An error that does not show the line: it may hold a secret.
    pub(super) fn error_unseen(&self, message: &str, hint: &str) -> PolicyError {
        let (line, column) = self.source.position(self.range.start);
        PolicyError(format!("{}:{line}:{column}: {message}\n\nhint: {hint}", self.source.name))
    }
}

impl Source {
    pub(super) fn open(layer: LayerText) -> Result<Arc<Self>, PolicyError> {
        let name = safe::line(&layer.name, 200);
        let (bytes, too_long) = match layer.bytes.get(..LONGEST_FILE) {
            Some(first) if layer.bytes.len() > LONGEST_FILE => (first, true),
            _ => (layer.bytes.as_slice(), false),
        };
        let (text, bad) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => {
                (bytes.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok()).unwrap_or_default(), !too_long || error.error_len().is_some())
            }
        };
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let source = Self { name, base: layer.base, kind: layer.kind, text: text.to_owned(), lines };
        let end = source.text.len();
        if bad {
            return Err(source.error(&(end..end), "this is not text: a policy is TOML in UTF-8", None));
        }
        if too_long {
            return Err(source.error(&(end..end), &format!("a policy file may have {LONGEST_FILE} bytes, this one has {}", layer.bytes.len()), None));
        }
        Ok(Arc::new(source))
    }

    /// Line and column, both from 1; the column counts characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    pub(super) fn mark(self: &Arc<Self>, range: Range<usize>) -> Mark {
        let (line, _) = self.position(range.start);
        Mark { source: Arc::clone(self), label: format!("{}:{line}", self.name).into(), range }
    }

    /// The error with its line and a caret under what it is about.
    pub(super) fn error(&self, range: &Range<usize>, message: &str, hint: Option<&str>) -> PolicyError {
        let start = range.start.min(self.text.len());
        let (line, column) = self.position(start);
        let from = self.lines.get(line - 1).copied().unwrap_or(0);
        let whole = self.text.get(from..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let before = whole.get(..start - from).unwrap_or(whole);
        let inside = whole.get(before.len()..range.end.saturating_sub(from).clamp(before.len(), whole.len())).unwrap_or_default();
        // A long line is shown from near the spot.
        let skipped = before.chars().count().saturating_sub(WIDEST / 2);
        let (shown_before, cut) = match before.char_indices().nth(skipped) {
            Some((at, _)) if skipped > 0 => (before.get(at..).unwrap_or_default(), "…"),
            _ => (before, ""),
        };
        let after = whole.get(before.len()..).unwrap_or_default();
        let lead = format!("{cut}{}", safe::line(shown_before, WIDEST));
        let shown = format!("{lead}{}", safe::line(after, WIDEST));
        let carets = safe::line(inside, WIDEST).chars().count().clamp(1, WIDEST);
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let mut text = format!(
            "{}:{line}:{column}: {}\n {gutter} |\n {number} | {shown}\n {gutter} | {}{}",
            self.name,
            safe::block(message, 400, 8),
            " ".repeat(lead.chars().count()),
            "^".repeat(carets)
        );
        if let Some(hint) = hint {
            text.push_str("\n\nhint: ");
            text.push_str(&safe::line(hint, 300));
        }
        PolicyError(text)
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are not misspelt keys.
    const LONGEST_WORD: usize = 64;
    if wrong.len() > LONGEST_WORD {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase().replace('_', "-");
    let allowed = wrong.chars().count() / 3 + 1;
    words
        .into_iter()
        .map(|word| (distance(&wrong, word), word))
        .filter(|(distance, _)| *distance <= allowed.min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be changed, put in, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Source::open(LayerText { name: "p.toml".into(), base: PathBuf::new(), kind: LayerKind::User, bytes: text.into() }).unwrap()
    }

    #[test]
    fn points_at_the_spot() {
        let source = source("a = 1\nëë bad = 2\n");
        let at = source.text.find("bad").unwrap();
        let error = source.error(&(at..at + 3), "wrong", Some("right"));
        assert_eq!(error.0, "p.toml:2:4: wrong\n   |\n 2 | ëë bad = 2\n   |    ^^^\n\nhint: right");
    }

    #[test]
    fn survives_any_range() {
        let source = source("é\n");
        for start in 0..5 {
            for end in 0..9 {
                let _ = source.error(&(start..end), "m", None);
            }
        }
    }

    #[test]
    fn hostile_lines_are_safe_and_short() {
        let source = source(&format!("\u{1b}[2J{}", "x".repeat(5000)));
        let error = source.error(&(4000..4001), "m", None);
        assert!(!error.0.contains('\u{1b}'));
        assert!(error.0.len() < 1000);
    }

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("destory", ["read", "write", "destroy"]), Some("destroy"));
        assert_eq!(nearest("pass_through", ["pass-through"]), Some("pass-through"));
        assert_eq!(nearest("zzz", ["read", "write"]), None);
    }
}
