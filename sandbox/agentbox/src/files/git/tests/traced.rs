//! A real command, stopped before each of its file operations so that the judge sees what the gate would see.
//!
//! The test seizes the command with ptrace and reads paths from the stopped process: the files are at that moment
//! exactly as they are when the gate is asked.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::File,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc::{self, c_long},
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::super::{Deed, Judge, Meanings};

/// Longest that one command may take under the judge.
const LONGEST: Duration = Duration::from_secs(120);

/// One operation, and what the judge said of it before it was done.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) call: String,
    pub(super) meanings: Meanings,
}

/// Runs a shell line in a folder; every operation that the gate would stop is judged first. `None` where ptrace is not to be had.
pub(super) fn run(line: &str, folder: &Path, judge: &mut Judge) -> Option<Vec<Judged>> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIPPED: the numbers of system calls are only known for x86_64 here");
        return None;
    }
    let mut command = Command::new("sh");
    super::repository::settle(&mut command, folder);
    command.args(["-c", &format!("read go; {line}")]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let first = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    if let Err(error) = ptrace::seize(first, options).and_then(|()| ptrace::interrupt(first)) {
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(error, Errno::EPERM);
        eprintln!("SKIPPED: this system lets no process trace another");
        return None;
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut judged = Vec::new();
    let mut inside = HashSet::new();
    let until = Instant::now() + LONGEST;
    loop {
        assert!(Instant::now() < until, "{line} takes too long");
        // Only this thread's children: other tests wait for theirs.
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("waiting for {line}: {error}"),
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                if inside.remove(&pid) {
                } else {
                    inside.insert(pid);
                    look(pid, judge, &mut judged);
                }
                (pid, None)
            }
            Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    // The stop at the end of execve is still to come.
                    inside.insert(pid);
                }
                (pid, None)
            }
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                inside.remove(&pid);
                continue;
            }
            Ok(_) => continue,
        };
        go_on(pid, signal);
    }
    // It was reaped above.
    assert!(child.wait().is_err());
    Some(judged)
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    // ESRCH: it was killed meanwhile, which the next wait tells.
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("going on: {error}"),
    }
}

fn look(pid: Pid, judge: &mut Judge, judged: &mut Vec<Judged>) {
    let Some(call) = Call::of(pid) else { return };
    let (Some(path), other) = (call.first, call.second) else { return };
    let deed = match (call.name, &other) {
        ("unlink", _) => Deed::Remove(&path),
        ("rename", Some(to)) => Deed::Rename { from: &path, to },
        ("link", Some(to)) => Deed::Link { from: &path, to },
        ("truncate", _) => Deed::Overwrite(&path),
        ("open", _) => {
            let writes = call.flags & libc::O_ACCMODE != libc::O_RDONLY || call.flags & libc::O_TRUNC != 0;
            let fresh = call.flags & libc::O_CREAT != 0 && call.flags & libc::O_EXCL != 0;
            if !writes || fresh || call.flags & libc::O_PATH != 0 {
                return;
            }
            if call.flags & libc::O_APPEND != 0 && call.flags & libc::O_TRUNC == 0 { Deed::Append(&path) } else { Deed::Overwrite(&path) }
        }
        _ => return,
    };
    let meanings = judge.judge(deed);
    judged.push(Judged { call: format!("{deed:?}"), meanings });
}

struct Call {
    name: &'static str,
    first: Option<PathBuf>,
    second: Option<PathBuf>,
    flags: i32,
}

impl Call {
    #[cfg(target_arch = "x86_64")]
    fn of(pid: Pid) -> Option<Self> {
        let registers = ptrace::getregs(pid).ok()?;
        let (a, b, c, d) = (registers.rdi, registers.rsi, registers.rdx, registers.r10);
        let call = |name, first, second, flags: i32| Some(Self { name, first, second, flags });
        let here = libc::AT_FDCWD;
        match c_long::try_from(registers.orig_rax).ok()? {
            libc::SYS_unlink | libc::SYS_rmdir => call("unlink", path(pid, here, a), None, 0),
            libc::SYS_unlinkat => call("unlink", path(pid, low(a), b), None, 0),
            libc::SYS_rename => call("rename", path(pid, here, a), path(pid, here, b), 0),
            libc::SYS_renameat | libc::SYS_renameat2 => call("rename", path(pid, low(a), b), path(pid, low(c), d), 0),
            libc::SYS_link => call("link", path(pid, here, a), path(pid, here, b), 0),
            libc::SYS_linkat => call("link", path(pid, low(a), b), path(pid, low(c), d), 0),
            libc::SYS_truncate => call("truncate", path(pid, here, a), None, 0),
            libc::SYS_ftruncate => call("truncate", std::fs::read_link(format!("/proc/{pid}/fd/{a}")).ok(), None, 0),
            libc::SYS_open => call("open", path(pid, here, a), None, low(b)),
            libc::SYS_creat => call("open", path(pid, here, a), None, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC),
            libc::SYS_openat => call("open", path(pid, low(a), b), None, low(c)),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(_: Pid) -> Option<Self> {
        None
    }
}

/// The lower half of a register, where calls take an `int` from.
fn low(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// The path at an address, as the gate would know it: its folder without links, and the last name.
fn path(pid: Pid, at: i32, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < 4096 && !bytes.contains(&0) {
        let mut some = [0; 64];
        let address = address + u64::try_from(bytes.len()).ok()?;
        let aligned = 64 - usize::try_from(address % 64).ok()?;
        let read = memory.read_at(&mut some[..aligned], address).ok()?;
        bytes.extend_from_slice(&some[..read]);
    }
    let given = Path::new(OsStr::from_bytes(bytes.split(|byte| *byte == 0).next()?));
    let base = if at == libc::AT_FDCWD { format!("/proc/{pid}/cwd") } else { format!("/proc/{pid}/fd/{at}") };
    let whole = std::fs::read_link(base).ok()?.join(given);
    Some(whole.parent()?.canonicalize().ok()?.join(whole.file_name()?))
}
