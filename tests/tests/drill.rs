//! The incident, replayed by the program itself: held in every disguise, lost without a box, let through once by a yes.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Finished, Going, Home, Who,
    process::{finish, until},
    skip,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What the drill's steps need.
const PROGRAMS: &[&str] = &["bash", "curl", "grep", "sed", "gzip"];

fn drill(home: &Home, arguments: &[&str]) -> (Finished, Value) {
    let finished = finish(&mut home.agentbox(&[&["drill", "pocketos", "--json", "--patience", "4"], arguments].concat()));
    let result = serde_json::from_str(finished.out().trim()).unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.out(), finished.err()));
    (finished, result)
}

/// The names that `agentbox drill` lists for `--variant`.
fn variants(home: &Home) -> Vec<String> {
    let list = finish(&mut home.agentbox(&["drill"])).ended(0).out();
    list.lines().filter_map(|line| line.trim().strip_prefix("--variant ")?.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn it_is_contained_as_it_happened() {
    if !skip::have(PROGRAMS) {
        return;
    }
    for who in Who::each() {
        let (finished, result) = drill(&Home::of(who, ""), &[]);
        let finished = finished.ended(0);
        assert_eq!((&result["contained"], &result["proven"]), (&Value::Bool(true), &Value::Bool(true)), "{result}\n{}", finished.err());
        assert_eq!((result["mutations_received"].as_u64(), result["holds"].as_u64()), (Some(0), Some(1)), "{result}");
        assert_eq!((&result["volumes_left"], &result["backups_left"]), (&result["volumes_before"], &result["backups_before"]));
        assert!(finished.err().contains(" approve ") && finished.err().contains(" deny "), "the line to rule from another terminal is shown");
    }
}

#[test]
fn it_is_contained_in_every_disguise() {
    if !skip::have(PROGRAMS) {
        return;
    }
    let all = variants(&Home::new(""));
    assert!(all.len() >= 10, "{all:?}");
    // Each mostly waits for a person who does not come, so they wait beside each other.
    std::thread::scope(|scope| {
        for variant in all {
            scope.spawn(move || disguised(&variant));
        }
    });
}

fn disguised(variant: &str) {
    let home = Home::new("");
    if variant == "cli" {
        let out = finish(&mut home.agentbox(&["drill", "pocketos", "--variant", "cli"])).ended(125).err();
        assert!(out.contains("SKIPPED: "), "{out}");
        return;
    }
    let (finished, result) = drill(&home, &["--variant", variant]);
    assert_eq!((finished.code, &result["proven"]), (0, &Value::Bool(true)), "{variant}: {result}\n{}", finished.err());
    assert_eq!(result["variant"], variant);
}

#[test]
fn without_a_box_it_is_lost() {
    if !skip::have(PROGRAMS) {
        return;
    }
    let home = Home::new("");
    // The provider itself takes no mutation from a GET.
    for variant in variants(&home).iter().filter(|variant| !matches!(variant.as_str(), "cli" | "get")) {
        let (finished, result) = drill(&home, &["--unprotected", "--variant", variant]);
        assert_eq!((finished.code, &result["contained"]), (1, &Value::Bool(false)), "{variant}: {result}\n{}", finished.err());
        assert!(result["backups_left"].as_u64() < result["backups_before"].as_u64(), "{variant}: the backups go with the volume");
    }
}

#[test]
fn a_yes_happens_exactly_once() {
    if !skip::have(PROGRAMS) {
        return;
    }
    for who in Who::each() {
        let (finished, result) = drill(&Home::of(who, ""), &["--approve"]);
        let finished = finished.ended(0);
        assert_eq!(result["proven"], true, "{result}\n{}", finished.err());
        let numbers = ["mutations_received", "mutations_applied", "approved", "holds"].map(|name| result[name].as_u64());
        assert_eq!(numbers, [Some(1), Some(1), Some(1), Some(3)], "{result}");
    }
}

#[test]
fn no_two_runs_show_the_same() {
    if !skip::have(PROGRAMS) {
        return;
    }
    let home = Home::new("");
    let story = || finish(&mut home.agentbox(&["drill", "pocketos", "--unprotected"])).ended(1).err();
    let volume = |story: &str| story.lines().find_map(|line| line.strip_prefix("The volume ").map(str::to_owned)).expect("the story names the volume");
    assert_ne!(volume(&story()), volume(&story()));
}

#[test]
fn an_interrupt_ends_the_box_and_leaves_nothing_behind() {
    if !skip::have(PROGRAMS) {
        return;
    }
    let home = Home::new("");
    let folders = home.path("folders");
    std::fs::create_dir(&folders).expect("a folder");
    let going = Going::start(home.agentbox(&["drill", "pocketos", "--patience", "600"]).env("TMPDIR", &folders));
    until("the call waits", || going.err().contains("The call waits"), || going.err());
    going.signal(Signal::SIGINT);
    let said = going.finish().ended(125).err();
    assert!(said.contains("interrupted"), "{said}");
    assert!(home.holds().is_empty());
    assert_eq!(std::fs::read_dir(&folders).expect("it is there").count(), 0, "the drill's folder is gone");
}

#[test]
fn what_cannot_be_played_says_why() {
    let home = Home::new("");
    for (arguments, word) in [(&["nothing"][..], "pocketos"), (&["pocketos", "--variant", "nothing"], "alias"), (&["pocketos", "--patience", "0"], "0")] {
        let out = finish(&mut home.agentbox(&[&["drill"], arguments].concat())).ended(125).err();
        assert!(out.contains(word), "{arguments:?}: {out}");
    }
    let missing = finish(home.agentbox(&["drill", "pocketos"]).env("PATH", "/nonexistent")).ended(125).err();
    assert!(missing.contains("install the package"), "{missing}");
}
