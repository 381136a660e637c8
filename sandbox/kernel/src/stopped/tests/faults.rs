//! What goes wrong, and what is tried against the gate: nothing is lost that was not judged.

use std::time::{Duration, Instant};

use super::*;

/// Runs a Python program with `call(name, ...)` in a folder with `kept/f`, which nobody may destroy; gives what it printed.
fn python(folder: &Path, program: &str, judge: impl FnMut(What, &Path) -> Word) -> (Run, String) {
    const PRELUDE: &str = r"
import ctypes, errno, mmap, os, signal, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
def raw(number, *a):
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *[x if isinstance(x, (bytes, ctypes.Array)) else ctypes.c_long(x) for x in a])
    return value if value >= 0 else errno.errorcode[ctypes.get_errno()]
";
    fs::create_dir(folder.join("kept")).unwrap();
    fs::write(folder.join("kept/f"), "precious").unwrap();
    fs::write(folder.join("program.py"), format!("{PRELUDE}{program}")).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", "exec python3 -B program.py > out 2>&1"]).current_dir(folder);
    let run = run_command(&mut command, Roots::One, judge);
    let out = fs::read_to_string(folder.join("out")).unwrap();
    (run, out)
}

#[test]
fn what_is_opened_for_appending_stays_so() {
    let (_keep, folder) = ground();
    let kept = folder.join("kept");
    let program = r"
fd = os.open('kept/f', os.O_WRONLY | os.O_APPEND)
import fcntl
print(call(fcntl.fcntl, fd, fcntl.F_SETFL, 0), call(fcntl.fcntl, fd, fcntl.F_SETFL, os.O_NONBLOCK), call(fcntl.fcntl, fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND))
print(call(os.ftruncate, fd, 0), raw(285 if os.uname().machine == 'x86_64' else 47, fd, 3, 0, 8))
buffer = ctypes.create_string_buffer(b'lost'); iov = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(buffer), 4))
print(raw(328 if os.uname().machine == 'x86_64' else 287, fd, iov, 1, 0, 0, 0x20))
context = ctypes.create_string_buffer(8); print(raw(206 if os.uname().machine == 'x86_64' else 0, 1, context))
print(call(mmap.mmap, fd, 8), call(os.open, 'kept/f', os.O_RDWR | os.O_APPEND), call(os.open, '/dev/fd/%d' % fd, os.O_WRONLY))
print(call(os.copy_file_range, os.open('program.py', 0), fd, 4))
os.pwrite(fd, b'+end', 0)
";
    let (_, out) = python(&folder, program, |what, path| if what == What::Append || !path.starts_with(&kept) { Word::Yes } else { Word::No });
    assert_eq!(out, "EPERM EPERM 0\nEPERM EPERM\nENOTSUP\nENOSYS\nEACCES EPERM EPERM\nEBADF\n");
    assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "precious+end");
}

#[test]
fn a_caller_that_is_wanted_elsewhere_is_let_go() {
    let (_keep, folder) = ground();
    let program = r"
class Typed(Exception): pass
def typed(*_): raise Typed()
signal.signal(signal.SIGINT, typed)
signal.signal(signal.SIGCHLD, lambda *_: None)
me = os.getpid()
if os.fork() == 0:
    time.sleep(0.2); os.kill(me, signal.SIGCHLD); time.sleep(0.4); os.kill(me, signal.SIGINT); os._exit(0)
since = time.monotonic()
try: os.unlink('kept/f')
except Typed: print('typed', 0.5 < time.monotonic() - since)
";
    let began = Instant::now();
    let (_, out) = python(&folder, program, |_, path| if path.ends_with("kept/f") { Word::Wait } else { Word::Yes });
    assert_eq!(out, "typed True\n");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(folder.join("kept/f").exists());
}

#[test]
fn for_a_caller_that_was_killed_nothing_is_done() {
    let (_keep, folder) = ground();
    let mut asked = 0;
    // The first asking comes from the child, which is then killed; the judge says yes to it too late.
    let program = r"
pid = os.fork()
if pid == 0:
    os.unlink('kept/f'); os._exit(0)
time.sleep(0.5); os.kill(pid, signal.SIGKILL); print(os.waitpid(pid, 0)[1])
";
    let (_, out) = python(&folder, program, |_, path| {
        if !path.ends_with("kept/f") {
            return Word::Yes;
        }
        asked += 1;
        if asked == 1 {
            std::thread::sleep(Duration::from_secs(1));
        }
        Word::Yes
    });
    assert_eq!((out.as_str(), asked), ("9\n", 1));
    assert!(folder.join("kept/f").exists());
}

#[test]
fn a_caller_without_room_for_a_descriptor_loses_nothing() {
    let (_keep, folder) = ground();
    let program = r"
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
while not isinstance(call(os.open, '/dev/null', 0), str): pass
print(call(os.open, 'kept/f', os.O_WRONLY | os.O_TRUNC), os.path.getsize('kept/f'))
";
    let (_, out) = python(&folder, program, |_, _| Word::Yes);
    assert_eq!(out, "EMFILE 8\n");
}

#[test]
fn odd_memory_is_read_as_the_kernel_reads_it() {
    let (_keep, folder) = ground();
    let program = r"
pages = mmap.mmap(-1, 3 * 4096); base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]; libc.munmap(base + 2 * 4096, 4096)
unlinkat = 263 if os.uname().machine == 'x86_64' else 35
def at(offset, text):
    ctypes.memmove(base + offset, text, len(text)); return raw(unlinkat, -100, base + offset, 0)
for name in ('aaaa', 'bbbb', 'cccc'): open(name, 'w').close()
print(at(4096 - 2, b'aaaa\0'), at(2 * 4096 - 5, b'bbbb\0'), at(2 * 4096 - 4, b'cccc'), at(2 * 4096 - 1, b'c'))
print(at(2 * 4096 - 4096, b'x' * 4096), at(1, b'./' * 2047 + b'c\0'), raw(unlinkat, -100, 0, 0), raw(unlinkat, -100, -4096, 0), os.listdir('.'))
libc.mprotect(ctypes.c_void_p(base), 4096, 0); print(raw(unlinkat, -100, base, 0))
os._exit(0)
";
    let (_, out) = python(
        &folder,
        &program.replace("os.listdir('.')", "'cccc' in os.listdir('.')").replace("os._exit(0)", "import sys; sys.stdout.flush(); os._exit(0)"),
        |_, _| Word::Yes,
    );
    assert_eq!(out, "0 0 EFAULT EFAULT\nENAMETOOLONG ENOENT EFAULT EFAULT True\nEFAULT\n");
}

#[test]
fn user_namespaces_of_the_agent_get_their_maps() {
    as_somebody(|ground| {
        let (_keep, folder) = ground_in(ground);
        let mut command = Command::new("bash");
        command
            .args(["-c", "unshare -Ur true 2> err; echo $? > code; unshare -Ur bash -c 'id -u; rm -f code2; unshare -Ur unshare -Ur id -u; echo x > /proc/self/comm' > out 2>> err"])
            .current_dir(&folder);
        run_command(&mut command, Roots::Various, |_, _| Word::Yes);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        if Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success()) {
            // Within another, and a third within that.
            assert_eq!((read("code").as_str(), read("out").as_str()), ("0\n", "0\n0\n"), "{}", read("err"));
            assert!(read("err").contains("/proc/self/comm: Permission denied"), "{}", read("err"));
        } else {
            println!("SKIPPED: no user namespace can be made here");
        }
    });
}
