//! What the server gathers for an `EXEC` and would have to be asked about: judged there, all together, on one card.

use agentbox_core::{Effect, Operation, Resource, ResourceId};

/// Commands of one transaction that are remembered, and how many bytes of them.
const MOST: usize = 4096;
const MOST_BYTES: usize = 4 << 20;

/// Operations that one question lists; further ones are told in sum.
const MOST_OPERATIONS: usize = 200;

/// Commands that a card shows.
const MOST_SHOWN: usize = 40;

/// Commands that are not plainly allowed, gathered by the server and not done yet.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    commands: Vec<Vec<u8>>,
    operations: Vec<Operation>,
    shown: Vec<String>,
    length: usize,
    more: bool,
}

impl Transaction {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether one more of this length is remembered.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.commands.len() < MOST && self.length + length <= MOST_BYTES
    }

    /// One more: its bytes, what it would do, and how it is shown.
    pub(super) fn push(&mut self, bytes: &[u8], operations: Vec<Operation>, shown: String) {
        self.length += bytes.len();
        self.commands.push(bytes.to_vec());
        for operation in operations {
            if self.operations.contains(&operation) {
                continue;
            }
            if self.operations.len() < MOST_OPERATIONS {
                self.operations.push(operation);
            } else if !self.more {
                self.more = true;
                let everything = Resource::unplaced(ResourceId::new("redis", "server"));
                self.operations.push(Operation::new(Effect::Opaque, "redis.more", everything, "the transaction does more than is listed"));
            }
        }
        if self.shown.len() < MOST_SHOWN {
            self.shown.push(shown);
        }
    }

    /// All that it would do.
    pub(super) fn operations(&self) -> Vec<Operation> {
        self.operations.clone()
    }

    /// What makes it this one and no other.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        std::iter::once(&b"transaction"[..]).chain(self.commands.iter().map(Vec::as_slice)).collect()
    }

    /// For the card.
    pub(super) fn excerpt(&self) -> String {
        let more = self.commands.len() - self.shown.len();
        let tail = if more > 0 { format!("\nand {more} more commands") } else { String::new() };
        format!("MULTI, EXEC of what must be asked about:\n{}{tail}", self.shown.join("\n"))
    }

    /// How many commands there are.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_list_is_told_in_sum() {
        let mut transaction = Transaction::default();
        for number in 0..300 {
            let key = Resource::rooted(ResourceId::new("redis", &format!("key/{number}")));
            transaction.push(b"DEL", vec![Operation::new(Effect::Destroy, "redis.del", key, "")], format!("DEL {number}"));
        }
        let operations = transaction.operations();
        assert_eq!((operations.len(), operations.last().unwrap().effect), (MOST_OPERATIONS + 1, Effect::Opaque));
        assert!(transaction.excerpt().ends_with("DEL 39\nand 260 more commands"));
        assert!(!Transaction::default().has_room(MOST_BYTES + 1));
    }
}
