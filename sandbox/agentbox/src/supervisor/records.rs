//! What the broker allowed by itself, on its way to the ledger. Its word is checked: it may tell only of plain allowances.

use agentbox_core::{
    ledger::{Draft, Event},
    safe,
    verdict::Because,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Inner, burst, deeds::Loss};
use crate::ledger::Ledger;

/// Groups of records that wait for the disk. Beyond it the broker waits.
const WAITING: usize = 8;

/// Longest text of a record, in characters.
const TEXT: usize = 400;

/// Operations of one record; core writes no more either.
const OPERATIONS: usize = 64;

/// Starts the task that writes records in order; it ends when the sender is gone and all is written.
pub(super) fn start(ledger: Ledger, session: String, to_loop: mpsc::Sender<Inner>) -> (mpsc::Sender<Vec<Draft>>, JoinHandle<()>) {
    let (to, mut from) = mpsc::channel::<Vec<Draft>>(WAITING);
    let task = tokio::spawn(async move {
        while let Some(drafts) = from.recv().await {
            let mut checked = Vec::with_capacity(drafts.len());
            for draft in drafts {
                match check(draft, &session) {
                    Ok(draft) => checked.push(draft),
                    Err(why) => {
                        let _ = to_loop.send(Inner::Lost(Loss::Broker(why.to_owned()))).await;
                        return;
                    }
                }
            }
            let losses = checked.iter().filter(|draft| burst::tells_of_loss(draft)).count();
            if losses > 0 {
                let _ = to_loop.send(Inner::Destroyed(losses)).await;
            }
            let ledger = ledger.clone();
            let written = tokio::task::spawn_blocking(move || ledger.write_group(checked));
            let failed = match written.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = failed {
                // The broker has acted on these already and would go on to: the box must end.
                let _ = to_loop.send(Inner::Lost(Loss::Ledger(why))).await;
                return;
            }
        }
    });
    (to, task)
}

fn check(draft: Draft, session: &str) -> Result<Draft, &'static str> {
    if draft.event != Event::Allowed || !draft.rulings.is_empty() || !draft.signatures.is_empty() || draft.hold.is_some() {
        return Err("it sent an entry that is no plain allowance");
    }
    let text = |text: &str| safe::line(text, TEXT);
    Ok(Draft {
        event: Event::Allowed,
        session: session.to_owned(),
        digest: draft.digest,
        summary: text(&draft.summary),
        operations: draft.operations.iter().take(OPERATIONS).map(|operation| safe::line(operation, 2 * TEXT)).collect(),
        because: draft.because.map(|b| Because { action: text(&b.action), place: text(&b.place), rule: text(&b.rule), reason: text(&b.reason) }),
        rulings: Vec::new(),
        signatures: Vec::new(),
        hold: None,
        note: text(&draft.note),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_allowances_only() {
        let plain = Draft { summary: "GET \u{1b}[2J".to_owned(), ..Draft::new(Event::Allowed, "another") };
        let taken = check(plain.clone(), "mine").unwrap();
        assert_eq!((taken.session.as_str(), taken.summary.as_str()), ("mine", "GET \\u{1b}[2J"));
        for event in [Event::SessionStarted, Event::SessionEnded, Event::Denied, Event::Held, Event::Approved, Event::Begun, Event::Voided, Event::Noted] {
            assert!(check(Draft { event, ..plain.clone() }, "mine").is_err());
        }
        assert!(check(Draft { rulings: vec!["uid:0 by terminal".to_owned()], ..plain.clone() }, "mine").is_err());
        assert!(check(Draft { hold: Some("k7m2qp".to_owned()), ..plain }, "mine").is_err());
    }
}
