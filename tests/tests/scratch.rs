//! A box that writes to a layer: the files stay as they are until a person applies it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use agentbox_tests::{
    Home, Who,
    home::exists,
    process::{Finished, finish},
    tree::snapshot,
};

/// Runs a script in a box with a layer.
fn layered(home: &Home, script: &str) -> Finished {
    finish(&mut home.script(&["--scratch"], script))
}

fn home(who: Who) -> Home {
    let home = Home::of(who, "");
    for (path, text) in
        [("a", "one\n"), ("b", "two\n"), ("deep/c", "three\n"), ("deep/d", "four\n"), ("gone/e", "five\n"), ("gone/f/g", "six\n"), ("swap/h", "seven\n")]
    {
        home.write(&format!("work/{path}"), text);
    }
    home
}

const WORK: &str = "set -e
echo new > made; mkdir -p new/er; echo x > new/er/y; ln -s made link; mkfifo pipe; chmod 640 made
echo more >> a; rm b; echo over > deep/c; chmod 700 deep; rm -rf gone; rm -rf swap; mkdir swap; echo fresh > swap/i
python3 -c 'import os; os.setxattr(\"made\", \"user.mine\", b\"v\"); os.utime(\"new/er/y\", (5, 5)); os.mkdir(\"shut\"); os.chmod(\"shut\", 0o500)'
mv deep/d deep/moved; git init -q repo; cat a";

#[test]
fn what_a_box_wrote_to_its_layer_becomes_real_once_and_can_be_taken_back() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("work"));
        let ended = layered(&home, WORK).ended(0);
        assert_eq!(ended.out(), "one\nmore\n", "the box sees what it wrote");
        assert!(ended.err().contains("agentbox scratch apply"), "{}", ended.err());
        assert_eq!(snapshot(&home.path("work")), before, "nothing outside has changed");

        let listed = home.outside(&["scratch", "list"]).ended(0).out();
        assert!(listed.contains("waits") && listed.contains("work"), "{listed}");
        let diff = home.outside(&["scratch", "diff"]).ended(0).out();
        for line in ["A  ", "/work/made\n", "M  ", "/work/deep/c\n", "D  ", "/work/gone\n"] {
            assert!(diff.contains(line), "{line}:\n{diff}");
        }

        let applied = home.outside(&["scratch", "apply"]).ended(0).out();
        let read = |name: &str| fs::read_to_string(home.path(&format!("work/{name}"))).unwrap_or_default();
        assert_eq!(
            (read("a"), read("made"), read("new/er/y"), read("deep/c"), read("deep/moved")),
            ("one\nmore\n".into(), "new\n".into(), "x\n".into(), "over\n".into(), "four\n".into())
        );
        assert!(["b", "gone", "swap/h", "deep/d"].iter().all(|name| !exists(&home.path(&format!("work/{name}")))), "{applied}");
        assert_eq!(read("swap/i"), "fresh\n");
        let mode = |name: &str| fs::symlink_metadata(home.path(&format!("work/{name}"))).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode("made"), mode("deep"), mode("shut")), (0o640, 0o700, 0o500));
        assert_eq!(fs::read_link(home.path("work/link")).expect("a link").to_str(), Some("made"));
        let mut notes = Command::new("python3");
        notes.args(["-c", "import os, sys; print(os.listxattr(sys.argv[1]), os.listxattr(sys.argv[2]), os.stat(sys.argv[3]).st_mtime)"]);
        notes.args(["work/made", "work/a", "work/new/er/y"].map(|name| home.path(name)));
        assert_eq!(finish(&mut notes).ended(0).out(), "['user.mine'] [] 5.0\n");
        assert!(home.outside(&["scratch", "list"]).ended(0).out().contains("No layer waits"));

        let undo = applied.lines().find_map(|line| line.strip_prefix("to take it back: agentbox ")).expect("how to take it back").to_owned();
        home.outside(&undo.split(' ').collect::<Vec<_>>()).ended(0);
        assert_eq!(snapshot(&home.path("work")), before, "{applied}");
    }
}

#[test]
fn what_others_changed_meanwhile_is_left_alone_unless_a_person_insists() {
    let home = home(Who::Me);
    layered(&home, "echo theirs > a; rm -rf gone; echo fine > b").ended(0);
    home.write("work/a", "mine\n");
    home.write("work/gone/f/new", "mine too\n");
    let said = home.outside(&["scratch", "apply"]).ended(1).out();
    assert!(said.contains("2 left alone") && said.contains("--overwrite"), "{said}");
    let read = |name: &str| fs::read_to_string(home.path(&format!("work/{name}"))).unwrap_or_default();
    assert_eq!((read("a"), read("b"), read("gone/f/new")), ("mine\n".into(), "fine\n".into(), "mine too\n".into()));
    home.outside(&["scratch", "apply", "--overwrite"]).ended(0);
    assert_eq!(read("a"), "theirs\n");
    assert!(!exists(&home.path("work/gone")));
}

#[test]
fn a_layer_is_dropped_without_a_trace_and_no_box_reaches_it() {
    let home = home(Who::Me);
    let before = snapshot(&home.path("work"));
    let ended = layered(&home, "mkdir deep/shut; echo x > deep/shut/y; chmod 0 deep/shut; rm -rf gone; ls ~/.local/state/agentbox 2>&1; true").ended(0);
    assert!(!ended.out().contains("scratch"), "{}", ended.out());
    let session = home.outside(&["scratch", "list"]).ended(0).out().split(' ').next().expect("a name").to_owned();
    home.outside(&["scratch", "drop", &session]).ended(0);
    assert_eq!(snapshot(&home.path("work")), before);
    home.outside(&["scratch", "apply", &session]).ended(125);
    home.outside(&["scratch", "drop", "no-such-box"]).ended(125);
}

#[test]
fn what_is_guarded_stays_guarded_in_a_layer() {
    let home = Home::new("extends = \"default\"\n[place.hooks]\npaths = [\"guarded/hooks\"]\nread = \"allow\"\nwrite = \"deny\"\ndestroy = \"deny\"\n");
    home.write("work/guarded/hooks/pre-commit", "mine\n");
    home.write("work/guarded/free", "free\n");
    let before = snapshot(&home.path("work"));
    let ended = layered(&home, "echo x > guarded/hooks/pre-commit; echo y > guarded/free; echo z > guarded/new; mv guarded elsewhere; cat guarded/free");
    assert!(ended.out().contains("y\n"), "{} {}", ended.out(), ended.err());
    assert_eq!(snapshot(&home.path("work")), before, "a folder above a guarded one is layered as well");
    assert!(!home.outside(&["scratch", "diff"]).ended(0).out().contains("pre-commit"));
}
