//! What needs a person: held, joined, approved, denied, pending, kept, looked at again.

use agentbox_core::{RefusalKind, ledger::Event, wire::ToSupervisor};
use agentbox_desk::{
    channels::Screen,
    control::{FromDesk, RuledWord, ToDesk, Via},
};

use super::bench::*;
use crate::supervisor::End;

#[test]
fn a_yes_lets_one_of_the_joined_through_once() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.ask(2, deletion(1));
    let id = bench.hold(2);
    let card = bench.card(&id);
    assert_eq!((card.place.as_str(), card.name.as_deref(), card.wants.typed.as_deref()), ("production", Some("pgdata"), Some("production/pgdata")));
    assert_eq!(card.losses[0].count, Some(7));
    bench.quiet();
    bench.approved(&id);
    let nonce = bench.permitted(1);
    // The other one waits until it is known whether the first did it.
    bench.quiet();
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.redeemed(1), nonce);
    assert_eq!(bench.refused(2).kind, RefusalKind::AlreadyDone);
    assert!(matches!(bench.call(&ToDesk::Show { id: id.clone() }), FromDesk::No(_)));
    // Once more is a new question.
    bench.ask(3, deletion(1));
    assert_ne!(bench.hold(1), id);
    let (_, entries) = bench.end();
    let told: Vec<Event> = events(&entries).into_iter().filter(|event| *event != Event::Noted).collect();
    assert_eq!(told, [Event::Held, Event::Approved, Event::Begun, Event::Held, Event::Denied]);
    let approved = entries.iter().find(|entry| entry.draft.event == Event::Approved).unwrap();
    assert_eq!(approved.draft.rulings, [format!("uid:{} by terminal", nix::unistd::geteuid())]);
}

#[test]
fn the_wrong_name_and_the_wrong_card_approve_nothing() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let digest = bench.card(&id).digest.unwrap();
    for (card, typed) in
        [(digest, None), (digest, Some("pgdata".to_owned())), (digest, Some("yes".to_owned())), (super::bench::digest(1), Some("production/pgdata".to_owned()))]
    {
        assert!(matches!(bench.call(&ToDesk::Approve { id: id.clone(), card, typed, lasting: None, via: Via::Terminal, signature: None }), FromDesk::No(_)));
    }
    bench.quiet();
    bench.approved(&id);
    bench.permitted(1);
}

#[test]
fn a_no_reaches_all_with_its_reason() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.ask(2, deletion(1));
    let id = bench.hold(2);
    let deny = ToDesk::Deny { id: id.clone(), because: "this is production".to_owned(), via: Via::Terminal };
    assert_eq!(bench.call(&deny), FromDesk::Ruled(RuledWord::Denied));
    for ask in [1, 2] {
        assert_eq!(bench.refused(ask).reason, "A person said no, because: this is production");
    }
    assert!(matches!(bench.call(&deny), FromDesk::No(_)));
    let FromDesk::Refused(pasts) = bench.call(&ToDesk::Why) else { panic!() };
    assert_eq!(pasts.len(), 2);
    let (outcome, entries) = bench.end();
    assert_eq!(outcome.refused_in_all, 2);
    let denied = entries.iter().find(|entry| entry.draft.event == Event::Denied).unwrap();
    assert_eq!((denied.draft.note.as_str(), denied.draft.hold.as_deref()), ("this is production", Some(id.as_str())));
}

#[test]
fn pending_then_approved_then_the_same_request_passes_once() {
    let mut bench = Bench::new(Setting { approval: "patience = \"10m\"\nclient-patience = \"1s\"", ..Setting::default() });
    bench.ask(1, deletion(1));
    let refusal = bench.refused(1);
    let id = bench.hold(0);
    assert_eq!((refusal.kind, refusal.approval_id.as_deref()), (RefusalKind::Pending, Some(id.as_str())));
    assert!(matches!(bench.approve(&id), FromDesk::Ruled(RuledWord::Kept { seconds }) if seconds >= 300));
    bench.ask(2, deletion(1));
    let nonce = bench.permitted(2);
    bench.redeem(2, &nonce, 1);
    bench.redeemed(2);
    bench.ask(3, deletion(1));
    assert_eq!(bench.refused(3).kind, RefusalKind::Pending);
}

#[test]
fn silence_is_no() {
    let mut bench = Bench::new(Setting { approval: "patience = \"1s\"", ..Setting::default() });
    bench.ask(1, deletion(1));
    assert_eq!(bench.refused(1).kind, RefusalKind::Denied);
    bench.holds(0);
    let (_, entries) = bench.end();
    assert_eq!(events(&entries), [Event::Held, Event::Denied]);
}

#[test]
fn a_world_that_got_worse_voids_the_yes() {
    for worse in [Ok(seen_in("production", 8)), Ok(seen_in("staging", 7)), Err("the provider is down".to_owned())] {
        let mut bench = Bench::new(Setting::default());
        bench.ask(1, deletion(1));
        let id = bench.hold(1);
        *bench.sight.lock().unwrap() = worse;
        bench.approved(&id);
        let refusal = bench.refused(1);
        assert!(refusal.reason.contains("changed since it was shown"), "{refusal:?}");
        bench.holds(0);
        let (_, entries) = bench.end();
        assert_eq!(events(&entries), [Event::Held, Event::Voided]);
    }
}

#[test]
fn a_world_that_got_no_worse_does_not() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    *bench.sight.lock().unwrap() = Ok(seen_in("production", 6));
    bench.approved(&id);
    bench.permitted(1);
    assert_eq!(*bench.looks.lock().unwrap(), 2);
}

#[test]
fn who_has_gone_is_not_acted_for_and_leaves_a_passage() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.hold(1);
    bench.tell(&ToSupervisor::Gone { ask: 1 });
    let id = bench.hold(0);
    assert!(matches!(bench.approve(&id), FromDesk::Ruled(RuledWord::Kept { .. })));
    bench.quiet();
    // The passage may be taken back.
    assert_eq!(bench.call(&ToDesk::Deny { id, because: String::new(), via: Via::Terminal }), FromDesk::Ruled(RuledWord::Denied));
    bench.ask(2, deletion(1));
    bench.hold(1);
    bench.quiet();
}

#[test]
fn gone_between_permit_and_deed_is_not_said_to_be_done() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.ask(2, deletion(1));
    let id = bench.hold(2);
    bench.approved(&id);
    let nonce = bench.permitted(1);
    bench.tell(&ToSupervisor::Gone { ask: 1 });
    let refusal = bench.refused(2);
    assert_eq!(refusal.kind, RefusalKind::Failed, "{refusal:?}");
    bench.redeem(1, &nonce, 1);
    let _ = bench.refused(1);
    let (_, entries) = bench.end();
    assert!(!events(&entries).contains(&Event::Begun));
    assert!(events(&entries).contains(&Event::Voided));
}

#[test]
fn ctrl_c_and_the_end_refuse_what_waits() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.hold(1);
    bench.interrupt();
    assert!(bench.refused(1).reason.contains("interrupted"));
    bench.ask(2, deletion(2));
    bench.hold(1);
    let (outcome, entries) = bench.end();
    assert_eq!((outcome.end, outcome.refused_in_all), (End::Box(0), 2));
    assert_eq!(events(&entries), [Event::Held, Event::Denied, Event::Held, Event::Denied]);
}

#[test]
fn the_agents_own_terminal_learns_only_that_something_waits() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    assert_eq!(bench.announced(), "agentbox: held: see `agentbox holds` in another terminal");
    let mut bench = Bench::new(Setting { screen: Screen::Apart, ..Setting::default() });
    bench.ask(1, deletion(1));
    assert!(bench.announced().contains("DESTROY railway.volumeDelete"));
}

#[test]
fn a_flood_of_one_kind_is_counted_on_one_card() {
    let mut bench = Bench::new(Setting::default());
    // More than a box may open within a minute: what is counted opens nothing.
    for number in 0..100 {
        bench.ask(u64::from(number), deletion(number));
    }
    let ids = bench.holds(8);
    for _ in 0..92 {
        let Some(agentbox_core::wire::ToBroker::Refused { refusal, .. }) = bench.hear_within(SOON) else { panic!("not refused") };
        assert!(refusal.reason.contains("only counted"), "{refusal:?}");
    }
    bench.quiet();
    let folded: Vec<usize> = ids.iter().map(|id| bench.card(id).folded).collect();
    assert_eq!(folded, [0, 0, 0, 0, 0, 0, 0, 92]);
    // That it grows does not void what a person is about to sign.
    let card = bench.card(&ids[7]);
    bench.ask(100, deletion(100));
    let _ = bench.refused(100);
    assert_eq!(bench.card(&ids[7]).shown(), card.shown());
    // Each yes is still for one.
    bench.approved(&ids[0]);
    bench.permitted(0);
    bench.quiet();
}

#[test]
fn a_flood_of_many_kinds_is_refused_and_the_first_ones_stay() {
    let mut bench = Bench::new(Setting::default());
    for number in 0..40 {
        let mut request = deletion(number);
        request.operations[0].action = agentbox_core::Action::new(&format!("railway.something{number}"));
        bench.ask(u64::from(number), request);
    }
    bench.holds(32);
    for _ in 0..8 {
        assert!(matches!(bench.hear_within(SOON), Some(agentbox_core::wire::ToBroker::Refused { .. })));
    }
    bench.quiet();
}

#[test]
fn who_asks_too_often_is_not_asked_for_a_while() {
    let mut bench = Bench::new(Setting::default());
    for number in 0..60 {
        bench.ask(u64::from(number), deletion(number));
        let id = bench.hold(1);
        assert_eq!(bench.call(&ToDesk::Deny { id, because: String::new(), via: Via::Terminal }), FromDesk::Ruled(RuledWord::Denied));
        let _ = bench.refused(u64::from(number));
    }
    bench.ask(60, deletion(60));
    let refusal = bench.refused(60);
    assert!(refusal.reason.contains("within a minute"), "{refusal:?}");
    bench.holds(0);
}
