//! The house's own chores: `cargo xtask NAME`, one file each.

mod bench;
mod catalogue;
mod commands;
mod docs;
mod ebpf;
mod fuzz;
mod help;
mod nightly;
mod packages;
mod score;
mod test;
mod test_output;
mod tools;
mod vm;

use std::process::ExitCode;

/// A chore.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

/// All of them. Adding one is one file and one line.
const TASKS: &[Task] = &[
    Task { name: "tools", about: "install what the tests need, by package name (as root; else only say what is missing)", run: tools::run },
    Task { name: "test", about: "run the tests, and count what ran and what was skipped; extra arguments go to `cargo test`", run: test::run },
    Task { name: "bench", about: "measure against a bare run and bubblewrap, and write docs/performance.md; `--quick`, or names of parts", run: bench::run },
    Task {
        name: "nightly",
        about: "what takes too long for every landing: long property tests, ignored tests, both kinds of user, other kernels, bench",
        run: nightly::run,
    },
    Task { name: "ebpf", about: "build the programs that run in the kernel, and the object that is committed; `--check` compares", run: ebpf::run },
    Task { name: "catalogue", about: "the providers' operations by method and path, from their published packages; `--check` compares", run: catalogue::run },
    Task { name: "vm", about: "run the fences and the file gate on Debian's 6.1 and 6.12 in QEMU; kernels, `--all`, `--only=STEP`, `--count`", run: vm::run },
    Task { name: "score", about: "recall and false alarms of `agentbox classify` on labelled rows; `--misses`, files", run: score::run },
    Task { name: "fuzz", about: "feed every decoder hostile bytes, with a nightly compiler; `--seconds N` each, `--corpora FOLDER`, names", run: fuzz::run },
    Task { name: "docs", about: "manual pages and completions, into target/docs", run: docs::run },
    Task { name: "help", about: "this list", run: help::run },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = arguments.collect();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        commands::say(&format!("no task is called `{name}`; `cargo xtask help` lists them"));
        return ExitCode::FAILURE;
    };
    match (task.run)(&rest) {
        Ok(code) => code,
        Err(error) => {
            commands::say(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
