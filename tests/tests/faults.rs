//! What goes wrong: killed processes, a full disk, far sides that hang and lie, too few descriptors. Nothing passes, nothing is sent twice, and it is said.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, thread, time::Duration};

use agentbox_tests::{
    Going, Home, Origin, Who, binary,
    home::{is_gone, processes},
    process::{finish, until},
    skip,
};
use nix::sys::signal::{Signal, kill};

const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1";

/// Time in which something could still be sent that must not be.
const AFTERMATH: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
enum Victim {
    Shim,
    Supervisor,
    Broker,
    Init,
}

fn murder(victim: Victim, who: Who, origin: &Origin) {
    let home = Home::of(who, &origin.policy());
    let before = origin.requests().len();
    let going = home.start(&format!("{DELETE}; echo survived; sleep 300"));
    let id = home.hold();
    let all = processes(going.pid());
    let pid = match victim {
        Victim::Shim => all.shim,
        Victim::Supervisor => all.supervisor,
        Victim::Broker => all.broker,
        Victim::Init => all.init,
    };
    kill(pid, Signal::SIGKILL).expect("it is there");
    let ended = going.finish();
    assert_ne!(ended.code, 0, "{victim:?}");
    for pid in [all.supervisor, all.broker, all.init] {
        until(&format!("{pid} of {all:?} is gone after {victim:?} was killed"), || is_gone(pid), String::new);
    }
    if matches!(victim, Victim::Supervisor | Victim::Broker) {
        assert_eq!(ended.code, 125, "{victim:?}: {}", ended.err());
        let name = format!("{victim:?}").to_lowercase();
        assert!(ended.err().contains(&name) && ended.err().contains("refused"), "{victim:?}: {}", ended.err());
    }
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(1);
    thread::sleep(AFTERMATH);
    assert_eq!(origin.requests().len(), before, "{victim:?}: something was sent");
    assert!(home.holds().is_empty());
    // The ledger is whole, and the next box starts.
    home.outside(&["log", "--verify"]).ended(0);
    home.run("true").ended(0);
}

#[test]
fn whoever_of_us_is_killed_the_box_ends_and_nothing_is_sent() {
    let Some(origin) = Origin::start() else { return };
    for victim in [Victim::Shim, Victim::Supervisor, Victim::Broker, Victim::Init] {
        for who in Who::each() {
            murder(victim, who, &origin);
        }
    }
}

#[test]
fn a_killed_broker_with_an_approved_request_under_way_sends_nothing_again() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start("curl -s -X DELETE http://held.example/hang; sleep 300");
    let id = home.hold();
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    origin.hears("DELETE /hang");
    kill(processes(going.pid()).broker, Signal::SIGKILL).expect("it is there");
    going.finish().ended(125);
    thread::sleep(AFTERMATH);
    assert_eq!(origin.count("DELETE"), 1);
    let log = home.outside(&["log"]).ended(0).out();
    assert!(log.contains("DELETE http://held.example:80/hang"), "{log}");
}

#[test]
fn a_full_disk_refuses_what_must_be_written_down() {
    if !skip::is_root("a disk of its own") || !skip::have(&["unshare", "mount", "dd"]) {
        return;
    }
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"allow\"", ""));
    let agent = format!(
        "AGENTBOX='{}'; {DELETE}; while [ ! -e full ]; do sleep 0.02; done; for i in $(seq 60); do curl -s -w ' %{{http_code}}\\n' -X DELETE http://held.example/$i || exit 1; done; echo survived",
        binary::agentbox().display()
    );
    let outer = format!(
        "mount -t tmpfs -o size=256k none '{state}' && \
         (while [ ! -e fill ]; do sleep 0.02; done; dd if=/dev/zero of='{state}/fill' bs=4k 2>/dev/null; touch full) & \
         while ! mountpoint -q '{state}'; do sleep 0.02; done; exec \"$@\"",
        state = home.path("state").display()
    );
    let boxed = home.boxed(&[], &["bash", "-c", &agent]);
    let mut command = home.program("unshare");
    command.args(["--mount", "bash", "-c", &outer, "outer"]).arg(boxed.get_program()).args(boxed.get_args());
    let going = Going::start(&mut command);
    origin.hears("DELETE /volumes/1");
    home.write("work/fill", "");
    let ended = going.finish().ended(0);
    let out = ended.out();
    let lines: Vec<&str> = out.lines().filter(|line| line.contains(" 200") || line.contains(" 403")).collect();
    let passed = lines.iter().filter(|line| line.ends_with(" 200")).count();
    // The block that the ledger has already may take a few more entries.
    assert!(passed < 30, "all of it was written on a full disk? {out}");
    assert_eq!(lines.len(), 61);
    for refused in lines.iter().filter(|line| line.ends_with(" 403")) {
        assert!(refused.contains("agentbox_denied") && refused.contains("the ledger cannot be written") && refused.contains("No space left"), "{refused}");
    }
    assert_eq!(origin.count("DELETE"), passed, "what was sent and what was answered");
}

#[test]
fn a_ledger_that_cannot_be_opened_stops_it() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    home.write("state/agentbox", "this is no folder\n");
    let ended = home.run("echo started").ended(125);
    assert_eq!(ended.out(), "");
    assert!(ended.err().contains("state/agentbox"), "{}", ended.err());
}

#[test]
fn a_changed_ledger_is_found() {
    let home = Home::new("extends = \"default\"\n");
    home.run("true").ended(0);
    home.run("true").ended(0);
    home.outside(&["log", "--verify"]).ended(0);
    let ledger = home.path("state/agentbox/ledger/ledger.jsonl");
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let changed = text.replacen("ended", "eNded", 1);
    assert_ne!(text, changed);
    fs::write(&ledger, changed).expect("it is ours");
    let told = finish(&mut home.agentbox(&["log", "--verify"]));
    assert_ne!(told.code, 0, "{}", told.out());
    assert!(!told.err().is_empty(), "it says where");
}

#[test]
fn far_sides_that_lie_get_a_clear_answer_and_no_second_request() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    for base in ["http://web.example", "https://tls.example"] {
        for fault in ["reset", "garbage", "drop", "two-lengths"] {
            for method in ["GET", "POST", "DELETE"] {
                let target = format!("/{fault}?{}-{method}", base.len());
                let out = home.run(&format!("curl -s -w ' %{{http_code}}' -X {method} '{base}{target}'")).out();
                assert!(out.ends_with(" 502") && out.contains("agentbox_upstream") && out.contains("\"reason\":\""), "{method} {fault}: {out}");
                assert_eq!(origin.count(&format!("{method} {target}")), 1, "{method} {fault}");
            }
        }
        // The head has gone to the client already: it must see that the body is cut.
        let ended = home.run(&format!("curl -sS '{base}/lie'"));
        assert!([18, 56, 92].contains(&ended.code), "{}: {}", ended.code, ended.err());
    }
    // Nothing is harmed: the next request passes.
    home.run("curl -fsS https://tls.example/after").ended(0);
}

#[test]
fn a_far_side_that_hangs_stops_nobody_else_and_is_asked_once() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let script = "curl -s -m 2 http://web.example/hang; echo hang:$?; curl -s -m 2 -X POST -d x https://tls.example/hang; echo hang:$?; curl -fsS -o /dev/null http://web.example/next && echo next";
    assert_eq!(home.run(script).ended(0).out(), "hang:28\nhang:28\nnext\n");
    assert_eq!((origin.count("GET /hang"), origin.count("POST /hang")), (1, 1));
}

#[test]
fn a_far_side_that_is_not_there_is_said() {
    let Some(origin) = Origin::start() else { return };
    let policy = origin.policy().replacen("[names]\n", "[names]\n\"closed.example\" = \"127.0.0.1:1\"\n", 1).replacen(
        "\"web.example\", \"tls",
        "\"web.example\", \"closed.example\", \"tls",
        1,
    );
    let home = Home::new(&policy);
    let out = home.run("curl -s -w ' %{http_code}' http://closed.example/").ended(0).out();
    assert!(out.ends_with(" 502") && out.contains("connection refused"), "{out}");
}

#[test]
fn too_few_descriptors_are_said_or_borne() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    for limit in [4, 8, 12, 16, 24, 40, 64] {
        let boxed = home.boxed(&[], &["bash", "-c", "for i in 1 2 3; do curl -s -o /dev/null -w '%{http_code}\\n' http://web.example/few; done"]);
        let mut command = home.program("bash");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "few"]).arg(boxed.get_program()).args(boxed.get_args());
        let ended = finish(&mut command);
        if ended.code == 0 {
            assert_eq!(ended.out(), "200\n200\n200\n", "with {limit}");
        } else {
            assert!(!ended.err().is_empty() && !ended.err().contains("panicked"), "with {limit}: {} {}", ended.code, ended.err());
        }
    }
}

#[test]
fn more_connections_than_descriptors_starve_nobody_for_ever() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let flood = "import socket\nheld = []\nfor _ in range(200):\n    try:\n        s = socket.create_connection(('web.example', 80), timeout=2)\n        s.sendall(b'GET /flood HTTP/1.1\\r\\nHost: web')\n        held.append(s)\n    except OSError:\n        pass\nprint(len(held) > 20)\n";
    home.write("work/flood.py", flood);
    let boxed = home.boxed(&[], &["bash", "-c", "python3 flood.py; curl -s -m 30 -o /dev/null -w '%{http_code}\\n' http://web.example/after"]);
    let mut command = home.program("bash");
    command.args(["-c", "ulimit -n 96; exec \"$@\"", "few"]).arg(boxed.get_program()).args(boxed.get_args());
    let ended = finish(&mut command);
    assert_eq!(ended.out(), "True\n200\n", "{}", ended.err());
}
