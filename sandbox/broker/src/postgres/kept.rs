//! What was found out a moment ago, and whether it still counts: numbered facts, and the texts that were prepared last.

use std::{
    collections::{HashMap, VecDeque},
    ops::Deref,
    sync::Arc,
};

use bytes::Bytes;

use super::session::Statement;

/// Texts that are remembered, and the longest of them: drivers prepare the same few again and again.
const MOST_TEXTS: usize = 64;
const LONGEST_TEXT: usize = 4096;

/// A value with a number that is another one after each change: what was found out with it counts as long as the number is the same. There
/// is no way to change it but the one that counts.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    value: T,
    number: u64,
}

impl<T> Numbered<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, number: 0 }
    }

    pub(super) fn change(&mut self) -> &mut T {
        self.number += 1;
        &mut self.value
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl<T> Deref for Numbered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Statements by their very bytes; the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashMap<Bytes, Arc<Statement>>,
    order: VecDeque<Bytes>,
}

impl Texts {
    /// The statement with this text.
    pub(super) fn statement(&mut self, text: &[u8]) -> Arc<Statement> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        // A copy: it is kept for long, and must not keep all that was read with it.
        let statement = Statement::new(Bytes::copy_from_slice(text));
        if text.len() <= LONGEST_TEXT {
            if self.order.len() >= MOST_TEXTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(statement.text.clone());
            self.known.insert(statement.text.clone(), statement.clone());
        }
        statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_has_a_number_of_its_own() {
        let mut facts = Numbered::new(1);
        let before = facts.number();
        assert_eq!((*facts, facts.number()), (1, before));
        *facts.change() = 2;
        assert!(*facts == 2 && facts.number() != before);
    }

    #[test]
    fn the_same_bytes_are_the_same_statement_until_it_is_forgotten() {
        let mut texts = Texts::default();
        let first = texts.statement(b"SELECT 1");
        assert!(Arc::ptr_eq(&first, &texts.statement(b"SELECT 1")));
        assert!(!Arc::ptr_eq(&first, &texts.statement(b"select 1")));
        for number in 0..=MOST_TEXTS {
            texts.statement(format!("SELECT {number}, 2").as_bytes());
        }
        assert!(!Arc::ptr_eq(&first, &texts.statement(b"SELECT 1")) && texts.known.len() == MOST_TEXTS && texts.order.len() == MOST_TEXTS);
        let long = vec![b' '; LONGEST_TEXT + 1];
        assert!(!Arc::ptr_eq(&texts.statement(&long), &texts.statement(&long)));
    }
}
