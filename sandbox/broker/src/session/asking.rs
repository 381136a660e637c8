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

use crate::{
    broker::Broker,
    client_stream::Presence,
    http::{Right, permit, refusal},
};

/// Longest summary line, in characters.
pub(super) const LONGEST_SUMMARY: usize = 300;

/// How often, and how long, one that is plainly allowed waits until the ledger's keeper has caught up. The queue is flushed every 100 ms.
const CATCH_UP: Duration = Duration::from_millis(20);
const CATCH_UPS: u32 = 500;

/// Whoever asks for one session.
pub(crate) struct Asking {
    /// What the database's resources begin with: `postgres`, `mysql`, `redis`.
    pub(crate) scheme: &'static str,
    pub(crate) broker: Arc<Broker>,
    pub(crate) presence: Presence,
    /// The client's address, and the one that it connected to.
    pub(crate) connection: Option<(SocketAddr, SocketAddr)>,
    /// With its addresses, where they are known.
    pub(crate) destination: Destination,
    pub(crate) database: String,
    pub(crate) user: String,
    /// What the client has shown of itself.
    pub(crate) credentials: Vec<Credential>,
}

/// Whether the server keeps locks for the client while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locks {
    None,
    /// For so long a statement may wait for a person: `hold-in-transaction`.
    Held(Duration),
}

impl Locks {
    fn longest(self) -> Duration {
        match self {
            Locks::None => Duration::MAX,
            Locks::Held(longest) => longest,
        }
    }
}

/// The right to send a message on, used up. With the question's number, where its end must be told.
#[derive(Debug)]
pub(crate) struct Yes(pub(crate) Option<u64>);

/// Why it is not sent on.
#[derive(Debug)]
pub(crate) enum No {
    Refused(Refusal),
    /// It waited as long as it may in an open transaction.
    TooLong(Refusal),
    /// The client has gone.
    Gone,
}

/// What is asked about.
pub(crate) struct Question<'q> {
    pub(crate) operations: Vec<Operation>,
    /// What makes this message this one and no other.
    pub(crate) parts: &'q [&'q [u8]],
    /// One line.
    pub(crate) what: &'q str,
    pub(crate) excerpt: String,
}

impl Asking {
    /// Whoever has connected to `destination`, before anything is known of the session.
    pub(crate) async fn of(scheme: &'static str, broker: Arc<Broker>, presence: Presence, destination: &Destination) -> Self {
        let destination = broker.addressed(destination).await;
        let connection = presence.connection();
        Self { scheme, broker, presence, connection, destination, database: String::new(), user: String::new(), credentials: Vec::new() }
    }

    fn summary(&self, what: &str) -> String {
        let user = if self.user.is_empty() { String::new() } else { format!("{}@", self.user) };
        format!("{}://{user}{}/{} {what}", self.scheme, self.destination, self.database)
    }

    /// The server as a whole, before there is a session, or a database of it.
    pub(crate) fn resource(&self, path: &str) -> Resource {
        Resource::rooted(ResourceId::new(self.scheme, path))
    }

    /// The request to the gate.
    pub(crate) fn request(&self, question: Question<'_>) -> Request {
        let to = self.destination.to_string();
        let head: [&[u8]; 4] = [self.scheme.as_bytes(), to.as_bytes(), self.user.as_bytes(), self.database.as_bytes()];
        let digest = Digest::of(head.into_iter().chain(question.parts.iter().copied()));
        let summary = self.summary(question.what);
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

    /// A request that is only looked at: nothing is done with it, and nobody sees it.
    pub(crate) fn sketch(&self, operations: Vec<Operation>) -> Request {
        let evidence = Evidence { credentials: self.credentials.clone(), ..Evidence::default() };
        Request { operations, destination: Some(self.destination.clone()), digest: Digest::of([]), evidence }
    }

    /// Whether the policy plainly allows it.
    pub(crate) fn is_plain(&self, request: &Request) -> bool {
        self.is_allowed(request) && request.operations.iter().all(|operation| operation.effect <= Effect::Write)
    }

    /// Whether the policy allows it, whatever it is.
    pub(crate) fn is_allowed(&self, request: &Request) -> bool {
        self.broker.policy.verdict(request) == Verdict::Allow
    }

    /// Asks, and uses the right up. The message must be sent directly afterwards.
    pub(crate) async fn ask(&self, request: Request, locks: Locks) -> Result<Yes, No> {
        match self.at_once(&|| request.clone()).await {
            Some(answer) => answer,
            None => self.person(request, locks).await,
        }
    }

    /// Asks whether a session may begin, unless the same was refused a moment ago.
    pub(crate) async fn ask_to_begin(&self, request: Request) -> Result<Yes, No> {
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
    pub(crate) async fn at_once(&self, request: &(dyn Fn() -> Request + Sync)) -> Option<Result<Yes, No>> {
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
            No::Refused(refusal(RefusalKind::Failed, self.scheme, "", &unfit.to_string(), "Try again."))
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
            () = sleep(locks.longest()), if locks != Locks::None => {
                let no = self.pending(locks.longest());
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
    pub(crate) fn remember(&self, what: &str, refusal: &Refusal) {
        self.broker.refusals.remember(&self.summary(what), refusal);
    }

    /// Tells how permitted deeds ended.
    pub(crate) fn done(&self, asks: &[u64], outcome: &str) {
        for ask in asks {
            self.broker.line.done(*ask, outcome);
        }
    }

    /// What waits of a client that keeps locks, or keeps none.
    pub(crate) fn locks(&self, held: bool) -> Locks {
        if held { Locks::Held(self.broker.policy.settings().approval.hold_in_transaction) } else { Locks::None }
    }

    fn pending(&self, waited: Duration) -> Refusal {
        refusal(
            RefusalKind::Pending,
            &format!("{}.hold-in-transaction", self.scheme),
            "",
            &format!("the statement waits for a person, and its transaction was rolled back after {} seconds, so that its locks are free", waited.as_secs()),
            "The hold stays: after the approval the same statement passes once. Better send it outside a transaction.",
        )
    }
}
