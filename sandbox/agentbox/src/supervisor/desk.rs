//! What people at the control socket ask and rule, and what they are told of new holds.

use std::time::{Duration, Instant};

use agentbox_core::{
    ledger::{Draft, Durability, Event},
    ruling::{Decision, Proof, Ruling},
    safe,
};
use agentbox_desk::{
    Card, HoldId,
    card::unix_now,
    control::{BoxState, Call, FromDesk, Knock, LONGEST_TEXT, MOST_NAMES, MOST_ROWS, Running, ToDesk},
    room::{NotRuled, Waits},
    signature::{SignedBy, statement},
};

use super::{Rein, Supervisor};

/// How long a box may take to end by itself when it is stopped.
const STOPPING: Duration = Duration::from_secs(5);

/// How far the two clocks may drift apart before it is taken for a change of one of them, in seconds.
const CLOCKS_APART: u64 = 5;

/// Strangers that are written down; a flood of them must not fill the disk.
const STRANGERS: usize = 100;

impl Supervisor {
    /// Somebody at the control socket.
    pub(super) fn knocked(&mut self, knock: Knock) {
        match knock {
            Knock::Call(Call { peer, message, answer }) => {
                let reply = self.reply(peer.approver(), message);
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

    fn reply(&mut self, approver: String, message: ToDesk) -> FromDesk {
        let now = Instant::now();
        let deeds = self.room.tick(now);
        self.perform(deeds);
        match message {
            ToDesk::List => {
                let rows = self.room.all(now).take(MOST_ROWS).map(|waits| self.card_of(&waits).row()).collect();
                FromDesk::Holds { rows, more: self.room.all(now).count().saturating_sub(MOST_ROWS) }
            }
            ToDesk::Show { id } => match self.room.one(&id, now) {
                Some(waits) => FromDesk::Card(Box::new(self.card_of(&waits))),
                None => FromDesk::No(NotRuled::Unknown(id).to_string()),
            },
            ToDesk::Approve { id, card, typed, lasting, via, signature } => {
                let lasting = lasting.map(Duration::from_secs);
                match self.proof(&id, approver, typed.as_deref(), lasting, signature) {
                    Ok((approver, proof)) => {
                        let decision = Decision::Approve;
                        self.rule(&id, Ruling { approver, proof, channel: via.word().to_owned(), digest: card, typed, lasting, decision })
                    }
                    Err(why) => FromDesk::No(why),
                }
            }
            ToDesk::Deny { id, because, via } => {
                if because.len() > LONGEST_TEXT {
                    return FromDesk::No(format!("a reason may be {LONGEST_TEXT} bytes long"));
                }
                // A no needs no card: it cannot be misunderstood.
                let digest = agentbox_core::Digest::of([]);
                let decision = Decision::Deny(because);
                self.rule(&id, Ruling { approver, proof: Proof::Peer, channel: via.word().to_owned(), digest, typed: None, lasting: None, decision })
            }
            ToDesk::Describe => FromDesk::Running(Box::new(self.describe(now))),
            ToDesk::Names { addresses } => FromDesk::Names(addresses.into_iter().take(MOST_NAMES).map(|address| self.names.of(address)).collect()),
            ToDesk::Stop => self.stop(&approver, now),
            ToDesk::Resume => self.resume(&approver).map_or_else(FromDesk::No, FromDesk::Done),
            ToDesk::Revoke => FromDesk::Done(self.revoke(&approver)),
            ToDesk::Why => FromDesk::Refused(self.refused.iter().cloned().collect()),
            ToDesk::Credentials => FromDesk::Credentials(self.credentials.list(now)),
            ToDesk::EndCredential { name } => self.end_credential(&approver, &name),
        }
    }

    /// Who says yes to `id`, and by what that is known: the kernel's word for `account`, or a signature of all that was shown.
    fn proof(
        &mut self,
        id: &HoldId,
        account: String,
        typed: Option<&str>,
        lasting: Option<Duration>,
        signature: Option<String>,
    ) -> Result<(String, Proof), String> {
        if self.burst.is_frozen() {
            return Err(
                "the box is frozen, since much was destroyed within seconds: look at `agentbox log`, then `agentbox resume` or `agentbox stop`".to_owned()
            );
        }
        // What is not there, or is approved already, is told by the room.
        let Some(waits) = self.room.one(id, Instant::now()) else { return Ok((account, Proof::Peer)) };
        let card = self.card_of(&waits);
        // The steady clock ends a hold; one that was set forward does so, too, and one that was set back lengthens nothing.
        if unix_now() > card.until.saturating_add(CLOCKS_APART) {
            return Err(format!("the time to rule on {id} is over, by the clock of this machine"));
        }
        let Some((signature, text)) = signature.zip(statement(&card, typed, lasting)) else { return Ok((account, Proof::Peer)) };
        match self.about.approvers.verify(&text, &signature) {
            Ok(SignedBy { signer, whose }) => {
                let name = if signer.name == signer.fingerprint { signer.name.clone() } else { format!("{} ({})", signer.fingerprint, signer.name) };
                Ok((name, Proof::Signed { whose, statement: text, signature }))
            }
            Err(unfit) => {
                self.unfit += 1;
                if self.unfit <= STRANGERS {
                    let note = safe::line(&format!("a signature that does not count: {unfit}"), 300);
                    let draft = Draft { hold: Some(id.as_str().to_owned()), note, rulings: vec![account], ..Draft::new(Event::Noted, &self.session) };
                    self.write(draft, Durability::Synced);
                }
                Err(format!("not approved: {unfit}"))
            }
        }
    }

    fn card_of(&self, waits: &Waits<'_>) -> Card {
        Card::of(waits, &self.about).with_words(self.words.about(waits.id))
    }

    fn describe(&self, now: Instant) -> Running {
        let (command, workspace) = &self.started;
        Running {
            session: self.session.clone(),
            command: safe::line(command, 200),
            workspace: safe::line(workspace, 300),
            pid: std::process::id(),
            started: self.about.clocks.1,
            state: if self.burst.is_frozen() { BoxState::Frozen } else { BoxState::Running },
            unattended: self.nobody.is_some(),
            leases: self.lasting(now),
            holds: self.room.all(now).count(),
            refused: self.refused_in_all,
        }
    }

    /// Asks the box to end, and ends it where it does not.
    fn stop(&mut self, by: &str, now: Instant) -> FromDesk {
        if self.stopping.is_none() {
            self.write(Draft { note: format!("asked to end, by {by}"), ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
            let deeds = self.room.refuse_all("the box is being stopped");
            self.perform(deeds);
            self.stopping = Some((now + STOPPING, format!("by {by}")));
        }
        (self.reins)(Rein::Terminate);
        FromDesk::Done(format!("the box {} is asked to end, and ended in {} s where it does not", self.session, STOPPING.as_secs()))
    }

    fn end_credential(&mut self, by: &str, name: &str) -> FromDesk {
        if !self.credentials.end(name) {
            return FromDesk::No(format!("this box has no credential `{}`, or it was ended before", safe::line(name, 64)));
        }
        let note = format!("credential `{}` was ended by {}", safe::line(name, 64), safe::line(by, 100));
        self.write(Draft { note, ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
        FromDesk::Credentials(self.credentials.list(Instant::now()))
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
        let card = self.card_of(&waits);
        for couriers in &self.couriers {
            // A full line or one that has ended: the desk has the card all the same.
            let _ = couriers.try_send(Box::new(card.clone()));
        }
        for channel in &self.channels {
            (self.announce)((channel.announce)(&card, self.screen));
        }
    }
}
