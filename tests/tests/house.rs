//! The house rules, so that ARCHITECTURE's picture stays true: who may lean on whom, where unsafe may live, how big a file may grow.
#![allow(clippy::expect_used, clippy::panic, reason = "a rule that cannot be checked must fail the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which of our crates each may use. A new arrow is a decision: it is made here, with its reason.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sandbox/core", &[]),
    ("sandbox/kernel", &["agentbox-core", "agentbox-ebpf"]),
    ("sandbox/broker", &["agentbox-core"]),
    ("sandbox/vault", &["agentbox-core"]),
    ("sandbox/desk", &["agentbox-core"]),
    ("sandbox/agentbox", &["agentbox-core", "agentbox-kernel", "agentbox-broker", "agentbox-vault", "agentbox-desk"]),
    ("ebpf", &[]),
    ("xtask", &[]),
    ("tests", &[]),
];

/// Crates that core must never see, because it decides and never acts.
const NOT_IN_CORE: &[&str] = &["tokio", "libc", "nix", "hyper", "rustls"];

/// What core's sources must not name, for the same reason.
const NO_IO: &[&str] = &["std::fs", "std::net::Tcp", "std::net::Udp", "std::process", "std::os::unix", "std::env"];

/// The only places where unsafe code may stand.
const UNSAFE_ROOMS: &[&str] = &["sandbox/kernel/src/sys/", "ebpf/"];

/// A file that needs scrolling for minutes is two files.
const LONGEST_FILE: usize = 700;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != ".git") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for (crate_folder, _) in MAY_USE {
        sources(&root.join(crate_folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 40, "only {} source files found: the walk is broken", found.len());
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the root").display().to_string();
            let text = fs::read_to_string(&path).expect("UTF-8 source");
            (name, text)
        })
        .collect()
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).expect("a manifest").parse().expect("valid TOML")
}

fn dependencies(manifest: &toml::Table, sections: &[&str]) -> Vec<String> {
    sections.iter().filter_map(|section| manifest.get(*section)?.as_table()).flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn every_crate_leans_only_on_whom_it_may() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut members: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("sandbox")).expect("sandbox/") {
        members.push(format!("sandbox/{}", entry.expect("an entry").file_name().to_string_lossy()));
    }
    members.extend(["ebpf", "xtask", "tests"].map(str::to_owned));
    assert_eq!(members.len(), allowed.len(), "a crate came or went: say in MAY_USE whom it may use: {members:?}");
    for member in members {
        let may = allowed.get(member.as_str()).unwrap_or_else(|| panic!("{member} is not in MAY_USE"));
        for dependency in dependencies(&manifest(&member), &["dependencies", "build-dependencies"]) {
            if dependency.starts_with("agentbox") {
                assert!(may.contains(&dependency.as_str()), "{member} may not use {dependency}");
            }
        }
    }
}

#[test]
fn core_decides_and_never_acts() {
    for dependency in dependencies(&manifest("sandbox/core"), &["dependencies"]) {
        assert!(!NOT_IN_CORE.contains(&dependency.as_str()), "core must not use {dependency}");
    }
    for (name, text) in all_sources() {
        if !name.starts_with("sandbox/core/src/") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in NO_IO {
            assert!(!code.contains(word), "{name} names {word}: core does no I/O");
        }
    }
}

#[test]
fn unsafe_lives_in_its_rooms_only() {
    for (name, text) in all_sources() {
        if name == "tests/tests/house.rs" || UNSAFE_ROOMS.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            let quoted = code.contains("\"unsafe") || code.contains("unsafe\"");
            assert!(!uses || quoted, "{name}:{}: unsafe outside its rooms", number + 1);
        }
    }
}

#[test]
fn every_crate_takes_the_house_lints() {
    for (folder, _) in MAY_USE {
        let manifest = manifest(folder);
        let lints = manifest.get("lints").and_then(|l| l.as_table()).unwrap_or_else(|| panic!("{folder} has no [lints]"));
        if *folder == "sandbox/kernel" {
            // The one crate with unsafe: its own list, which must refuse it outside `sys` all the same.
            let level = lints.get("rust").and_then(|r| r.get("unsafe_code")).and_then(|u| u.as_str());
            assert_eq!(level, Some("deny"), "the kernel crate denies unsafe outside sys/");
        } else {
            assert_eq!(lints.get("workspace").and_then(toml::Value::as_bool), Some(true), "{folder} must inherit the workspace's lints");
        }
    }
}

#[test]
fn files_are_one_thing_each() {
    for (name, text) in all_sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines: split it");
        let stem = Path::new(&name).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        assert!(!EMPTY_NAMES.contains(&stem.as_str()), "{name}: the name says nothing");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in all_sources() {
        let first = text.lines().find(|line| !line.starts_with("#![") && !line.trim().is_empty()).unwrap_or_default();
        let generated = name.contains("/tests/compile-fail/") || name.contains("/compile_fail/") || name.contains("/ui/");
        assert!(generated || first.starts_with("//!") || first.starts_with("// @generated"), "{name} does not begin with what it is for");
    }
}

#[test]
fn no_test_is_switched_off_without_a_reason() {
    for (name, text) in all_sources() {
        for (number, line) in text.lines().enumerate() {
            let bare = concat!("#[ig", "nore]");
            assert!(line.trim() != bare, "{name}:{}: an ignored test needs its reason on the line", number + 1);
        }
    }
}
