//! The shared bypass scripts, in a real box, with everything that they attack outside it; `ESCAPES.md` says what each result means.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use agentbox_tests::{
    Who,
    outside::{Outside, bypass_scripts, scripts},
    skip,
};

/// What a script's exit code means.
const BLOCKED: i32 = 0;
const ESCAPED: i32 = 1;

/// Scripts that get through, and why that is known and written down.
const OPEN: &[(&str, &str)] = &[("42-memfd-exec.c", "running a program that lies in memory is no way out: it runs behind the same fences")];

/// Scripts that get through when their victim lies in a place that the agent may write: the file gate is the next issue.
const OPEN_IN_THE_WORKSPACE: &[&str] = &[
    "18-rename-over.c",
    "19-open-o-trunc.c",
    "20-truncate-path.c",
    "22-punch-hole.c",
    "25-mmap-shared.c",
    "26-splice-pipe-write.c",
    "27-hardlink-alias.c",
    "28-symlink-race.c",
    "29-toctou-path-arg.c",
];

/// Those that attack a file.
const ON_A_FILE: &[&str] = &[
    "01-io-uring-unlink.c",
    "15-int80-unlink.c",
    "18-rename-over.c",
    "19-open-o-trunc.c",
    "20-truncate-path.c",
    "21-openat2-trunc.c",
    "22-punch-hole.c",
    "25-mmap-shared.c",
    "26-splice-pipe-write.c",
    "27-hardlink-alias.c",
    "28-symlink-race.c",
    "29-toctou-path-arg.c",
];

/// Scripts that share a box: each box must end before the harness's deadline, also on a busy machine.
const A_BOX: usize = 11;

fn fresh(who: Who, bypass: &Path) -> Outside {
    let outside = Outside::new(who, "", Some(bypass));
    outside.bring(bypass, "bypass");
    for name in ["adapter.py", "bypass.sh"] {
        fs::copy(agentbox_tests::outside::escapes().join("lib").join(name), outside.home.path("work").join(name)).expect("a copy");
    }
    outside
}

fn results(outside: &Outside, victim: &str, names: &[String]) -> BTreeMap<String, (i32, String)> {
    let early = format!("{}export BYPASS_DIR='{}'\n", outside.environment(), outside.home.path(victim).display());
    outside.home.write("work/early.env", &early);
    for name in ["late.env", "results", "ports"] {
        let _ = fs::remove_file(outside.home.path("work").join(name));
    }
    let going = outside.attack(&["--unattended"], &format!("exec sh bypass.sh {}", names.join(" ")), "");
    let said = going.finish();
    let written = fs::read_to_string(outside.home.path("work/results")).unwrap_or_default();
    assert!(written.ends_with("END\n"), "the scripts did not come to their end\n{written}\n{}\n{}", said.out(), said.err());
    written
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            Some((parts.next()?.to_owned(), (parts.next()?.parse().ok()?, parts.next().unwrap_or_default().to_owned())))
        })
        .collect()
}

#[test]
fn every_bypass_script_does_what_escapes_md_says() {
    let Some(bypass) = bypass_scripts() else { return skip::not_here("no bypass scripts: neither AGENTBOX_SHARED nor ../shared has them") };
    if !skip::have(&["python3", "gcc", "script", "openssl"]) {
        return;
    }
    let names = scripts(&bypass);
    assert_eq!(names.len(), 43, "{names:?}");
    for who in Who::each() {
        let outside = fresh(who, &bypass);
        let found: BTreeMap<_, _> = names.chunks(A_BOX).flat_map(|names| results(&outside, "home/protected", names)).collect();
        for (name, (code, said)) in &found {
            eprintln!("{who:?} {name:32} {code} {said}");
        }
        for name in &names {
            let (code, said) = &found[name];
            let expected = if OPEN.iter().any(|(open, _)| open == name) { ESCAPED } else { BLOCKED };
            assert_eq!(*code, expected, "{who:?} {name}: {said}");
        }
        assert!(outside.is_whole("home/protected/victim"), "{who:?}: the victim was changed");
        assert_eq!(outside.touched(), "", "{who:?}: something outside was reached");
    }
}

#[test]
fn what_is_open_in_the_workspace_is_what_escapes_md_says() {
    let Some(bypass) = bypass_scripts() else { return skip::not_here("no bypass scripts: neither AGENTBOX_SHARED nor ../shared has them") };
    if !skip::have(&["python3", "gcc", "script", "openssl"]) {
        return;
    }
    let outside = fresh(Who::Me, &bypass);
    for name in ON_A_FILE {
        outside.home.write("work/victim/victim", &"A".repeat(65_536));
        let found = results(&outside, "work/victim", &[(*name).to_owned()]);
        let (code, said) = &found[*name];
        let expected = if OPEN_IN_THE_WORKSPACE.contains(name) { ESCAPED } else { BLOCKED };
        assert_eq!(*code, expected, "{name}: {said}");
        let _ = fs::remove_dir_all(outside.home.path("work/victim"));
    }
}

#[test]
fn escapes_md_names_every_bypass_script() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ESCAPES.md")).expect("ESCAPES.md");
    let Some(bypass) = bypass_scripts() else { return skip::not_here("no bypass scripts: neither AGENTBOX_SHARED nor ../shared has them") };
    for name in scripts(&bypass) {
        let line = page.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap_or_else(|| panic!("ESCAPES.md does not name {name}"));
        let open = OPEN.iter().any(|(open, _)| *open == name);
        assert_eq!(line.contains("**open**"), open, "{line}");
        assert_eq!(line.contains("*open in the workspace*"), OPEN_IN_THE_WORKSPACE.contains(&name.as_str()), "{line}");
    }
}
