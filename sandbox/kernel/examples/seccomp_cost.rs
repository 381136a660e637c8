//! What the box's seccomp filters cost a call, bare and filtered runs interleaved: run it by hand, nothing asserts it.
//!
//! `getppid` stands for every call without a row (the kernel's bitmap should take it), `ioctl` for one whose row looks at an argument.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measurement is for people")]

use std::{
    hint::black_box,
    process::{Command, ExitCode},
    time::Instant,
};

use agentbox_kernel::seccomp::{FilterPlan, compile};

const CALLS: u32 = 2_000_000;
const ROUNDS: usize = 9;

/// Nanoseconds a call of `getppid`, and of `ioctl(TCGETS)` on standard input, in this process.
fn measure() -> (f64, f64) {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(nix::unistd::getppid());
    }
    let plain = start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
    let start = Instant::now();
    let null = std::io::stdin();
    for _ in 0..CALLS / 4 {
        black_box(std::io::IsTerminal::is_terminal(&null));
    }
    (plain, start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS / 4))
}

fn child(kind: &str) -> Option<(f64, f64)> {
    let out = Command::new(std::env::current_exe().ok()?).arg(kind).stdin(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let (plain, ioctl) = text.trim().split_once(' ')?;
    Some((plain.parse().ok()?, ioctl.parse().ok()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("filtered") => {
            let installed = nix::sys::prctl::set_no_new_privs().ok().and_then(|()| compile(&FilterPlan::default()).ok()).map(|f| f.install());
            if !matches!(installed, Some(Ok(()))) {
                eprintln!("the filters do not go in");
                return ExitCode::FAILURE;
            }
        }
        Some(_) => {}
        None => {
            let (mut bare, mut filtered) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                bare.extend(child("bare"));
                filtered.extend(child("filtered"));
            }
            let column = |rows: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| median(rows.iter().map(pick).collect());
            for (name, pick) in [("getppid", (|r| r.0) as fn(&(f64, f64)) -> f64), ("ioctl", |r| r.1)] {
                let (without, with) = (column(&bare, pick), column(&filtered, pick));
                println!("{name}: bare {without:.0} ns, filtered {with:.0} ns, ratio {:.2}", with / without);
            }
            return ExitCode::SUCCESS;
        }
    }
    let (plain, ioctl) = measure();
    println!("{plain} {ioctl}");
    ExitCode::SUCCESS
}
