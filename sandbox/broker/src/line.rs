//! What the broker needs of whoever judges and writes down: the supervisor's line, or a stand-in in tests.

use std::{future::Future, pin::Pin, sync::Arc};

use agentbox_core::{Granted, Permit, Refusal, Request, ledger};

use crate::remote_gate::{Promise, RemoteGate};

/// An answer on its way.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A yes that becomes a right when it is redeemed, directly before the deed. Dropped, it says that the asker has gone.
pub(crate) trait Promised<'a>: Send {
    /// The number by which [`Line::done`] tells how the deed ended.
    fn number(&self) -> u64;
    /// The right itself.
    fn redeem(self: Box<Self>) -> Answer<'a, Permit>;
    /// Gives it back unused, and says why.
    fn forgo(self: Box<Self>, why: &str);
    /// What names its token, for whoever redeems it in our stead.
    fn nonce(&self) -> &str;
    /// Somebody else redeemed it, or tried: how it ended is told by this number.
    fn handed_over(self: Box<Self>) -> u64;
}

/// The line.
pub(crate) trait Line: Send + Sync {
    /// Asks about what is not plainly allowed. Dropping the future says that the asker has gone.
    fn ask(&self, request: Request) -> Answer<'_, Box<dyn Promised<'_> + '_>>;
    /// Tells how a permitted deed ended.
    fn done(&self, ask: u64, outcome: &str);
    /// Refusals that did not go through the broker, and that came since the last time.
    fn told(&self) -> Vec<(String, Refusal)> {
        Vec::new()
    }
    /// Hands the agent's own words on, for the card; a line that leads to no person has no use for them.
    fn said(&self, _words: &str) {}
    /// Writes a plain allowance down and makes its permit.
    fn allow(&self, granted: Granted) -> Result<Permit, Refusal>;
}

/// The supervisor's line for one box.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) gate: Arc<RemoteGate>,
    pub(crate) session: String,
}

impl Line for Supervisor {
    fn ask(&self, request: Request) -> Answer<'_, Box<dyn Promised<'_> + '_>> {
        Box::pin(async move {
            let promise: Box<dyn Promised<'_>> = Box::new(self.gate.promise(request).await?);
            Ok(promise)
        })
    }

    fn done(&self, ask: u64, outcome: &str) {
        self.gate.done(ask, outcome);
    }

    fn told(&self) -> Vec<(String, Refusal)> {
        self.gate.told()
    }

    fn said(&self, words: &str) {
        self.gate.said(words);
    }

    fn allow(&self, granted: Granted) -> Result<Permit, Refusal> {
        ledger::commit(granted, &self.session, &mut self.gate.journal())
    }
}

impl<'a> Promised<'a> for Promise<'a> {
    fn number(&self) -> u64 {
        Promise::number(self)
    }

    fn redeem(self: Box<Self>) -> Answer<'a, Permit> {
        Box::pin(Promise::redeem(*self))
    }

    fn forgo(self: Box<Self>, why: &str) {
        Promise::forgo(*self, why);
    }

    fn nonce(&self) -> &str {
        Promise::nonce(self)
    }

    fn handed_over(self: Box<Self>) -> u64 {
        Promise::handed_over(*self)
    }
}
