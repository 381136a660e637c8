//! Asks about what a message would do: plainly allowed goes on at once, all else waits for the gate.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentbox_core::{
    Credential, Destination, Digest, Effect, Evidence, Judgement, Operation, Permit, Refusal, RefusalKind, Request, Resource, ResourceId, Verdict,
    ledger::{Durability, durability},
    safe,
};
use tokio::time::sleep;

use super::frames::Value;
use crate::{
    broker::Broker,
    client_stream::Presence,
    http::{Right, permit, refusal},
};

/// How long a statement may wait for a person while its transaction keeps locks from others: the policy's `hold-in-transaction`.
pub(super) const HOLD_IN_TRANSACTION: Duration = Duration::from_secs(20);

/// Longest summary line, in characters.
const LONGEST_SUMMARY: usize = 300;

/// Longest excerpt in bytes, and longest value in it.
const LONGEST_EXCERPT: usize = 4000;
const LONGEST_VALUE: usize = 60;
const MOST_VALUES: usize = 32;

/// How often, and how long, one that is plainly allowed waits until the ledger's keeper has caught up. The queue is flushed every 100 ms.
const CATCH_UP: Duration = Duration::from_millis(20);
const CATCH_UPS: u32 = 500;

/// Whoever asks for one session.
pub(super) struct Asking {
    pub(super) broker: Arc<Broker>,
    pub(super) presence: Presence,
    /// The client's address, and the one that it connected to.
    pub(super) connection: Option<(SocketAddr, SocketAddr)>,
    /// With its addresses, where they are known.
    pub(super) destination: Destination,
    pub(super) database: String,
    pub(super) user: String,
    /// What the client has shown of itself.
    pub(super) credentials: Vec<Credential>,
}

/// Whether the server keeps locks for the client while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locks {
    None,
    Held,
}

/// The right to send a message on, used up. With the question's number, where its end must be told.
#[derive(Debug)]
pub(super) struct Yes(pub(super) Option<u64>);

/// Why it is not sent on.
#[derive(Debug)]
pub(super) enum No {
    Refused(Refusal),
    /// It waited as long as it may in an open transaction.
    TooLong(Refusal),
    /// The client has gone.
    Gone,
}

/// What is asked about.
pub(super) struct Question<'q> {
    pub(super) operations: Vec<Operation>,
    /// What makes this message this one and no other.
    pub(super) parts: &'q [&'q [u8]],
    /// One line.
    pub(super) what: &'q str,
    pub(super) excerpt: String,
}

impl Asking {
    /// The request to the gate.
    pub(super) fn request(&self, question: Question<'_>) -> Request {
        let to = self.destination.to_string();
        let head: [&[u8]; 4] = [b"postgres", to.as_bytes(), self.user.as_bytes(), self.database.as_bytes()];
        let digest = Digest::of(head.into_iter().chain(question.parts.iter().copied()));
        let summary = format!("postgres://{}@{}/{} {}", self.user, self.destination, self.database, question.what);
        Request {
            operations: question.operations,
            destination: Some(self.destination.clone()),
            digest,
            evidence: Evidence {
                summary: safe::line(&summary, LONGEST_SUMMARY),
                excerpt: question.excerpt,
                credentials: self.credentials.clone(),
                connection: self.connection,
                ..Evidence::default()
            },
        }
    }

    /// Whether the policy plainly allows it.
    pub(super) fn is_plain(&self, request: &Request) -> bool {
        self.broker.policy.preview(request).0 == Verdict::Allow && request.operations.iter().all(|operation| operation.effect <= Effect::Write)
    }

    /// Asks, and uses the right up. The message must be sent directly afterwards.
    pub(super) async fn ask(&self, request: Request, locks: Locks) -> Result<Yes, No> {
        match self.at_once(&|| request.clone()).await {
            Some(answer) => answer,
            None => self.person(request, locks).await,
        }
    }

    /// Asks whether a session may begin, unless the same was refused a moment ago.
    pub(super) async fn ask_to_begin(&self, request: Request) -> Result<Yes, No> {
        let digest = request.digest;
        if let Some(refusal) = self.broker.keys.was_refused(&digest) {
            return Err(No::Refused(refusal));
        }
        let answer = self.ask(request, Locks::None).await;
        if let Err(No::Refused(refusal)) = &answer {
            self.broker.keys.refused(digest, refusal);
        }
        answer
    }

    /// What the policy plainly allows, or denies for want of a ledger; `None` for all that must be asked about. `request` is made anew where it must
    /// wait until the ledger's keeper has caught up: that slows, and does not refuse.
    pub(super) async fn at_once(&self, request: &(dyn Fn() -> Request + Sync)) -> Option<Result<Yes, No>> {
        let mut behind = None;
        for _ in 0..CATCH_UPS {
            let question = request();
            let digest = question.digest;
            let Judgement::Allow(granted) = self.broker.policy.judge(question) else { return None };
            if durability(&granted) != Durability::Grouped {
                return None;
            }
            match self.broker.line.allow(granted) {
                Ok(permit) => return Some(self.used(permit, &digest, None)),
                Err(refusal) => behind = Some(refusal),
            }
            sleep(CATCH_UP).await;
        }
        behind.map(|refusal| Err(No::Refused(refusal)))
    }

    fn used(&self, permit: Permit, digest: &Digest, ask: Option<u64>) -> Result<Yes, No> {
        permit.consume(digest, SystemTime::now()).map(|()| Yes(ask)).map_err(|unfit| {
            if let Some(ask) = ask {
                self.broker.line.done(ask, &format!("nothing was sent: {unfit}"));
            }
            No::Refused(refusal(RefusalKind::Failed, "postgres", "", &unfit.to_string(), "Try again."))
        })
    }

    /// Asks the supervisor, and with it a person where the policy says so.
    async fn person(&self, request: Request, locks: Locks) -> Result<Yes, No> {
        let digest = request.digest;
        let summary = request.evidence.summary.clone();
        let no = |refusal: Refusal| {
            self.broker.refusals.remember(&summary, &refusal);
            No::Refused(refusal)
        };
        let right = tokio::select! {
            biased;
            () = self.presence.gone() => return Err(No::Gone),
            answer = permit(&self.broker, request) => answer.map_err(no)?,
            () = sleep(HOLD_IN_TRANSACTION), if locks == Locks::Held => {
                let no = pending();
                self.broker.refusals.remember(&summary, &no);
                return Err(No::TooLong(no));
            }
        };
        match right {
            Right::Plain(permit) => self.used(permit, &digest, None),
            Right::Promised(promise) => {
                let ask = promise.number();
                let redeemed = tokio::select! {
                    biased;
                    () = self.presence.gone() => return Err(No::Gone),
                    redeemed = promise.redeem() => redeemed.map_err(no)?,
                };
                self.used(redeemed, &digest, Some(ask))
            }
        }
    }

    /// Remembers a refusal of our own for `agentbox why`.
    pub(super) fn remember(&self, what: &str, refusal: &Refusal) {
        let summary = format!("postgres://{}@{}/{} {what}", self.user, self.destination, self.database);
        self.broker.refusals.remember(&summary, refusal);
    }

    /// Tells how permitted deeds ended.
    pub(super) fn done(&self, asks: &[u64], outcome: &str) {
        for ask in asks {
            self.broker.line.done(*ask, outcome);
        }
    }
}

/// The database, before there is a session.
pub(super) fn database(name: &str) -> Resource {
    Resource::rooted(ResourceId::new("postgres", &format!("database/{name}")))
}

fn pending() -> Refusal {
    refusal(
        RefusalKind::Pending,
        "postgres.hold-in-transaction",
        "",
        &format!(
            "the statement waits for a person, and its transaction was rolled back after {} seconds, so that its locks are free",
            HOLD_IN_TRANSACTION.as_secs()
        ),
        "The hold stays: after the approval the same statement passes once. Better send it outside a transaction.",
    )
}

/// The beginning of a statement, for the summary's one line.
pub(super) fn line(text: &[u8]) -> String {
    // What is cut must not cut a password's beginning off its word.
    if text.len() > LONGEST_SUMMARY { shown(text) } else { masked(text) }
}

/// A statement for a card: without the secrets that it sets.
fn shown(text: &[u8]) -> String {
    masked(text.get(..text.len().min(LONGEST_EXCERPT)).unwrap_or_default())
}

fn masked(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).into_owned();
    let Some(at) = text.as_bytes().windows(8).position(|word| word.eq_ignore_ascii_case(b"password")) else { return text };
    // ALTER ROLE … PASSWORD '…', CREATE USER MAPPING … OPTIONS (password '…').
    let (before, after) = text.split_at_checked(at).unwrap_or((&text, ""));
    let mut pieces = after.split('\'');
    let mut masked = before.to_owned() + pieces.next().unwrap_or_default();
    for (index, piece) in pieces.enumerate() {
        masked.push('\'');
        masked.push_str(if index % 2 == 0 { "…" } else { piece });
    }
    masked
}

/// What the card shows: the statement, its values, and that locks are held.
pub(super) fn excerpt(text: &[u8], values: &[Value<'_>], locks: Locks) -> String {
    let mut shown = shown(text);
    for (index, value) in values.iter().take(MOST_VALUES).enumerate() {
        let value = match value {
            Value::Null => "NULL".to_owned(),
            Value::Text(value) => {
                format!("'{}'", safe::line(&String::from_utf8_lossy(value.get(..value.len().min(4 * LONGEST_VALUE)).unwrap_or_default()), LONGEST_VALUE))
            }
            Value::Binary(value) => {
                let first = value.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                format!("{} bytes \\x{first}{}", value.len(), if value.len() > 16 { "…" } else { "" })
            }
        };
        shown.push_str(&format!("\n${} = {value}", index + 1));
    }
    if values.len() > MOST_VALUES {
        shown.push_str(&format!("\nand {} more values", values.len() - MOST_VALUES));
    }
    if locks == Locks::Held {
        shown.push_str(&format!("\n(in an open transaction, whose locks keep others waiting: rolled back after {} seconds)", HOLD_IN_TRANSACTION.as_secs()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown(b"ALTER ROLE u PASSWORD 'geheim' VALID UNTIL 'x'"), "ALTER ROLE u PASSWORD '…' VALID UNTIL '…'");
        assert_eq!(shown(b"DELETE FROM t"), "DELETE FROM t");
    }

    #[test]
    fn values_are_shown_short() {
        let values = [Value::Text(b"42"), Value::Null, Value::Binary(&[1; 20])];
        let text = excerpt(b"DELETE FROM t WHERE id = $1", &values, Locks::Held);
        assert!(text.contains("$1 = '42'\n$2 = NULL\n$3 = 20 bytes \\x0101") && text.contains("locks"), "{text}");
    }
}
