//! The processes below one, where no PID namespace holds them together: stopping all, and ending all.
//!
//! Whoever ends them is a child subreaper: when a process ends, its children become the subreaper's. So nobody is left when the kernel
//! says that there are no children any more, however they were begotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::sys::pidfd;

/// Rounds of stopping: a process that forks faster than it is found is stopped in one of the next.
const ROUNDS: usize = 64;

/// Between two looks when children are left that have been killed.
const BREATH: std::time::Duration = std::time::Duration::from_millis(1);

/// A process, told from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    pid: i32,
    began: u64,
}

/// State, parent and time of birth.
fn look(pid: i32) -> Option<(char, i32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// All below `root`, as far as `/proc` shows them; not those that have ended, and not these with what is below them.
fn below(root: Pid, but: &BTreeSet<i32>) -> BTreeSet<Known> {
    let mut children: BTreeMap<i32, Vec<(Known, char)>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if let Some((state, parent, began)) = look(pid) {
            children.entry(parent).or_default().push((Known { pid, began }, state));
        }
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![root.as_raw()]);
    while let Some(parent) = next.pop() {
        for (child, state) in children.remove(&parent).unwrap_or_default().into_iter().filter(|(child, _)| !but.contains(&child.pid)) {
            next.push(child.pid);
            if state != 'Z' && state != 'X' {
                found.insert(child);
            }
        }
    }
    found
}

/// Sends a signal to the very process that was found.
fn signal(process: Known, signal: Signal) {
    use std::os::fd::AsFd as _;
    let Ok(handle) = pidfd::open(Pid::from_raw(process.pid)) else { return };
    // Looked at after it was taken hold of: it is the one that was found, or it is left alone.
    if look(process.pid).is_some_and(|(_, _, began)| began == process.began) {
        let _ = pidfd::send_signal(handle.as_fd(), signal);
    }
}

/// Stops every process below `root`; those that are being made meanwhile, too.
pub(crate) fn stop(root: Pid) {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found: Vec<Known> = below(root, &BTreeSet::new()).difference(&stopped).copied().collect();
        if found.is_empty() {
            return;
        }
        for process in found {
            signal(process, Signal::SIGSTOP);
            stopped.insert(process);
        }
    }
}

/// Lets them go on.
pub(crate) fn go_on(root: Pid) {
    below(root, &BTreeSet::new()).into_iter().for_each(|process| signal(process, Signal::SIGCONT));
}

/// The children of this process that are there now, ended ones too.
pub(crate) fn children() -> BTreeSet<i32> {
    let own = nix::unistd::getpid().as_raw();
    let listed = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut found: BTreeSet<i32> = listed.flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i32>>()).collect();
    // Without CONFIG_PROC_CHILDREN.
    if found.is_empty() {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        found.extend(pids.filter(|pid| look(*pid).is_some_and(|(_, parent, _)| parent == own)));
    }
    found
}

/// Ends every process below this one but these children of its own with theirs, and waits until none is left. This process is a child
/// subreaper, has one thread that waits, and its children are not waited for elsewhere meanwhile.
pub(crate) fn end_all(but: &BTreeSet<i32>) {
    let own = nix::unistd::getpid();
    loop {
        // Whatever is a child cannot get its number taken before it is waited for, which happens here alone.
        let left: Vec<i32> = children().difference(but).copied().collect();
        if left.is_empty() && (if but.is_empty() { has_no_child() } else { below(own, but).is_empty() }) {
            return;
        }
        // All of them before anything that takes long: who forks without end is among them, and makes more meanwhile.
        for child in &left {
            let _ = nix::sys::signal::kill(Pid::from_raw(*child), Signal::SIGKILL);
        }
        // Those below, found in one look at the machine's processes.
        below(own, but).into_iter().for_each(|process| signal(process, Signal::SIGKILL));
        for child in &left {
            let _ = waitpid(Pid::from_raw(*child), Some(WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(BREATH);
    }
}

/// The kernel's own word.
fn has_no_child() -> bool {
    matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD))
}
