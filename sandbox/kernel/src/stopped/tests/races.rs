//! Threads of the caller change what is judged while it is judged: nothing protected is lost.

use super::*;

/// Tries of each race.
const TRIES: usize = 20_000;

/// A racing program, and the number of its calls that were touched.
fn race(program: &str) {
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
    let run = run_command(&mut command, Roots::One, |_, path| if path.starts_with(&kept) { Word::No } else { Word::Yes });
    assert!(matches!(run.end, WaitStatus::Exited(_, 0)), "{:?}", run.end);
    assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "precious");
    assert_eq!(inode(&kept.join("f")), before);
    let (no, yes): (Vec<_>, Vec<_>) = run.touched.iter().partition(|(_, path)| path.starts_with(&kept));
    assert!(no.len() > 100 && yes.len() > 100, "both sides were seen: {} and {}", no.len(), yes.len());
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
