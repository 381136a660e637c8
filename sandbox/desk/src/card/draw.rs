//! Draws a card as text: 80 columns, understandable without colour, the deciding facts first.

use agentbox_core::{
    look::Undo,
    safe,
    verdict::{Presence, Quorum},
};

use super::Card;
use crate::room::Phase;

/// How a card is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Letters only.
    Plain,
    /// The same letters; headings and dangers stand out.
    Colour,
}

/// Columns of a terminal that nobody has widened.
const WIDE: usize = 80;
/// Columns of the word on the left.
const LABEL: usize = 9;
/// Signers that are named one by one.
const SIGNERS: usize = 4;
/// Longest text that one field takes, in characters: a field of ten lines hides the next one.
const FIELD: usize = 560;

/// Draws `card`.
#[must_use]
pub fn render(card: &Card, style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    page.headline(card);
    for (index, what) in card.operations.iter().enumerate() {
        let label = if index == 0 { "what" } else { "" };
        page.strong(label, &format!("{} {}", what.effect.word().to_uppercase(), what.action));
        let name = if index == 0 { card.name.as_deref().map(|name| format!("  \"{name}\"")).unwrap_or_default() } else { String::new() };
        page.field("", &format!("{}{name}", what.resource));
        page.field("", &what.reason);
        if let Some(delegates) = &what.delegates {
            page.strong("", &format!("Another party would act: {delegates}"));
        }
        if what.yields_credential {
            page.strong("", "The answer would hand out a secret.");
        }
    }
    if card.more_operations > 0 {
        page.strong("", &format!("and {} more operations that are not shown", card.more_operations));
    }
    if card.folded > 0 {
        page.strong("", &format!("and {} more of this kind were asked for and refused meanwhile", card.folded));
    }
    page.strong("where", &card.place);
    for line in &card.lineages {
        page.field("", &if line.is_empty() { "directly at the host".to_owned() } else { format!("in {}", line.join(" < ")) });
    }
    if let Some(destination) = &card.destination {
        page.field("host", destination);
    }
    page.field("who", &if card.who.is_empty() { "not known".to_owned() } else { card.who.join(" < ") });
    page.credentials(card);
    page.losses(card);
    match &card.undo {
        Undo::Yes(how) => page.field("undo", &format!("possible: {how}")),
        Undo::No(why) => page.strong("undo", &format!("IMPOSSIBLE: {why}")),
        Undo::Unknown => page.strong("undo", "not known: take it for impossible"),
    }
    page.field("held by", &card.rule);
    page.field("", &card.reason);
    if let Some(said) = &card.said {
        page.field("agent", &format!("says, in its own words, which nobody has checked: \"{said}\""));
    }
    page.field("request", &card.summary);
    for line in card.excerpt.lines() {
        page.field("", &format!("| {line}"));
    }
    page.rule();
    page.what_to_do(card);
    page.out
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn rule(&mut self) {
        self.out.push_str(&"-".repeat(WIDE));
        self.out.push('\n');
    }

    fn headline(&mut self, card: &Card) {
        let state = match card.phase {
            Phase::Waiting => "HELD",
            Phase::Looking => "APPROVED, being looked at again",
            Phase::Kept => "APPROVED, for the next identical request, once",
            Phase::Passing => "APPROVED, being sent",
        };
        let end = match card.phase {
            Phase::Waiting => format!("refused in {}", duration(card.left)),
            Phase::Looking | Phase::Kept | Phase::Passing => format!("ends in {}", duration(card.left)),
        };
        // Escapes lengthen a hostile name, so it is cut again to what the line has room for.
        let session: String = safe::line(&card.session, 24).chars().take(24).collect();
        let title = format!("{state} {}   box {session}", card.id);
        let gap = WIDE.saturating_sub(width(&title) + width(&end)).max(1);
        let line = format!("{title}{}{end}", " ".repeat(gap));
        self.push_styled(&line);
        self.rule();
    }

    fn credentials(&mut self, card: &Card) {
        if card.credentials.is_empty() {
            self.field("with", "no credential that was recognised");
        }
        for (index, with) in card.credentials.iter().enumerate() {
            let label = if index == 0 { "with" } else { "" };
            if with.foreign {
                self.strong(label, &format!("FOREIGN credential, never given to this box: {} in the {}", with.name, with.position));
            } else {
                self.field(label, &format!("{} in the {}", with.name, with.position));
            }
        }
    }

    fn losses(&mut self, card: &Card) {
        if let Some(why) = &card.unseen {
            self.strong("lost", &format!("NOBODY COULD LOOK: {why}"));
        } else if !card.looked && card.destination.is_none() {
            self.field("lost", "what the lines below the request tell of");
        } else if !card.looked {
            self.strong("lost", "not known: there is no way to look at such a thing");
        } else if card.losses.is_empty() {
            self.field("lost", "a look found nothing else that would be lost with it");
        }
        for (index, loss) in card.losses.iter().enumerate() {
            let label = if index == 0 && card.unseen.is_none() && card.looked { "lost" } else { "" };
            let count = loss.count.map_or_else(|| "uncounted".to_owned(), |count| count.to_string());
            let detail = if loss.detail.is_empty() { String::new() } else { format!(": {}", loss.detail) };
            self.strong(label, &format!("{count} {}{detail}", loss.what));
        }
    }

    fn what_to_do(&mut self, card: &Card) {
        if card.phase != Phase::Waiting {
            self.field("stop it", &format!("agentbox deny {}", card.id));
            return;
        }
        let typed = card.wants.typed.as_ref().map_or_else(|| "you will be asked to type: yes".to_owned(), |name| format!("you will be asked to type: {name}"));
        self.field("approve", &format!("agentbox approve {}", card.id));
        self.field("", &typed);
        self.signing(card);
        if card.wants.approvers > 1 {
            let have = if card.wants.have.is_empty() { "nobody".to_owned() } else { card.wants.have.join(", ") };
            self.field("", &format!("{} different people must approve; so far: {have}", card.wants.approvers));
        }
        if card.wants.quorum == Quorum::SomebodyElse {
            self.field("", "one of them must be somebody else than who started the box");
        }
        if card.wants.lease > 0 {
            let longest = duration(card.wants.lease);
            self.field("", &format!("or this kind in this place, for up to {longest}: agentbox approve {} --for ...", card.id));
        }
        self.field("refuse", &format!("agentbox deny {} --because \"...\"", card.id));
    }

    fn signing(&mut self, card: &Card) {
        let names = card.wants.signers.iter().take(SIGNERS).map(|signer| signer.name.as_str()).collect::<Vec<_>>().join(", ");
        let more = card.wants.signers.len().saturating_sub(SIGNERS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        match (card.wants.presence, card.wants.signers.is_empty()) {
            (Presence::Signature, true) => self.strong("", "it must be signed, and the policy names no key: it can only be refused"),
            (Presence::Signature, false) => self.field("", &format!("and to sign, with the key of {names}{more}")),
            (Presence::Account, true) => self.field("", "no signature: what runs as you outside a box could approve, too"),
            (Presence::Account, false) => {}
        }
    }

    fn field(&mut self, label: &str, text: &str) {
        self.write(label, text, Weight::Plain);
    }

    fn strong(&mut self, label: &str, text: &str) {
        self.write(label, text, Weight::Strong);
    }

    fn write(&mut self, label: &str, text: &str, weight: Weight) {
        if text.is_empty() {
            return;
        }
        // The last gate before a terminal: whoever filled the card, nothing but printable characters passes here.
        let text = safe::line(text, FIELD);
        for (index, line) in wrap(&text, WIDE - LABEL).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.out.push_str(&format!("{label:LABEL$}"));
            match weight {
                Weight::Plain => {
                    self.out.push_str(&line);
                    self.out.push('\n');
                }
                Weight::Strong => self.push_styled(&line),
            }
        }
    }

    fn push_styled(&mut self, line: &str) {
        match self.style {
            Style::Plain => self.out.push_str(line),
            Style::Colour => self.out.push_str(&format!("\u{1b}[1m{line}\u{1b}[0m")),
        }
        self.out.push('\n');
    }
}

enum Weight {
    Plain,
    Strong,
}

/// Columns that a character may take; never fewer than it does. East Asian wide ones start at U+1100.
fn columns(c: char) -> usize {
    if u32::from(c) < 0x1100 { 1 } else { 2 }
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Breaks at blanks where it can, inside a word where it must.
fn wrap(text: &str, wide: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) <= wide {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() && width(word) <= wide {
            lines.push(std::mem::take(&mut line));
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if width(&line) + columns(c) > wide {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `14m 32s`, as people say it.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}
