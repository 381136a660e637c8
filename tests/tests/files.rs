//! The file gate: what destroys in a place that holds waits for a person, what a box destroys in its workspace comes back.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use agentbox_tests::{
    Home, Who,
    home::{exists, is_gone},
    process::{children, finish, until},
    tree::snapshot,
};
use nix::{sys::signal::Signal, unistd::Pid};

/// The workspace is free, but for one folder in it.
const KEPT: &str = "extends = \"default\"\n[place.kept]\npaths = [\"kept\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n";

fn home(who: Who) -> Home {
    let home = Home::of(who, KEPT);
    home.write("work/kept/a", "precious\n");
    home.write("work/kept/b", "precious too\n");
    home.write("work/free", "mine\n");
    home
}

#[test]
fn a_deletion_waits_and_a_yes_lets_it_through_once() {
    for who in Who::each() {
        let home = home(who);
        let going = home.start("rm kept/a && echo removed; rm kept/b; echo end; sleep 300");
        let card = &home.waiting(1)[0];
        let id = card["id"].as_str().expect("an id").to_owned();
        assert_eq!((card["place"].as_str(), card["operations"][0]["action"].as_str()), (Some("kept"), Some("file.unlink")), "{card}");
        let shown = home.outside(&["show", &id]).ended(0).out();
        assert!(shown.contains("kept/a") && shown.contains("rm kept/a") && shown.contains("9 bytes"), "the card tells what, who and how much:\n{shown}");
        assert!(exists(&home.path("work/kept/a")), "nothing is done before the yes");
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
        going.says("removed");
        let second = home.hold();
        assert_ne!(second, id);
        home.outside(&["deny", &second, "--because", "that one stays"]).ended(0);
        going.says("end");
        assert!(going.err().contains("Operation not permitted"), "{}", going.err());
        assert!(!exists(&home.path("work/kept/a")) && exists(&home.path("work/kept/b")));
        drop(going);
        home.outside(&["log", "--verify"]).ended(0);
        // What was permitted is kept all the same.
        home.outside(&["undo"]).ended(0);
        assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is back"), "precious\n");
    }
}

#[test]
fn every_way_to_lose_a_file_is_refused_and_why_says_so() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("work/kept"));
        let script = "rm -rf kept; echo x > kept/a; : > kept/b; truncate -s 1 kept/a; mv free kept/a; mv kept elsewhere; ln kept/a alias && echo x > alias; \
                      python3 -c \"import os; os.open('kept/a', os.O_RDWR)\"; sed -i s/p/q/ kept/a; cd kept && dd if=/dev/zero of=b conv=notrunc bs=1 count=1; cd ..; $AGENTBOX why";
        let ended = finish(&mut home.script(&["--unattended"], script)).ended(77);
        assert_eq!(snapshot(&home.path("work/kept")), before, "{}", ended.err());
        assert!(ended.out().contains("file.") && ended.out().contains("kept"), "{}", ended.out());
        assert_eq!(fs::read_to_string(home.path("work/free")).expect("it is there"), "mine\n");
    }
}

#[test]
fn what_the_agent_made_itself_it_may_unmake_and_append_anywhere() {
    let home = home(Who::Me);
    let script =
        "echo new > kept/new && echo more >> kept/new && rm kept/new && mkdir kept/d && mv kept/d kept/e && rmdir kept/e && echo line >> kept/a && echo fine";
    let ended = finish(&mut home.script(&["--unattended"], script)).ended(0);
    assert_eq!(ended.out(), "fine\n", "{}", ended.err());
    assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is there"), "precious\nline\n");
}

#[test]
fn a_session_is_undone_whole() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("work"));
        let ended = home.run("rm free; mkdir made; echo x > made/x; mv kept/b kept/c; echo done").ended(0);
        assert!(ended.err().contains("agentbox undo"), "{}", ended.err());
        home.outside(&["undo", "--made"]).ended(0);
        assert_eq!(snapshot(&home.path("work")), before);
        home.outside(&["undo", "--list"]).ended(0);
    }
}

#[test]
fn a_held_call_can_be_interrupted() {
    let home = home(Who::Me);
    let script = "python3 -c \"\nimport os, signal, threading\nthreading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\ntry:\n    os.unlink('kept/a')\nexcept (KeyboardInterrupt, InterruptedError):\n    print('interrupted')\n\"; echo end";
    let going = home.start(script);
    going.says("interrupted");
    going.says("end");
    assert!(home.holds().is_empty(), "nobody waits any more");
    drop(going);
    assert!(exists(&home.path("work/kept/a")));
}

#[test]
fn nothing_passes_when_a_process_of_ours_is_killed() {
    for victim in ["supervisor", "file gate"] {
        let home = home(Who::Me);
        let going = home.start("echo up; rm kept/a && echo passed; sleep 300");
        let _ = home.hold();
        let supervisor = *children(going.pid()).first().expect("a supervisor");
        let target: Pid = match victim {
            "supervisor" => supervisor,
            // Forked after the broker.
            _ => *children(supervisor)
                .iter()
                .filter(|pid| {
                    fs::read_to_string(format!("/proc/{pid}/status"))
                        .is_ok_and(|text| text.lines().any(|line| line.starts_with("NSpid:") && line.split_whitespace().count() == 2))
                })
                .nth(1)
                .expect("a file gate"),
        };
        nix::sys::signal::kill(target, Signal::SIGKILL).expect("it is there");
        until("the box is over", || is_gone(going.pid()), || going.out());
        assert!(exists(&home.path("work/kept/a")), "{victim}");
        assert!(!going.out().contains("passed"), "{victim}: {}", going.out());
    }
}
