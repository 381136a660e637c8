//! The question behind one message, and the right to send it on, used up directly before.

use std::{sync::Arc, time::SystemTime};

use agentbox_core::{
    Digest, Evidence, Judgement, Permit, Refusal, RefusalKind, Request,
    ledger::{Durability, durability},
    safe,
};
use http::Method;
use tokio::time::sleep;

use super::tunnel::Opened;
use crate::{
    broker::Broker,
    http::{
        Right,
        asking::Yes,
        canonical::{self, Known},
        permit, refusal,
    },
    meaning::Meaning,
};

/// Longest summary line, in characters.
const LONGEST_SUMMARY: usize = 300;

/// How often, and how long, one that is plainly allowed waits until the ledger's keeper has caught up.
const CATCH_UP: std::time::Duration = std::time::Duration::from_millis(20);
const CATCH_UPS: u32 = 500;

/// What a message's question is made of.
pub(super) struct Subject<'s> {
    pub(super) meaning: Meaning,
    /// What makes it this one and no other.
    pub(super) identity: &'s [u8],
    /// Who the client said that it is when it opened the conversation.
    pub(super) init: &'s [u8],
    /// `a message`, or what else it is.
    pub(super) what: &'s str,
}

impl Opened {
    /// The question.
    pub(super) fn question(&self, subject: Subject<'_>) -> Request {
        let body = Digest::of([subject.what.as_bytes(), subject.init, subject.identity]).to_hex();
        let digest = canonical::digest(&Method::GET, self.facts.scheme, &self.destination, &self.target, &self.headers, Known::Whole(body.as_bytes()));
        let summary = format!("{} on the WebSocket {}://{}{}", subject.what, self.facts.scheme.word(), self.destination, self.target);
        Request {
            operations: subject.meaning.operations,
            destination: Some(self.destination.clone()),
            digest,
            evidence: Evidence {
                summary: safe::line(&summary, LONGEST_SUMMARY),
                excerpt: subject.meaning.excerpt,
                credentials: subject.meaning.credentials,
                connection: self.facts.connection(),
                ..Evidence::default()
            },
        }
    }

    /// What the policy plainly allows; `None` for all that must be asked about.
    pub(super) async fn at_once(&self, question: &Request) -> Option<Result<Yes, Refusal>> {
        let mut behind = None;
        for _ in 0..CATCH_UPS {
            let Judgement::Allow(granted) = self.broker.policy.judge(question.clone()) else { return None };
            if durability(&granted) != Durability::Grouped {
                return None;
            }
            match self.broker.line.allow(granted) {
                Ok(permit) => return Some(used(&self.broker, permit, &question.digest, None)),
                Err(refusal) => behind = Some(refusal),
            }
            sleep(CATCH_UP).await;
        }
        behind.map(Err)
    }
}

fn used(broker: &Arc<Broker>, permit: Permit, digest: &Digest, ask: Option<u64>) -> Result<Yes, Refusal> {
    let yes = Yes::new(broker, ask);
    match permit.consume(digest, SystemTime::now()) {
        Ok(()) => Ok(yes),
        Err(unfit) => {
            yes.tell(&format!("nothing was sent: {unfit}"));
            Err(refusal(RefusalKind::Failed, "websocket", "", &unfit.to_string(), "Try again."))
        }
    }
}

/// Asks the supervisor, and with it a person where the policy says so. Dropped, it says that the asker has gone.
pub(super) async fn ask(broker: Arc<Broker>, question: Request) -> Result<Yes, Refusal> {
    let digest = question.digest;
    match permit(&broker, question).await? {
        Right::Plain(permit) => used(&broker, permit, &digest, None),
        Right::Promised(promise) => {
            let ask = promise.number();
            let permit = promise.redeem().await?;
            used(&broker, permit, &digest, Some(ask))
        }
    }
}
