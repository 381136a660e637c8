//! What an operation means, in words for a card.

use agentbox_core::{Effect, safe};

use super::{id::Id, trouble::Trouble, walk::Lost};

/// Most lost commits that are named.
const MOST_NAMED: usize = 10;
/// Longest subject or ref name shown.
const WIDE: usize = 72;

/// What an operation does to a git directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// [`Effect::Write`] or [`Effect::Destroy`].
    pub(crate) effect: Effect,
    /// Its name, for instance `git.ref.rewind`.
    pub(crate) action: &'static str,
    /// One sentence: what happens and what of it could be got back.
    pub(crate) reason: String,
    /// What nothing would reach any more, newest first: one line each, short name and subject. At most ten, then how many more.
    pub(crate) lost: Vec<String>,
    /// For a renamed file whose content was judged: that content. The agent may still hold the file open for writing,
    /// so who acts compares, or puts these bytes in place itself.
    pub(crate) judged: Option<Vec<u8>>,
}

/// The two sides of an operation. A side that is `None` is no matter of git's and is judged as any other file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meanings {
    /// What goes from where it was: the source of a rename.
    pub(crate) leaving: Option<Meaning>,
    /// What is removed, changed, replaced or made.
    pub(crate) target: Option<Meaning>,
}

impl Meanings {
    /// The worse of the two, if either is a matter of git's.
    #[cfg(test)]
    pub(crate) fn worst(self) -> Option<Meaning> {
        match (self.leaving, self.target) {
            (Some(leaving), Some(target)) => Some(if leaving.effect > target.effect { leaving } else { target }),
            (leaving, target) => leaving.or(target),
        }
    }
}

impl Meaning {
    /// Nothing is lost.
    pub(crate) fn write(action: &'static str, reason: impl Into<String>) -> Self {
        Self { effect: Effect::Write, action, reason: reason.into(), lost: Vec::new(), judged: None }
    }

    /// Something is lost.
    pub(crate) fn destroy(action: &'static str, reason: impl Into<String>) -> Self {
        Self { effect: Effect::Destroy, ..Self::write(action, reason) }
    }

    /// It cannot be told what is lost.
    pub(crate) fn unclear(action: &'static str, what: &str, trouble: &Trouble) -> Self {
        Self::destroy(action, format!("{what}, and what is lost by it cannot be told: {trouble}"))
    }

    /// Adds the commits that would be lost.
    pub(crate) fn with_lost(mut self, lost: &[Lost]) -> Self {
        self.lost = lost.iter().take(MOST_NAMED).map(|lost| format!("{} {}", lost.id.short(), safe::line(&lost.node.subject, WIDE))).collect();
        let more = lost.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            self.lost.push(format!("and {more} more"));
        }
        self
    }

    /// Adds the content that was judged.
    pub(crate) fn with_judged(mut self, bytes: Vec<u8>) -> Self {
        self.judged = Some(bytes);
        self
    }
}

/// How a ref is called by people.
pub(crate) fn called(name: &str) -> String {
    let short = |kind: &str, rest: &str| format!("{kind} {}", safe::line(rest, WIDE));
    if name == "refs/stash" {
        return "the stash".to_owned();
    }
    let kinds = [("refs/heads/", "branch"), ("refs/tags/", "tag"), ("refs/remotes/", "remote branch"), ("refs/notes/", "notes")];
    kinds.iter().find_map(|(prefix, kind)| name.strip_prefix(prefix).map(|rest| short(kind, rest))).unwrap_or_else(|| safe::line(name, WIDE))
}

/// `1 commit`, `2 commits`, `3 commits and 1 tag`, and how to speak of them.
pub(crate) fn counted(lost: &[Lost]) -> (String, &'static str) {
    let number = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    let commits = lost.iter().filter(|lost| lost.node.tree.is_some()).count();
    let others = lost.len() - commits;
    let text = match (commits, others) {
        (_, 0) => number(commits, "commit"),
        (0, _) => number(others, "tag"),
        (_, _) => format!("{} and {}", number(commits, "commit"), number(others, "tag")),
    };
    (text, if lost.len() == 1 { "it" } else { "them" })
}

/// Where a commit could still be got from.
pub(crate) fn in_reflog(known: bool, id: &Id) -> String {
    if known { format!("the reflog still has {} for now", id.short()) } else { format!("no reflog has {}", id.short()) }
}
