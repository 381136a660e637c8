//! What the broker says to the server itself, between the client's statements: it looks functions up, and lets what leans on them run where
//! the server refuses every write.

use std::{sync::Arc, time::Duration};

use agentbox_core::{Effect, Operation, RefusalKind, Request};
use bytes::Bytes;
use tokio::time::timeout;

use super::{
    frames,
    relay::{Decided, End, Up, decided},
    routines::{self, Known, MOST_ROUNDS},
    session::{Awaited, Fate, Guard, Session, Statement, Transaction},
};
use crate::{
    http::refusal,
    meaning::sql::Considered,
    session::{Value, excerpt, has_words},
};

/// For the answer to our own question.
const OWN: Duration = Duration::from_secs(10);

/// What is written down of a call that runs in a read-only transaction.
const READS: &str = "calls a function that only reads, as its definition says, where the server refuses every write";

/// What the broker itself has said in a session.
#[derive(Default)]
pub(super) struct Own {
    /// The name of our statements, portals and savepoints: nobody else's.
    name: String,
    /// Whether this server answers such questions.
    is_deaf: bool,
    known: Option<Known>,
    pub(super) guard: Option<Guard>,
    /// Portals that were bound within the guard.
    pub(super) portals: Vec<String>,
}

impl Up<'_> {
    /// Says statements of our own, of which the client hears nothing; `None` where the server refuses one. Only while nothing is on its way.
    async fn own(&mut self, texts: &[&str]) -> Result<Option<Vec<Vec<u8>>>, End> {
        self.say(texts);
        let _ = self.shared.session().learned();
        timeout(OWN, self.until(Session::is_settled)).await.map_err(std::io::Error::from)??;
        match self.shared.session().learned() {
            Ok(rows) => Ok(Some(rows)),
            Err(state) => {
                // It does not know what is asked about, and never will.
                self.own.is_deaf |= ["42", "0A", "XX"].iter().any(|class| state.starts_with(class));
                Ok(None)
            }
        }
    }

    /// The extended protocol under a name of our own leaves the client's unnamed statement and portal as they are.
    fn say(&mut self, texts: &[&str]) {
        let name = self.own.name.clone();
        for text in texts {
            let parse = frames::of_texts(b'P', &[name.as_bytes(), text.as_bytes()], &[0, 0]);
            self.send(&parse, Awaited::Parse(name.clone(), Statement::new(Bytes::new())), Fate::Swallow);
            let bind = frames::of_texts(b'B', &[name.as_bytes(), name.as_bytes()], &[0; 6]);
            self.send(&bind, Awaited::Bind(name.clone(), None), Fate::Swallow);
            self.send(&frames::of_texts(b'E', &[name.as_bytes()], &[0; 4]), Awaited::Execute(None), Fate::Learn);
            for (letter, thing) in [(b'P', frames::Thing::Portal), (b'S', frames::Thing::Statement)] {
                self.close(letter, thing, &name);
            }
        }
        self.send(&frames::message(b'S', b""), Awaited::Sync, Fate::Swallow);
    }

    fn close(&mut self, letter: u8, thing: frames::Thing, name: &str) {
        let mut body = vec![letter];
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        self.send(&frames::message(b'C', &body), Awaited::Close(thing, name.to_owned()), Fate::Swallow);
    }

    /// Whether the broker may say something now: everything is answered, and the transaction has not failed.
    async fn may_speak(&mut self) -> Result<bool, End> {
        if self.own.is_deaf || self.own.guard.is_some() || self.shared.session().is_in_batch() {
            return Ok(false);
        }
        if self.own.name.is_empty() {
            let mut nonce = [0; 12];
            if getrandom::fill(&mut nonce).is_err() {
                self.own.is_deaf = true;
                return Ok(false);
            }
            self.own.name = nonce.iter().fold("agentbox_own_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        }
        self.until(Session::is_settled).await?;
        Ok(self.shared.session().transaction() != Transaction::Failed)
    }

    /// Asks the server something; in a transaction of the client's within a savepoint, so that an error does not fail it.
    pub(super) async fn ask_server(&mut self, text: &str) -> Result<Option<Vec<Vec<u8>>>, End> {
        if !self.may_speak().await? {
            return Ok(None);
        }
        if self.shared.session().transaction() == Transaction::Idle {
            return self.own(&[text]).await;
        }
        let name = self.own.name.clone();
        let (save, back, release) = (format!("SAVEPOINT {name}"), format!("ROLLBACK TO SAVEPOINT {name}"), format!("RELEASE SAVEPOINT {name}"));
        if self.own(&[&save]).await?.is_none() {
            return Ok(None);
        }
        let rows = self.own(&[text]).await?;
        let after: &[&str] = if rows.is_none() { &[&back, &release] } else { &[&release] };
        self.own(after).await?;
        Ok(rows)
    }

    /// What the statement would do. Functions that it calls are looked up, where that could change the answer.
    pub(super) async fn consider(&mut self, statement: &Statement) -> Result<Arc<Considered>, End> {
        if self.own.known.as_ref().is_none_or(Known::is_old) {
            self.know(Known::new());
        }
        let mut considered = self.shared.session().consider(statement);
        for _ in 0..MOST_ROUNDS {
            if considered.wondered.is_empty() || !self.could_matter(&considered) || !self.may_speak().await? {
                break;
            }
            let (question, names) = routines::question(&considered.wondered);
            let rows = if names.is_empty() { Some(Vec::new()) } else { self.ask_server(&question).await? };
            let Some(mut known) = self.own.known.take() else { break };
            let learned = rows.and_then(|rows| known.learn(&considered.wondered, &rows)).is_some();
            self.know(if learned { known } else { Known::new() });
            considered = self.shared.session().consider(statement);
            if !learned {
                // Judged by their names.
                break;
            }
        }
        Ok(considered)
    }

    fn know(&mut self, known: Known) {
        self.shared.session().facts.change().look_up(Arc::new(known.routines.clone()));
        self.own.known = Some(known);
    }

    /// Whether anything that the functions do could change the judgement: not where everything is allowed.
    fn could_matter(&self, considered: &Considered) -> bool {
        let worst = considered.operations.iter().cloned().map(|operation| Operation { effect: Effect::Destroy, ..operation });
        !self.asking.is_allowed(&self.asking.sketch(worst.collect()))
    }

    /// Judges a statement whose meaning was looked up: as it stands where writes are welcome; where only reading is granted and it only
    /// reads, where the server refuses all else; and by asking.
    pub(super) async fn judge_leaning(
        &mut self,
        statement: &Statement,
        found: Vec<Operation>,
        leaned: Vec<Operation>,
        values: &[Value<'_>],
        question: &(dyn Fn(&[Operation], String) -> Request + Sync),
    ) -> Result<Decided, End> {
        let mut bare = found.clone();
        let is_told = |operation: &Operation| found.iter().any(|known| (known.effect, &known.resource) == (operation.effect, &operation.resource));
        bare.extend(leaned.iter().filter(|operation| !is_told(operation)).cloned());
        if let Some(answer) = self.asking.at_once(&|| question(&bare, String::new())).await {
            return decided(answer);
        }
        let mut reads = found.clone();
        reads.extend(leaned.into_iter().map(|operation| Operation { effect: Effect::Read, reason: READS.to_owned(), ..operation }));
        let had_guard = self.own.guard.is_some();
        if self.asking.is_plain(&self.asking.sketch(reads.clone())) && self.enter(statement).await? {
            let answer = self.asking.at_once(&|| question(&reads, String::new())).await.map(decided).transpose()?;
            if let Some(Decided::Send(yes)) = answer {
                return Ok(Decided::Inside(yes));
            }
            if !had_guard {
                self.leave();
            }
            if let Some(no) = answer {
                return Ok(no);
            }
        }
        let held = self.held().await?;
        let request = question(&bare, excerpt(&statement.text, values, self.locks(), &held));
        let answer = self.ask(request).await?;
        if let Decided::Send(yes) = &answer {
            // While somebody thought, somebody else may have changed the function.
            self.know(Known::new());
            if self.consider(statement).await?.operations != found {
                self.asking.done(yes.0.as_slice(), "nothing was sent: a function does something else by now");
                let why = "what a function of the statement does has changed since it was asked about";
                return Ok(Decided::Refuse(refusal(RefusalKind::Failed, "postgres.call", "", why, "Send it again: it is asked about anew.")));
            }
        }
        Ok(answer)
    }

    /// The locks that the client's transaction keeps while its next statement waits, for the card.
    pub(super) async fn held(&mut self) -> Result<Vec<String>, End> {
        if !self.shared.session().rests_in_transaction() {
            return Ok(Vec::new());
        }
        let rows = self.ask_server(routines::LOCKS).await?.unwrap_or_default();
        Ok(rows.iter().filter_map(|row| routines::only(row).ok()).collect())
    }

    /// Begins what refuses every write, where this statement may run in one: `false` where it may not.
    pub(super) async fn enter(&mut self, statement: &Statement) -> Result<bool, End> {
        if !is_one_query(&statement.text) {
            return Ok(false);
        }
        if self.own.guard.is_some() {
            return Ok(true);
        }
        if !self.may_speak().await? {
            return Ok(false);
        }
        let guard = if self.shared.session().transaction() == Transaction::Idle { Guard::Transaction } else { Guard::Savepoint };
        let name = self.own.name.clone();
        let begun = match guard {
            Guard::Transaction => self.own(&["BEGIN TRANSACTION READ ONLY"]).await?,
            Guard::Savepoint => {
                let begun = self.own(&[&format!("SAVEPOINT {name}")]).await?;
                if begun.is_some() {
                    let read_only = self.own(&["SET LOCAL transaction_read_only = on"]).await?;
                    if read_only.is_none() {
                        self.own(&[&format!("ROLLBACK TO SAVEPOINT {name}"), &format!("RELEASE SAVEPOINT {name}")]).await?;
                    }
                    read_only
                } else {
                    None
                }
            }
        };
        if begun.is_none() {
            return Ok(false);
        }
        self.own.guard = Some(guard);
        Ok(true)
    }

    /// What becomes of the answer to a message of the client's.
    pub(super) fn fate(&self) -> Fate {
        self.own.guard.map_or(Fate::Pass, Fate::Inside)
    }

    /// Ends it behind the client's statement. The server does it whatever became of that; the client's answer does not wait for it.
    pub(super) fn leave(&mut self) {
        let portals = std::mem::take(&mut self.own.portals);
        match self.own.guard.take() {
            None => {}
            Some(Guard::Transaction) => self.say(&["COMMIT"]),
            Some(Guard::Savepoint) => {
                // A portal that stays open would go on where writes are not refused.
                for portal in portals {
                    self.close(b'P', frames::Thing::Portal, &portal);
                }
                let release = format!("RELEASE SAVEPOINT {}", self.own.name);
                self.say(&[&release]);
            }
        }
    }
}

/// Whether a text is one query, of which nothing goes on afterwards: no cursor, no second statement, whatever its quotes are read as.
pub(super) fn is_one_query(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let first = text.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    !text.contains(&b';') && [&b"select"[..], b"with", b"values", b"table"].iter().any(|word| first.eq_ignore_ascii_case(word)) && !has_words(text, &["into"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_query_runs_in_it() {
        for text in ["SELECT f()", " select f(1) ;\n", "WITH a AS (SELECT 1) SELECT f() FROM a", "VALUES (f())"] {
            assert!(is_one_query(text.as_bytes()), "{text}");
        }
        for text in
            ["SELECT f(); COMMIT; SELECT g()", "SELECT ';', f()", "DECLARE c CURSOR FOR SELECT f()", "COMMIT", "SELECT f() INTO t", "/* */ SELECT f()", ""]
        {
            assert!(!is_one_query(text.as_bytes()), "{text}");
        }
    }
}
