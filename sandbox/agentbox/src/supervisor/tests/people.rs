//! What people see and steer besides single holds: the list of boxes, the burst guard, the agent's own words, a yes for a kind.

use agentbox_core::{
    Effect,
    ledger::{Draft, Event},
    wire::ToSupervisor,
};
use agentbox_desk::control::{BoxState, FromDesk, RuledWord, ToDesk, Via};

use super::bench::*;
use crate::supervisor::{End, Mode, Rein};

fn state(bench: &Bench) -> agentbox_desk::control::Running {
    match bench.call(&ToDesk::Describe) {
        FromDesk::Running(running) => *running,
        other => panic!("{other:?}"),
    }
}

/// Destroys something in staging, which the policy allows.
fn destroy(bench: &mut Bench, number: u8) {
    let ask = u64::from(number);
    bench.ask(ask, placed(number, Effect::Destroy, "staging"));
    let nonce = bench.permitted(ask);
    bench.redeem(ask, &nonce, number);
    bench.redeemed(ask);
}

const BURST: &str = "patience = \"10m\"\n[limits]\nburst = 3";

fn until(bench: &Bench, what: BoxState) {
    let deadline = std::time::Instant::now() + SOON;
    while state(bench).state != what {
        assert!(std::time::Instant::now() < deadline, "never {what:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_burst_freezes_the_box_whoever_allowed_it() {
    let mut bench = Bench::new(Setting { approval: BURST, ..Setting::default() });
    bench.ask(90, deletion(90));
    let id = bench.hold(1);
    destroy(&mut bench, 1);
    destroy(&mut bench, 2);
    assert_eq!(state(&bench).state, BoxState::Running);
    assert!(matches!(bench.call(&ToDesk::Resume), FromDesk::No(_)));
    destroy(&mut bench, 3);
    until(&bench, BoxState::Frozen);
    assert_eq!(*bench.reins.lock().unwrap(), [Rein::Freeze]);
    assert!(bench.said.lock().unwrap().iter().any(|said| said.contains("3 destroying operations within 10 s") && said.contains("agentbox resume b1")));
    // Nothing is sent, also what the policy allows, and no yes is taken in the heat.
    bench.ask(4, placed(4, Effect::Write, "staging"));
    let nonce = bench.permitted(4);
    bench.redeem(4, &nonce, 4);
    assert!(bench.refused(4).reason.contains("frozen"));
    let FromDesk::No(why) = bench.approve(&id) else { panic!() };
    assert!(why.contains("frozen"), "{why}");
    assert!(matches!(bench.call(&ToDesk::Resume), FromDesk::Done(_)));
    assert_eq!(*bench.reins.lock().unwrap(), [Rein::Freeze, Rein::Thaw]);
    destroy(&mut bench, 5);
    assert_eq!(state(&bench).state, BoxState::Running);
    let (_, entries) = bench.end();
    let notes: Vec<&str> = entries.iter().map(|entry| entry.draft.note.as_str()).collect();
    assert!(notes.iter().any(|note| note.starts_with("frozen: 3")) && notes.iter().any(|note| note.starts_with("goes on, by uid:")), "{notes:?}");
}

#[test]
fn what_the_broker_let_pass_by_itself_counts_and_reads_do_not() {
    let mut bench = Bench::new(Setting { approval: BURST, ..Setting::default() });
    let told = |operation: &str| Draft { operations: vec![operation.to_owned()], ..plain_draft() };
    bench.tell(&ToSupervisor::Record { drafts: vec![told("read http.get http:a"); 50] });
    bench.tell(&ToSupervisor::Record { drafts: vec![told("write http.post http:a"); 50] });
    bench.ask(1, forbidden(1));
    let _ = bench.refused(1);
    assert_eq!(state(&bench).state, BoxState::Running);
    bench.tell(&ToSupervisor::Record { drafts: vec![told("destroy http.delete http:a"), told("opaque tls.connection tls:a"), told("destroy x y")] });
    until(&bench, BoxState::Frozen);
}

#[test]
fn without_a_word_of_the_policy_only_what_people_allowed_counts() {
    let mut bench = Bench::new(Setting { approval: LEASE, ..Setting::default() });
    for number in 1..=30 {
        destroy(&mut bench, number);
    }
    bench.tell(&ToSupervisor::Record { drafts: vec![Draft { operations: vec!["destroy sql.delete postgres:table/a".to_owned()], ..plain_draft() }; 30] });
    bench.ask(100, placed(100, Effect::Destroy, "lent"));
    assert_eq!(approve_for(&bench, 600), FromDesk::Ruled(RuledWord::Approved));
    let nonce = bench.permitted(100);
    bench.redeem(100, &nonce, 100);
    bench.redeemed(100);
    assert_eq!(state(&bench).state, BoxState::Running);
    // A yes for a kind is a person's yes, and its uses make a burst.
    for number in 101..=111 {
        bench.ask(u64::from(number), placed(number, Effect::Destroy, "lent"));
        let nonce = bench.permitted(u64::from(number));
        bench.redeem(u64::from(number), &nonce, number);
        bench.redeemed(u64::from(number));
    }
    until(&bench, BoxState::Frozen);
}

#[test]
fn where_nobody_can_look_a_burst_ends_the_box() {
    let mut bench = Bench::new(Setting { approval: BURST, mode: Mode::Unattended, ..Setting::default() });
    for number in 1..=3 {
        bench.ask(u64::from(number), placed(number, Effect::Destroy, "staging"));
        let nonce = bench.permitted(u64::from(number));
        bench.redeem(u64::from(number), &nonce, number);
        bench.hear_within(SOON);
    }
    let (outcome, _) = bench.wait();
    assert!(matches!(&outcome.end, End::Stopped(why) if why.contains("nobody to ask")), "{:?}", outcome.end);
}

#[test]
fn a_frozen_box_that_nobody_looks_at_ends() {
    let mut bench = Bench::new(Setting { approval: "patience = \"1s\"\n[limits]\nburst = 1", ..Setting::default() });
    destroy(&mut bench, 1);
    let (outcome, _) = bench.wait();
    assert!(matches!(&outcome.end, End::Stopped(why) if why.contains("nobody looked")), "{:?}", outcome.end);
}

#[test]
fn a_box_is_listed_and_stopped() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.hold(1);
    bench.ask(2, forbidden(2));
    let _ = bench.refused(2);
    let running = state(&bench);
    assert_eq!((running.command.as_str(), running.workspace.as_str(), running.holds, running.refused, running.unattended), ("bash", "/w", 1, 1, false));
    assert!(matches!(bench.call(&ToDesk::Stop), FromDesk::Done(_)));
    assert!(bench.refused(1).reason.contains("being stopped"));
    assert_eq!(*bench.reins.lock().unwrap(), [Rein::Terminate]);
    // It does not end by itself.
    let (outcome, entries) = bench.wait();
    assert!(matches!(&outcome.end, End::Stopped(why) if why.starts_with("by uid:")), "{:?}", outcome.end);
    assert!(entries.iter().any(|entry| entry.draft.note.starts_with("asked to end, by uid:")));
}

#[test]
fn the_agents_words_stand_on_the_card_once_and_are_signed_with_it() {
    let mut bench = Bench::new(Setting::default());
    bench.tell(&ToSupervisor::Said { text: "the disk is full\u{1b}[2J".to_owned() });
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let card = bench.card(&id);
    assert_eq!(card.said.as_deref(), Some("the disk is full\\u{1b}[2J"));
    let page = agentbox_desk::card::render(&card, agentbox_desk::card::Style::Plain);
    assert!(page.contains("in its own words, which nobody has checked"), "{page}");
    // Other words later do not change what somebody is reading.
    bench.tell(&ToSupervisor::Said { text: "really".to_owned() });
    bench.ask(2, forbidden(2));
    let _ = bench.refused(2);
    assert_eq!(bench.card(&id).shown(), card.shown());
    let mut silent = card.clone();
    silent.said = None;
    assert_ne!(silent.shown(), card.shown());
    // Too much of it is cut, and a flood of it is not written down.
    for _ in 0..300 {
        bench.tell(&ToSupervisor::Said { text: "x".repeat(5000) });
    }
    bench.ask(3, forbidden(3));
    let _ = bench.refused(3);
    let (_, entries) = bench.end();
    let told: Vec<_> = entries.iter().filter(|entry| entry.draft.note.starts_with("the agent says")).collect();
    assert_eq!(told.len(), 200);
    assert!(told.iter().all(|entry| entry.draft.note.chars().count() < 450));
}

const LEASE: &str = "patience = \"10m\"\n[place.lent]\nresources = [\"railway:environment/lent\"]\ndestroy = \"hold\"\nwrite = \"hold\"\nlease = \"30m\"";

fn approve_for(bench: &Bench, seconds: u64) -> FromDesk {
    let card = bench.card(&bench.hold(1));
    bench.call(&ToDesk::Approve {
        id: card.id.clone(),
        card: card.digest.unwrap(),
        typed: card.wants.typed,
        lasting: Some(seconds),
        via: Via::Terminal,
        signature: None,
    })
}

#[test]
fn a_yes_for_a_kind_covers_the_kind_in_its_place_and_no_more() {
    let mut bench = Bench::new(Setting { approval: LEASE, ..Setting::default() });
    bench.ask(1, placed(1, Effect::Destroy, "lent"));
    // Longer than the policy lets.
    let FromDesk::No(why) = approve_for(&bench, 1801) else { panic!() };
    assert!(why.contains("at most 1800 s"), "{why}");
    assert_eq!(approve_for(&bench, 1800), FromDesk::Ruled(RuledWord::Approved));
    bench.permitted(1);
    let deadline = std::time::Instant::now() + SOON;
    while state(&bench).leases.is_empty() {
        assert!(std::time::Instant::now() < deadline);
    }
    // More of the same passes, each with an entry and a permit of its own.
    bench.ask(2, placed(2, Effect::Destroy, "lent"));
    bench.permitted(2);
    // Another action, effect, place, host or credential does not.
    let mut others = vec![placed(3, Effect::Write, "lent"), placed(4, Effect::Destroy, "production"), placed(5, Effect::Destroy, "lent")];
    others[2].operations[0].action = agentbox_core::Action::new("railway.other");
    let mut host = placed(6, Effect::Destroy, "lent");
    host.destination.as_mut().unwrap().port = 444;
    let mut with = placed(7, Effect::Destroy, "lent");
    with.evidence.credentials = vec![agentbox_core::Credential { position: "cookie".to_owned(), name: "x".to_owned(), issued: false }];
    let mut two = placed(8, Effect::Destroy, "lent");
    two.operations.push(placed(8, Effect::Write, "lent").operations.remove(0));
    others.extend([host, with, two]);
    for (index, request) in others.into_iter().enumerate() {
        bench.ask(10 + index as u64, request);
    }
    // The first is on its way yet, the other six wait.
    bench.holds(7);
    bench.quiet();
    assert!(matches!(bench.call(&ToDesk::Revoke), FromDesk::Done(said) if said.starts_with("1 allow")));
    bench.ask(30, placed(9, Effect::Destroy, "lent"));
    bench.holds(8);
    let (_, entries) = bench.end();
    let given = entries.iter().find(|entry| entry.draft.note.starts_with("allowed for 1800 s: destroy railway.something in lent at api.example.com:443"));
    assert!(given.is_some_and(|entry| entry.draft.rulings.len() == 1), "{entries:#?}");
    assert_eq!(entries.iter().filter(|entry| entry.draft.event == Event::Approved).count(), 2);
}

#[test]
fn no_yes_for_a_kind_where_the_policy_does_not_let_it() {
    let mut bench = Bench::new(Setting { approval: LEASE, ..Setting::default() });
    bench.ask(1, deletion(1));
    let FromDesk::No(why) = approve_for(&bench, 1) else { panic!() };
    assert!(why.contains("at most 0 s"), "{why}");
    bench.quiet();
}
