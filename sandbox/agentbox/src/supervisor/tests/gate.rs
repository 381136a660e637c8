//! What needs no person: allowed, denied, looked at, recorded; and the life of a token.

use agentbox_core::{Effect, RefusalKind, ledger::Event, wire::ToSupervisor};

use super::bench::*;
use crate::supervisor::{End, Mode};

#[test]
fn an_allowed_request_passes_once() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, placed(1, Effect::Destroy, "staging"));
    let nonce = bench.permitted(1);
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.redeemed(1), nonce);
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.refused(1).kind, RefusalKind::Failed);
    bench.tell(&ToSupervisor::Done { ask: 1, outcome: "200".to_owned() });
    // Answered after all that came before it.
    bench.ask(2, forbidden(2));
    let _ = bench.refused(2);
    let (outcome, entries) = bench.end();
    assert_eq!((outcome.end, outcome.refused_in_all), (End::Box(0), 1));
    let told = events(&entries);
    for event in [Event::Allowed, Event::Begun, Event::Noted] {
        assert_eq!(told.iter().filter(|told| **told == event).count(), 1, "{told:?}");
    }
}

#[test]
fn a_denied_request_is_told_why_and_written_down() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, forbidden(1));
    let refusal = bench.refused(1);
    assert_eq!((refusal.kind, refusal.place.as_str()), (RefusalKind::Denied, "forbidden"));
    let (outcome, entries) = bench.end();
    assert_eq!(outcome.refused_in_all, 1);
    assert_eq!(outcome.refused[0].refusal, refusal);
    assert_eq!(events(&entries), [Event::Denied]);
}

#[test]
fn a_look_places_what_the_request_does_not() {
    let mut bench = Bench::new(Setting::default());
    *bench.sight.lock().unwrap() = Ok(seen_in("staging", 7));
    bench.ask(1, deletion(1));
    bench.permitted(1);
    *bench.sight.lock().unwrap() = Ok(seen_in("production", 7));
    bench.ask(2, deletion(2));
    assert_eq!(bench.card(&bench.hold(1)).place, "production");
    assert_eq!(*bench.looks.lock().unwrap(), 2);
    // What needs no look is not looked at.
    bench.ask(3, placed(3, Effect::Read, "production"));
    bench.permitted(3);
    assert_eq!(*bench.looks.lock().unwrap(), 2);
}

#[test]
fn the_brokers_own_word_on_what_was_seen_does_not_count() {
    let mut bench = Bench::new(Setting::default());
    let mut request = deletion(1);
    request.evidence.seen = Some(seen_in("staging", 0));
    *bench.sight.lock().unwrap() = Err("provider answers 500".to_owned());
    bench.ask(1, request);
    let card = bench.card(&bench.hold(1));
    assert!(!card.looked && card.losses.is_empty());
    assert!(card.unseen.unwrap().contains("provider answers 500"));
}

#[test]
fn a_look_that_is_about_another_thing_places_nothing() {
    let mut bench = Bench::new(Setting::default());
    let mut seen = seen_in("staging", 0);
    seen.resource = agentbox_core::ResourceId::new("railway", "volume/other");
    *bench.sight.lock().unwrap() = Ok(seen);
    bench.ask(1, deletion(1));
    assert!(bench.card(&bench.hold(1)).unseen.unwrap().contains("another thing"));
    let mut seen = seen_in("staging", 0);
    seen.lineages.clear();
    *bench.sight.lock().unwrap() = Ok(seen);
    bench.ask(2, deletion(2));
    // No way up is not "a way up to nothing": the strictest place that it could be in decides.
    bench.holds(2);
    bench.quiet();
}

#[test]
fn without_a_looker_it_is_held_and_the_card_says_so() {
    for looker in [Looking::Absent, Looking::Dead] {
        let mut bench = Bench::new(Setting { looker, ..Setting::default() });
        bench.ask(1, deletion(1));
        let card = bench.card(&bench.hold(1));
        assert_eq!((card.place.as_str(), card.wants.typed.as_deref()), ("production", Some("production/3d2c")));
        assert!(card.unseen.is_some() && !card.looked);
        // A person may say yes to what nobody could look at: the card says that nobody could.
        bench.approved(&card.id);
        bench.permitted(1);
    }
}

#[test]
fn a_token_fits_one_question_and_one_digest() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, placed(1, Effect::Write, "staging"));
    let one = bench.permitted(1);
    bench.ask(2, placed(2, Effect::Write, "staging"));
    let two = bench.permitted(2);
    // Another digest: struck, and refused.
    bench.redeem(1, &one, 9);
    assert!(bench.refused(1).reason.contains("not what was permitted"));
    bench.redeem(1, &one, 1);
    assert_eq!(bench.refused(1).kind, RefusalKind::Failed);
    // Another question: both are refused.
    bench.ask(3, placed(3, Effect::Write, "staging"));
    let three = bench.permitted(3);
    bench.redeem(3, &two, 2);
    assert!(bench.refused(2).reason.contains("another question"));
    assert!(bench.refused(3).reason.contains("another question"));
    bench.redeem(3, &three, 3);
    assert_eq!(bench.refused(3).kind, RefusalKind::Failed);
    // One that was never made.
    bench.redeem(4, "00", 4);
    let _ = bench.refused(4);
    let (_, entries) = bench.end();
    assert!(!events(&entries).contains(&Event::Begun));
}

#[test]
fn who_goes_before_the_deed_is_not_acted_for() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, placed(1, Effect::Write, "staging"));
    let nonce = bench.permitted(1);
    bench.tell(&ToSupervisor::Gone { ask: 1 });
    bench.redeem(1, &nonce, 1);
    assert_eq!(bench.refused(1).kind, RefusalKind::Failed);
    // Gone in the same breath as the question, and as the redemption: nothing is left hanging.
    bench.ask(2, placed(2, Effect::Write, "staging"));
    bench.tell(&ToSupervisor::Gone { ask: 2 });
    bench.ask(3, placed(3, Effect::Write, "staging"));
    let nonce = bench.permitted(3);
    bench.redeem(3, &nonce, 3);
    bench.tell(&ToSupervisor::Gone { ask: 3 });
    bench.hear_within(QUIET);
    let (_, entries) = bench.end();
    assert!(events(&entries).contains(&Event::Voided));
}

#[test]
fn records_of_plain_allowances_are_written_in_order() {
    let mut bench = Bench::new(Setting::default());
    for _ in 0..3 {
        bench.tell(&ToSupervisor::Record { drafts: vec![plain_draft(); 50] });
    }
    bench.ask(1, forbidden(1));
    let _ = bench.refused(1);
    let (_, entries) = bench.end();
    assert_eq!(entries.iter().filter(|entry| entry.draft.event == Event::Allowed && entry.draft.session == "b1").count(), 150);
}

#[test]
fn the_last_records_are_waited_for() {
    let bench = Bench::new(Setting::default());
    let mut pipe = bench.broker.try_clone().unwrap();
    let broker = std::thread::spawn(move || {
        // As the broker does: when the supervisor's side closes, it tells what it still has, and ends.
        let mut end = Vec::new();
        std::io::Read::read_to_end(&mut pipe, &mut end).unwrap();
        let last = agentbox_core::wire::encode(&ToSupervisor::Record { drafts: vec![plain_draft(); 7] }).unwrap();
        std::io::Write::write_all(&mut pipe, &last).unwrap();
        pipe.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let (_, entries) = bench.end();
    broker.join().unwrap();
    assert_eq!(events(&entries), vec![Event::Allowed; 7]);
}

#[test]
fn unattended_holds_are_refused_at_once() {
    let mut bench = Bench::new(Setting { mode: Mode::Unattended, ..Setting::default() });
    bench.ask(1, deletion(1));
    let refusal = bench.refused(1);
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert!(refusal.reason.contains("unattended"), "{refusal:?}");
    let (outcome, entries) = bench.end();
    assert_eq!((outcome.refused_in_all, outcome.refused.len()), (1, 1));
    assert_eq!(events(&entries), [Event::Denied]);
}
