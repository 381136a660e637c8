//! Two boxes on one workspace, whose agents work together: what one gate has looked at no other one changes before the deed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use agentbox_tests::{
    Home, Who,
    process::{Going, finish, until},
    skip,
    tree::snapshot,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Tries of each race.
const TRIES: usize = 4_000;

/// The workspace is free, but for two folders.
const POLICY: &str = "extends = \"default\"\n\
    [place.held]\npaths = [\"held\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
    [place.denied]\npaths = [\"denied\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"deny\"\n";

/// In it the racing program. None: there is no compiler.
fn ground(home: Home) -> Option<Home> {
    if !skip::have(&["cc"]) {
        return None;
    }
    home.write("work/race.c", include_str!("../stand-ins/race.c"));
    for place in ["held", "denied"] {
        home.write(&format!("work/{place}/precious"), "precious\n");
    }
    finish(home.program("cc").args(["-O2", "-o", "race", "race.c"])).ended(0);
    Some(home)
}

/// One of the numbers that the program ends with.
fn told(line: &str, what: &str) -> usize {
    let words: Vec<&str> = line.split([' ', ',', '.', '\n']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == what).unwrap_or_else(|| panic!("{what} in {line:?}"));
    words[at - 1].parse().expect("a number")
}

fn race(home: &Home, deed: &str, place: &str) {
    let at = |name: &str| home.path(&format!("work/{place}/{name}"));
    let inode = |path: &Path| fs::metadata(path).ok().map(|meta| meta.ino());
    let precious = inode(&at("precious")).expect("it is there");
    let _ = fs::remove_file(home.path("work/over"));
    let going = Going::start(&mut home.script(&["--unattended"], &format!("echo up; ./race exchange {place}/mine {place}/precious 1000000000")));
    going.says("up");
    let script = format!("./race {deed} {place}/mine {place}/new {TRIES}; touch over");
    let ended = finish(&mut home.script(&["--unattended"], &script));
    let (out, flips) = (ended.out(), going.finish());
    let kept = [at("precious"), at("mine")].into_iter().find(|path| inode(path) == Some(precious));
    let kept = kept.unwrap_or_else(|| panic!("{deed} in {place}: it is lost\n{out}{}\n{}", flips.out(), flips.err()));
    assert_eq!(fs::read_to_string(&kept).expect("it is there"), "precious\n", "{deed} in {place}");
    let (done, refused, exchanged) = (told(&out, "done"), told(&out, "refused"), told(&flips.out(), "done"));
    // Else nothing was tried.
    assert!(done > 20 && refused > 20 && exchanged > 20, "{deed} in {place}: {out}{}\n{}", flips.out(), ended.err());
    assert_eq!(told(&flips.out(), "busy") + told(&out, "busy"), 0, "a turn is waited for, not refused: {out}{}", flips.out());
    let _ = fs::rename(&kept, at("precious"));
    let _ = fs::remove_file(at("mine"));
}

fn races(home: &Home, deeds: &[&str]) {
    for place in ["held", "denied"] {
        for deed in deeds {
            race(home, deed, place);
        }
    }
}

#[test]
fn what_a_second_box_exchanges_is_not_destroyed_unjudged() {
    for who in Who::each() {
        let Some(home) = ground(Home::of(who, POLICY)) else { return };
        let deeds: &[&str] = if who == Who::Me { &["unlink", "replace", "truncate", "mixed"] } else { &["mixed"] };
        races(&home, deeds);
    }
}

#[test]
fn nor_where_there_are_no_namespaces() {
    if !skip::have(&["python3"]) {
        return;
    }
    let Some(home) = ground(Home::without_namespaces(Who::Me, POLICY)) else { return };
    races(&home, &["unlink", "mixed"]);
}

/// Where the boxes of a home take turns: the entry of each, its session, and its gate's process.
struct Entry {
    path: PathBuf,
    session: String,
    gate: Pid,
}

fn entries(home: &Home) -> Vec<Entry> {
    let locks = fs::read_to_string("/proc/locks").expect("/proc");
    let gate = |path: &Path| {
        let inode = fs::metadata(path).ok()?.ino();
        let line = locks.lines().find(|line| line.contains("FLOCK") && line.contains(&format!(":{inode} ")))?;
        line.split_whitespace().nth(4)?.parse().ok().map(Pid::from_raw)
    };
    let folder = home.path("runtime/agentbox/turns");
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter_map(|path| {
        let text = fs::read(&path).ok()?;
        let entry: serde_json::Value = serde_json::from_slice(text.get(4096..)?).ok()?;
        Some(Entry { session: entry["session"].as_str()?.to_owned(), gate: gate(&path)?, path })
    })
    .collect()
}

/// Stops the gate of a box that has a word of its own while it has the turn.
fn stopped_in_its_turn(home: &Home) -> Entry {
    let mut found = None;
    until(
        "a gate is stopped in the midst of a deed",
        || {
            let Some(entry) = entries(home).pop() else { return false };
            kill(entry.gate, Signal::SIGSTOP).expect("it is there");
            until("it is stopped", || agentbox_tests::process::status(entry.gate, "State").is_some_and(|state| state.starts_with('T')), String::new);
            let has_it = fs::read(&entry.path).is_ok_and(|page| page[..4] != [0; 4]);
            if has_it {
                found = Some(entry);
            } else {
                kill(entry.gate, Signal::SIGCONT).expect("it is there");
            }
            has_it
        },
        String::new,
    );
    found.expect("it was found")
}

#[test]
fn a_gate_that_is_stopped_or_killed_hangs_no_other_box() {
    let Some(home) = ground(Home::new(POLICY)) else { return };
    home.write("work/one", "1\n");
    home.write("work/two", "2\n");
    let busy = home.start("mkdir own; echo up; while :; do ./race unlink own/a own/b 1000; done");
    busy.says("up");
    let stopped = stopped_in_its_turn(&home);
    // The second box starts beside a gate that does not move, is refused, and told why.
    let second = home.start("rm -f one; echo first; until test -e again; do read -t 0.05 < <(:); done; rm one && echo second; $AGENTBOX why; sleep 300");
    second.says("first");
    assert!(second.err().contains("busy"), "{}", second.err());
    assert!(home.path("work/one").exists(), "nothing is done without the turn");
    kill(stopped.gate, Signal::SIGCONT).expect("it is there");
    fs::write(home.path("work/again"), "").expect("a file");
    second.says("second");
    second.says(&format!("the box {}, which writes the same files", stopped.session));
    until("the ledger tells of it", || home.outside(&["log"]).out().contains("in the midst of a deed"), || home.outside(&["log"]).out());
    // A gate that dies in its turn leaves it to the others.
    let third = home.start("until test -e dead; do read -t 0.05 < <(:); done; rm two && echo third; sleep 300");
    until("it is entered", || entries(&home).len() == 3, || format!("{} entries", entries(&home).len()));
    drop(second);
    until("it has left", || entries(&home).len() == 2, || format!("{} entries", entries(&home).len()));
    loop {
        kill(stopped.gate, Signal::SIGSTOP).expect("it is there");
        until("it is stopped", || agentbox_tests::process::status(stopped.gate, "State").is_some_and(|state| state.starts_with('T')), String::new);
        if fs::read(&stopped.path).is_ok_and(|page| page[..4] != [0; 4]) {
            break;
        }
        kill(stopped.gate, Signal::SIGCONT).expect("it is there");
    }
    kill(stopped.gate, Signal::SIGKILL).expect("it is there");
    fs::write(home.path("work/dead"), "").expect("a file");
    third.says("third");
    assert!(!home.path("work/two").exists());
    drop((third, busy));
    home.outside(&["log", "--verify"]).ended(0);
}

#[test]
fn what_two_boxes_lose_together_comes_back() {
    const FILES: usize = 300;
    let Some(home) = ground(Home::new(POLICY)) else { return };
    let path = |number: usize| home.path(&format!("work/free/p{number}"));
    let content = |number: usize| format!("precious {number}\n");
    for number in 0..FILES {
        home.write(&format!("work/free/p{number}"), &content(number));
    }
    let loser = Going::start(&mut home.script(&["--unattended"], "echo up; ./race unlink free/mine - 1000000000"));
    loser.says("up");
    finish(&mut home.script(&["--unattended"], &format!("./race sweep free/mine free/p {FILES}; touch over"))).ended(0);
    loser.finish().ended(0);
    let is_back = |number: &usize| fs::read_to_string(path(*number)).is_ok_and(|found| found == content(*number));
    assert!((0..FILES).filter(is_back).count() < FILES / 2, "each was moved, and most were lost");
    let listed = home.outside(&["undo", "--list", "--json"]).ended(0).out();
    let sessions: Vec<String> =
        listed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["session"].as_str().map(str::to_owned)).collect();
    assert_eq!(sessions.len(), 2, "{listed}");
    let told: String = sessions.iter().map(|session| home.outside(&["undo", session])).map(|undone| undone.out() + &undone.err()).collect();
    for number in (0..FILES).filter(|number| !is_back(number)) {
        // Where it cannot come back, that is said by its name.
        assert!(told.contains(&format!("free/p{number}:")), "{number}:\n{told}");
    }
    assert!((0..FILES).filter(is_back).count() > FILES * 9 / 10, "{told}");
}

#[test]
fn what_takes_long_to_keep_is_kept_and_done_all_the_same() {
    let Some(home) = ground(Home::new(POLICY)) else { return };
    let large = "twelve bytes".repeat(1 << 20);
    home.write("work/large", &large);
    home.write("work/held/large", &large);
    let before = snapshot(&home.path("work"));
    // Another box is at its work meanwhile.
    let busy = Going::start(&mut home.script(&["--unattended"], "echo up; ./race exchange held/mine held/precious 1000000000"));
    busy.says("up");
    let going = home.start("printf x > large && stat -c %s large && printf y > held/large && stat -c %s held/large; touch over");
    going.says("1\n");
    let id = home.hold();
    assert!(home.outside(&["show", &id]).ended(0).out().contains("possible: the vault keeps the first version"));
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    assert_eq!(going.finish().ended(0).out(), "1\n1\n");
    drop(busy);
    home.outside(&["undo"]).ended(0);
    let _ = fs::remove_file(home.path("work/over"));
    assert!(snapshot(&home.path("work")) == before, "both are back");
}

#[test]
fn ordinary_work_in_two_boxes_at_once_stays_as_it_is() {
    if !skip::have(&["git", "make", "cc"]) {
        return;
    }
    let home = Home::new("extends = \"default\"\n");
    let work = |name: &str| {
        format!(
            "set -e; mkdir {name}; cd {name}; git init -q .; git config user.email a@example.org; git config user.name a; \
             printf 'all: a.o b.o\\n\\tcc -o p a.o b.o\\n' > Makefile; echo 'int f(void);int main(void){{return f();}}' > a.c; \
             for n in $(seq 15); do echo \"int f(void){{return $n;}}\" > b.c; make -s; ./p || test $? = $n; git add -A; git commit -qm $n; rm p; done; \
             git gc -q; git checkout -q HEAD~7; cat b.c; cp -r . ../{name}-copy; rm -rf ../{name}-copy; git log --oneline | wc -l"
        )
    };
    let (one, other) = (home.start(&work("one")), home.start(&work("other")));
    for going in [one, other] {
        let ended = going.finish().ended(0);
        assert_eq!(ended.out(), "int f(void){return 8;}\n8\n", "{}", ended.err());
        assert!(!ended.err().contains("busy"), "{}", ended.err());
    }
    assert!(fs::read_dir(home.path("runtime/agentbox/turns")).expect("the folder").next().is_none(), "nobody's entry stays");
}
