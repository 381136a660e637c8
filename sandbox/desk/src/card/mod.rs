//! The card: all that a person is shown of a hold, the same in every channel.
//!
//! Every text on it that came from the agent or from a provider is made safe when the card is made, and again when it is drawn.

mod draw;
pub(crate) mod lines;

#[cfg(test)]
mod tests;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use agentbox_core::{
    Delegation, Digest, Effect, Reach, ResourceId, Verdict,
    look::{Seen, Undo},
    safe,
    verdict::{Confirm, Presence, Quorum},
};
use serde::{Deserialize, Serialize};

use crate::{
    HoldId,
    room::{Phase, Waits},
    signature::{Approvers, Signer},
};
pub use draw::{Style, duration, render};

/// Operations that are shown one by one; the worst come first, the rest is counted.
const OPERATIONS: usize = 12;
/// Ways up, credentials, losses and processes that are shown one by one.
const LINES: usize = 8;
/// Longest ordinary text on a card, in characters before they are made safe (which lengthens hostile ones up to tenfold):
/// a whole card of the worst kind stays below the longest message.
const TEXT: usize = 300;
/// Size of the excerpt: wide enough for most lines of a query, and no more lines than leave the rest of the card in sight.
const EXCERPT: (usize, usize) = (200, 12);

/// One operation on the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct What {
    /// How bad it is.
    pub effect: Effect,
    /// Its name in the policy's words.
    pub action: String,
    /// What it would touch.
    pub resource: String,
    /// Why the effect is this one.
    pub reason: String,
    /// Who else would act, and how far that party reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegates: Option<String>,
    /// The answer hands out a secret.
    pub yields_credential: bool,
}

/// A credential on the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct With {
    /// A name to speak of it.
    pub name: String,
    /// Where in the request it was.
    pub position: String,
    /// Not one that this box was given.
    pub foreign: bool,
}

/// Something that would be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The kind of thing.
    pub what: String,
    /// How many, where they could be counted.
    pub count: Option<u64>,
    /// Where they lie, newest and oldest.
    pub detail: String,
}

/// What a card needs besides the hold.
#[derive(Clone, Debug)]
pub struct About {
    /// Which box.
    pub session: String,
    /// Whose signatures count.
    pub approvers: Approvers,
    /// One moment by both clocks: the steady one, and Unix time in seconds.
    pub clocks: (Instant, u64),
}

impl About {
    /// A box whose clocks are read now.
    #[must_use]
    pub fn new(session: &str, approvers: Approvers) -> Self {
        Self { session: session.to_owned(), approvers, clocks: (Instant::now(), unix_now()) }
    }

    fn unix(&self, at: Instant) -> u64 {
        let (steady, unix) = self.clocks;
        unix.saturating_add(at.saturating_duration_since(steady).as_secs())
    }
}

/// Unix time in seconds. A clock before 1970 counts as the end of time, so that nothing lasts by it.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

/// What the approver must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// How many different people must say yes.
    pub approvers: u8,
    /// Who has.
    pub have: Vec<String>,
    /// The name that must be typed; `None` where a plain yes is enough.
    #[serde(rename = "type")]
    pub typed: Option<String>,
    /// Whether a signature is wanted.
    pub presence: Presence,
    /// Who must be among them.
    pub quorum: Quorum,
    /// Seconds for which a yes may cover more of this kind in this place; 0 where it may not.
    pub lease: u64,
    /// Whose signatures count.
    pub signers: Vec<Signer>,
}

/// All that a person is shown of one hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The hold's name.
    pub id: HoldId,
    /// Which box.
    pub session: String,
    /// How far it is.
    pub phase: Phase,
    /// Names exactly this card in a ruling; `None` once it is ruled on.
    pub digest: Option<Digest>,
    /// Random bits that no other hold has.
    pub nonce: String,
    /// Unix time in seconds, until when it may be ruled on.
    pub until: u64,
    /// What would be done, worst first.
    pub operations: Vec<What>,
    /// How many more operations there are than shown.
    pub more_operations: usize,
    /// The place that decided.
    pub place: String,
    /// The host it goes to.
    pub destination: Option<String>,
    /// The thing's name for people, where a look gave one.
    pub name: Option<String>,
    /// Every way up from the thing, nearest parent first, with names where a look gave them.
    pub lineages: Vec<Vec<String>>,
    /// Who asked, the asker first. Empty where it is not known.
    pub who: Vec<String>,
    /// How many wait for this at the moment.
    pub askers: usize,
    /// How many others of its kind were refused while it waits.
    pub folded: usize,
    /// What the agent said of it, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// The credentials in it.
    pub credentials: Vec<With>,
    /// Whether somebody looked. Without a look, that nothing is listed as lost means nothing.
    pub looked: bool,
    /// Why nobody could look.
    pub unseen: Option<String>,
    /// What would be lost.
    pub losses: Vec<Lost>,
    /// Whether it could be undone, and how or why not.
    pub undo: Undo,
    /// The rule that held it, and its file.
    pub rule: String,
    /// Why it is held.
    pub reason: String,
    /// `POST https://…`.
    pub summary: String,
    /// What was understood of the body.
    pub excerpt: String,
    /// Seconds since it came.
    pub waited: u64,
    /// Seconds until silence means no, or until an approval that nobody uses ends.
    pub left: u64,
    /// What the approver must do.
    pub wants: Wants,
}

/// A card in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The hold's name.
    pub id: HoldId,
    /// Which box.
    pub session: String,
    /// How far it is.
    pub phase: Phase,
    /// The worst operation.
    pub headline: String,
    /// The place that decided.
    pub place: String,
    /// It carries a credential that this box was never given.
    pub foreign: bool,
    /// How many wait for it.
    pub askers: usize,
    /// How many others of its kind were refused while it waits.
    pub folded: usize,
    /// Seconds since it came.
    pub waited: u64,
    /// Seconds until it ends by itself.
    pub left: u64,
}

impl Card {
    /// The card of what waits in a box.
    #[must_use]
    pub fn of(waits: &Waits<'_>, about: &About) -> Self {
        let evidence = &waits.request.evidence;
        let seen = evidence.seen.as_ref();
        let mut operations: Vec<&agentbox_core::Operation> = waits.request.operations.iter().collect();
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.effect));
        Self {
            id: waits.id.clone(),
            session: text(&about.session),
            nonce: waits.nonce.to_owned(),
            until: about.unix(waits.until),
            phase: waits.phase,
            digest: waits.card_digest,
            more_operations: operations.len().saturating_sub(OPERATIONS),
            operations: operations.into_iter().take(OPERATIONS).map(what).collect(),
            place: text(&waits.because.place),
            destination: waits.request.destination.as_ref().map(|to| text(&to.to_string())),
            name: seen.map(|seen| text(&seen.name)).filter(|name| !name.is_empty()),
            lineages: seen.map(lineages).unwrap_or_default(),
            who: evidence.who.iter().take(LINES).map(|who| text(who)).collect(),
            askers: waits.askers,
            folded: waits.folded,
            said: None,
            credentials: evidence
                .credentials
                .iter()
                .take(LINES)
                .map(|c| With { name: text(&c.name), position: text(&c.position), foreign: !c.issued })
                .collect(),
            looked: seen.is_some(),
            unseen: evidence.unseen.as_deref().map(text),
            losses: seen.map(losses).unwrap_or_default(),
            undo: seen.map(|seen| &seen.undo).or(evidence.undo.as_ref()).map_or(Undo::Unknown, undo),
            rule: text(&waits.because.rule),
            reason: text(&waits.because.reason),
            summary: text(&evidence.summary),
            excerpt: safe::block(&evidence.excerpt, EXCERPT.0, EXCERPT.1),
            waited: waits.waited.as_secs(),
            left: waits.left.as_secs(),
            wants: Wants {
                approvers: waits.terms.approvers.max(1),
                have: waits.yes.iter().map(|who| text(who)).collect(),
                typed: match waits.terms.confirm {
                    Confirm::Plain => None,
                    // Not cut further: it must be typed exactly so, and core has made it safe and short.
                    Confirm::Name | Confirm::PlaceAndName => Some(safe::line(waits.confirm_name, usize::MAX)),
                },
                presence: waits.terms.presence,
                quorum: waits.terms.quorum,
                lease: waits.terms.lease.as_secs(),
                signers: about.approvers.signers().cloned().collect(),
            },
        }
    }

    /// Digest of all that is shown and does not change while it waits: what a signature is of, so that nobody between the box and the
    /// person can show another card.
    #[must_use]
    pub fn shown(&self) -> Digest {
        let mut still = self.clone();
        still.phase = Phase::Waiting;
        (still.waited, still.left, still.askers, still.folded) = (0, 0, 0, 0);
        still.wants.have.clear();
        Digest::of([serde_json::to_vec(&still).unwrap_or_default().as_slice()])
    }

    /// The same with the agent's own words.
    #[must_use]
    pub fn with_words(self, said: Option<&str>) -> Self {
        Self { said: said.map(text), ..self }
    }

    /// The line of a list that stands for this card.
    #[must_use]
    pub fn row(&self) -> Row {
        Row {
            id: self.id.clone(),
            session: safe::line(&self.session, 40),
            phase: self.phase,
            headline: safe::line(&self.headline(), 120),
            place: safe::line(&self.place, 60),
            foreign: self.credentials.iter().any(|with| with.foreign),
            askers: self.askers,
            folded: self.folded,
            waited: self.waited,
            left: self.left,
        }
    }

    /// The worst of its operations, in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let more = self.operations.len() + self.more_operations;
        let rest = if more > 1 { format!(" (+{})", more - 1) } else { String::new() };
        self.operations.first().map_or_else(
            || format!("{} nothing that could be read", Verdict::Hold),
            |o| format!("{} {} {}{rest}", o.effect, o.action, self.name.as_deref().unwrap_or(&o.resource)),
        )
    }
}

fn text(from: &str) -> String {
    safe::line(from, TEXT)
}

fn what(operation: &agentbox_core::Operation) -> What {
    What {
        effect: operation.effect,
        action: text(operation.action.as_str()),
        resource: text(operation.resource.id.as_str()),
        reason: text(&operation.reason),
        delegates: operation.delegates.as_ref().map(delegation),
        yields_credential: operation.yields_credential,
    }
}

fn delegation(delegation: &Delegation) -> String {
    let reach = match &delegation.reach {
        Reach::Anywhere => "could reach anything".to_owned(),
        Reach::Hosts(hosts) => format!("could reach {}", hosts.iter().take(LINES).map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    text(&format!("{}; {reach}", delegation.why))
}

fn lineages(seen: &Seen) -> Vec<Vec<String>> {
    let named = |id: &ResourceId| match seen.names.iter().find(|(named, _)| named == id) {
        Some((_, name)) => format!("{} ({})", safe::line(name, 80), safe::line(id.as_str(), 120)),
        None => safe::line(id.as_str(), 120),
    };
    seen.lineages.iter().take(LINES).map(|line| line.iter().take(LINES).map(named).collect()).collect()
}

fn losses(seen: &Seen) -> Vec<Lost> {
    seen.losses.iter().take(LINES).map(|loss| Lost { what: text(&loss.what), count: loss.count, detail: text(&loss.detail) }).collect()
}

fn undo(undo: &Undo) -> Undo {
    match undo {
        Undo::Yes(how) => Undo::Yes(text(how)),
        Undo::No(why) => Undo::No(text(why)),
        Undo::Unknown => Undo::Unknown,
    }
}
