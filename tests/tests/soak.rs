//! A build loop that runs on and on in one box: what our own processes hold does not grow with it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    time::{Duration, Instant},
};

use agentbox_tests::{
    Home, Origin,
    home::{is_gone, processes},
    process::{Going, children, until},
    skip::{have, is_root},
};
use nix::unistd::Pid;

/// Rounds of the short run: enough for what is made once to be there after the first half.
const ROUNDS: usize = 40;

/// How long the long run goes on.
const LONG: Duration = Duration::from_secs(600);

/// Descriptors that may come and go between two looks: a connection, its far side, a file that is being kept.
const DESCRIPTORS: usize = 16;

/// Memory that may, in KiB: an allocator gives pages back late, and in pieces.
const MEMORY: usize = 2 << 10;

/// What an agent does all day, with a refusal in each round: build, commit, fetch, overwrite, and try what it may not.
const ROUND: &str = "rm -rf out && mkdir out && make -s -j2 && git add -A && git commit -qm \"round $round\" && echo $round > free \
                     && curl -sS --fail-with-body -o page https://tls.example/round-$round && ! rm kept/a 2>errors && echo \"round $round.\" || exit 1";

const MAKEFILE: &str = "OBJECTS = $(patsubst %.c,out/%.o,$(wildcard *.c))\nout/program: $(OBJECTS)\n\tcc -o $@ $^\nout/%.o: %.c\n\tcc -c -o $@ $<\n";

/// What all our processes of a box hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    /// In KiB, without the program's own pages.
    memory: usize,
}

/// The processes that are not the agent's: those above its first, and that one.
fn ours(shim: Pid) -> Vec<Pid> {
    let all = processes(shim);
    let mut found = vec![all.shim, all.supervisor];
    found.extend(children(all.supervisor));
    found
}

fn held(processes: &[Pid]) -> Held {
    let mut sum = Held { descriptors: 0, memory: 0 };
    for pid in processes {
        assert!(!is_gone(*pid), "a process of ours has ended");
        sum.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).expect("root may look").count();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("root may look");
        let anonymous = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel tells it");
        sum.memory += anonymous.trim().trim_end_matches("kB").trim().parse::<usize>().expect("a number");
    }
    sum
}

fn soak(until_then: impl Fn(usize) -> bool) {
    if !is_root("looking at processes that hide themselves") || !have(&["make", "cc", "git", "curl"]) {
        return;
    }
    let Some(origin) = Origin::start() else { return };
    let policy = format!("{}\n[place.kept]\npaths = [\"kept\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n", origin.policy());
    let home = Home::new(&policy);
    home.write("work/kept/a", "precious\n");
    home.write("work/free", "mine\n");
    home.write("work/Makefile", MAKEFILE);
    home.write("work/main.c", "int part_1(void); int main(void) { return part_1(); }\n");
    for part in 1..8 {
        home.write(&format!("work/part_{part}.c"), &format!("int part_{part}(void) {{ return 0; }}\n"));
    }
    let script = format!(
        "git init -q . && git config user.name us && git config user.email us@example.org; round=0; \
         while [ ! -e stop ]; do round=$((round + 1)); {ROUND}; done; echo ended"
    );
    let going = Going::start(&mut home.script(&["--unattended"], &script));
    let mut samples = Vec::new();
    let mut mine = Vec::new();
    while until_then(samples.len()) {
        let round = samples.len() + 1;
        until(
            &format!("round {round}"),
            || going.out().contains(&format!("round {round}.\n")) || is_gone(going.pid()),
            || format!("--- stdout\n{}\n--- stderr\n{}", going.out(), going.err()),
        );
        assert!(!is_gone(going.pid()), "it ended: {}{}", going.out(), going.err());
        if mine.is_empty() {
            mine = ours(going.pid());
        }
        samples.push(held(&mine));
    }
    home.write("work/stop", "");
    going.says("ended");
    // The first half is for what is made once.
    let quarter = samples.len() / 4;
    let most = |of: &[Held], what: fn(&Held) -> usize| of.iter().map(what).max().unwrap_or_default();
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    for (name, what, slack) in [("descriptors", (|held| held.descriptors) as fn(&Held) -> usize, DESCRIPTORS), ("KiB", |held| held.memory, MEMORY)] {
        let (before, after) = (most(early, what), most(late, what));
        assert!(after <= before + slack, "{before} {name} in the second quarter, {after} in the last: {samples:#?}");
    }
}

#[test]
fn a_build_loop_takes_no_more_and_more() {
    soak(|rounds| rounds < ROUNDS);
}

#[test]
#[ignore = "ten minutes: `cargo xtask nightly` runs it"]
fn nor_does_it_in_ten_minutes() {
    let end = Instant::now() + LONG;
    soak(move |rounds| rounds < ROUNDS || Instant::now() < end);
}
