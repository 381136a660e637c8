//! What a card says, line by line, the deciding facts first: the same in every channel, each of which draws it in its own way.

use agentbox_core::{
    look::Undo,
    safe,
    verdict::{Presence, Quorum},
};

use super::{Card, draw::duration};
use crate::room::Phase;

/// Signers that are named one by one.
const SIGNERS: usize = 4;
/// Longest text that one line takes, in characters: a field of ten lines hides the next one.
const FIELD: usize = 560;

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What would happen, where, by whom, and what would be lost.
    Fact,
    /// The agent's own text, line by line.
    Excerpt,
    /// What a person can do at a terminal.
    Ruling,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it is for.
    pub(crate) part: Part,
    /// What it tells of; empty where it goes on with what the line before tells of.
    pub(crate) label: &'static str,
    /// Printable characters only.
    pub(crate) text: String,
    /// It must stand out.
    pub(crate) strong: bool,
}

/// How far a card is: its state, and what comes of it if nobody does anything.
pub(crate) fn state(card: &Card) -> (&'static str, String) {
    let left = duration(card.left);
    match card.phase {
        Phase::Waiting => ("HELD", format!("refused in {left}")),
        Phase::Looking => ("APPROVED, being looked at again", format!("ends in {left}")),
        Phase::Kept => ("APPROVED, for the next identical request, once", format!("ends in {left}")),
        Phase::Passing => ("APPROVED, being sent", format!("ends in {left}")),
    }
}

/// All that is said on `card` below its head.
pub(crate) fn lines(card: &Card) -> Vec<Line> {
    let mut said = Said { lines: Vec::new(), part: Part::Fact };
    said.operations(card);
    said.strong("where", &card.place);
    for line in &card.lineages {
        said.plain("", &if line.is_empty() { "directly at the host".to_owned() } else { format!("in {}", line.join(" < ")) });
    }
    if let Some(destination) = &card.destination {
        said.plain("host", destination);
    }
    said.plain("who", &if card.who.is_empty() { "not known".to_owned() } else { card.who.join(" < ") });
    said.credentials(card);
    said.losses(card);
    match &card.undo {
        Undo::Yes(how) => said.plain("undo", &format!("possible: {how}")),
        Undo::No(why) => said.strong("undo", &format!("IMPOSSIBLE: {why}")),
        Undo::Unknown => said.strong("undo", "not known: take it for impossible"),
    }
    said.plain("held by", &card.rule);
    said.plain("", &card.reason);
    if let Some(words) = &card.said {
        said.plain("agent", &format!("says, in its own words, which nobody has checked: \"{words}\""));
    }
    said.plain("request", &card.summary);
    said.part = Part::Excerpt;
    for line in card.excerpt.lines() {
        said.plain("", &format!("| {line}"));
    }
    said.part = Part::Ruling;
    said.ruling(card);
    said.lines
}

struct Said {
    lines: Vec<Line>,
    part: Part,
}

impl Said {
    fn operations(&mut self, card: &Card) {
        for (index, what) in card.operations.iter().enumerate() {
            let label = if index == 0 { "what" } else { "" };
            self.strong(label, &format!("{} {}", what.effect.word().to_uppercase(), what.action));
            let name = if index == 0 { card.name.as_deref().map(|name| format!("  \"{name}\"")).unwrap_or_default() } else { String::new() };
            self.plain("", &format!("{}{name}", what.resource));
            self.plain("", &what.reason);
            if let Some(delegates) = &what.delegates {
                self.strong("", &format!("Another party would act: {delegates}"));
            }
            if what.yields_credential {
                self.strong("", "The answer would hand out a secret.");
            }
        }
        if card.more_operations > 0 {
            self.strong("", &format!("and {} more operations that are not shown", card.more_operations));
        }
        if card.folded > 0 {
            self.strong("", &format!("and {} more of this kind were asked for and refused meanwhile", card.folded));
        }
    }

    fn credentials(&mut self, card: &Card) {
        if card.credentials.is_empty() {
            self.plain("with", "no credential that was recognised");
        }
        for (index, with) in card.credentials.iter().enumerate() {
            let label = if index == 0 { "with" } else { "" };
            if with.foreign {
                self.strong(label, &format!("FOREIGN credential, never given to this box: {} in the {}", with.name, with.position));
            } else {
                self.plain(label, &format!("{} in the {}", with.name, with.position));
            }
        }
    }

    fn losses(&mut self, card: &Card) {
        if let Some(why) = &card.unseen {
            self.strong("lost", &format!("NOBODY COULD LOOK: {why}"));
        } else if !card.looked && card.destination.is_none() {
            self.plain("lost", "what the lines below the request tell of");
        } else if !card.looked {
            self.strong("lost", "not known: there is no way to look at such a thing");
        } else if card.losses.is_empty() {
            self.plain("lost", "a look found nothing else that would be lost with it");
        }
        for (index, loss) in card.losses.iter().enumerate() {
            let label = if index == 0 && card.unseen.is_none() && card.looked { "lost" } else { "" };
            let count = loss.count.map_or_else(|| "uncounted".to_owned(), |count| count.to_string());
            let detail = if loss.detail.is_empty() { String::new() } else { format!(": {}", loss.detail) };
            self.strong(label, &format!("{count} {}{detail}", loss.what));
        }
    }

    fn ruling(&mut self, card: &Card) {
        if card.phase != Phase::Waiting {
            self.plain("stop it", &format!("agentbox deny {}", card.id));
            return;
        }
        let typed = card.wants.typed.as_ref().map_or_else(|| "you will be asked to type: yes".to_owned(), |name| format!("you will be asked to type: {name}"));
        self.plain("approve", &format!("agentbox approve {}", card.id));
        self.plain("", &typed);
        self.signing(card);
        if card.wants.approvers > 1 {
            let have = if card.wants.have.is_empty() { "nobody".to_owned() } else { card.wants.have.join(", ") };
            self.plain("", &format!("{} different people must approve; so far: {have}", card.wants.approvers));
        }
        if card.wants.quorum == Quorum::SomebodyElse {
            self.plain("", "one of them must be somebody else than who started the box");
        }
        if card.wants.lease > 0 {
            let longest = duration(card.wants.lease);
            self.plain("", &format!("or this kind in this place, for up to {longest}: agentbox approve {} --for ...", card.id));
        }
        self.plain("refuse", &format!("agentbox deny {} --because \"...\"", card.id));
    }

    fn signing(&mut self, card: &Card) {
        let names = card.wants.signers.iter().take(SIGNERS).map(|signer| signer.name.as_str()).collect::<Vec<_>>().join(", ");
        let more = card.wants.signers.len().saturating_sub(SIGNERS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        match (card.wants.presence, card.wants.signers.is_empty()) {
            (Presence::Signature, true) => self.strong("", "it must be signed, and the policy names no key: it can only be refused"),
            (Presence::Signature, false) => self.plain("", &format!("and to sign, with the key of {names}{more}")),
            (Presence::Account, true) => self.plain("", "no signature: what runs as you outside a box could approve, too"),
            (Presence::Account, false) => {}
        }
    }

    fn plain(&mut self, label: &'static str, text: &str) {
        self.say(label, text, false);
    }

    fn strong(&mut self, label: &'static str, text: &str) {
        self.say(label, text, true);
    }

    fn say(&mut self, label: &'static str, text: &str, strong: bool) {
        if text.is_empty() {
            return;
        }
        // The last gate before a screen: whoever filled the card, nothing but printable characters passes here.
        self.lines.push(Line { part: self.part, label, text: safe::line(text, FIELD), strong });
    }
}
