//! A run of tokens and how to walk in it: by index, from bracket to bracket, never deeper than is asked for.

use super::{
    lexer::{Kind, Token},
    value,
};

/// Tokens that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    /// Index of the first token in the whole text: partners of brackets are counted from there.
    base: usize,
}

impl<'a> Part<'a> {
    pub(super) const fn new(text: &'a [u8], tokens: &'a [Token]) -> Self {
        Self { text, tokens, base: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens from `from` up to `to`, which is left out.
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.len());
        let from = from.min(to);
        Self { text: self.text, tokens: self.tokens.get(from..to).unwrap_or_default(), base: self.base + from }
    }

    pub(super) fn from(&self, from: usize) -> Self {
        self.slice(from, self.len())
    }

    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    /// The bytes of a token as they stand in the text.
    pub(super) fn raw(&self, at: usize) -> &'a [u8] {
        self.tokens.get(at).and_then(|token| self.text.get(token.start as usize..token.end as usize)).unwrap_or_default()
    }

    /// The bytes from the first token to the last.
    pub(super) fn source(&self) -> &'a [u8] {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self.text.get(first.start as usize..last.end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// All bytes from the first token on, with comments and what follows the statement.
    pub(super) fn rest_of_text(&self) -> &'a [u8] {
        self.tokens.first().and_then(|first| self.text.get(first.start as usize..)).unwrap_or_default()
    }

    /// The word at `at`, if it is one.
    pub(super) fn word(&self, at: usize) -> Option<&'a [u8]> {
        (self.kind(at) == Some(Kind::Word)).then(|| self.raw(at))
    }

    /// Whether the token at `at` is this keyword (given in lower case).
    pub(super) fn is(&self, at: usize, keyword: &str) -> bool {
        self.word(at).is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// Whether the token at `at` is one of these keywords.
    pub(super) fn is_any(&self, at: usize, keywords: &[&str]) -> bool {
        self.word(at).is_some_and(|word| keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword.as_bytes())))
    }

    /// Whether these keywords stand one after the other from `at` on.
    pub(super) fn are(&self, at: usize, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(offset, keyword)| self.is(at + offset, keyword))
    }

    /// Whether the token at `at` is this mark.
    pub(super) fn is_mark(&self, at: usize, mark: &str) -> bool {
        self.kind(at) == Some(Kind::Mark) && self.raw(at) == mark.as_bytes()
    }

    /// Where to go on from `at`: behind the partner of a bracket, else one further.
    pub(super) fn after(&self, at: usize) -> usize {
        let Some(token) = self.tokens.get(at) else { return at + 1 };
        let mate = (token.mate as usize).saturating_sub(self.base);
        mate.max(at) + 1
    }

    /// Index of the partner of the bracket at `at`; 0 where it lies before this part.
    pub(super) fn partner(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(0, |token| (token.mate as usize).saturating_sub(self.base))
    }

    /// What stands between the bracket at `at` and its partner.
    pub(super) fn inside(&self, at: usize) -> Self {
        self.slice(at + 1, self.after(at).saturating_sub(1))
    }

    /// The indices of this level: what is in brackets is passed over.
    pub(super) fn level(self) -> impl Iterator<Item = usize> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            let here = at;
            if here >= self.len() {
                return None;
            }
            at = self.after(here);
            Some(here)
        })
    }

    /// Where one of these keywords first stands on this level.
    pub(super) fn find(&self, keywords: &[&str]) -> Option<usize> {
        self.level().find(|at| self.is_any(*at, keywords))
    }

    /// Whether one of these keywords stands on this level.
    pub(super) fn has(&self, keywords: &[&str]) -> bool {
        self.find(keywords).is_some()
    }

    /// Whether these keywords stand one after the other anywhere on this level.
    pub(super) fn has_run(&self, keywords: &[&str]) -> bool {
        self.level().any(|at| self.are(at, keywords))
    }

    /// Whether one of these keywords stands anywhere, in brackets or not.
    pub(super) fn mentions(&self, keywords: &[&str]) -> bool {
        (0..self.len()).any(|at| self.is_any(at, keywords))
    }

    /// The parts between the marks `mark` of this level; an empty part has none.
    pub(super) fn split(self, mark: &'static str) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut from = 0;
        for at in self.level() {
            if self.is_mark(at, mark) {
                parts.push(self.slice(from, at));
                from = at + 1;
            }
        }
        if from < self.len() || !parts.is_empty() {
            parts.push(self.from(from));
        }
        parts
    }

    /// The value of the string at `at`.
    pub(super) fn string(&self, at: usize) -> Option<Vec<u8>> {
        (self.kind(at) == Some(Kind::Text)).then(|| value::of_string(self.raw(at)))
    }

    /// Whether a name may begin at `at`.
    pub(super) fn begins_name(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word | Kind::Quoted))
    }
}
