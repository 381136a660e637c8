//! Our own attacks from inside a real box; each is a line of `ESCAPES.md`, blocked or open.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

use std::{collections::BTreeMap, fs, os::unix::net::UnixListener, path::Path};

use agentbox_tests::{
    Who,
    outside::{Outside, bypass_scripts, escapes, scripts},
    skip,
};

/// What a script's exit code means.
const BLOCKED: i32 = 0;
const ESCAPED: i32 = 1;

/// Attacks that get through, and why that is known and written down.
const OPEN: &[(&str, &str)] = &[
    ("launchpad-not-there-yet.sh", "a mount cannot guard what is not there: the file gate will; until then the end of the run names each one"),
    ("socket-bound-later.py", "nothing in the kernel hides a socket file that is bound while the box runs, before Landlock's ABI 9"),
];

/// What is added to the stage's policy: secrets in the workspace.
const POLICY: &str = "[place.keys]\npaths = [\"config/deep/key\", \"**/.env\"]\nread = \"deny\"\nwrite = \"deny\"\ndestroy = \"deny\"\n";

/// A script with this word in its head runs in two boxes, one after the other.
const TWO: &str = "TWO BOXES";

fn fresh(who: Who) -> Outside {
    let outside = Outside::new(who, POLICY, None);
    outside.bring(&escapes(), "escapes");
    fs::copy(escapes().join("lib/escapes.sh"), outside.home.path("work/escapes.sh")).expect("a copy");
    for (name, text) in [
        ("work/config/deep/key", "the secret key"),
        ("work/app/.env", "SECRET=1"),
        ("work/.git/config", "[core]\n\tbare = false\n"),
        ("work/.git/HEAD", "ref: refs/heads/main\n"),
        ("work/.git/hooks/pre-commit", "#!/bin/sh\n"),
        ("work/.vscode/tasks.json", "{}\n"),
    ] {
        outside.home.write(name, text);
    }
    outside.home.write("work/early.env", &outside.environment());
    outside
}

/// The result of each script. A box that refuses to start has blocked them all.
fn results(outside: &Outside, stage: &str, names: &[&str]) -> BTreeMap<String, (i32, String)> {
    for name in ["late.env", "results"] {
        let _ = fs::remove_file(outside.home.path("work").join(name));
    }
    let script = format!("exec sh escapes.sh {stage} {}", names.join(" "));
    if stage == "2" {
        outside.give_workspace_without_modes();
        outside.home.write("work/late.env", "");
        let said = agentbox_tests::process::finish(&mut outside.home.script(&["--unattended"], &script));
        if said.code == 125 {
            return names.iter().map(|name| ((*name).to_owned(), (BLOCKED, said.err().lines().last().unwrap_or_default().to_owned()))).collect();
        }
    } else {
        // One that comes while the box runs.
        let late = outside.home.path("home/protected/late.sock");
        let _ = fs::remove_file(&late);
        let going = outside.attack(&["--unattended"], &script, "");
        let _listener = UnixListener::bind(&late).expect("a socket file");
        outside.give_protected();
        let said = going.finish();
        eprintln!("{}", said.out());
    }
    let written = fs::read_to_string(outside.home.path("work/results")).unwrap_or_default();
    let all = fs::read_to_string(outside.home.path("work/said.all")).unwrap_or_default();
    assert!(written.ends_with("END\n"), "the scripts did not come to their end\n{written}\n{all}");
    eprintln!("{all}");
    written
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            Some((parts.next()?.to_owned(), (parts.next()?.parse().ok()?, parts.next().unwrap_or_default().to_owned())))
        })
        .collect()
}

fn takes_two(name: &str) -> bool {
    fs::read_to_string(escapes().join(name)).expect("a script").contains(TWO)
}

/// Says how a result differs from what `ESCAPES.md` says.
fn differs(who: Who, name: &str, (code, said): &(i32, String)) -> Option<String> {
    let expected = if OPEN.iter().any(|(open, _)| *open == name) { ESCAPED } else { BLOCKED };
    (*code != expected).then(|| format!("{who:?} {name}: {code} in place of {expected}: {said}"))
}

/// Only those named in `ESCAPES`, where somebody looks at one.
fn chosen() -> Vec<String> {
    let wanted = std::env::var("ESCAPES").ok();
    scripts(&escapes()).into_iter().filter(|name| wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))).collect()
}

#[test]
fn every_attack_of_ours_does_what_escapes_md_says() {
    if !skip::have(&["python3", "script", "openssl"]) {
        return;
    }
    let names = chosen();
    let mut wrong = Vec::new();
    for who in Who::each() {
        let outside = fresh(who);
        for name in names.iter().filter(|name| !takes_two(name)) {
            let found = results(&outside, "1", &[name]);
            eprintln!("{who:?} {name} {:?}", found[name]);
            wrong.extend(differs(who, name, &found[name]));
        }
        assert!(outside.is_whole("home/protected/victim"), "{who:?}: the victim was changed");
        assert_eq!(outside.touched(), "", "{who:?}: something outside was reached");
        let late = outside.reached().into_iter().filter(|request| request["method"] == "DELETE").collect::<Vec<_>>();
        assert!(late.is_empty(), "{who:?}: the origin was told to delete: {late:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_box_prepares_a_way_out_of_the_next() {
    if !skip::have(&["python3", "script", "openssl"]) {
        return;
    }
    for who in Who::each() {
        for name in chosen().iter().filter(|name| takes_two(name)) {
            let outside = fresh(who);
            for stage in ["1", "2"] {
                let found = results(&outside, stage, &[name]);
                eprintln!("{who:?} {name} in box {stage}: {:?}", found[name]);
                assert_eq!(differs(who, name, &found[name]), None);
            }
        }
    }
}

#[test]
fn a_guard_that_is_knocked_off_outside_ends_the_box() {
    if !skip::have(&["python3", "openssl"]) {
        return;
    }
    for who in Who::each() {
        let outside = fresh(who);
        outside.give_workspace();
        let going = outside.home.start("echo ready; sleep 60; echo evil > .git/config");
        going.says("ready");
        // As `git config` does it.
        outside.home.write("work/.git/config.lock", "[core]\n\tbare = true\n");
        fs::rename(outside.home.path("work/.git/config.lock"), outside.home.path("work/.git/config")).expect("renamed");
        let said = going.finish();
        assert!(said.err().contains("is no longer kept from being changed by the agent"), "{who:?}: {}", said.err());
        let config = fs::read_to_string(outside.home.path("work/.git/config")).expect("the user's own");
        assert_eq!(config, "[core]\n\tbare = true\n", "{who:?}");
    }
}

#[test]
fn what_comes_to_be_at_a_guarded_name_is_told() {
    if !skip::have(&["python3", "openssl"]) {
        return;
    }
    let outside = fresh(Who::Me);
    let said = outside.home.run("echo evil > .envrc; ln -s nothing .claude; echo ../evil > .git/commondir");
    for name in [".envrc", ".claude", ".git/commondir"] {
        assert!(said.err().contains(&format!("{name}: it came to be in this box")), "{name}: {}", said.err());
    }
}

#[test]
fn escapes_md_names_every_attack_and_nothing_else() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ESCAPES.md")).expect("ESCAPES.md");
    let ours = scripts(&escapes());
    for name in &ours {
        let line = page.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap_or_else(|| panic!("ESCAPES.md does not name {name}"));
        let open = OPEN.iter().any(|(open, _)| open == name);
        assert_eq!(line.contains("**open**"), open, "{line}");
    }
    let bypass = bypass_scripts().map(|folder| scripts(&folder)).unwrap_or_default();
    let is_script = |name: &str| [".c", ".py", ".sh"].iter().any(|end| name.ends_with(end));
    for named in page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).map(|(name, _)| name).filter(|name| is_script(name)) {
        assert!(
            bypass.is_empty() || bypass.iter().any(|name| name == named) || ours.iter().any(|name| name == named),
            "ESCAPES.md names {named}, which is not there"
        );
    }
    for (open, _) in OPEN {
        assert!(ours.iter().any(|name| name == open), "{open} is not there");
    }
}
