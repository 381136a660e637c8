//! What waits for a person, with a real client inside and the real commands outside: passes once or not at all.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use agentbox_tests::{Going, Home, Origin, Who, process::until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A deletion that waits; its answer and its status, on one line.
const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1";

fn refusal(line: &str) -> Value {
    let body = line.rsplit_once(' ').map_or(line, |(body, _)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_yes_lets_it_through_once() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let before = origin.count("DELETE");
        let going = home.start(&format!("{DELETE}; echo end; sleep 300"));
        let cards = home.waiting(1);
        let id = cards[0]["id"].as_str().expect("an id").to_owned();
        assert_eq!((cards[0]["place"].as_str(), cards[0]["operations"][0]["effect"].as_str()), (Some("guarded"), Some("destroy")), "{cards:?}");
        let table = home.outside(&["holds"]).ended(0).out();
        assert!(table.contains(&id) && table.contains("guarded") && table.contains("waiting"), "{table}");
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("DESTROY") && card.contains("http://held.example:80/volumes/1"), "{card}");
        assert_eq!(origin.count("DELETE"), before, "nothing is sent before the yes");
        // A word that is not the word is no yes, and neither is standard input that is no terminal.
        home.outside(&["approve", &id]).ended(1);
        home.outside(&["approve", &id, "--confirm", "y"]).ended(1);
        home.outside(&["approve", "zzzzzz", "--confirm", "yes"]).ended(1);
        assert_eq!(origin.count("DELETE"), before);
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
        going.says("end");
        assert!(going.out().contains("\"method\": \"DELETE\"") && going.out().contains(" 200\n"), "{}", going.out());
        assert_eq!(origin.count("DELETE"), before + 1);
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(1);
        assert!(home.holds().is_empty());
        drop(going);
        assert_eq!(origin.count("DELETE"), before + 1);
        home.outside(&["log", "--verify"]).ended(0);
    }
}

#[test]
fn an_approval_is_used_up() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start(&format!("{DELETE}; {DELETE}; echo end"));
    let first = home.hold();
    home.outside(&["approve", &first, "--confirm", "yes"]).ended(0);
    origin.hears("DELETE");
    // The very same request again waits anew.
    let mut second = home.hold();
    until(
        "another one waits",
        || {
            second = home.hold();
            second != first
        },
        String::new,
    );
    home.outside(&["deny", &second, "--because", "once was enough"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("once was enough"), "{out}");
    assert_eq!(origin.count("DELETE"), 1);
}

#[test]
fn a_no_reaches_the_agent_with_its_reason() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let going = home.start("curl -si -X DELETE http://held.example/volumes/1; echo; $AGENTBOX why --json; $AGENTBOX why");
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "wrong \u{1b}[2Jenvironment"]).ended(0);
        let out = going.finish().ended(0).out();
        assert!(out.starts_with("HTTP/1.1 403") && out.to_lowercase().contains("x-should-retry: false"), "{out}");
        assert!(!out.contains('\u{1b}'), "{out:?}");
        let lines: Vec<&str> = out.lines().collect();
        let body = lines.iter().find(|line| line.starts_with("{\"error\"")).expect("a body");
        let refused = refusal(&format!("{body} 403"));
        assert_eq!(refused["error"], "agentbox_denied");
        assert_eq!(refused["operation"], "http.delete");
        assert_eq!(refused["place"], "guarded");
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("environment")), "{refused}");
        assert!(refused["guidance"].as_str().is_some_and(|text| !text.is_empty()), "{refused}");
        assert_eq!(refused["approval_id"], id.as_str());
        let why = lines.iter().find(|line| line.starts_with('[')).expect("a list");
        let why: Value = serde_json::from_str(why).expect("JSON");
        assert_eq!(why[0]["approval_id"], id.as_str(), "{why}");
        assert!(out.contains("    hold  ") && out.contains("environment"), "{out}");
        assert_eq!(origin.count("DELETE"), 0);
    }
}

#[test]
fn why_is_told_outside_as_well() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start(&format!("{DELETE}; echo end; sleep 300"));
    let id = home.hold();
    home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    going.says("end");
    let why: Value = serde_json::from_str(&home.outside(&["why", "--json"]).ended(0).out()).expect("JSON");
    let text = why.to_string();
    assert!(text.contains("not today") && text.contains("http.delete") && text.contains("place.guarded"), "{text}");
    assert!(home.outside(&["why"]).ended(0).out().contains("not today"));
}

#[test]
fn identical_requests_share_one_hold_and_one_passes() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start(&format!("for i in 1 2 3 4; do {DELETE} >answer-$i & done; wait; cat answer-*"));
    until("all four ask", || home.waiting(1)[0]["askers"] == 4, || format!("{:?}", home.holds()));
    let id = home.hold();
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    let (done, others): (Vec<&str>, Vec<&str>) = out.lines().partition(|line| line.ends_with(" 200"));
    assert_eq!((done.len(), others.len()), (1, 3), "{out}");
    for other in others {
        assert!(other.ends_with(" 409"), "{other}");
        assert_eq!(refusal(other)["error"], "already_done");
    }
    assert_eq!(origin.count("DELETE"), 1);
}

#[test]
fn other_requests_wait_on_their_own() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let each = "curl -s -w ' %{http_code}\\n' -X DELETE";
    let going = home.start(&format!(
        "{each} http://held.example/a >1 & {each} http://held.example/b >2 & {each} http://held.example/a -H 'X-Account: 2' >3 & \
         {each} http://held.example/a -d body >4 & wait; cat 1 2 3 4"
    ));
    let cards = home.waiting(4);
    let one = cards.iter().find(|card| card["summary"].as_str().is_some_and(|summary| summary.ends_with("/b"))).expect("its card");
    home.outside(&["approve", one["id"].as_str().expect("an id"), "--confirm", "yes"]).ended(0);
    origin.hears("DELETE /b");
    for card in home.waiting(3) {
        home.outside(&["deny", card["id"].as_str().expect("an id")]).ended(0);
    }
    let out = going.finish().ended(0).out();
    assert_eq!((out.matches(" 200\n").count(), out.matches(" 403\n").count()), (1, 3), "{out}");
    assert_eq!(origin.requests(), ["DELETE /b"]);
}

#[test]
fn a_client_without_patience_is_told_and_may_come_again_once() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[approval]\nclient-patience = \"1s\"\npatience = \"10m\""));
    let going = home.start(&format!("{DELETE}; echo told; while [ ! -e go ]; do sleep 0.05; done; {DELETE}; {DELETE}; echo end"));
    let id = home.hold();
    going.says("told");
    let out = going.out();
    let first = out.lines().next().expect("an answer");
    assert!(first.ends_with(" 403"), "{first}");
    assert_eq!((refusal(first)["error"].as_str(), refusal(first)["approval_id"].as_str()), (Some("agentbox_held"), Some(&id[..])));
    assert_eq!(home.hold(), id, "the hold stays");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    assert_eq!(origin.count("DELETE"), 0, "nobody waits, so nothing is sent");
    home.write("work/go", "");
    let out = going.finish().ended(0).out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[2].ends_with(" 200"), "{out}");
    assert!(lines[3].ends_with(" 403") && refusal(lines[3])["error"] == "agentbox_held", "{out}");
    assert_eq!(origin.count("DELETE"), 1);
}

#[test]
fn nothing_is_sent_for_one_who_has_gone() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going =
        home.start("curl -s -m 300 -X DELETE http://held.example/volumes/1 & while [ ! -e go ]; do sleep 0.05; done; kill -KILL %1; wait; echo end; sleep 300");
    let id = home.hold();
    home.write("work/go", "");
    going.says("end");
    until("it is noticed", || home.holds().iter().all(|card| card["askers"] == 0), || format!("{:?}", home.holds()));
    // A yes now finds nobody: it is kept for the same request, if it comes again.
    let _ = home.outside(&["approve", &id, "--confirm", "yes"]);
    drop(going);
    assert_eq!(origin.count("DELETE"), 0);
}

#[test]
fn silence_is_no() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[approval]\nclient-patience = \"60s\"\npatience = \"1s\""));
    let out = home.run(DELETE).ended(0).out();
    assert!(out.ends_with(" 403\n"), "{out}");
    assert_eq!(refusal(out.trim_end())["error"], "agentbox_denied");
    assert_eq!(origin.count("DELETE"), 0);
    assert!(home.log().contains("DENIED"), "{}", home.log());
}

#[test]
fn where_the_name_is_asked_for_yes_is_not_enough() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"hold\"\nconfirm = \"name\"", ""));
    let going = home.start(&format!("{DELETE}; echo end"));
    let cards = home.waiting(1);
    let id = cards[0]["id"].as_str().expect("an id");
    let name = cards[0]["wants"]["type"].as_str().expect("a name is asked for").to_owned();
    assert_eq!(name, "guarded/1", "another place could have a `1`, too");
    home.outside(&["approve", id, "--confirm", "1"]).ended(1);
    home.outside(&["approve", id, "--confirm", "yes"]).ended(1);
    assert_eq!(origin.count("DELETE"), 0);
    home.outside(&["approve", id, "--confirm", &name]).ended(0);
    assert!(going.finish().ended(0).out().contains(" 200\n"));
    assert_eq!(origin.count("DELETE"), 1);
}

#[test]
fn signals_end_the_run_and_refuse_what_waits() {
    let Some(origin) = Origin::start() else { return };
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let home = Home::new(&origin.policy());
        // It asks again when it is refused, so that it is the signal by which it ends.
        let again = ["-f", "--retry", "100", "--retry-all-errors", "--retry-delay", "1"];
        let going = Going::start(&mut home.boxed(&[], &[&["curl", "-s"], &again[..], &["-X", "DELETE", "http://held.example/volumes/1"]].concat()));
        let id = home.hold();
        going.signal(signal);
        let _ = going.finish().ended(code);
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(1);
        assert!(home.log().contains("DENIED"), "{}", home.log());
        assert_eq!(origin.count("DELETE"), 0);
    }
}

#[test]
fn an_interrupt_refuses_what_waits_even_where_the_agent_goes_on() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start(&format!(
        "trap 'caught=1; echo caught' INT; {DELETE} & wait; wait; for look in $(seq 200); do [ \"$caught\" ] && break; sleep 0.1; done; echo end"
    ));
    let _ = home.hold();
    going.signal(Signal::SIGINT);
    let out = going.finish().ended(0).out();
    assert!(out.contains("caught") && out.contains(" 403\n") && out.contains("end"), "{out}");
    assert_eq!(origin.count("DELETE"), 0);
}

#[test]
fn two_boxes_do_not_mix() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let one = home.start("curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/one");
    let two = home.start("curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/two");
    let cards = home.waiting(2);
    let of = |path: &str| {
        cards.iter().find(|card| card["summary"].as_str().is_some_and(|text| text.ends_with(path))).and_then(|card| card["id"].as_str()).expect("its card")
    };
    home.outside(&["approve", of("/one"), "--confirm", "yes"]).ended(0);
    assert!(one.finish().ended(0).out().contains(" 200\n"));
    home.outside(&["deny", of("/two")]).ended(0);
    assert!(two.finish().ended(0).out().contains(" 403\n"));
    assert_eq!(origin.requests(), ["DELETE /one"]);
    home.outside(&["log", "--verify"]).ended(0);
}

/// Asks for as many different things as it is told, all at once and each on a connection of its own: `METHOD COUNT`. It prints the number, the
/// status and the body of each answer.
const CROWD: &str = r#"
import asyncio, resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
address = socket.gethostbyname("held.example")
method, count = sys.argv[1], int(sys.argv[2])
async def one(number):
    reader, writer = await asyncio.open_connection(address, 80)
    writer.write(f"{method} /things/{number} HTTP/1.1\r\nhost: held.example\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    await writer.drain()
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    print(number, head.split(" ")[1], body.replace("\n", " "), flush=True)
    writer.close()
async def main():
    await asyncio.gather(*map(one, range(count)))
asyncio.run(main())
"#;

/// What each of a crowd was told: its status and its body.
fn answers(out: &str) -> BTreeMap<usize, (u16, String)> {
    let one = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().expect("number, status and body");
        (word().parse().expect("a number"), (word().parse().expect("a status"), word().to_owned()))
    };
    out.lines().map(one).collect()
}

fn number(card: &Value) -> usize {
    let summary = card["summary"].as_str().expect("a summary");
    summary.rsplit_once('/').and_then(|(_, number)| number.parse().ok()).unwrap_or_else(|| panic!("{summary}"))
}

#[test]
fn a_thousand_wait_at_once_and_each_is_decided_as_it_was_said() {
    const ALL: usize = 1000;
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(
        &origin
            .policy_with("write = \"hold\"", "[approval]\nclient-patience = \"10m\"\n[limits]\nholds = 1000\nalike = 1000")
            .replace("write = \"allow\"\nwrite = \"hold\"", "write = \"hold\""),
    );
    home.write("work/crowd.py", CROWD);
    let going = home.start(&format!("python3 crowd.py POST {ALL}"));
    until("all of them wait", || home.outside(&["holds"]).ended(0).out().contains("and 800 more"), || home.outside(&["holds"]).out());
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    let mut ruled = 0;
    while ruled < ALL {
        // Those that one list has room for; the others move up.
        for card in home.holds().iter().filter(|card| card["phase"] == "waiting") {
            let id = card["id"].as_str().expect("an id");
            match number(card) {
                even if even % 2 == 0 => home.outside(&["approve", id, "--confirm", "yes"]).ended(0),
                odd => home.outside(&["deny", id, "--because", &format!("no to {odd}")]).ended(0),
            };
            ruled += 1;
        }
    }
    let told = answers(&going.finish().ended(0).out());
    assert_eq!(told.len(), ALL);
    for (number, (status, body)) in &told {
        let right = if number % 2 == 0 { *status == 200 } else { *status == 403 && body.contains(&format!("because: no to {number}\"")) };
        assert!(right, "{number}: {status} {body}");
    }
    let mut sent = origin.requests();
    sent.sort();
    let mut approved: Vec<String> = (0..ALL).step_by(2).map(|number| format!("POST /things/{number}")).collect();
    approved.sort();
    assert_eq!(sent, approved, "each that was approved, once, and nothing else");
    home.outside(&["log", "--verify"]).ended(0);
}

#[test]
fn a_thousand_of_one_kind_are_folded_and_those_that_are_shown_are_decided() {
    const ALL: usize = 1000;
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    home.write("work/crowd.py", CROWD);
    let going = home.start(&format!("python3 crowd.py DELETE {ALL}"));
    let folded = || home.holds().iter().filter_map(|card| card["folded"].as_u64()).sum::<u64>();
    until("all of them have asked", || folded() == 992, || format!("{:?}", home.holds()));
    let cards = home.waiting(8);
    assert_eq!(cards.iter().filter(|card| card["folded"] == 992).count(), 1, "{cards:?}");
    let (yes, no) = cards.split_at(4);
    for card in yes {
        home.outside(&["approve", card["id"].as_str().expect("an id"), "--confirm", "yes"]).ended(0);
    }
    for card in no {
        home.outside(&["deny", card["id"].as_str().expect("an id"), "--because", "enough"]).ended(0);
    }
    let told = answers(&going.finish().ended(0).out());
    assert_eq!(told.len(), ALL);
    for card in yes {
        assert_eq!(told[&number(card)].0, 200, "{card}");
    }
    for card in no {
        let (status, body) = &told[&number(card)];
        assert!(*status == 403 && body.contains("enough"), "{status} {body}");
    }
    let counted = told.values().filter(|(status, body)| *status == 403 && body.contains("this one was only counted")).count();
    assert_eq!(counted, 992);
    assert_eq!(origin.count("DELETE"), 4);
    home.outside(&["log", "--verify"]).ended(0);
}
