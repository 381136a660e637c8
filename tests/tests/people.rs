//! What people steer from outside a running box: its list, its end, a burst that freezes it, and the words of the agent on a card.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, Who, process::until};
use serde_json::Value;

fn boxes(home: &Home) -> Vec<Value> {
    home.outside(&["ps", "--json"]).ended(0).out().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn one_box(home: &Home) -> (String, Value) {
    let mut found = Vec::new();
    until(
        "a box runs",
        || {
            found = boxes(home);
            !found.is_empty()
        },
        String::new,
    );
    (found[0]["session"].as_str().expect("a name").to_owned(), found[0].clone())
}

#[test]
fn a_box_is_listed_and_stopped_also_where_it_will_not() {
    for who in Who::each() {
        let home = Home::of(who, "extends = \"default\"\n");
        assert_eq!(home.outside(&["ps"]).ended(0).out(), "No box runs.\n");
        let kind = home.start("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done");
        kind.says("up");
        let (session, told) = one_box(&home);
        assert!(told["command"].as_str().is_some_and(|command| command.starts_with("bash -c")), "{told}");
        assert_eq!((told["state"].as_str(), told["holds"].as_u64()), (Some("running"), Some(0)));
        assert!(home.outside(&["ps"]).ended(0).out().contains(&session));
        let _ = home.outside(&["stop", "nosuch"]).ended(1);
        home.outside(&["stop", &session]).ended(0);
        let finished = kind.finish().ended(3);
        assert!(finished.out().contains("bye"), "{}", finished.out());
        let deaf = home.start("trap '' TERM; echo up; while :; do sleep 0.1; done");
        deaf.says("up");
        let (session, _) = one_box(&home);
        home.outside(&["stop", &session]).ended(0);
        let finished = deaf.finish().ended(143);
        assert!(finished.err().contains("the box was stopped: by uid:"), "{}", finished.err());
        home.outside(&["log", "--verify"]).ended(0);
        assert!(boxes(&home).is_empty());
    }
}

#[test]
fn a_burst_freezes_the_box_until_a_person_has_looked() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let before = origin.count("DELETE");
        // `web.example` may be deleted from: it is the number that stops it.
        let home = Home::of(who, &origin.policy_with("destroy = \"hold\"", "[limits]\nburst = 3"));
        let going = home.start("for i in $(seq 12); do curl -s -o /dev/null -X DELETE http://web.example/$i; echo $i >>done; done; echo end; cat done | wc -l");
        let mut session = String::new();
        until(
            "it is frozen",
            || {
                boxes(&home).first().is_some_and(|one| {
                    session = one["session"].as_str().expect("a name").to_owned();
                    one["state"] == "frozen"
                })
            },
            || format!("{} {}", going.out(), going.err()),
        );
        let sent = origin.count("DELETE") - before;
        // The one that made the burst may stand just before the far side.
        assert!((2..12).contains(&sent), "{sent} were sent before it stood");
        // It stands: neither another request nor another line.
        let lines = || std::fs::read_to_string(home.path("work/done")).unwrap_or_default().lines().count();
        let stands = lines();
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert_eq!((lines(), origin.count("DELETE") - before), (stands, sent));
        assert!(going.err().contains("agentbox resume"), "{}", going.err());
        let mut rounds = 0;
        // Each further burst stops it again.
        until(
            "it comes to its end",
            || {
                if boxes(&home).first().is_some_and(|one| one["state"] == "frozen") {
                    let _ = home.outside(&["resume", &session]);
                    rounds += 1;
                }
                going.out().contains("end")
            },
            || format!("{} {}", going.out(), going.err()),
        );
        assert!(rounds >= 2, "{rounds}");
        let out = going.finish().ended(0).out();
        assert!(out.ends_with("12\n"), "{out}");
        assert_eq!(origin.count("DELETE") - before, 12, "nothing was lost or done twice");
        assert!(home.log().contains("frozen: 3 destroying operations"));
    }
}

#[test]
fn the_agents_own_words_are_on_the_card_and_marked() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start("$AGENTBOX ask 'the old volume is empty; nobody needs it — 100 % sure'; curl -s -X DELETE http://held.example/volumes/1; echo end");
    let id = home.hold();
    let card = home.outside(&["show", &id, "--json"]).ended(0).out();
    let card: Value = serde_json::from_str(&card).expect("JSON");
    assert_eq!(card["said"], "the old volume is empty; nobody needs it — 100 % sure");
    let page = home.outside(&["show", &id]).ended(0).out();
    assert!(page.contains("agent    says, in its own words, which nobody has checked:"), "{page}");
    // Outside there is nobody to speak to.
    let _ = home.outside(&["ask", "hello"]).ended(125);
    home.outside(&["deny", &id]).ended(0);
    going.says("end");
}

/// Wakes itself by a timer of the kernel's, whatever stops it, and goes on destroying.
const SLEEPLESS: &str = r#"
import ctypes, signal, socket, urllib.request
address = socket.gethostbyname("web.example")
libc = ctypes.CDLL(None)
class Event(ctypes.Structure): _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_int * 12)]
timer, event = ctypes.c_void_p(), Event(None, signal.SIGCONT, 0)
assert libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0
assert libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 100_000_000, 0, 100_000_000), None) == 0
signal.signal(signal.SIGCONT, lambda *_: None)
awake = open("awake", "w", buffering=1)
for number in range(1000):
    print(number, file=awake)
    try: urllib.request.urlopen(urllib.request.Request(f"http://{address}/{number}", headers={"Host": "web.example"}, method="DELETE"), timeout=1).read()
    except OSError: pass
"#;

#[test]
fn what_wakes_itself_in_a_frozen_box_gets_nothing_done() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[limits]\nburst = 3"));
    home.write("work/sleepless.py", SLEEPLESS);
    let going = home.start("python3 sleepless.py; echo end");
    until("it is frozen", || boxes(&home).first().is_some_and(|one| one["state"] == "frozen"), || format!("{} {}", going.out(), going.err()));
    let lines = || std::fs::read_to_string(home.path("work/awake")).unwrap_or_default().lines().count();
    let (sent, woke) = (origin.count("DELETE"), lines());
    // It does wake, and tries on; that is what the broker is stopped for.
    until("it has woken twice", || lines() >= woke + 2, || format!("{woke} then {}", lines()));
    assert_eq!(origin.count("DELETE"), sent);
    let (session, _) = one_box(&home);
    home.outside(&["stop", &session]).ended(0);
    let _ = going.finish();
}
