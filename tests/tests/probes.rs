//! The connect probes in a real box: required, they are there before the agent is; they tell who opened a connection, also after its end.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, Who, skip};
use serde_json::Value;

/// Opens a connection and ends; its child, which inherits it, sends the deletion.
const HANDED_ON: &str = r#"
import os, socket, sys
connection = socket.create_connection(("held.example", 80))
if os.fork():
    os._exit(0)
os.setsid()
os.read(int(sys.argv[1]), 1)
connection.sendall(b"DELETE /volumes/1 HTTP/1.1\r\nHost: held.example\r\nConnection: close\r\n\r\n")
while connection.recv(4096):
    pass
"#;

fn required(origin: &Origin) -> String {
    format!("require = [\"connect-probes\"]\n{}", origin.policy())
}

/// Whether the kernel lets this user load them, by the doctor's own trial.
fn are_possible(home: &Home) -> bool {
    let told = home.outside(&["doctor", "--json"]).out();
    let layers: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let found = layers["layers"].as_array().into_iter().flatten().find(|layer| layer["layer"] == "connect-probes");
    found.unwrap_or_else(|| panic!("no connect-probes in {told}"))["status"]["is"] == "enforced"
}

#[test]
fn the_opener_of_a_connection_is_told_after_its_end() {
    let Some(origin) = Origin::start() else { return };
    if !skip::is_root("loading eBPF programs") || !skip::have(&["python3"]) {
        return;
    }
    let home = Home::new(&required(&origin));
    if !are_possible(&home) {
        return skip::skip("the kernel does not load the connect probes");
    }
    home.write("work/handed-on.py", HANDED_ON);
    // The opener has ended when the sender's byte comes: the pipe's other end is the shell's alone.
    let going = home.start("python3 handed-on.py 3 3< <(sleep 1; echo); wait; sleep 300");
    let cards = home.waiting(1);
    // The one that holds it now, which `/proc` would tell, is alive.
    assert_eq!(cards[0]["who"][0], "python3 (ended since)", "{}", cards[0]);
    drop(going);
}

#[test]
fn an_ordinary_box_works_with_them_required() {
    let Some(origin) = Origin::start() else { return };
    if !skip::is_root("loading eBPF programs") {
        return;
    }
    let home = Home::new(&required(&origin));
    if !are_possible(&home) {
        return skip::skip("the kernel does not load the connect probes");
    }
    let out =
        home.start("curl -s http://held.example/volumes; for i in 1 2 3 4 5; do curl -s -o /dev/null http://held.example/$i || echo failed; done; echo end");
    let out = out.finish().ended(0).out();
    assert!(out.contains("end") && !out.contains("failed"), "{out}");
}

#[test]
fn where_they_cannot_be_had_nothing_starts() {
    let Some(origin) = Origin::start() else { return };
    let Some(who) = Who::each().pop() else { return };
    let home = Home::of(who, &required(&origin));
    let ended = home.start("echo it-ran").finish().ended(125);
    assert!(ended.err().contains("connect-probes") && !ended.out().contains("it-ran"), "{}", ended.err());
}
