//! What people let pass by its kind, for a time: given, used, ended.

use std::time::Instant;

use agentbox_core::{
    Granted, Hold, Lease,
    ledger::{Draft, Durability, Event, NotWritten, Signed},
};
use agentbox_desk::HoldId;

use super::{Supervisor, deeds::Inner};

/// At once in one box; a list that nobody can keep in mind is none.
const MOST: usize = 16;

impl Supervisor {
    /// Writes it down; it counts once it is on disk.
    pub(super) fn lease(&mut self, id: &HoldId, lease: Box<Lease>) {
        let rulings = lease.rulings();
        let draft = Draft {
            note: format!("allowed for {} s: {}", lease.lasts().as_secs(), lease.kind()),
            rulings: rulings.iter().map(|ruling| format!("{} by {}", ruling.approver, ruling.channel)).collect(),
            signatures: Signed::of(rulings),
            hold: Some(id.as_str().to_owned()),
            ..Draft::new(Event::Noted, &self.session)
        };
        self.work(move |ledger| Inner::Leased { lease, written: ledger.write(draft, Durability::Synced) });
    }

    pub(super) fn leased(&mut self, lease: Lease, written: &Result<u64, NotWritten>) {
        self.drop_old_leases();
        if written.is_ok() && self.leases.len() < MOST {
            self.leases.push(lease);
        }
    }

    fn drop_old_leases(&mut self) {
        let now = Instant::now();
        self.leases.retain(|lease| now < lease.until());
    }

    /// A grant where somebody has let such a thing pass for a time; else the hold again.
    pub(super) fn by_kind(&mut self, mut hold: Box<Hold>) -> Result<Granted, Box<Hold>> {
        let now = Instant::now();
        for lease in &self.leases {
            match lease.covers(*hold, now) {
                Ok(granted) => return Ok(granted),
                Err(back) => hold = back,
            }
        }
        Err(hold)
    }

    /// What lasts, and for how many seconds yet.
    pub(super) fn lasting(&self, now: Instant) -> Vec<(String, u64)> {
        let left = |lease: &Lease| lease.until().saturating_duration_since(now).as_secs();
        self.leases.iter().filter(|lease| now < lease.until()).map(|lease| (lease.kind().to_string(), left(lease))).collect()
    }

    /// Ends all of them.
    pub(super) fn revoke(&mut self, by: &str) -> String {
        let count = self.leases.len();
        self.leases.clear();
        self.write(Draft { note: format!("{count} allowances for a time ended, by {by}"), ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
        format!("{count} allowances for a time ended in the box {}", self.session)
    }
}
