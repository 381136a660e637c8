//! Runs in which nobody can be asked: refused at once, said at the end, and told by the exit code.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, Who, process::finish};
use serde_json::Value;

const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1";

#[test]
fn what_would_wait_is_refused_at_once_and_the_exit_code_tells() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let ended = finish(&mut home.script(&["--unattended"], DELETE)).ended(77);
        let (body, status) = ended.out().trim_end().rsplit_once(' ').map(|(body, status)| (body.to_owned(), status.to_owned())).expect("an answer");
        let refused: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status.as_str(), refused["error"].as_str()), ("403", Some("agentbox_denied")), "{refused}");
        for field in ["operation", "place", "reason", "guidance"] {
            assert!(refused[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing in {refused}");
        }
        let said = ended.err();
        assert!(said.contains("1 refused in this unattended run") && said.contains("DELETE http://held.example:80/volumes/1"), "{said}");
        assert_eq!(origin.count("DELETE"), 0);
    }
}

#[test]
fn the_agents_own_code_counts_where_it_failed_or_is_asked_for() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    finish(&mut home.script(&["--unattended"], &format!("{DELETE}; exit 3"))).ended(3);
    finish(&mut home.script(&["--unattended", "--exit-code", "agent"], DELETE)).ended(0);
    finish(&mut home.script(&["--unattended"], "curl -s http://held.example/")).ended(0);
    assert_eq!(origin.count("DELETE"), 0);
}

#[test]
fn what_is_denied_by_policy_is_refused_with_the_rule() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"deny\"", ""));
    let ended = finish(&mut home.script(&["--unattended"], &format!("{DELETE}; $AGENTBOX why --json"))).ended(77);
    let out = ended.out();
    assert!(out.contains(" 403\n"), "{out}");
    let why: Value = serde_json::from_str(out.lines().nth(1).expect("a list")).expect("JSON");
    assert_eq!((why[0]["place"].as_str(), why[0]["operation"].as_str()), (Some("guarded"), Some("http.delete")), "{why}");
    assert_eq!(origin.count("DELETE"), 0);
    home.outside(&["log", "--verify"]).ended(0);
}

#[test]
fn a_summary_shows_no_escape_of_the_agents() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let script = "curl -s -o /dev/null -X DELETE \"http://held.example/$(printf 'a%%1b[2Jb')\"; python3 -c \"import socket; s=socket.create_connection(('held.example',80)); s.sendall(b'DELETE /\\xc2\\x9b31m\\x1b]0;owned HTTP/1.1\\r\\nHost: held.example\\r\\nConnection: close\\r\\n\\r\\n'); s.recv(1000)\"; true";
    let ended = finish(&mut home.script(&["--unattended"], script));
    assert!(!ended.stderr.contains(&0x1b) && !ended.stderr.windows(2).any(|two| two == [0xc2, 0x9b]), "{:?}", ended.err());
    assert_eq!(origin.count("DELETE"), 0);
}
