//! What people at the control socket ask and rule, and what they are told of new holds.

use std::time::Instant;

use agentbox_core::{
    ledger::{Draft, Durability, Event},
    ruling::{Decision, Ruling},
    safe,
};
use agentbox_desk::{
    Card, HoldId,
    control::{CHANNEL, Call, FromDesk, Knock, LONGEST_TEXT, MOST_ROWS, ToDesk},
    room::NotRuled,
};

use super::Supervisor;

/// Strangers that are written down; a flood of them must not fill the disk.
const STRANGERS: usize = 100;

impl Supervisor {
    /// Somebody at the control socket.
    pub(super) fn knocked(&mut self, knock: Knock) {
        match knock {
            Knock::Call(Call { peer, message, answer }) => {
                let reply = self.reply(&peer.approver(), message);
                // The terminal may have gone; a ruling counts all the same.
                let _ = answer.send(reply);
            }
            Knock::Stranger(stranger) => {
                self.strangers += 1;
                if self.strangers <= STRANGERS {
                    let note = format!("refused at the control socket: {}", safe::line(&stranger.to_string(), 300));
                    self.write(Draft { note, ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
                }
            }
        }
    }

    fn reply(&mut self, approver: &str, message: ToDesk) -> FromDesk {
        let now = Instant::now();
        let deeds = self.room.tick(now);
        self.perform(deeds);
        match message {
            ToDesk::List => {
                let mut rows: Vec<_> = self.room.all(now).map(|waits| Card::of(&waits, &self.session).row()).collect();
                let more = rows.len().saturating_sub(MOST_ROWS);
                rows.truncate(MOST_ROWS);
                FromDesk::Holds { rows, more }
            }
            ToDesk::Show { id } => match self.room.one(&id, now) {
                Some(waits) => FromDesk::Card(Box::new(Card::of(&waits, &self.session))),
                None => FromDesk::No(NotRuled::Unknown(id).to_string()),
            },
            ToDesk::Approve { id, card, typed } => {
                let ruling = Ruling { approver: approver.to_owned(), channel: CHANNEL.to_owned(), digest: card, typed, decision: Decision::Approve };
                self.rule(&id, ruling)
            }
            ToDesk::Deny { id, because } => {
                if because.len() > LONGEST_TEXT {
                    return FromDesk::No(format!("a reason may be {LONGEST_TEXT} bytes long"));
                }
                // A no needs no card: it cannot be misunderstood.
                let digest = agentbox_core::Digest::of([]);
                let ruling = Ruling { approver: approver.to_owned(), channel: CHANNEL.to_owned(), digest, typed: None, decision: Decision::Deny(because) };
                self.rule(&id, ruling)
            }
            ToDesk::Why => FromDesk::Refused(self.refused.iter().cloned().collect()),
        }
    }

    fn rule(&mut self, id: &HoldId, ruling: Ruling) -> FromDesk {
        let (result, deeds) = self.room.rule(id, ruling, Instant::now());
        self.perform(deeds);
        match result {
            Ok(ruled) => FromDesk::Ruled(ruled.into()),
            Err(error) => FromDesk::No(safe::line(&error.to_string(), 400)),
        }
    }

    /// Tells people of a new hold, through every channel that the policy names.
    pub(super) fn announce(&mut self, id: &HoldId) {
        let Some(waits) = self.room.one(id, Instant::now()) else { return };
        let card = Card::of(&waits, &self.session);
        for channel in &self.channels {
            (self.announce)((channel.announce)(&card, self.screen));
        }
    }
}
