//! How long it takes to make a box, run `true` in it and let it go, phase by phase: run it by hand, nothing asserts it.
//!
//! `cargo run --release -p agentbox-kernel --example launch_time`, with `strace -f -r` for what is inside of a phase.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measurement is for people")]

use std::{
    error::Error,
    fs::File,
    process::ExitCode,
    time::{Duration, Instant},
};

use agentbox_core::policy::settings::Limits;
use agentbox_kernel::{
    control::FromInit,
    launch::{FileGate, NestedUserns, Plan, Stdio, launch},
    mounts::FileFence,
    stopped::OwnFiles,
};

const ROUNDS: usize = 41;

/// Of one box: until its network is there, until the command runs, until it has ended, until nothing is left of it.
type Phases = [Duration; 4];

fn one(number: usize) -> Result<Phases, Box<dyn Error>> {
    let null = || File::options().read(true).write(true).open("/dev/null").map(Into::into);
    let directory = std::env::current_dir()?;
    let plan = Plan {
        session: format!("time-{}-{number}", std::process::id()),
        command: vec!["/bin/true".into()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        files: FileFence { writable: vec![directory.clone()], ..FileFence::default() },
        directory,
        limits: Limits::default(),
        nested_userns: NestedUserns::Refused,
        doors: agentbox_kernel::launch::Doors::default(),
        stdio: Stdio { stdin: null()?, stdout: null()?, stderr: null()?, controlling: None },
        file_gate: FileGate::Off,
        own_files: OwnFiles::ByGate,
        probes: agentbox_kernel::launch::Probed::No,
        hostname: "box".to_owned(),
        require: Vec::new(),
        without: None,
        above: None,
    };
    let start = Instant::now();
    let mut network = start;
    let running = launch(
        plan,
        |_sockets, _cgroup| {
            network = Instant::now();
            Ok(Vec::new())
        },
        |_| Ok(()),
    )?;
    let runs = Instant::now();
    while !matches!(running.hear()?, Some(FromInit::Ended(_)) | None) {}
    let ended = Instant::now();
    drop(running);
    Ok([network - start, runs - network, ended - runs, ended.elapsed()])
}

fn main() -> ExitCode {
    let mut all = Vec::new();
    for number in 0..ROUNDS {
        match one(number) {
            Ok(phases) => all.push(phases),
            Err(error) => {
                eprintln!("no box: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{:>26} {:>9} {:>9} {:>9}", "phase", "least", "median", "most");
    let show = |name: &str, of: &dyn Fn(&Phases) -> Duration| {
        let mut times: Vec<Duration> = all.iter().map(of).collect();
        times.sort();
        if let (Some(least), Some(median), Some(most)) = (times.first(), times.get(times.len() / 2), times.last()) {
            println!("{name:>26} {:>6} µs {:>6} µs {:>6} µs", least.as_micros(), median.as_micros(), most.as_micros());
        }
    };
    show("namespaces and network", &|[network, ..]| *network);
    show("mounts, fences, exec", &|[_, runs, ..]| *runs);
    show("the command", &|[_, _, ended, _]| *ended);
    show("until nothing is left", &|[_, _, _, gone]| *gone);
    show("all", &|phases| phases.iter().sum());
    ExitCode::SUCCESS
}
