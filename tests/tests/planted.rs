//! A secret is planted, and looked for everywhere: in what is said, in the ledger, in core files, in the memory of processes that have no business with it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use agentbox_tests::{
    Going, Home, Origin, Who,
    home::{is_gone, processes},
    process::{children, finish, until},
    skip,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A secret that no other test has, and that no text has by chance.
fn secret() -> String {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).expect("random bits");
    bytes.iter().fold("ghp_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The same command, with core files of any length allowed.
fn with_cores(command: &Command) -> Command {
    let mut outer = Command::new("bash");
    outer.args(["-c", "ulimit -c unlimited && exec \"$@\"", "bash"]).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(command.get_current_dir().expect("a home's command has one"));
    outer
}

/// Files below a folder in which the text stands.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() && fs::read(&path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

/// Files with a core's name that lie where the process was at work, or where the machine puts them.
fn cores(places: &[PathBuf]) -> Vec<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the pattern").trim().to_owned();
    let (folder, name) = pattern.rsplit_once('/').map_or((None, pattern.as_str()), |(folder, name)| (Some(PathBuf::from(folder)), name));
    let begin = name.split('%').next().unwrap_or_default();
    let all = places.iter().cloned().chain(folder);
    all.flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)))
        .filter(|path| path.is_file())
        .collect()
}

/// Whether a process that may leave a core does so on this machine, where it can be found: else that none is found says nothing.
fn cores_are_found(home: &Home) -> bool {
    let before = cores(&[home.path("work")]);
    let mut victim = home.program("bash");
    victim.args(["-c", "kill -SEGV $$"]);
    finish(&mut with_cores(&victim)).ended(128 + Signal::SIGSEGV as i32);
    let new: Vec<_> = cores(&[home.path("work")]).into_iter().filter(|path| !before.contains(path)).collect();
    for core in &new {
        fs::remove_file(core).expect("our own core");
    }
    !new.is_empty()
}

/// All of ours, without the box: the shim, the supervisor, and its children outside of the box.
fn ours(shim: Pid) -> Vec<Pid> {
    let all = processes(shim);
    let mut found = vec![all.shim, all.supervisor];
    // The box's PID 1 has the kernel's protection from such signals, and holds nothing.
    found.extend(children(all.supervisor).into_iter().filter(|pid| *pid != all.init));
    found
}

/// What the kernel would do if this process crashed: nothing, by its limit, and by its mark as not dumpable besides.
fn leaves_no_core(pid: Pid, who: Who) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the line");
    let words: Vec<_> = line.split_whitespace().collect();
    // One byte: that stops the programs that take cores from a pipe, too, which a limit of 0 does not (core(5)).
    assert_eq!(words[4..6], ["1", "1"], "{pid}: {line}");
    if who == Who::Ordinary {
        // The files of a process that is not dumpable belong to root.
        let owner = fs::metadata(format!("/proc/{pid}/stat")).expect("it is there").uid();
        assert_eq!(owner, 0, "{pid} is dumpable");
    }
}

#[test]
fn no_crash_of_ours_leaves_it_anywhere() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(
            who,
            &origin
                .policy_with("destroy = \"hold\"", "[credential.api]\nsource = \"env:API_TOKEN\"\nfor = [\"tls.example\", \"held.example\"]\nallow = [\"*\"]"),
        );
        let found = cores_are_found(&home);
        if !found {
            skip::not_here("this machine keeps no core files where a test can look: that our processes leave none is told by their limits and marks alone");
        }
        let mut index = 0;
        loop {
            let mut ended = false;
            for signal in [Signal::SIGABRT, Signal::SIGSEGV] {
                let secret = secret();
                let text = "curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $API_TOKEN\" https://tls.example/used; \
                            curl -sS -X DELETE -H \"Authorization: Bearer $API_TOKEN\" https://held.example/kept; sleep 300";
                let mut command = with_cores(&home.script(&[], text));
                let going = Going::start(command.env("API_TOKEN", &secret));
                going.says("200");
                let _ = home.hold();
                let all = ours(going.pid());
                let Some(victim) = all.get(index).copied() else {
                    ended = true;
                    break;
                };
                for pid in &all {
                    leaves_no_core(*pid, who);
                }
                let at_work: Vec<PathBuf> =
                    [home.path("work"), fs::read_link(format!("/proc/{victim}/cwd")).expect("where it is at work")].into_iter().collect();
                let before = cores(&at_work);
                let what = fs::read_to_string(format!("/proc/{victim}/comm")).unwrap_or_default();
                // Rust's own handler takes a first SIGSEGV from outside for a stack that overflowed, and waits for the next.
                until(
                    &format!("{index} {what} is gone"),
                    || {
                        let _ = kill(victim, signal);
                        is_gone(victim)
                    },
                    String::new,
                );
                // Without whoever holds the secret the box goes on; nothing of it is sent any more.
                let _ = kill(all[0], Signal::SIGTERM);
                let finished = going.finish();
                assert_ne!(finished.code, 0, "{index} {what} {signal}");
                for pid in all {
                    until(&format!("{pid} is gone"), || is_gone(pid), String::new);
                }
                let new: Vec<_> = cores(&at_work).into_iter().filter(|path| !before.contains(path)).collect();
                assert!(new.is_empty(), "{index} {signal}: {new:?}");
                assert!(!finished.out().contains(&secret) && !finished.err().contains(&secret), "{index} {signal}: {}", finished.err());
                assert_eq!(holding(&home.path(""), &secret), Vec::<PathBuf>::new(), "{index} {signal}");
                let log = home.outside(&["log", "--json"]).ended(0).out();
                assert!(log.contains("https://tls.example") && !log.contains(&secret), "{log}");
            }
            if ended {
                break;
            }
            index += 1;
        }
        assert!(index >= 4, "shim, supervisor, broker, and whoever holds the secret: {index}");
        home.outside(&["log", "--verify"]).ended(0);
    }
}

/// How often the text stands in a process's memory.
fn in_memory(pid: Pid, text: &str) -> usize {
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root may look");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    let mut count = 0;
    for line in maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|mode| mode.starts_with('r')) && !line.contains("[v")) {
        let (from, to) = line.split_whitespace().next().and_then(|range| range.split_once('-')).expect("a range");
        let [from, to] = [from, to].map(|word| u64::from_str_radix(word, 16).expect("an address"));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
        if memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read_exact(&mut bytes)).is_ok() {
            count += bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        }
    }
    count
}

#[test]
fn whoever_reads_the_agents_bytes_does_not_have_it_in_memory() {
    if !skip::is_root("looking into the memory of processes") {
        return;
    }
    let Some(origin) = Origin::start() else { return };
    let secret = secret();
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[credential.api]\nsource = \"env:API_TOKEN\"\nfor = [\"tls.example\"]\n"));
    let text = "curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $API_TOKEN\" https://tls.example/used; sleep 300";
    let going = Going::start(home.script(&[], text).env("API_TOKEN", &secret));
    going.says("200");
    let all = processes(going.pid());
    assert_eq!(in_memory(all.broker, &secret), 0, "the broker reads hostile bytes");
    let mut inside = vec![all.init];
    // Each turn takes the children of one.
    let mut at = 0;
    while let Some(pid) = inside.get(at).copied() {
        inside.extend(children(pid));
        at += 1;
    }
    assert!(inside.len() >= 2, "init and what it runs: {inside:?}");
    for pid in inside {
        assert_eq!(in_memory(pid, &secret), 0, "{pid} is in the box");
    }
    let holders = children(all.supervisor).into_iter().filter(|pid| in_memory(*pid, &secret) > 0).count();
    assert!(holders > 0, "somebody has it, else the search is broken");
}
