//! Threads of the caller change what is judged while it is judged: nothing protected is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Tries of each race.
const TRIES: usize = 20_000;

/// A racing program. What is free is judged, and then done at once.
fn race(program: &str) {
    race_with(program, false);
    race_with(program, true);
}

fn race_with(program: &str, at_once: bool) {
    const PRELUDE: &str = r"
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
X = os.uname().machine == 'x86_64'
UNLINKAT, OPENAT, RENAMEAT2, LINKAT = (263, 257, 316, 265) if X else (35, 56, 276, 37)
KEPT, FREE = b'kept/f', b'free/f'
tries = int(sys.argv[1])
# The flipper must not wait for the interpreter's lock: it is a process that shares the buffer.
import mmap
shared = mmap.mmap(-1, 4096); address = ctypes.addressof(ctypes.c_char.from_buffer(shared)); shared[:7] = KEPT + b'\0'
def flipping(work):
    pid = os.fork()
    if pid == 0:
        while True: work()
    return pid
def stop(pid):
    os.kill(pid, 9); os.waitpid(pid, 0)
";
    let (_keep, folder) = ground();
    fs::create_dir(folder.join("kept")).unwrap();
    fs::create_dir(folder.join("free")).unwrap();
    fs::write(folder.join("kept/f"), "precious").unwrap();
    fs::write(folder.join("program.py"), format!("{PRELUDE}{program}")).unwrap();
    let mut command = Command::new("python3");
    command.args(["-B", "program.py", &TRIES.to_string()]).current_dir(&folder);
    let kept = folder.join("kept");
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&kept.join("f"));
    let done = std::cell::Cell::new(0);
    let free = |thing: &Thing<'_>| {
        let free = at_once && thing.stat.inode != before;
        done.set(done.get() + usize::from(free));
        free
    };
    let run = run_freely(&mut command, Roots::One, free, |_, path| if path.starts_with(&kept) { Word::No } else { Word::Yes });
    assert!(matches!(run.end, WaitStatus::Exited(_, 0)), "{:?}", run.end);
    assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "precious");
    assert_eq!(inode(&kept.join("f")), before);
    let (no, yes): (Vec<_>, Vec<_>) = run.touched.iter().partition(|(_, path)| path.starts_with(&kept));
    let yes = yes.len() + done.get();
    assert!(no.len() > 100 && yes > 100, "both sides were seen: {} and {yes}", no.len());
}

#[test]
fn a_path_that_changes_while_it_is_read() {
    race(
        r"
def flip():
    shared[0:4] = b'free'; shared[0:4] = b'kept'
pid = flipping(flip)
for n in range(tries):
    if n % 3 == 0: os.close(os.open(b'free/f', os.O_WRONLY | os.O_CREAT))
    if n % 3 != 2: libc.syscall(UNLINKAT, -100, ctypes.c_void_p(address), 0)
    else:
        fd = libc.syscall(OPENAT, -100, ctypes.c_void_p(address), os.O_WRONLY | os.O_TRUNC, 0)
        if fd >= 0: os.write(fd, b'lost'); os.close(fd)
stop(pid)
",
    );
}

#[test]
fn a_link_that_leads_elsewhere_meanwhile() {
    race(
        r"
os.symlink('kept', 'a'); os.symlink('free', 'b')
# The flipper's renames are stopped too, so that they take turns with the calls that race them.
def flip():
    libc.syscall(RENAMEAT2, -100, b'a', -100, b'b', 2)
pid = flipping(flip)
for n in range(tries // 4):
    os.close(os.open(b'free/f', os.O_WRONLY | os.O_CREAT))
    libc.syscall(UNLINKAT, -100, b'a/f', 0)
    fd = libc.syscall(OPENAT, -100, b'a/f', os.O_WRONLY | os.O_TRUNC, 0)
    if fd >= 0: os.write(fd, b'lost'); os.close(fd)
stop(pid)
",
    );
}

#[test]
fn a_name_that_is_taken_meanwhile() {
    race(
        r"
# A hard link to what is protected, made and removed in turn; opening and renaming over it must not reach it.
os.mkdir('new')
def flip():
    try: os.symlink('../kept/f', 'new/x')
    except OSError: pass
    try: os.unlink('new/x')
    except OSError: pass
pid = flipping(flip)
for n in range(tries // 4):
    fd = libc.syscall(OPENAT, -100, b'new/x', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if fd >= 0: os.write(fd, b'lost'); os.close(fd)
    libc.syscall(LINKAT, -100, b'kept/f', -100, b'new/y', 0)
    libc.syscall(UNLINKAT, -100, b'kept/f', 0)
stop(pid)
",
    );
}

/// Ends the other thread, however this one ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_somebody_outside_puts_in_its_place_is_not_opened_unjudged() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let (_keep, folder) = ground();
    let (one, other) = (folder.join("one"), folder.join("other"));
    fs::write(&one, "precious").unwrap();
    fs::write(&other, "free").unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let precious = inode(&one);
    let over = AtomicBool::new(false);
    let (mut refused, opened) = (0, std::cell::Cell::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let _stop = Stop(&over);
        let program = r"
import os, sys
for n in range(int(sys.argv[1])):
    try: fd = os.open('one', os.O_WRONLY | (os.O_TRUNC if n % 2 else 0))
    except OSError: continue
    os.write(fd, b'lost'); os.close(fd)
";
        let mut command = Command::new("python3");
        command.args(["-B", "-c", program, &(TRIES / 4).to_string()]).current_dir(&folder);
        let free = |thing: &Thing<'_>| {
            opened.set(opened.get() + usize::from(thing.stat.inode != precious));
            thing.stat.inode != precious
        };
        let run = run_freely(&mut command, Roots::One, free, |_, _| {
            refused += 1;
            Word::No
        });
        assert!(matches!(run.end, WaitStatus::Exited(_, 0)), "{:?}", run.end);
    });
    let kept = if inode(&one) == precious { &one } else { &other };
    assert_eq!(fs::read_to_string(kept).unwrap(), "precious");
    assert!(refused > 10 && opened.get() > 10, "both were seen: {refused} and {}", opened.get());
}
