//! What the broker needs of whoever judges and writes down: the supervisor's line, or a stand-in in tests.

use std::{future::Future, pin::Pin};

use agentbox_core::{Granted, Permit, Refusal, Request, ledger};

use crate::remote_gate::RemoteGate;

/// The answer to a question, with the number by which its end is told.
pub(crate) type Numbered<'a> = Pin<Box<dyn Future<Output = Result<(Permit, u64), Refusal>> + Send + 'a>>;

/// The line.
pub(crate) trait Line: Send + Sync {
    /// Asks about what is not plainly allowed. Dropping the future says that the asker has gone.
    fn ask(&self, request: Request) -> Numbered<'_>;
    /// Tells how a permitted deed ended.
    fn done(&self, ask: u64, outcome: &str);
    /// Writes a plain allowance down and makes its permit.
    fn allow(&self, granted: Granted) -> Result<Permit, Refusal>;
}

/// The supervisor's line for one box.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) gate: std::sync::Arc<RemoteGate>,
    pub(crate) session: String,
}

impl Line for Supervisor {
    fn ask(&self, request: Request) -> Numbered<'_> {
        Box::pin(self.gate.ask_numbered(request))
    }

    fn done(&self, ask: u64, outcome: &str) {
        self.gate.done(ask, outcome);
    }

    fn allow(&self, granted: Granted) -> Result<Permit, Refusal> {
        ledger::commit(granted, &self.session, &mut self.gate.journal())
    }
}
