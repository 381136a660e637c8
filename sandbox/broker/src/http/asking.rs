//! Asks about one thing that would be sent, connects, and only then takes the right to send it.

use std::sync::Arc;

use agentbox_core::{Destination, Judgement, Permit, Refusal, RefusalKind, Request as Question, ledger::Durability};

use super::{
    client::{Client, Purpose, Reuse},
    pool::Ready,
    serve::{Facts, Version},
};
use crate::{broker::Broker, line::Promised, upstream::UpstreamError};

/// The way out for what this client speaks.
pub(crate) fn client<'a>(broker: &'a Broker, facts: &Facts, version: Version, destination: &'a Destination, purpose: Purpose) -> Client<'a> {
    Client { connector: &broker.connector, pool: &broker.pool, scheme: facts.scheme, destination, version, purpose }
}

/// A permit in hand, and the connection that it will be used on.
pub(crate) struct Prepared<'a> {
    pub(crate) permit: Permit,
    pub(crate) reuse: Reuse,
    pub(crate) outcome: Outcome<'a>,
    pub(crate) destination: Destination,
    pub(crate) ready: Ready,
    pub(crate) was_used: bool,
}

/// Why there is nothing to send on.
pub(crate) enum Unprepared {
    Refused(Refusal),
    Unreachable(UpstreamError),
}

/// Asks, connects, and only then redeems. Dropped half-way, it says that the asker has gone.
pub(crate) async fn prepare<'a>(broker: &'a Broker, facts: &Facts, version: Version, question: Question, purpose: Purpose) -> Result<Prepared<'a>, Unprepared> {
    let by_name = question.destination.as_ref().is_none_or(|destination| destination.addresses.is_empty()).then(|| question.clone());
    let known = question.destination.clone().unwrap_or_else(|| facts.destination.clone());
    let right = permit(broker, question).await.map_err(Unprepared::Refused)?;
    let reuse = match (&right, purpose) {
        (Right::Plain(_), Purpose::Request) => Reuse::Allowed,
        (Right::Promised(_), _) | (Right::Plain(_), Purpose::Upgrade) => Reuse::Never,
    };
    let connected = async {
        let destination = broker.resolved(&known).await.map_err(Unprepared::Unreachable)?;
        if let Some(question) = by_name {
            still_fits(broker, question, &destination).map_err(Unprepared::Refused)?;
        }
        let (ready, was_used) = client(broker, facts, version, &destination, purpose).connection(reuse).await.map_err(Unprepared::Unreachable)?;
        Ok((destination, ready, was_used))
    };
    match (connected.await, right) {
        (Ok((destination, ready, was_used)), Right::Plain(permit)) => {
            Ok(Prepared { permit, reuse, outcome: Outcome { broker, ask: None }, destination, ready, was_used })
        }
        (Ok((destination, ready, was_used)), Right::Promised(promise)) => {
            let ask = Some(promise.number());
            let permit = promise.redeem().await.map_err(Unprepared::Refused)?;
            Ok(Prepared { permit, reuse, outcome: Outcome { broker, ask }, destination, ready, was_used })
        }
        (Err(error), Right::Plain(_)) => Err(error),
        (Err(error), Right::Promised(promise)) => {
            promise.forgo(&match &error {
                Unprepared::Refused(refusal) => format!("nothing was sent: {}", refusal.reason),
                Unprepared::Unreachable(error) => format!("nothing was sent: {error}"),
            });
            Err(error)
        }
    }
}

/// What was permitted by name alone must not turn out, by its address, to be in a stricter place or another one.
pub(crate) fn still_fits(broker: &Broker, question: Question, found: &Destination) -> Result<(), Refusal> {
    let (before, because) = broker.policy.preview(&question);
    let (now, why) = broker.policy.preview(&Question { destination: Some(found.clone()), ..question });
    if now <= before && why.place == because.place {
        return Ok(());
    }
    let reason = "its name leads to an address of another place than the one that was asked about";
    Err(refusal(RefusalKind::Denied, &why.action, &why.place, reason, "Use the name under which the policy knows the host."))
}

/// A no of our own.
pub(crate) fn refusal(kind: RefusalKind, operation: &str, place: &str, reason: &str, guidance: &str) -> Refusal {
    Refusal { kind, operation: operation.to_owned(), place: place.to_owned(), reason: reason.to_owned(), guidance: guidance.to_owned(), approval_id: None }
}

/// The right to send, or the promise of it.
pub(crate) enum Right<'a> {
    Plain(Permit),
    Promised(Box<dyn Promised<'a> + 'a>),
}

/// What the policy plainly allows is written down here; all else is asked about.
pub(crate) async fn permit(broker: &Broker, question: Question) -> Result<Right<'_>, Refusal> {
    // A credential is released by the supervisor alone.
    let carries = question.evidence.credentials.iter().any(|credential| credential.issued);
    match broker.policy.judge(question.clone()) {
        Judgement::Allow(granted) if !carries && agentbox_core::ledger::durability(&granted) == Durability::Grouped => {
            broker.line.allow(granted).map(Right::Plain)
        }
        Judgement::Allow(_) | Judgement::Hold(_) | Judgement::Deny(_) => {
            // Once, and after the question is on its way: what the deed will need is made ready while somebody thinks about it.
            let warm = async {
                tokio::task::yield_now().await;
                broker.connector.warm();
            };
            tokio::join!(broker.line.ask(question), warm).0.map(Right::Promised)
        }
    }
}

/// Tells the supervisor how a deed ended, once, also where the client went in between.
pub(crate) struct Outcome<'a> {
    broker: &'a Broker,
    ask: Option<u64>,
}

impl<'a> Outcome<'a> {
    pub(crate) fn of(broker: &'a Broker, ask: u64) -> Self {
        Self { broker, ask: Some(ask) }
    }

    pub(crate) fn tell(mut self, outcome: &str) {
        if let Some(ask) = self.ask.take() {
            self.broker.line.done(ask, outcome);
        }
    }

    /// For what lasts longer than its answer.
    pub(crate) fn lasting(mut self, broker: &Arc<Broker>) -> Yes {
        Yes::new(broker, self.ask.take())
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if let Some(ask) = self.ask.take() {
            self.broker.line.done(ask, "the client went before the answer came");
        }
    }
}

/// A right that was used up, owned by what was begun with it. How that ended is told once, whatever happens.
pub(crate) struct Yes {
    broker: Arc<Broker>,
    ask: Option<u64>,
}

impl Yes {
    pub(crate) fn new(broker: &Arc<Broker>, ask: Option<u64>) -> Self {
        Self { broker: broker.clone(), ask }
    }

    pub(crate) fn tell(mut self, outcome: &str) {
        self.take(outcome);
    }

    fn take(&mut self, outcome: &str) {
        if let Some(ask) = self.ask.take() {
            self.broker.line.done(ask, outcome);
        }
    }
}

impl Drop for Yes {
    fn drop(&mut self) {
        self.take("it ended before anything was sent");
    }
}
