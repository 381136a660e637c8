//! The gate's steps: what the broker asks, what comes back from aside, and what the waiting room wants done.

use std::{sync::Arc, time::Instant};

use agentbox_core::{
    Granted, Judgement, Lease, Lineage, Permit, Refusal, RefusalKind, Request, Verdict,
    fingerprint::Fingerprint,
    ledger::{self, Draft, Durability, Event, Journal, NotWritten},
    permit::Stub,
    safe,
    verdict::Denied,
    wire::{Release, ToBroker, ToSupervisor},
};
use agentbox_desk::{
    HoldId,
    control::Past,
    room::{Asker, Deed, End as HoldEnd, Ended},
};

use super::{
    Fatal, REFUSALS, Supervisor, WhoAsked,
    asks::{By, Grant, NotStruck, NotTaken, Stage, Unspent},
    burst, credentials,
    looks::Found,
    pipe::Who,
    releases::Wanted,
    review,
};
use crate::ledger::Ledger;

/// Operations of one request: the wire's longest message holds few more.
const OPERATIONS: usize = 256;

/// Longest texts of evidence that are kept, in bytes.
const EXCERPT: usize = 16 * 1024;
const SUMMARY: usize = 4 * 1024;

/// Credentials of one request whose traces are looked for.
const TRACES: usize = 16;

/// Entries of a list of evidence.
const EVIDENCE: usize = 64;

/// What was done aside comes back as one of these.
pub(super) enum Inner {
    /// The first look at what `ask` asked.
    Looked { ask: u64, request: Box<Request>, found: Found },
    /// The look after the ruling.
    LookedAgain { id: HoldId, found: Found },
    /// The entry that something is held.
    Held { id: HoldId, written: Result<u64, NotWritten> },
    /// The entry of a grant, and its permit.
    Committed { ask: u64, grant: Box<Grant>, permit: Result<Permit, Refusal> },
    /// The entry that a deed begins.
    Begun { ask: u64, stub: Stub, grant: Box<Grant>, written: Result<u64, NotWritten> },
    /// The entry of a no; then it is answered.
    Denied { ask: u64, refusal: Refusal, rule: String, written: Result<u64, NotWritten> },
    /// The entry that a kind passes for a time.
    Leased { lease: Box<Lease>, written: Result<u64, NotWritten> },
    /// Any other entry.
    Written(Result<u64, NotWritten>),
    /// A work did not come back.
    Vanished(String),
    /// What came of carrying a card elsewhere. No work that was counted.
    Carried(HoldId, String),
    /// So much the broker let pass by itself that destroys. No work that was counted.
    Destroyed(usize),
    /// The box must end. No work that was counted.
    Lost(Loss),
}

/// What was lost.
pub(super) enum Loss {
    /// The broker does not keep to its language.
    Broker(String),
    /// Entries could not be written that tell of what has happened.
    Ledger(String),
}

impl Supervisor {
    /// Something from the broker.
    pub(super) fn heard(&mut self, message: ToSupervisor) {
        match message {
            ToSupervisor::Ask { ask, request } => self.asked(ask, request),
            ToSupervisor::Gone { ask } => self.gone(ask),
            ToSupervisor::Redeem { ask, nonce, digest } => self.redeem(ask, nonce, &digest),
            ToSupervisor::Said { text } => self.said(&text),
            ToSupervisor::Done { ask, outcome } => self.done(ask, &outcome),
            ToSupervisor::Named { name } => self.names.add(&name),
            ToSupervisor::Hindered { why } => self.hindered(&why),
            // The reader sends these another way.
            ToSupervisor::Record { .. } => {}
        }
    }

    /// The file gate refuses by itself.
    fn hindered(&mut self, why: &str) {
        let why = safe::line(why, 300);
        let summary = "changes of files".to_owned();
        let guidance = "Nothing was done. Wait, and try it again; if it stays so, say it in your report.".to_owned();
        let refusal = Refusal { guidance, ..failed(&format!("It was not done: {why}.")) };
        self.write(Draft { note: format!("{summary}: {why}"), ..Draft::new(Event::Denied, &self.session) }, Durability::Grouped);
        let _ = self.to_broker.try_send(ToBroker::Told { summary: summary.clone(), refusal: refusal.clone() });
        self.remember(summary, "turns", &refusal);
    }

    fn asked(&mut self, ask: u64, mut request: Box<Request>) {
        let summary = safe::line(&request.evidence.summary, 300);
        match self.asks.open(ask, summary) {
            Ok(()) => {}
            Err(NotTaken::Twice) => {
                self.fatal = Some(Fatal::Broker(format!("it asked twice under number {ask}")));
                return;
            }
            Err(NotTaken::TooMany) => {
                self.tell(ToBroker::Refused { ask, refusal: failed("Too many questions are open at once.") });
                return;
            }
        }
        // Only the looker's word counts for what was seen.
        request.evidence.seen = None;
        request.evidence.unseen = None;
        // And only that of the process that keeps, for what it keeps.
        request.evidence.undo = request.evidence.undo.take().filter(|_| Who::of(ask) == Who::FileGate);
        let evidence = &mut request.evidence;
        let mut traces = std::mem::take(&mut evidence.fingerprints);
        traces.truncate(TRACES);
        if request.operations.len() > OPERATIONS || evidence.credentials.len() > EVIDENCE {
            self.answer(ask, failed("The request would do more things than a person could be shown."), "limit");
            return;
        }
        if let Some(name) =
            evidence.credentials.iter().find(|credential| credential.issued && self.credentials.is_ended(&credential.name)).map(|c| c.name.clone())
        {
            return self.deny(ask, credentials::ended(*request, &name));
        }
        // Whom the connection belongs to is found out by us, and only for what a person may be shown: it takes milliseconds.
        evidence.who = Vec::new();
        let asker = match (evidence.connection.take(), evidence.process.take()) {
            (Some((client, server)), _) => Some(WhoAsked::Connection(client, server)),
            (None, Some(pid)) => Some(WhoAsked::Process(pid)),
            (None, None) => None,
        };
        if let Some(asker) = asker
            && self.policy.preview(&request).0 == Verdict::Hold
        {
            request.evidence.who = (self.who)(asker);
        }
        let evidence = &mut request.evidence;
        cut(&mut evidence.excerpt, EXCERPT);
        cut(&mut evidence.summary, SUMMARY);
        let (request, look) = match self.policy.judge((*request).clone()) {
            Judgement::Allow(granted) => return self.commit(ask, None, granted),
            Judgement::Deny(denied) => {
                // A look can loosen a no only where the strictest place was taken because nobody had looked.
                let unplaced = denied.request.operations.iter().any(|operation| operation.resource.lineage == Lineage::Unknown);
                let which = if unplaced { review::which(&denied.request, self.can_look) } else { Vec::new() };
                if which.is_empty() {
                    return self.deny(ask, *denied);
                }
                (request, which)
            }
            Judgement::Hold(hold) => {
                let which = review::which(hold.request(), self.can_look);
                if which.is_empty() && traces.is_empty() {
                    return self.hold(ask, *hold);
                }
                (request, which)
            }
        };
        self.look(request.as_ref(), look, traces, move |found, request| Inner::Looked { ask, request: Box::new(request), found });
    }

    /// Judges again, now with what was found.
    fn judge_seen(&mut self, ask: u64, request: Request) {
        match self.policy.judge(request) {
            Judgement::Allow(granted) => self.commit(ask, None, granted),
            Judgement::Deny(denied) => self.deny(ask, *denied),
            Judgement::Hold(hold) => self.hold(ask, *hold),
        }
    }

    fn deny(&mut self, ask: u64, denied: Denied) {
        let draft = Draft::of(Event::Denied, &self.session, &denied.request, &denied.because);
        let (refusal, rule) = (denied.refusal, denied.because.rule);
        self.work(move |ledger| Inner::Denied { ask, refusal, rule, written: ledger.write(draft, Durability::Grouped) });
    }

    fn hold(&mut self, ask: u64, hold: agentbox_core::Hold) {
        let hold = match self.by_kind(Box::new(hold)) {
            Ok(granted) => return self.commit(ask, None, granted),
            Err(hold) => *hold,
        };
        if let Some(nobody) = self.nobody {
            let because = hold.because().clone();
            let refusal = Refusal {
                kind: RefusalKind::Denied,
                operation: because.action.clone(),
                place: because.place.clone(),
                reason: format!("It needs a person's approval, and {nobody}."),
                guidance: "Nothing was sent. Do not try another way to do the same thing; say in your report what was refused.".to_owned(),
                approval_id: None,
            };
            let request = hold.request().clone();
            drop(hold);
            return self.deny(ask, Denied { request, because, refusal });
        }
        self.asks.waits_by(ask, &hold.because().rule);
        let now = Instant::now();
        // What joins a hold that is there, or is counted on the last card of its kind, costs nobody's eyes.
        if self.room.would_open(&hold) && !self.pace.lets(now) {
            let because = hold.because().clone();
            let refusal = Refusal {
                kind: RefusalKind::Denied,
                operation: because.action.clone(),
                place: because.place.clone(),
                reason: format!("This box has asked a person more than {} times within a minute, so it is not asked on.", self.pace.most()),
                guidance: "Nothing was sent. Stop, wait a minute, and ask for one thing at a time.".to_owned(),
                approval_id: None,
            };
            let request = hold.request().clone();
            drop(hold);
            return self.deny(ask, Denied { request, because, refusal });
        }
        let deeds = self.room.arrive(hold, Asker(ask), now);
        self.perform(deeds);
    }

    fn commit(&mut self, ask: u64, hold: Option<HoldId>, granted: Granted) {
        self.asks.advance(ask, Stage::Permitted);
        let by = if granted.rulings().is_empty() { By::Policy } else { By::People };
        let grant = Grant { hold, request: granted.request().clone(), because: granted.because().clone(), by, durability: ledger::durability(&granted) };
        let session = self.session.clone();
        self.work(move |ledger| {
            let permit = ledger::commit(granted, &session, &mut Followed(ledger));
            Inner::Committed { ask, grant: Box::new(grant), permit }
        });
    }

    fn gone(&mut self, ask: u64) {
        let Some(asked) = self.asks.close(ask) else { return };
        self.room.gone(Asker(ask));
        match asked.stage {
            // In `Permitted` without a token, and in `Redeeming`, an entry is being written; when it comes back nobody is there.
            Stage::Open | Stage::Redeeming => {}
            Stage::Permitted => {
                if let Some(unspent) = self.asks.take_token(ask) {
                    self.void(&unspent.grant, "the asker had gone");
                }
            }
            Stage::Acting => {
                let note = format!("{}: the asker went after it was sent", asked.summary);
                self.write(Draft { note, ..Draft::new(Event::Noted, &self.session) }, Durability::Grouped);
            }
        }
    }

    /// The process that holds the credentials is about to send what `ask` asked about.
    pub(super) fn release(&mut self, wanted: Wanted) {
        let Wanted { release: Release { ask, nonce, digest }, answer } = wanted;
        // One deed is redeemed once: whoever comes again is told so by the token, and takes nobody's answer away.
        if Who::of(ask) != Who::Broker || self.releases.contains_key(&ask) {
            let _ = answer.send(Err("the permit is spent, or too old".to_owned()));
            return;
        }
        self.releases.retain(|_, answer| !answer.is_closed());
        self.releases.insert(ask, answer);
        self.redeem(ask, nonce, &digest);
    }

    fn redeem(&mut self, ask: u64, nonce: String, digest: &agentbox_core::Digest) {
        match self.asks.strike(&nonce, ask, digest, Instant::now()) {
            Ok(unspent) if self.asks.stage(ask) == Some(Stage::Permitted) => {
                self.asks.advance(ask, Stage::Redeeming);
                let draft = self.tell_of(Event::Begun, &unspent.grant, "");
                let grant = Box::new(unspent.grant);
                let stub = unspent.stub;
                let durability = grant.durability;
                self.work(move |ledger| Inner::Begun { ask, stub, grant, written: ledger.write(draft, durability) });
            }
            Ok(unspent) => {
                self.void(&unspent.grant, "the asker had gone");
                self.refuse_redeem(ask, "the asker had gone");
            }
            Err(NotStruck::Unfit(unspent, why)) => {
                if unspent.ask == ask {
                    self.void(&unspent.grant, why);
                } else {
                    self.token_lost(*unspent, why);
                }
                self.refuse_redeem(ask, why);
            }
            Err(NotStruck::Unknown) => self.refuse_redeem(ask, "the permit is spent, or too old"),
        }
    }

    /// Every redemption is answered, also one for a question that is closed: whoever would act waits for the answer.
    fn refuse_redeem(&mut self, ask: u64, why: &str) {
        let refusal = failed(&format!("It was not sent: {why}."));
        match self.asks.stage(ask) {
            Some(Stage::Open | Stage::Permitted) => {
                if let Some(own) = self.asks.take_token(ask) {
                    self.void(&own.grant, why);
                }
                self.answer(ask, refusal, "permit");
            }
            // A second redemption must not close a question that is acting on its first.
            Some(Stage::Redeeming | Stage::Acting) | None => self.tell(ToBroker::Refused { ask, refusal }),
        }
    }

    fn done(&mut self, ask: u64, outcome: &str) {
        let Some(asked) = self.asks.close(ask) else { return };
        let outcome = safe::line(outcome, 200);
        let (event, note) = match asked.stage {
            Stage::Acting => (Event::Noted, format!("{}: ended: {outcome}", asked.summary)),
            // A broker that ends what it never began: nobody waits there any more.
            Stage::Open | Stage::Permitted | Stage::Redeeming => (Event::Voided, format!("{}: ended before it began: {outcome}", asked.summary)),
        };
        self.room.gone(Asker(ask));
        if let Some(unspent) = self.asks.take_token(ask) {
            self.void(&unspent.grant, "the asker had gone");
        }
        self.write(Draft { note, ..Draft::new(event, &self.session) }, Durability::Grouped);
    }

    /// Something that was done aside.
    pub(super) fn came_back(&mut self, inner: Inner) {
        if !matches!(inner, Inner::Lost(_) | Inner::Destroyed(_) | Inner::Carried(..)) {
            self.aside = self.aside.saturating_sub(1);
        }
        match inner {
            Inner::Looked { ask, mut request, found } => {
                review::apply(&mut request, found);
                if self.asks.stage(ask).is_some() {
                    self.judge_seen(ask, *request);
                }
            }
            Inner::LookedAgain { id, found } => self.looked_again(&id, found),
            Inner::Held { id, written: Ok(_) } => self.announce(&id),
            Inner::Held { id, written: Err(error) } => {
                let deeds = self.room.stop(&id, &error.to_string());
                self.perform(deeds);
            }
            Inner::Committed { ask, grant, permit } => self.committed(ask, *grant, permit),
            Inner::Begun { ask, stub, grant, written } => self.begun(ask, stub, &grant, written),
            Inner::Denied { ask, mut refusal, rule, written } => {
                if let Err(error) = written {
                    refusal.reason = format!("{} ({error})", refusal.reason);
                }
                self.answer(ask, refusal, &rule);
            }
            Inner::Written(Ok(_)) => {}
            Inner::Written(Err(error)) => {
                // What it tells of is a no or an end, which stands; but the next yes could not be written either.
                tracing::error!(%error, "an entry is missing");
            }
            Inner::Leased { lease, written } => self.leased(*lease, &written),
            Inner::Carried(id, outcome) => {
                self.write(Draft { hold: Some(id.as_str().to_owned()), note: outcome, ..Draft::new(Event::Noted, &self.session) }, Durability::Grouped);
            }
            Inner::Destroyed(count) if self.burst.counts_all() => self.destroyed(count),
            Inner::Destroyed(_) => {}
            Inner::Vanished(why) => self.fatal = Some(Fatal::Ledger(why)),
            Inner::Lost(Loss::Broker(why)) => self.fatal = Some(Fatal::Broker(why)),
            Inner::Lost(Loss::Ledger(why)) => self.fatal = Some(Fatal::Ledger(why)),
        }
    }

    fn committed(&mut self, ask: u64, grant: Grant, permit: Result<Permit, Refusal>) {
        let permit = match permit {
            Ok(permit) => permit,
            Err(refusal) => {
                if let Some(hold) = &grant.hold {
                    let deeds = self.room.lost(hold, &refusal.reason);
                    self.perform(deeds);
                }
                return self.answer(ask, refusal, &grant.because.rule);
            }
        };
        if self.asks.stage(ask) != Some(Stage::Permitted) {
            drop(permit);
            return self.void(&grant, "the asker had gone");
        }
        let mut nonce = [0; 16];
        if getrandom::fill(&mut nonce).is_err() {
            drop(permit);
            self.void(&grant, "the system gave no random bits");
            return self.answer(ask, failed("The system gave no random bits."), "permit");
        }
        let token = self.asks.issue(ask, permit, nonce, grant, Instant::now());
        self.tell(ToBroker::Permitted { ask, token });
    }

    fn begun(&mut self, ask: u64, stub: Stub, grant: &Grant, written: Result<u64, NotWritten>) {
        if let Err(error) = written {
            self.void(grant, "it could not be written down");
            return self.answer(ask, failed(&error.to_string()), &grant.because.rule);
        }
        if self.asks.stage(ask) != Some(Stage::Redeeming) {
            return self.void(grant, "the asker had gone");
        }
        if self.burst.is_frozen() {
            self.void(grant, "the box is frozen");
            return self.answer(ask, failed("The box is frozen, since much was destroyed within seconds."), &grant.because.rule);
        }
        let counts = grant.by == By::People || self.burst.counts_all();
        if counts && burst::destroys_far_away(&grant.request) {
            // This one still happens: it was written down as begun.
            self.destroyed(1);
        }
        self.asks.advance(ask, Stage::Acting);
        match self.releases.remove(&ask) {
            Some(answer) => {
                let judged = grant.request.evidence.credentials.iter().filter(|credential| credential.issued);
                let _ = answer.send(Ok(self.credentials.take(judged.map(|credential| credential.name.as_str()))));
            }
            None => self.tell(ToBroker::Redeemed { ask, proof: stub.strike() }),
        }
        if let Some(hold) = &grant.hold {
            let deeds = self.room.spent(hold);
            self.perform(deeds);
        }
    }

    /// A token that will not be used: its deed does not happen.
    pub(super) fn token_lost(&mut self, unspent: Unspent, why: &str) {
        self.void(&unspent.grant, why);
        self.answer(unspent.ask, failed(&format!("It was not sent: {why}.")), &unspent.grant.because.rule);
    }

    fn void(&mut self, grant: &Grant, why: &str) {
        let draft = self.tell_of(Event::Voided, grant, why);
        self.write(draft, Durability::Grouped);
        if let Some(hold) = &grant.hold {
            let deeds = self.room.lost(hold, why);
            self.perform(deeds);
        }
    }

    fn tell_of(&self, event: Event, grant: &Grant, note: &str) -> Draft {
        let hold = grant.hold.as_ref().map(|hold| hold.as_str().to_owned());
        Draft { hold, note: note.to_owned(), ..Draft::of(event, &self.session, &grant.request, &grant.because) }
    }

    fn looked_again(&mut self, id: &HoldId, found: Found) {
        let Some(shown) = self.room.request(id) else { return };
        let mut now = shown.clone();
        review::apply(&mut now, found);
        let verdict = review::worse(shown, &now).and_then(|()| match self.policy.judge(now) {
            // The policy has no time-out of its own for a person's yes, but its rules may have ended meanwhile.
            Judgement::Deny(denied) => Err(format!("the policy denies it now: {}", denied.because.reason)),
            Judgement::Allow(granted) => {
                drop(granted);
                Ok(())
            }
            Judgement::Hold(hold) => {
                drop(hold);
                Ok(())
            }
        });
        let deeds = self.room.looked(id, verdict, Instant::now());
        self.perform(deeds);
    }

    /// Does what the waiting room wants done.
    pub(super) fn perform(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Opened(id) => {
                    self.words.opened(&id, Instant::now());
                    self.write_held(id);
                }
                Deed::Joined(id, Asker(ask)) => {
                    let note = format!("question {ask} joined");
                    self.write(Draft { hold: Some(id.as_str().to_owned()), note, ..Draft::new(Event::Noted, &self.session) }, Durability::Grouped);
                }
                Deed::Refuse(Asker(ask), refusal) => {
                    // A refusal that belongs to no hold has no other entry.
                    if refusal.approval_id.is_none() {
                        let note = format!("question {ask}: {}", refusal.reason);
                        self.write(Draft { note, ..Draft::new(Event::Denied, &self.session) }, Durability::Grouped);
                    }
                    self.answer(ask, refusal, "hold");
                }
                Deed::Leased(id, lease) => self.lease(&id, lease),
                Deed::LookAgain(id) => {
                    let Some(request) = self.room.request(&id).cloned() else { continue };
                    let which = review::which(&request, self.can_look);
                    if which.is_empty() {
                        self.looked_again(&id, Vec::new());
                    } else {
                        self.look(&request, which, Vec::new(), move |found, _| Inner::LookedAgain { id, found });
                    }
                }
                Deed::Pass(id, Asker(ask), granted) => self.commit(ask, Some(id), *granted),
                Deed::Ended(ended) => self.ended(*ended),
            }
        }
    }

    fn write_held(&mut self, id: HoldId) {
        let Some(waits) = self.room.one(&id, Instant::now()) else { return };
        let draft = Draft { hold: Some(id.as_str().to_owned()), ..Draft::of(Event::Held, &self.session, waits.request, waits.because) };
        self.work(move |ledger| Inner::Held { id, written: ledger.write(draft, Durability::Synced) });
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { id, request, because, how } = ended;
        self.words.ended(&id);
        let (event, note, rulings) = match how {
            // `Approved` and `Begun` tell of it.
            HoldEnd::Spent => return,
            // Told where the token was lost.
            HoldEnd::Lost(_) => return,
            HoldEnd::Silence => (Event::Denied, "nobody ruled on it in time".to_owned(), Vec::new()),
            HoldEnd::Denied { by, channel, because } => (Event::Denied, because, vec![format!("no: {by} by {channel}")]),
            HoldEnd::Voided(worse) => (Event::Voided, format!("approved, but {worse}"), Vec::new()),
            HoldEnd::Forgotten => (Event::Voided, "approved, and not asked for again in time".to_owned(), Vec::new()),
            HoldEnd::Stopped(why) => (Event::Denied, why, Vec::new()),
        };
        let draft = Draft { hold: Some(id.as_str().to_owned()), note, rulings, ..Draft::of(event, &self.session, &request, &because) };
        self.write(draft, Durability::Grouped);
    }

    /// Answers a question with no, once, and remembers it for `why`.
    fn answer(&mut self, ask: u64, refusal: Refusal, rule: &str) {
        // Nobody is there any more, or it was answered.
        let Some(asked) = self.asks.close(ask) else { return };
        let rule = asked.waits_by.as_deref().unwrap_or(rule);
        if Who::of(ask) == Who::FileGate {
            // An errno says too little, and the broker is asked for the rest. Nothing hangs on its hearing of it.
            let _ = self.to_broker.try_send(ToBroker::Told { summary: asked.summary.clone(), refusal: refusal.clone() });
        }
        self.remember(asked.summary, rule, &refusal);
        self.tell(ToBroker::Refused { ask, refusal });
    }

    fn remember(&mut self, summary: String, rule: &str, refusal: &Refusal) {
        // What is pending may still happen: it is no refusal yet.
        if refusal.kind != RefusalKind::Pending {
            self.refused_in_all += 1;
        }
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let past = Past { at: u64::try_from(at).unwrap_or(u64::MAX), summary, rule: safe::line(rule, 300), refusal: refusal.clone() };
        if self.refused.len() >= REFUSALS {
            self.refused.pop_front();
        }
        self.refused.push_back(past);
    }

    /// At the end: whoever is still open is told no.
    pub(super) fn drop_ask(&mut self, ask: u64, why: &str) {
        match self.asks.stage(ask) {
            Some(Stage::Acting) | None => {
                self.asks.close(ask);
            }
            Some(Stage::Open | Stage::Permitted | Stage::Redeeming) => {
                if let Some(unspent) = self.asks.take_token(ask) {
                    self.void(&unspent.grant, why);
                }
                self.answer(ask, failed(&format!("It was not sent: {why}.")), "end");
            }
        }
    }

    fn tell(&mut self, message: ToBroker) {
        if let ToBroker::Refused { ask, refusal } = &message
            && let Some(answer) = self.releases.remove(ask)
        {
            let _ = answer.send(Err(refusal.reason.clone()));
        }
        let to = match &message {
            ToBroker::Permitted { ask, .. } | ToBroker::Refused { ask, .. } | ToBroker::Redeemed { ask, .. } if Who::of(*ask) == Who::FileGate => {
                self.to_files.as_ref()
            }
            ToBroker::Permitted { .. } | ToBroker::Refused { .. } | ToBroker::Redeemed { .. } | ToBroker::Told { .. } => Some(&self.to_broker),
        };
        if to.is_none_or(|to| to.try_send(message).is_err()) {
            self.fatal = Some(Fatal::Broker("it does not read its answers".to_owned()));
        }
    }

    fn look(&mut self, request: &Request, which: Vec<usize>, traces: Vec<Fingerprint>, back: impl FnOnce(Found, Request) -> Inner + Send + 'static) {
        let (looker, mut request, to_self, find) = (self.looker.clone(), request.clone(), self.to_self.clone(), Arc::clone(&self.find));
        self.aside += 1;
        tokio::spawn(async move {
            let search = (!traces.is_empty()).then(|| tokio::task::spawn_blocking(move || find(&traces)));
            let found = match looker {
                Some(looker) => looker.look(&request, &which).await,
                None => which.iter().map(|index| (*index, Err("this box has nothing to look with".to_owned()))).collect(),
            };
            if let Some(search) = search {
                for (index, place) in search.await.unwrap_or_default() {
                    if let Some(credential) = request.evidence.credentials.get_mut(index) {
                        credential.name = format!("{} (lies in {place})", credential.name);
                    }
                }
            }
            let _ = to_self.send(back(found, request)).await;
        });
    }

    /// Writes an entry that nothing waits for.
    pub(super) fn write(&mut self, draft: Draft, durability: Durability) {
        self.work(move |ledger| Inner::Written(ledger.write(draft, durability)));
    }

    /// Does something that may wait for the disk aside.
    pub(super) fn work(&mut self, work: impl FnOnce(&Ledger) -> Inner + Send + 'static) {
        let (ledger, to_self) = (self.ledger.clone(), self.to_self.clone());
        self.aside += 1;
        tokio::spawn(async move {
            let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
            let inner = done.unwrap_or_else(|error| Inner::Vanished(format!("a thread that writes has failed: {error}")));
            let _ = to_self.send(inner).await;
        });
    }
}

/// The ledger for a grant whose permit leaves this process as a token. That is worth nothing until it is redeemed, and the entry that is written
/// then is on disk before the deed, with all that stands before it: one sync brings both there.
struct Followed<'l>(&'l Ledger);

impl Journal for Followed<'_> {
    fn append(&mut self, draft: Draft, _: Durability) -> Result<u64, NotWritten> {
        self.0.write(draft, Durability::Grouped)
    }
}

fn failed(reason: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Failed,
        operation: String::new(),
        place: String::new(),
        reason: reason.to_owned(),
        guidance: "Nothing was sent. Tell the person who started this box.".to_owned(),
        approval_id: None,
    }
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
    }
}
