//! Tests of who may say yes, and how: what a signature is wanted for, and what each layer may change of it.

use super::{settings::Unsigned, *};
use crate::{
    ruling::{Decision, Proof, Ruling, Whose},
    verdict::{Presence, Quorum, Terms, Unsettled},
};

const TABLE: &str = r#"
[place.internet]
hosts = ["*"]
write = "hold"
destroy = "hold"
[place.guarded]
hosts = ["guarded.example"]
protected = true
write = "hold"
[place.typed]
hosts = ["typed.example"]
write = "hold"
confirm = "name"
[place.pair]
hosts = ["pair.example"]
write = "hold"
approvers = 2
[place.other]
hosts = ["other.example"]
write = "hold"
somebody-else = true
"#;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVzdC1hLWtleS1mb3ItdGVzdHMtb2YtdGhlLXBvbGljeQ== me";

fn hold(policy: &Policy, request: Request) -> Hold {
    match policy.judge_at(request, 1_000) {
        Judgement::Hold(hold) => *hold,
        other @ (Judgement::Allow(_) | Judgement::Deny(_)) => panic!("not held: {other:?}"),
    }
}

fn terms(policy: &Policy, effect: Effect, host: &str) -> Terms {
    hold(policy, at_host(effect, host, 443)).terms()
}

fn with(approval: &str) -> Policy {
    user(&format!("{TABLE}\n[approval]\n{approval}\n"))
}

#[test]
fn what_a_signature_is_wanted_for() {
    use Presence::{Account, Signature};
    let keys = format!("approver = [\"{KEY}\"]");
    let [none, named] = ["", &keys].map(with);
    let [loose, strict] = ["everything", "nothing"].map(|word| with(&format!("{keys}\nunsigned = \"{word}\"")));
    for (effect, host, wanted) in [
        (Effect::Write, "some.example", [Account, Account, Account, Signature]),
        (Effect::Destroy, "some.example", [Account, Signature, Account, Signature]),
        (Effect::Opaque, "some.example", [Account, Signature, Account, Signature]),
        (Effect::Write, "guarded.example", [Account, Signature, Account, Signature]),
        (Effect::Write, "typed.example", [Account, Signature, Account, Signature]),
        // One account is one person, however many programs it runs: here nothing else tells people apart.
        (Effect::Write, "pair.example", [Signature, Signature, Signature, Signature]),
        (Effect::Write, "other.example", [Signature, Signature, Signature, Signature]),
    ] {
        let found = [&none, &named, &loose, &strict].map(|policy| terms(policy, effect, host).presence);
        assert_eq!(found, wanted, "{effect} at {host}");
    }
    assert_eq!(terms(&none, Effect::Write, "other.example").quorum, Quorum::SomebodyElse);
    assert_eq!(terms(&none, Effect::Write, "pair.example").quorum, Quorum::Anybody);
}

#[test]
fn a_write_beside_something_worse_is_no_longer_light() {
    let policy = with(&format!("approver = [\"{KEY}\"]"));
    let mut request = at_host(Effect::Write, "some.example", 443);
    request.operations[0].yields_credential = true;
    assert_eq!(hold(&policy, request).terms().presence, Presence::Signature);
    let mut request = at_host(Effect::Write, "some.example", 443);
    request.operations.extend(at_host(Effect::Destroy, "some.example", 443).operations);
    assert_eq!(hold(&policy, request).terms().presence, Presence::Signature);
    let mut request = at_host(Effect::Write, "some.example", 443);
    request.operations[0].delegates = Some(Delegation { why: "runs it".to_owned(), reach: Reach::Anywhere });
    assert_eq!(hold(&policy, request).terms().presence, Presence::Signature);
    assert_eq!(hold(&policy, at_host(Effect::Write, "some.example", 443)).terms().presence, Presence::Account);
}

fn yes(hold: &Hold, who: &str, proof: Proof) -> Ruling {
    Ruling {
        approver: who.to_owned(),
        proof,
        channel: "terminal".to_owned(),
        digest: hold.card_digest(),
        typed: None,
        lasting: None,
        decision: Decision::Approve,
    }
}

fn signed(whose: Whose) -> Proof {
    Proof::Signed { whose, statement: "s".to_owned(), signature: "g".to_owned() }
}

#[test]
fn an_account_settles_nothing_that_wants_a_signature() {
    let policy = with(&format!("approver = [\"{KEY}\"]"));
    let grave = hold(&policy, at_host(Effect::Destroy, "some.example", 443));
    let unsigned = yes(&grave, "uid:1", Proof::Peer);
    let (grave, why) = grave.settle(&[unsigned]).unwrap_err();
    assert_eq!(why, Unsettled::Unsigned);
    let ruling = yes(&grave, "SHA256:a", signed(Whose::Untold));
    assert_eq!(grave.settle(&[ruling]).unwrap().rulings().len(), 1);
}

#[test]
fn two_people_are_two_keys() {
    let pair = hold(&with(""), at_host(Effect::Write, "pair.example", 443));
    let (one, same) = (yes(&pair, "SHA256:a", signed(Whose::Untold)), yes(&pair, "SHA256:a", signed(Whose::Untold)));
    let (pair, why) = pair.settle(&[one.clone(), same]).unwrap_err();
    assert_eq!(why, Unsettled::NeedsMore { have: 1, want: 2 });
    let account = yes(&pair, "uid:1", Proof::Peer);
    let (pair, why) = pair.settle(&[one.clone(), account]).unwrap_err();
    assert_eq!(why, Unsettled::Unsigned, "an account beside a key is not a second person");
    let two = yes(&pair, "SHA256:b", signed(Whose::Untold));
    assert!(pair.settle(&[one, two]).is_ok());
}

#[test]
fn somebody_else_is_not_the_starter_and_not_unknown() {
    let mut other = Box::new(hold(&with(""), at_host(Effect::Write, "other.example", 443)));
    for whose in [Whose::Starter, Whose::Untold] {
        let ruling = yes(&other, "SHA256:a", signed(whose));
        let (back, why) = other.settle(&[ruling]).unwrap_err();
        assert_eq!(why, Unsettled::NeedsMore { have: 1, want: 2 });
        other = back;
    }
    let rulings = [yes(&other, "SHA256:a", signed(Whose::Starter)), yes(&other, "SHA256:b", signed(Whose::SomebodyElse))];
    assert!(other.settle(&rulings).is_ok());
}

#[test]
fn an_untrusted_repository_brings_no_approver_but_its_wish_counts() {
    let repository = format!("[approval]\napprover = [\"{KEY}\"]\nown = [\"{KEY}\"]\n");
    let with = |trusted| load(vec![layer(LayerKind::Profile, TABLE), layer(LayerKind::Repository { trusted }, &repository)]);
    let (untrusted, trusted) = (with(false), with(true));
    assert_eq!(untrusted.settings().approval.unsigned, Unsigned::Reversible);
    assert!(untrusted.settings().approval.approvers.is_empty() && untrusted.settings().approval.own.is_empty());
    assert!(untrusted.warnings().iter().any(|warning| warning.contains("wants rulings to be signed")), "{:?}", untrusted.warnings());
    assert_eq!((trusted.settings().approval.approvers.len(), trusted.settings().approval.own.len()), (1, 1));
    assert!(!trusted.warnings().iter().any(|warning| warning.contains("wants rulings to be signed")));
    // It cannot take a signature back that the user wants.
    let user_wants = layer(LayerKind::User, &format!("[approval]\napprover = [\"{KEY}\"]\nunsigned = \"nothing\""));
    let loosens = layer(LayerKind::Repository { trusted: false }, "[approval]\nunsigned = \"everything\"");
    assert_eq!(load(vec![loosens, user_wants]).settings().approval.unsigned, Unsigned::Nothing);
}

#[test]
fn a_kind_may_be_lent_only_where_each_place_says_so() {
    use std::time::Duration;
    let lent = |policy: &Policy, effect, host: &str| terms(policy, effect, host).lease;
    let table = "[place.internet]\nhosts=[\"*\"]\nwrite=\"hold\"\n[place.lent]\nhosts=[\"lent.example\"]\nwrite=\"hold\"\ndestroy=\"hold\"\nlease=\"1h\"\n\
                 [place.typed]\nhosts=[\"typed.example\"]\nwrite=\"hold\"\nconfirm=\"name\"\nlease=\"1h\"\n\
                 [place.guarded]\nhosts=[\"guarded.example\"]\nprotected=true\nwrite=\"hold\"\nlease=\"10m\"\n\
                 [place.part]\nresources=[\"x:env/part\"]\nwrite=\"hold\"\nlease=\"1h\"\n[place.whole]\nresources=[\"x:project/p\"]\nprotected=true\nwrite=\"hold\"\n";
    let policy = user(table);
    assert_eq!(lent(&policy, Effect::Write, "some.example"), Duration::ZERO);
    assert_eq!(lent(&policy, Effect::Write, "lent.example"), Duration::from_secs(3600));
    assert_eq!(lent(&policy, Effect::Destroy, "lent.example"), Duration::from_secs(3600));
    assert_eq!(lent(&policy, Effect::Opaque, "lent.example"), Duration::ZERO, "what is not understood could be anything");
    assert_eq!(lent(&policy, Effect::Write, "typed.example"), Duration::ZERO, "one name is not the others");
    assert_eq!(lent(&policy, Effect::Write, "guarded.example"), Duration::from_secs(600));
    let inside = on_thing(Effect::Write, "x.set", "x:thing/1", &[&["x:env/part", "x:project/p"]]);
    assert_eq!(hold(&policy, inside).terms().lease, Duration::ZERO, "a protected place above it must say so, too");
}
