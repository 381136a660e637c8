//! Where the kernel gate judges, whatever signals arrive: no code of the kernel's own is ever seen by a program.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs};

use agentbox_tests::{Home, skip};

const POLICY: &str = "extends = \"default\"\nkernel-gate = \"judge\"\n";

/// What is opened, and then removed, by each of as many threads; in one box, so that an emulated machine is done with it in time.
const THREADS: usize = 8;
const EACH: usize = 20;

/// Calls that are sent to the file gate in all, and boxes in which that must come together.
const HOLDS: usize = 10_000;
const MOST_BOXES: usize = 12;

/// Runs one storm, and says how often each end was seen: by its errno, or its name.
fn storm(home: &Home, handlers: &str) -> BTreeMap<String, usize> {
    for (thread, turn) in (0..THREADS).flat_map(|thread| (0..EACH).map(move |turn| (thread, turn))) {
        home.write(&format!("work/old/{thread}-{turn}"), "precious");
    }
    let out = home.run(&format!("python3 -B storm.py {EACH} {handlers}")).ended(0).out();
    let line = out.lines().find_map(|line| line.strip_prefix("seen ")).unwrap_or_else(|| panic!("{out}"));
    let seen = line.split(' ').map(|word| word.split_once(':').expect("a pair"));
    let seen: BTreeMap<String, usize> = seen.map(|(what, count)| (what.to_owned(), count.parse().expect("a number"))).collect();
    assert!(fs::read_dir(home.path("work/old")).expect("the folder").next().is_none());
    seen
}

/// Openings and removals of what was there before, of eight threads, with SIGALRM every 3 ms, and SIGUSR1 to each of them and SIGCONT to their process a hundred
/// times a second. A handler that ends calls ends these as it ends any that waits for the file gate; none of the codes by which the kernel restarts calls is seen.
#[test]
fn ten_thousand_calls_come_to_the_file_gate_through_storms() {
    if !skip::needs_kernel_gate() {
        return;
    }
    let home = Home::new(POLICY);
    home.write("work/storm.py", include_str!("kernel_storm/storm.py"));
    let interrupted = nix::libc::EINTR.to_string();
    let mut holds = 0;
    for number in 0..MOST_BOXES {
        let seen = storm(&home, if number == 0 { "restarts" } else { "ends" });
        assert_eq!((seen["opened"], seen["removed"]), (THREADS * EACH, THREADS * EACH), "{seen:?}");
        assert!(seen.keys().all(|what| ["opened", "removed", &interrupted].contains(&what.as_str())), "{seen:?}");
        holds += seen.values().sum::<usize>();
        if holds >= HOLDS {
            return;
        }
    }
    panic!("only {holds} calls came to the file gate");
}
