//! Signed rulings: what is replayed, exchanged, altered, too late, or another's, approves nothing.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use agentbox_core::{Effect, ledger::Event};
use agentbox_desk::{
    Card, HoldId,
    control::{FromDesk, RuledWord, ToDesk, Via},
    signature::{Approvers, KeyText, NAMESPACE, statement},
};

use super::bench::*;

/// Whether the program is here. CI has it.
fn keygen() -> bool {
    let there = Command::new("ssh-keygen").arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "in CI nothing is skipped: no ssh-keygen");
    if !there {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no ssh-keygen, which comes with openssh-client");
    }
    there
}

/// People with keys of their own.
struct People(tempfile::TempDir);

impl People {
    fn new(names: &[&str]) -> Option<Self> {
        if !keygen() {
            return None;
        }
        let people = Self(tempfile::tempdir().unwrap());
        for name in names {
            let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-C", name, "-f"]).arg(people.key(name)).status().unwrap();
            assert!(made.success());
        }
        Some(people)
    }

    fn key(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> KeyText {
        KeyText { file: None, text: std::fs::read_to_string(self.key(name).with_extension("pub")).unwrap() }
    }

    fn approvers(&self, names: &[&str], own: &[&str]) -> Approvers {
        let texts = |names: &[&str]| names.iter().map(|name| self.text(name)).collect::<Vec<_>>();
        Approvers::read(&texts(names), &texts(own)).unwrap()
    }

    fn sign(&self, name: &str, namespace: &str, text: &str) -> String {
        let key: &Path = &self.key(name);
        let mut child = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", namespace, "-f"])
            .arg(key)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `name` says to the card.
    fn yes(&self, name: &str, card: &Card) -> ToDesk {
        let text = statement(card, card.wants.typed.as_deref(), None).unwrap();
        approve(card, Some(self.sign(name, NAMESPACE, &text)))
    }
}

fn approve(card: &Card, signature: Option<String>) -> ToDesk {
    ToDesk::Approve { id: card.id.clone(), card: card.digest.unwrap(), typed: card.wants.typed.clone(), lasting: None, via: Via::Terminal, signature }
}

fn bench(approvers: Approvers, approval: &'static str) -> Bench {
    Bench::new(Setting { approval, approvers, ..Setting::default() })
}

/// Every ruling must be signed.
const STRICT: &str = "patience = \"10m\"\nunsigned = \"nothing\"";

fn no(answer: FromDesk, says: &str) {
    let FromDesk::No(why) = answer else { panic!("{answer:?}") };
    assert!(why.contains(says), "{why}");
}

#[test]
fn a_signature_of_what_was_shown_approves_once() {
    let Some(people) = People::new(&["anna"]) else { return };
    let mut bench = bench(people.approvers(&["anna"], &[]), STRICT);
    bench.ask(1, deletion(1));
    let card = bench.card(&bench.hold(1));
    let yes = people.yes("anna", &card);
    assert_eq!(bench.call(&yes), FromDesk::Ruled(RuledWord::Approved));
    let nonce = bench.permitted(1);
    // The very same word again, while it is on its way, and when it is over.
    assert!(matches!(bench.call(&yes), FromDesk::No(_)));
    bench.redeem(1, &nonce, 1);
    bench.redeemed(1);
    assert!(matches!(bench.call(&yes), FromDesk::No(_)));
    let (_, entries) = bench.end();
    let approved = entries.iter().find(|entry| entry.draft.event == Event::Approved).unwrap();
    let [ruling] = &approved.draft.rulings[..] else { panic!("{approved:?}") };
    assert!(ruling.starts_with("SHA256:") && ruling.ends_with("(anna) by terminal"), "{ruling}");
    // Whoever has the ledger and the public key can check it, without us.
    let [signed] = &approved.draft.signatures[..] else { panic!("{approved:?}") };
    assert!(signed.statement.contains("operation: destroy railway.volumeDelete pgdata\n"), "{}", signed.statement);
    assert!(people.approvers(&["anna"], &[]).verify(&signed.statement, &signed.signature).is_ok());
}

#[test]
fn an_account_alone_approves_nothing_that_wants_a_signature() {
    let Some(people) = People::new(&["anna"]) else { return };
    let mut bench = bench(people.approvers(&["anna"], &[]), STRICT);
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    no(bench.approve(&id), "agentbox approve --sign");
    bench.quiet();
    // A no needs no signature: it cannot harm.
    assert_eq!(bench.call(&ToDesk::Deny { id, because: String::new(), via: Via::Terminal }), FromDesk::Ruled(RuledWord::Denied));
    let _ = bench.refused(1);
}

#[test]
fn reversible_things_may_be_approved_by_the_account() {
    let Some(people) = People::new(&["anna"]) else { return };
    let mut bench = bench(
        people.approvers(&["anna"], &[]),
        "unsigned = \"reversible\"\npatience = \"10m\"\n[place.light]\nhosts = [\"light.example.com\"]\nwrite = \"hold\"\ndestroy = \"hold\"",
    );
    for (ask, effect) in [(1, Effect::Write), (2, Effect::Destroy)] {
        let mut request = placed(u8::try_from(ask).unwrap(), effect, "nowhere");
        request.operations[0].resource = agentbox_core::Resource::rooted(agentbox_core::ResourceId::new("note", "1"));
        request.destination.as_mut().unwrap().host = agentbox_core::HostName::parse("light.example.com").unwrap();
        bench.ask(ask, request);
        let id = bench.hold(1);
        if effect == Effect::Write {
            bench.approved(&id);
            bench.permitted(ask);
            let _ = bench.call(&ToDesk::Deny { id, because: String::new(), via: Via::Terminal });
            bench.tell(&agentbox_core::wire::ToSupervisor::Gone { ask });
            bench.holds(0);
        } else {
            no(bench.approve(&id), "wants a signature");
        }
    }
}

#[test]
fn nothing_else_that_somebody_signed_counts() {
    let Some(people) = People::new(&["anna", "eve"]) else { return };
    let mut bench = bench(people.approvers(&["anna"], &[]), STRICT);
    bench.ask(1, deletion(1));
    let first = bench.card(&bench.hold(1));
    bench.ask(2, deletion(2));
    let ids = bench.holds(2);
    let second = bench.card(ids.iter().find(|id| **id != first.id).unwrap());
    let text = |card: &Card| statement(card, card.wants.typed.as_deref(), None).unwrap();
    // Another's key.
    no(bench.call(&people.yes("eve", &first)), "none of the policy's approvers");
    // Anna's own word, on another hold.
    no(bench.call(&approve(&first, Some(people.sign("anna", NAMESPACE, &text(&second))))), "not of what was shown");
    // Anna's signature for something that is no ruling: a commit, a file, a log-in.
    for namespace in ["git", "file", ""] {
        let signature = if namespace.is_empty() { "hello".to_owned() } else { people.sign("anna", namespace, &text(&first)) };
        assert!(matches!(bench.call(&approve(&first, Some(signature))), FromDesk::No(_)));
    }
    // She was shown another card: milder words, another box, a later end, another name to type.
    for change in [
        (|card: &mut Card| card.losses.clear()) as fn(&mut Card),
        |card| card.place = "staging".to_owned(),
        |card| card.operations[0].effect = Effect::Read,
        |card| card.session = "b2".to_owned(),
        |card| card.until += 3600,
        |card| card.nonce = "0".repeat(32),
        |card| card.wants.typed = None,
    ] {
        let mut shown = first.clone();
        change(&mut shown);
        no(bench.call(&approve(&first, Some(people.sign("anna", NAMESPACE, &text(&shown))))), "not of what was shown");
    }
    bench.quiet();
    bench.holds(2);
    let (_, entries) = bench.end();
    let told = entries.iter().filter(|entry| entry.draft.note.contains("does not count")).count();
    assert!(told >= 10, "refused signatures are written down: {told}");
    assert!(!events(&entries).contains(&Event::Approved));
}

#[test]
fn a_signature_is_for_one_hold_also_of_the_same_request() {
    let Some(people) = People::new(&["anna"]) else { return };
    let mut bench = bench(people.approvers(&["anna"], &[]), "patience = \"1s\"\nunsigned = \"nothing\"");
    bench.ask(1, deletion(1));
    let card = bench.card(&bench.hold(1));
    let yes = people.yes("anna", &card);
    // It is over before she is heard.
    let _ = bench.refused(1);
    assert!(matches!(bench.call(&yes), FromDesk::No(_)));
    bench.ask(2, deletion(1));
    let again = bench.card(&bench.hold(1));
    assert_ne!(again.nonce, card.nonce);
    let ToDesk::Approve { signature, .. } = yes else { panic!() };
    no(bench.call(&approve(&again, signature)), "not of what was shown");
}

const PAIR: &str = "patience = \"10m\"\n[place.pair]\nresources = [\"railway:environment/pair\"]\ndestroy = \"hold\"\napprovers = 2\n\
                    [place.else]\nresources = [\"railway:environment/else\"]\ndestroy = \"hold\"\nsomebody-else = true";

fn first_of(bench: &mut Bench, environment: &str) -> (HoldId, Card) {
    *bench.sight.lock().unwrap() = Ok(seen_in(environment, 1));
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let card = bench.card(&id);
    (id, card)
}

#[test]
fn two_approvers_are_two_keys() {
    let Some(people) = People::new(&["anna", "ben"]) else { return };
    let mut bench = bench(people.approvers(&["anna", "ben"], &[]), PAIR);
    let (id, card) = first_of(&mut bench, "pair");
    assert_eq!(bench.call(&people.yes("anna", &card)), FromDesk::Ruled(RuledWord::NeedsMore { have: 1, want: 2 }));
    // The same key twice, and the account beside it, are no second person.
    assert_eq!(bench.call(&people.yes("anna", &card)), FromDesk::Ruled(RuledWord::NeedsMore { have: 1, want: 2 }));
    no(bench.approve(&id), "wants a signature");
    assert_eq!(bench.card(&id).wants.have.len(), 1);
    bench.quiet();
    assert_eq!(bench.call(&people.yes("ben", &card)), FromDesk::Ruled(RuledWord::Approved));
    bench.permitted(1);
    let (_, entries) = bench.end();
    let approved = entries.iter().find(|entry| entry.draft.event == Event::Approved).unwrap();
    assert_eq!((approved.draft.rulings.len(), approved.draft.signatures.len()), (2, 2));
}

#[test]
fn who_started_the_box_is_not_somebody_else() {
    let Some(people) = People::new(&["anna", "ben"]) else { return };
    let mut bench = bench(people.approvers(&["anna", "ben"], &["anna"]), PAIR);
    let (_, card) = first_of(&mut bench, "else");
    assert_eq!(bench.call(&people.yes("anna", &card)), FromDesk::Ruled(RuledWord::NeedsMore { have: 1, want: 2 }));
    bench.quiet();
    assert_eq!(bench.call(&people.yes("ben", &card)), FromDesk::Ruled(RuledWord::Approved));
    bench.permitted(1);
}
