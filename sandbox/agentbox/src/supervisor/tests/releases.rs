//! The line of the process that holds the credentials: what it may put in, and that no other way leads there.

use agentbox_core::{Credential, Effect, RefusalKind, Request, wire};
use agentbox_desk::control::{FromDesk, ToDesk};

use super::bench::*;

/// A request that carries the placeholder of a credential, and something foreign.
fn carrying(number: u8, effect: Effect) -> Box<Request> {
    let mut request = placed(number, effect, "staging");
    let of = |name: &str, issued| Credential { position: "x-api-key header".to_owned(), name: name.to_owned(), issued };
    request.evidence.credentials = vec![of("unknown", false), of("api", true)];
    request
}

#[test]
fn a_token_is_worth_the_credentials_that_were_judged_and_once() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, carrying(1, Effect::Write));
    let nonce = bench.permitted(1);
    assert_eq!(bench.release(1, &nonce, 1), Ok(vec!["api".to_owned()]));
    assert!(bench.release(1, &nonce, 1).is_err());
    // The broker hears of it as well; nobody waits for it there.
    let _ = bench.refused(1);
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.refused(1).kind, RefusalKind::Failed, "nor has the broker anything left of it");
    // One without a credential releases none.
    bench.ask(2, placed(2, Effect::Write, "staging"));
    let nonce = bench.permitted(2);
    assert_eq!(bench.release(2, &nonce, 2), Ok(Vec::new()));
    let FromDesk::Credentials(list) = bench.call(&ToDesk::Credentials) else { panic!("no list") };
    assert_eq!((list[0].name.as_str(), list[0].used), ("api", 1));
    let (_, entries) = bench.end();
    assert_eq!(events(&entries).iter().filter(|event| **event == agentbox_core::ledger::Event::Begun).count(), 2);
}

#[test]
fn another_request_under_the_same_token_gets_nothing() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, carrying(1, Effect::Write));
    let nonce = bench.permitted(1);
    assert!(bench.release(1, &nonce, 9).is_err(), "what would be sent is not what was permitted");
    let _ = bench.refused(1);
    assert!(bench.release(1, &nonce, 1).is_err(), "a token that was tried wrongly is struck");
}

#[test]
fn what_the_broker_redeemed_itself_opens_nothing_here() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, carrying(1, Effect::Write));
    let nonce = bench.permitted(1);
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.redeemed(1), nonce);
    assert!(bench.release(1, &nonce, 1).is_err());
    assert!(bench.release(wire::FILES_FROM, "x", 1).is_err(), "and no question of the file gate is the broker's");
    assert!(bench.release(77, "made up", 1).is_err());
}

#[test]
fn an_ended_credential_is_neither_released_nor_asked_about() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, carrying(1, Effect::Write));
    let nonce = bench.permitted(1);
    assert!(matches!(bench.call(&ToDesk::EndCredential { name: "api".to_owned() }), FromDesk::Credentials(_)));
    assert_eq!(bench.release(1, &nonce, 1), Ok(Vec::new()), "permitted before, ended since");
    bench.ask(2, carrying(2, Effect::Read));
    let refusal = bench.refused(2);
    assert!(refusal.kind == RefusalKind::Denied && refusal.reason.contains("ended by a person"), "{refusal:?}");
}
