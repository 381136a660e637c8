//! What goes wrong: a broker that dies or lies, a ledger that cannot be written, floods.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agentbox_core::{
    Effect, RefusalKind,
    ledger::{Draft, Event},
    wire::{ToBroker, ToSupervisor},
};
use agentbox_desk::control::{self, FromDesk, ToDesk};

use super::bench::*;
use crate::{
    ledger::{ENTRIES, read},
    supervisor::End,
};

#[test]
fn a_broker_that_dies_ends_the_box_and_what_waits() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.hold(1);
    bench.broker.shutdown(std::net::Shutdown::Both).unwrap();
    let (outcome, entries) = bench.wait();
    assert!(matches!(outcome.end, End::Broker(_)), "{outcome:?}");
    assert_eq!(outcome.refused_in_all, 1);
    assert_eq!(events(&entries), [Event::Held, Event::Denied]);
    assert!(entries.last().unwrap().draft.note.contains("broker has ended"));
}

/// Set for the child of the next test: its folder. Its standard input is the socket to the broker.
const CHILD: &str = "AGENTBOX_TEST_SUPERVISOR";

#[test]
fn child_that_supervises() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let broker = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let _ = supervise_here(Path::new(&dir), UnixStream::from(broker));
}

#[test]
fn a_killed_supervisor_lets_nothing_through_and_leaves_a_whole_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "supervisor::tests::faults::child_that_supervises", "--nocapture"]).env(CHILD, dir.path());
    let mut child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let ask = ToSupervisor::Ask { ask: 1, request: placed(1, Effect::Destroy, "production") };
    ours.write_all(&agentbox_core::wire::encode(&ask).unwrap()).unwrap();
    let folder = folder(dir.path());
    let deadline = Instant::now() + SOON;
    let session = loop {
        assert!(Instant::now() < deadline, "it never held");
        let running = control::sessions(&folder).unwrap_or_default();
        if let Some(session) = running.into_iter().next()
            && let Ok(FromDesk::Holds { rows, .. }) = control::call(&session, &ToDesk::List)
            && rows.len() == 1
        {
            break session;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // The entry comes after the hold: wait for it too, it must survive.
    while !std::fs::read_to_string(dir.path().join("ledger").join(ENTRIES)).unwrap().contains("\"held\"") {
        assert!(Instant::now() < deadline, "never written");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = Vec::new();
    ours.set_read_timeout(Some(SOON)).unwrap();
    ours.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "a dead supervisor has permitted something");
    assert!(session.socket.exists());
    assert!(control::sessions(&folder).unwrap().is_empty() && !session.socket.exists(), "its socket is tidied away");
    let report = read::verify(&dir.path().join("ledger")).unwrap();
    assert_eq!((report.problem, report.entries), (None, 2));
}

#[test]
fn a_broker_that_does_not_keep_to_its_language_ends_the_box() {
    for bad in [&[255_u8; 16][..], &[3, 0, 0, 0, 1, b'{', b'}'], &[2, 0, 0, 0, 7, b'1']] {
        let mut bench = Bench::new(Setting::default());
        bench.ask(1, deletion(1));
        bench.hold(1);
        bench.broker.write_all(bad).unwrap();
        assert!(matches!(bench.wait().0.end, End::Broker(_)));
    }
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    bench.ask(1, deletion(2));
    let (outcome, _) = bench.wait();
    assert!(matches!(&outcome.end, End::Broker(why) if why.contains("twice")), "{outcome:?}");
}

#[test]
fn a_broker_that_writes_what_it_may_not_ends_the_box() {
    for draft in [Draft::new(Event::Approved, "b1"), Draft::new(Event::Begun, "b1"), Draft { hold: Some("k7m2qp".to_owned()), ..plain_draft() }] {
        let mut bench = Bench::new(Setting::default());
        bench.tell(&ToSupervisor::Record { drafts: vec![plain_draft(), draft] });
        let (outcome, entries) = bench.wait();
        assert!(matches!(&outcome.end, End::Broker(why) if why.contains("plain allowance")), "{outcome:?}");
        assert!(events(&entries).is_empty());
    }
}

#[test]
fn without_a_ledger_nothing_passes() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, placed(1, Effect::Write, "staging"));
    let nonce = bench.permitted(1);
    bench.ask(2, deletion(2));
    let id = bench.hold(1);
    std::fs::remove_file(bench.entries_file()).unwrap();
    // An allowance, the beginning of a deed, an approved hold, a new hold: all need an entry.
    bench.ask(3, placed(3, Effect::Write, "staging"));
    let refusal = bench.refused(3);
    assert_eq!(refusal.kind, RefusalKind::Failed);
    assert!(refusal.reason.contains("ledger"), "{refusal:?}");
    bench.redeem(1, &nonce, 1);
    assert!(bench.refused(1).reason.contains("ledger"));
    bench.approved(&id);
    assert_eq!(bench.refused(2).kind, RefusalKind::Failed);
    bench.ask(4, deletion(4));
    assert!(bench.refused(4).reason.contains("ledger"));
    // What the broker has let pass by itself cannot be written either: then it must not go on.
    bench.tell(&ToSupervisor::Record { drafts: vec![plain_draft()] });
    assert!(matches!(bench.wait().0.end, End::Ledger(_)));
}

#[test]
fn a_flood_by_the_broker_does_not_keep_people_out() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let mut pipe = bench.broker.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let gone = agentbox_core::wire::encode(&ToSupervisor::Gone { ask: 99 }).unwrap().repeat(1000);
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if pipe.write_all(&gone).is_err() {
                return;
            }
        }
    });
    for _ in 0..20 {
        let asked = Instant::now();
        bench.call(&ToDesk::List);
        assert!(asked.elapsed() < SOON);
    }
    bench.approved(&id);
    bench.permitted(1);
    flood.join().unwrap();
}

#[test]
fn a_broker_that_asks_and_never_listens_ends_the_box() {
    let mut bench = Bench::new(Setting::default());
    for ask in 0..40_000 {
        let message = agentbox_core::wire::encode(&ToSupervisor::Redeem { ask, nonce: "00".to_owned(), digest: digest(1) }).unwrap();
        if bench.broker.write_all(&message).is_err() {
            break;
        }
    }
    let (outcome, _) = bench.wait();
    assert!(matches!(&outcome.end, End::Broker(why) if why.contains("does not read")), "{outcome:?}");
}

#[test]
fn many_questions_at_once_are_each_answered_once() {
    let mut bench = Bench::new(Setting::default());
    let mut pipe = bench.broker.try_clone().unwrap();
    let asker = std::thread::spawn(move || {
        for ask in 0..1000 {
            let number = u8::try_from(ask % 251).unwrap();
            let request = if ask % 2 == 0 { placed(number, Effect::Write, "staging") } else { forbidden(number) };
            pipe.write_all(&agentbox_core::wire::encode(&ToSupervisor::Ask { ask, request }).unwrap()).unwrap();
        }
    });
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let (ask, yes) = match bench.hear_within(SOON) {
            Some(ToBroker::Permitted { ask, .. }) => (ask, true),
            Some(ToBroker::Refused { ask, .. }) => (ask, false),
            other => panic!("{other:?} after {}", answered.len()),
        };
        assert!(answered.insert(ask), "{ask} was answered twice");
        assert_eq!(yes, ask % 2 == 0);
    }
    asker.join().unwrap();
    bench.quiet();
}
