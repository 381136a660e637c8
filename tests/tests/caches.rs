//! Layers over the caches of tools: what a box puts there reaches neither the user nor another project, and says so where there can be none.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use agentbox_tests::{
    Home, Who, binary,
    process::{Finished, finish},
    skip,
    tree::snapshot,
};

const DEFAULT: &str = "extends = \"default\"\n";

fn home(who: Who) -> Home {
    let home = Home::of(who, DEFAULT);
    for (path, text) in [
        (".cargo/bin/tool", "true tool\n"),
        (".cargo/registry/deep/crate", "true crate\n"),
        (".cargo/credentials.toml", "secret of the user\n"),
        (".npm/_cacache/one", "one\n"),
        (".cache/pip/wheel", "wheel\n"),
    ] {
        home.write(&format!("home/{path}"), text);
    }
    home
}

/// A box in another project of the same home.
fn elsewhere(home: &Home, project: &str, script: &str) -> Finished {
    home.write(&format!("{project}/mark"), "");
    finish(home.script(&[], script).current_dir(home.path(project)))
}

/// What an agent that means harm does to the caches.
const POISON: &str = "set -e
cd ~/.cargo; echo evil > bin/tool; echo evil > bin/git; chmod 700 bin/git; chmod 444 registry/deep/crate; touch -d @5 registry/deep/crate
rm -rf ~/.npm/_cacache; mkdir ~/.npm/_cacache; echo evil > ~/.npm/_cacache/two; mv ~/.cache/pip/wheel ~/.cache/pip/moved; ln -s ~/.ssh ~/.cache/ssh
python3 -c 'import os; os.truncate(os.path.expanduser(\"~/.cache/pip/moved\"), 1); os.setxattr(os.path.expanduser(\"~/.cache/pip/moved\"), \"user.a\", b\"b\")'
python3 -c 'import os, mmap
f = open(os.path.expanduser(\"~/.cargo/bin/tool\"), \"r+b\")
m = mmap.mmap(f.fileno(), 0); m[0:4] = b\"EVIL\"; m.flush()'
cat bin/tool";

const LOOK: &str = "cat ~/.cargo/bin/tool; ls ~/.cargo/bin ~/.npm/_cacache ~/.cache/pip | tr '\\n' ' '";
const CLEAN: &str = "true tool\n";

#[test]
fn a_poisoned_cache_reaches_neither_the_user_nor_another_project() {
    for who in Who::each() {
        let home = home(who);
        // Which makes the caches of the tools that are installed, and nothing else.
        home.run("true").ended(0);
        let before = snapshot(&home.path("home"));
        let poisoned = home.run(POISON).ended(0);
        assert!(poisoned.out().to_lowercase().contains("evil"), "{}{}", poisoned.out(), poisoned.err());
        assert!(!poisoned.err().contains("kept the first version"), "nothing of the user's was touched: {}", poisoned.err());
        assert_eq!(snapshot(&home.path("home")), before, "nothing outside has changed");

        let other = elsewhere(&home, "other", LOOK).ended(0).out();
        assert!(other.starts_with(CLEAN) && !other.contains("git") && other.contains("wheel") && other.contains("one"), "{other}");
        let again = home.run(LOOK).ended(0).out();
        assert!(again.contains("git") && again.contains("two") && again.contains("moved"), "the project finds its layer again: {again}");

        let listed = home.outside(&["caches", "list"]).ended(0).out();
        assert!(listed.contains("/work\n") && listed.contains("/other\n") && listed.lines().count() == 2, "{listed}");
        let listed = home.outside(&["caches", "list", "--json"]).ended(0).out();
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        let known = |slot: &serde_json::Value| {
            slot["project"].as_str().is_some_and(|path| path.starts_with('/')) && slot["bytes"].is_u64() && slot["used"].as_u64() > Some(0)
        };
        assert!(listed.as_array().is_some_and(|slots| slots.len() == 2 && slots.iter().all(known)), "{listed}");
        assert_eq!(home.outside(&["caches", "drop"]).ended(0).out(), "1 dropped\n");
        assert!(home.run(LOOK).ended(0).out().starts_with(CLEAN), "as outside again");
        assert_eq!(home.outside(&["caches", "drop", "--all"]).ended(0).out(), "2 dropped\n");
        assert_eq!(home.outside(&["caches", "list"]).ended(0).out(), "No box has a layer over a cache.\n");
        assert_eq!(snapshot(&home.path("home")), before);
    }
}

#[test]
fn two_boxes_of_a_project_share_no_layer_and_what_is_in_use_is_not_dropped() {
    let home = home(Who::Me);
    let first = home.start("echo mine > ~/.cargo/mine; echo ready; while [ ! -e go ]; do sleep 0.05; done; cat ~/.cargo/mine");
    first.says("ready");
    assert_eq!(home.run("ls ~/.cargo | tr '\\n' ' '").ended(0).out(), "bin credentials.toml registry ");
    let kept = home.outside(&["caches", "drop"]).ended(125);
    assert!(kept.out().contains("1 dropped") && kept.err().contains("1 of them are in use"), "{}{}", kept.out(), kept.err());
    home.write("work/go", "");
    assert_eq!(first.finish().ended(0).out(), "ready\nmine\n");
}

#[test]
fn what_is_masked_or_closed_in_a_cache_stays_so_and_a_place_in_it_is_the_real_one() {
    for who in Who::each() {
        let home = home(who);
        let real = home.path("home").canonicalize().expect("it is there");
        let policy = format!(
            "{DEFAULT}[place.mine]\npaths = [\"{0}/.cache/mine\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n\
             [place.closed]\npaths = [\"{0}/.cargo/bin\", \"{0}/.npm\"]\nread = \"allow\"\nwrite = \"deny\"\ndestroy = \"deny\"\n\
             [place.hidden]\npaths = [\"{0}/.m2\"]\nread = \"deny\"\nwrite = \"deny\"\ndestroy = \"deny\"\n",
            real.display()
        );
        home.write("policy.toml", &policy);
        for path in [".cache/mine/a", ".m2/settings.xml"] {
            home.write(&format!("home/{path}"), "as it was\n");
        }
        let ended = home.run(
            "cat ~/.cargo/credentials.toml; cp ~/.cargo/credentials.toml ~/.cargo/copy; cat ~/.cargo/copy; ls ~/.m2; echo x > ~/.m2/x; \
             echo x > ~/.cargo/bin/tool; mv ~/.cargo/bin ~/.cargo/nib; rm -f ~/.cargo/bin/tool; echo x > ~/.npm/x; \
             echo theirs > ~/.cache/mine/a; echo fine > ~/.cache/other; mv ~/.cache/mine ~/.cache/yours; cat ~/.cache/other",
        );
        assert_eq!(ended.out(), "fine\n", "{}", ended.err());
        assert_eq!(ended.err().matches("Read-only file system").count() + ended.err().matches("Permission denied").count(), 4, "{}", ended.err());
        let read = |name: &str| fs::read_to_string(home.path("home").join(name)).unwrap_or_default();
        assert_eq!((read(".cache/mine/a"), read(".cargo/bin/tool"), read(".m2/settings.xml")), ("theirs\n".into(), CLEAN.into(), "as it was\n".into()));
        assert!(ended.err().contains("kept the first version of 1 files"), "a place in a cache is kept as ever: {}", ended.err());
        home.outside(&["undo"]).ended(0);
        assert_eq!(read(".cache/mine/a"), "as it was\n");
    }
}

#[test]
fn what_a_box_left_in_the_way_refuses_the_next_one_and_says_how_to_go_on() {
    let home = home(Who::Me);
    home.write("home/.cache/later/a", "kept\n");
    home.run("rm -rf ~/.cache/later; ln -s ~/.cargo ~/.cache/later").ended(0);
    let policy = format!(
        "{DEFAULT}[place.later]\npaths = [\"{}/.cache/later\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n",
        home.path("home").display()
    );
    home.write("policy.toml", &policy);
    let ended = home.run("echo started").ended(125);
    assert!(ended.out().is_empty() && ended.err().contains("agentbox caches drop"), "{}", ended.err());
    home.outside(&["caches", "drop"]).ended(0);
    assert_eq!(home.run("cat ~/.cache/later/a").ended(0).out(), "kept\n");
    // What it only removed is made again.
    home.write("policy.toml", DEFAULT);
    home.run("rm -rf ~/.cache/later").ended(0);
    home.write("policy.toml", &policy);
    assert_eq!(home.run("cat ~/.cache/later/a").ended(0).out(), "kept\n");
}

#[test]
fn without_a_layer_a_cache_is_read_only_and_that_is_said() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("home/.cargo"));
        let mut command = home.script(&[], "echo x > ~/.cache/x; rm -f ~/.cache/pip/wheel; cat ~/.cache/pip/wheel; echo x > ~/.cargo/x; cat ~/.cargo/x");
        let ended = finish(command.env("XDG_STATE_HOME", home.path("home/.cache/state"))).ended(0);
        assert_eq!(ended.out(), "wheel\nx\n", "{}", ended.err());
        assert!(ended.err().contains(".cache: agentbox's own state lies in it (fix: "), "{}", ended.err());
        assert!(ended.err().contains("read-only in this box") && ended.err().contains("Read-only file system"), "{}", ended.err());
        assert_eq!(snapshot(&home.path("home/.cargo")), before);
    }
    let home = Home::new("extends = \"default\"\ncaches = [\"/\"]\n");
    let ended = home.run("true").ended(125);
    assert!(ended.err().contains("it is no cache of a tool"), "{}", ended.err());
}

/// In a mount namespace of its own, a whole home on overlayfs, as in a container: none of it is the box's own for that.
const ON_A_LAYER: &str = "set -e
mkdir $BASE/upper $BASE/under; mount -t tmpfs none $BASE/upper; mkdir $BASE/upper/u $BASE/upper/w
mount -t overlay overlay -o lowerdir=$BASE/home,upperdir=$BASE/upper/u,workdir=$BASE/upper/w $BASE/home
mkdir -p $HOME/.cache/project; echo precious > $HOME/.cache/project/kept; cd $HOME/.cache/project
$AGENTBOX run --policy $BASE/policy.toml -- sh -c 'echo lost > kept; rm kept; echo x > ~/.cache/pip/new; cat ~/.cache/pip/new' || true
ls ~/.cache/pip; $AGENTBOX undo >&2; cat kept";

#[test]
fn a_layer_that_was_outside_already_is_not_the_boxs_own() {
    if !skip::is_root("mounting a layer") || !skip::have(&["unshare"]) {
        return;
    }
    for (state, new) in [("state", "x\nwheel\n"), ("home/.cache/state", "wheel\n")] {
        let home = home(Who::Me);
        let mut command: Command = home.program("unshare");
        command.args(["-m", "sh", "-c", ON_A_LAYER]).env("BASE", home.path("").canonicalize().expect("it is there")).env("AGENTBOX", binary::agentbox());
        let ended = finish(command.env("XDG_STATE_HOME", home.path(state))).ended(0);
        let out = ended.out();
        assert!(out.starts_with(new) && out.ends_with("precious\n"), "{state}: {out}{}", ended.err());
        assert!(ended.err().contains("kept the first version of 1 files"), "{state}: {}", ended.err());
    }
}

#[test]
fn a_scratch_run_has_the_caches_too_and_a_box_reaches_no_layer() {
    let home = home(Who::Me);
    let script = "echo new > ~/.npm/new; rm ~/.cargo/bin/tool; ls -A ~/.local/state/agentbox $XDG_STATE_HOME/agentbox 2>/dev/null; $AGENTBOX caches drop --all 2>&1; cat ~/.npm/new";
    let ended = finish(&mut home.script(&["--scratch"], script)).ended(0);
    assert!(ended.out().contains("this is for a terminal outside") && ended.out().ends_with("new\n") && !ended.out().contains("caches\n"), "{}", ended.out());
    assert!(home.path("home/.cargo/bin/tool").is_file() && !home.path("home/.npm/new").exists());
}
