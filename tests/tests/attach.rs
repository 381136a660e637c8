//! `agentbox attach`: what a running box does, seen from another terminal.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Going, Home, Origin, Who, process::until};
use serde_json::Value;

#[test]
fn shows_processes_connections_holds_and_decisions() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let going = home.start(
            "curl -sS -o /dev/null https://tls.example/first; echo first; \
             (curl -s -X DELETE -H 'Authorization: Bearer abcdefgh12345678' http://held.example/volumes/1; echo after) & sleep 301; wait",
        );
        let id = home.hold();
        let picture = || -> Value { serde_json::from_str(home.outside(&["attach", "--once", "--json"]).ended(0).out().trim()).expect("one object") };
        let mut seen = Value::Null;
        until(
            "the client of what waits is seen with its connection, and what was allowed before",
            || {
                seen = picture();
                let processes = seen["processes"].as_array().expect("processes");
                // Allowances are written in groups, a moment after the deed.
                let recent = seen["recent"].as_array().expect("decisions");
                let first = recent.iter().any(|one| one["event"] == "allowed" && one["summary"].as_str().is_some_and(|text| text.contains("tls.example")));
                first && processes.iter().any(|process| process["name"] == "curl" && process["connected"] == serde_json::json!(["held.example:80"]))
            },
            || home.outside(&["attach", "--once"]).out(),
        );
        let processes = seen["processes"].as_array().expect("processes");
        let curl = processes.iter().find(|process| process["name"] == "curl").expect("it is there");
        let command = curl["command"].as_str().expect("a text");
        assert!(command.contains("-X DELETE") && !command.contains("abcdefgh12345678"), "{command}");
        assert!(curl["pid"].as_u64() < curl["pid_outside"].as_u64() && curl["depth"].as_u64() > Some(0), "{curl}");
        assert!(processes.iter().any(|process| process["command"] == "sleep 301"), "{seen}");
        assert_eq!((seen["holds"][0]["id"].as_str(), seen["box"]["holds"].as_u64()), (Some(id.as_str()), Some(1)), "{seen}");
        let recent = seen["recent"].as_array().expect("decisions");
        assert!(recent.iter().any(|one| one["event"] == "held"), "{seen}");
        let name = seen["box"]["session"].as_str().expect("a name").to_owned();
        let text = home.outside(&["attach", "--once", &name]).ended(0).out();
        for wanted in ["PROCESSES", "→ held.example:80", "sleep 301", "WAITING", id.as_str(), "LAST", "HELD", "tls.example"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(home.outside(&["attach", "other"]).ended(1).err().contains(&name));
        // Live, it ends with the box.
        let live = Going::start(&mut home.agentbox(&["attach", &name]));
        live.says("WAITING");
        home.outside(&["stop", &name]).ended(0);
        let _ = going.finish();
        assert!(live.finish().ended(0).out().contains("has ended"));
        assert!(home.outside(&["attach"]).ended(1).err().contains("no box runs"));
    }
}

#[test]
fn nobody_in_a_box_looks_at_boxes() {
    let home = Home::new("extends = \"default\"\n");
    let finished = home.run("$AGENTBOX attach --once; echo $?").ended(0);
    assert_eq!(finished.out(), "125\n");
}
