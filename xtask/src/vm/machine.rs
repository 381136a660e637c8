//! Boots a kernel in QEMU, which emulates the processor itself, and reads what the machine says.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{count::Figures, kernel::Kernel, root, steps::Step};
use crate::{commands::tell, test_output::Seen};

/// How much longer it may take to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// What begins a line that is for us.
const MARK: &str = "@@ ";

/// Words of a kernel that is in trouble.
const KERNEL_TROUBLE: &[&str] = &["BUG:", "Oops", "Kernel panic", "WARNING: CPU", "general protection fault", "rcu_sched self-detected"];

/// What a machine's time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// This machine's.
    Real,
    /// A nanosecond is one instruction; it waits for nothing.
    Instructions,
}

/// What a machine said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Exit code by step, in the order in which they began; none where it did not end.
    steps: BTreeMap<String, Option<i32>>,
    seen: Seen,
    trouble: Vec<String>,
    is_done: bool,
    /// What was counted.
    pub(super) figures: Figures,
}

/// Boots it, shows what it says, and waits for its end.
pub(super) fn boot(kernel: &Kernel, image: &Path, folder: &Path, steps: &[Step], clock: Clock, patience: Duration) -> Result<Told> {
    let start = folder.join(format!("start-{}", kernel.release()));
    fs::write(&start, root::start(kernel)?)?;
    let mut told = Told { steps: steps.iter().map(|step| (step.name.to_owned(), None)).collect(), ..Told::default() };
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(match clock {
        Clock::Real => ["-accel", "tcg,thread=multi", "-smp", "2"].as_slice(),
        Clock::Instructions => &["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"],
    });
    qemu.args(["-cpu", "max", "-m", "2G", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&start).args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check"]);
    // What is written to the disk is gone when the machine ends.
    qemu.arg("-drive").arg(format!("if=none,id=root,format=raw,snapshot=on,file={}", image.display())).args(["-device", "virtio-blk-pci,drive=root"]);
    qemu.env("TMPDIR", folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut machine = Machine(qemu.spawn().context("qemu-system-x86_64")?);
    let lines = read_along(&mut machine.0)?;
    let end = Instant::now() + patience + GRACE;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if told.line(&line) {
                    tell(&format!("{} │ {line}", kernel.line()));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                told.trouble.push(format!("it ran on after {} s, and was ended", (patience + GRACE).as_secs()));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(machine);
    fs::remove_file(&start)?;
    Ok(told)
}

/// A machine that is ended with this.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_along(machine: &mut Child) -> Result<Receiver<String>> {
    let stdout = machine.stdout.take().context("the machine's output was not piped")?;
    let (sender, lines) = sync_channel(64);
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(plain(&line)).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

/// A line of a machine that ran attacks, without what a terminal would obey.
fn plain(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

impl Told {
    /// Takes a line; `true` when a person should see it.
    fn line(&mut self, line: &str) -> bool {
        if KERNEL_TROUBLE.iter().any(|words| line.contains(words)) && line.trim_start().starts_with('[') {
            self.trouble.push(line.to_owned());
        }
        let Some(told) = line.strip_prefix(MARK) else { return self.seen.line(line) };
        if let Some((way, said)) = told.strip_prefix("figures ").and_then(|figures| figures.split_once(' ')) {
            if self.figures.take(way, said).is_none() {
                self.trouble.push(format!("no figures: {told}"));
            }
            return true;
        }
        let mut words = told.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("end"), Some(name), Some(code)) => {
                self.steps.insert(name.to_owned(), code.parse().ok());
            }
            (Some("trouble:"), ..) => self.trouble.push(told.to_owned()),
            (Some("done"), ..) => self.is_done = true,
            (Some("begin" | "booted"), ..) | (Some(_) | None, ..) => {}
        }
        true
    }

    /// Whether all steps ended well and nothing else went wrong.
    pub(super) fn is_good(&self) -> bool {
        self.is_done && self.trouble.is_empty() && self.steps.values().all(|code| *code == Some(0))
    }

    /// Lines for the end.
    pub(super) fn summary(&self) -> String {
        let (good, bad): (Vec<_>, Vec<_>) = self.steps.iter().partition(|(_, code)| **code == Some(0));
        let names: Vec<&str> = good.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!("{} steps of {} went well: {}\n", good.len(), self.steps.len(), names.join(", "));
        for (name, code) in bad {
            text.push_str(&match code {
                Some(124 | 137) => format!("FAILED {name}: it took too long\n"),
                Some(code) => format!("FAILED {name}: it ended with {code}\n"),
                None => format!("FAILED {name}: it did not come to its end\n"),
            });
        }
        for trouble in &self.trouble {
            text.push_str(&format!("FAILED {trouble}\n"));
        }
        text.push_str(&self.seen.summary());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let mut told = Told { steps: [("a".to_owned(), None), ("b".to_owned(), None)].into(), ..Told::default() };
        for line in lines {
            told.line(line);
        }
        told
    }

    #[test]
    fn only_a_machine_that_came_to_its_end_is_good() {
        let all = ["@@ booted 6.1", "@@ begin a", "@@ end a 0", "@@ begin b", "@@ end b 0", "@@ done"];
        assert!(told(&all).is_good());
        for left_out in [2, 4, 5] {
            let mut some = all.to_vec();
            some.remove(left_out);
            assert!(!told(&some).is_good(), "without {}", all[left_out]);
        }
        for bad in ["@@ end b 1", "@@ trouble: no disk", "[    3.1] Kernel panic - not syncing"] {
            let mut more = all.to_vec();
            more.push(bad);
            assert!(!told(&more).is_good(), "with {bad}");
        }
    }

    #[test]
    fn figures_are_read_whatever_they_are_of() {
        let ways = ["bare", "box", "gate", "judge"].map(|way| format!("@@ figures {way} {{\"open for writing\":2.0}}"));
        let counted = told(&ways.each_ref().map(String::as_str));
        assert!(counted.trouble.is_empty() && counted.figures.table().is_ok(), "{counted:?}");
        assert!(!told(&["@@ figures bare nothing"]).trouble.is_empty());
    }

    #[test]
    fn what_failed_is_named() {
        let told = told(&["@@ end a 124", "test result: FAILED. 3 passed; 1 failed; 0 ignored"]);
        let summary = told.summary();
        assert!(summary.contains("FAILED a: it took too long") && summary.contains("FAILED b: it did not come to its end"), "{summary}");
        assert!(summary.contains("ran 4: 3 passed, 1 failed"), "{summary}");
    }

    #[test]
    fn a_line_obeys_nobody() {
        assert_eq!(plain(b"a\x1b]0;title\x07\tb\r"), "a]0;title\tb");
    }
}
