//! Each guard, tried by doing what it forbids in a child.

use std::{
    fs,
    io::{ErrorKind, Read},
    net::ToSocketAddrs,
    process::Command,
};

use super::*;
use crate::{sys::raw, trial::in_child};

const ALL: [Role; 4] = [Role::Supervisor, Role::Broker, Role::Looker, Role::Shim];
const FENCED: [Role; 2] = [Role::Broker, Role::Looker];

fn guarded(role: Role, work: impl FnOnce() -> Result<(), String>) -> Result<String, String> {
    in_child(|| {
        guard(role).map_err(|e| format!("{e}: {:?}", std::error::Error::source(&e)))?;
        work().map(|()| String::new())
    })
    .result()
}

fn refused<T: std::fmt::Debug>(what: &str, result: std::io::Result<T>) -> Result<(), String> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) => Ok(()),
        other => Err(format!("{what}: {other:?}")),
    }
}

fn call(what: &str, number: libc::c_long, registers: [u64; 6]) -> Result<(), String> {
    match raw::call(number, registers) {
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => Ok(()),
        // A child that should not have been made.
        Ok(0) if number == libc::SYS_clone => crate::sys::fork::exit_now(9),
        other => Err(format!("{what}: {other:?}")),
    }
}

/// Looks at a guarded process from outside, as its parent without capabilities: so that the answer is the kernel's rule and not root's power.
fn beside(role: Role, look: impl FnOnce(Pid) -> Result<(), String>) -> Result<String, String> {
    in_child(|| {
        capabilities::drop_all().map_err(|e| e.to_string())?;
        let (mut ready, done) = std::io::pipe().map_err(|e| e.to_string())?;
        let (mut hold, release) = std::io::pipe().map_err(|e| e.to_string())?;
        match crate::sys::fork::fork().map_err(|e| e.to_string())? {
            crate::sys::fork::Side::Child => {
                drop((ready, release));
                let guarded = guard(role).is_ok();
                drop(done);
                // Until the parent has looked.
                let _ = hold.read(&mut [0]);
                crate::sys::fork::exit_now(u8::from(!guarded));
            }
            crate::sys::fork::Side::Parent(child) => {
                drop((done, hold));
                let _ = ready.read(&mut [0]);
                let looked = look(child);
                drop(release);
                let ended = nix::sys::wait::waitpid(child, None).map_err(|e| e.to_string())?;
                looked?;
                if ended == nix::sys::wait::WaitStatus::Exited(child, 0) { Ok(String::new()) } else { Err(format!("{ended:?}")) }
            }
        }
    })
    .result()
}

#[test]
fn another_process_of_the_user_cannot_look_in() {
    for role in ALL {
        let result = beside(role, |child| {
            ["mem", "environ", "maps"].into_iter().try_for_each(|file| refused(file, fs::read(format!("/proc/{child}/{file}"))))?;
            let traced = nix::sys::ptrace::attach(child);
            if traced != Err(Errno::EPERM) {
                return Err(format!("ptrace: {traced:?}"));
            }
            Ok(())
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
}

#[test]
fn nobody_gains_and_the_fenced_have_nothing() {
    for role in ALL {
        let result = beside(role, |child| {
            let status = fs::read_to_string(format!("/proc/{child}/status")).map_err(|e| e.to_string())?;
            let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim_start_matches(':').trim().to_owned());
            let mut wanted = vec![("NoNewPrivs", "1")];
            if role.is_fenced() {
                wanted.extend([("CapEff", "0000000000000000"), ("CapPrm", "0000000000000000"), ("Seccomp", "2")]);
            }
            for (name, value) in wanted {
                if field(name).as_deref() != Some(value) {
                    return Err(format!("{name} is {:?}", field(name)));
                }
            }
            let limits = fs::read_to_string(format!("/proc/{child}/limits")).map_err(|e| e.to_string())?;
            let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or_default().split_whitespace().rev().nth(1).unwrap_or_default();
            if core != "1" && core != "0" { Err(format!("core files of {core} bytes")) } else { Ok(()) }
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
}

#[test]
fn the_fenced_start_nothing_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    for role in FENCED {
        let result = guarded(role, || {
            refused("exec", Command::new("/bin/true").status())?;
            call("execve", libc::SYS_execve, [0; 6])?;
            call("execveat", libc::SYS_execveat, [0; 6])?;
            call("fork", libc::SYS_clone, [17, 0, 0, 0, 0, 0])?;
            call("ptrace", libc::SYS_ptrace, [0; 6])?;
            call("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0])?;
            call("kill", libc::SYS_kill, [1, 0, 0, 0, 0, 0])?;
            call("mount", libc::SYS_mount, [0; 6])?;
            call("unshare", libc::SYS_unshare, [0x1000_0000, 0, 0, 0, 0, 0])?;
            call("bpf", libc::SYS_bpf, [0; 6])?;
            call("a raw socket", libc::SYS_socket, [2, 3, 0, 0, 0, 0])?;
            call("a packet socket", libc::SYS_socket, [17, 3, 0, 0, 0, 0])?;
            call("vsock", libc::SYS_socket, [40, 1, 0, 0, 0, 0])?;
            call("a UNIX socket", libc::SYS_socket, [1, 1, 0, 0, 0, 0])?;
            call("a UNIX datagram pair", libc::SYS_socketpair, [1, 2 | 0x8_0000, 0, 0, 0, 0])?;
            call("executable memory", libc::SYS_mmap, [0, 4096, 7, 0x22, u64::MAX, 0])?;
            call("seccomp", libc::SYS_seccomp, [1, 0, 0, 0, 0, 0])?;
            call("dumpable again", libc::SYS_prctl, [4, 1, 0, 0, 0, 0])?;
            call("limits of others", libc::SYS_prlimit64, [1, 7, 0, 0, 0, 0])?;
            refused("listening", std::net::TcpListener::bind("127.0.0.1:0"))?;
            refused("reading what is not the system's", fs::read(&file))?;
            refused("writing", fs::OpenOptions::new().write(true).open(&file))?;
            refused("truncating", fs::OpenOptions::new().write(true).truncate(true).open("/etc/hosts"))?;
            refused("creating", fs::File::create(folder.path().join("new")))?;
            refused("removing", fs::remove_file(&file))?;
            refused("renaming", fs::rename(&file, folder.path().join("moved")))?;
            refused(
                "permissions",
                nix::sys::stat::fchmodat(nix::fcntl::AT_FDCWD, &file, nix::sys::stat::Mode::empty(), nix::sys::stat::FchmodatFlags::FollowSymlink)
                    .map_err(Into::into),
            )?;
            refused("/proc of another", fs::read("/proc/1/environ"))?;
            refused("/root or /home", fs::read_dir("/root").or_else(|e| if e.kind() == ErrorKind::NotFound { fs::read_dir("/home") } else { Err(e) }))
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn the_fenced_still_talk_and_resolve() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    for role in FENCED {
        let result = guarded(role, || {
            let text = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
            let out = std::net::TcpStream::connect(there).map_err(text("connect"))?;
            out.set_nodelay(true).map_err(text("nodelay"))?;
            out.set_nonblocking(true).map_err(text("nonblocking"))?;
            listener.accept().map_err(text("accept on a listener from outside"))?;
            std::net::UdpSocket::bind("127.0.0.1:0").map_err(text("UDP"))?;
            std::os::unix::net::UnixStream::pair().map_err(text("pair"))?;
            fs::read("/etc/hosts").map_err(text("/etc/hosts"))?;
            if let Ok(certificates) = fs::read_dir("/etc/ssl/certs") {
                for certificate in certificates.take(5) {
                    fs::read(certificate.map_err(text("certificates"))?.path()).map_err(text("a certificate"))?;
                }
            }
            // In a thread, as a pool of a resolver does it.
            let resolved = std::thread::Builder::new().name("resolver".into()).spawn(|| ("localhost", 1).to_socket_addrs().map(|a| a.count()));
            let resolved = resolved.map_err(text("thread"))?.join().map_err(|_| "the thread panicked")?;
            if resolved.map_err(text("localhost"))? == 0 {
                return Err("localhost has no address".to_owned());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
            let big = vec![1_u8; 64 << 20];
            if big.iter().rev().step_by(4096).any(|b| *b != 1) {
                return Err("memory".to_owned());
            }
            std::thread::available_parallelism().map_err(text("parallelism"))?;
            Ok(())
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
}

#[test]
fn the_fenced_forget_the_environment() {
    let secret = std::env::vars_os().find(|(name, value)| name == "PATH" && value.len() > 4);
    let Some((_, path)) = secret else {
        println!("SKIPPED: no PATH to forget");
        return;
    };
    for role in FENCED {
        let result = guarded(role, || {
            if let Some(left) = std::env::vars_os().find(|(name, _)| !KEPT_VARIABLES.iter().any(|kept| name == kept)) {
                return Err(format!("{} is left", left.0.display()));
            }
            Ok(())
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
    assert_eq!(std::env::var_os("PATH"), Some(path), "the parent keeps its own");
}

#[test]
fn tokio_lives_behind_the_fence() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let there = listener.local_addr().unwrap();
    for role in FENCED {
        let result = guarded(role, || {
            let text = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text("runtime"))?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener.try_clone().map_err(text("clone"))?).map_err(text("listener"))?;
                let echo = tokio::spawn(async move {
                    let (mut socket, _) = listener.accept().await?;
                    let mut word = [0; 4];
                    socket.read_exact(&mut word).await?;
                    socket.write_all(&word).await
                });
                let mut socket = tokio::net::TcpStream::connect(there).await.map_err(text("connect"))?;
                socket.write_all(b"word").await.map_err(text("write"))?;
                socket.read_exact(&mut [0; 4]).await.map_err(text("read"))?;
                echo.await.map_err(|e| e.to_string())?.map_err(text("echo"))?;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                // Threads of the blocking pool.
                let found = tokio::net::lookup_host("localhost:1").await.map_err(text("lookup"))?.count();
                if found == 0 {
                    return Err("localhost has no address".to_owned());
                }
                tokio::fs::read("/etc/hosts").await.map_err(text("file"))?;
                let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.map_err(text("UDP"))?;
                udp.connect(there).await.map_err(text("UDP connect"))?;
                let _signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(text("signal"))?;
                let (mut one, _other) = tokio::net::UnixStream::pair().map_err(text("pair"))?;
                one.write_all(b"x").await.map_err(text("pair write"))
            })
        });
        assert_eq!(result, Ok(String::new()), "{role:?}");
    }
}

#[test]
fn the_fenced_end_with_their_parent() {
    for (role, signal) in [(Role::Broker, Signal::SIGKILL), (Role::Looker, Signal::SIGKILL), (Role::Supervisor, Signal::SIGTERM)] {
        assert_eq!(role.dies_by(), Some(signal));
        let (reader, mut writer) = std::io::pipe().unwrap();
        // The middle process ends; its child must too, which closes the last writing end of the pipe.
        let trial = in_child(|| match crate::sys::fork::fork().map_err(|e| e.to_string())? {
            crate::sys::fork::Side::Parent(_) => {
                let (mut reader, mut line) = (&reader, [0; 1]);
                std::io::Read::read_exact(&mut reader, &mut line).map_err(|e| e.to_string())?;
                Ok(String::from_utf8_lossy(&line).into_owned())
            }
            crate::sys::fork::Side::Child => {
                let word: &[u8] = if guard(role).is_ok() { b"+" } else { b"-" };
                let _ = std::io::Write::write_all(&mut writer, word);
                loop {
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        });
        assert_eq!(trial.result(), Ok("+".to_owned()));
        drop(writer);
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut &reader, &mut rest).unwrap();
    }
}

#[test]
fn an_orphan_knows_it() {
    assert!(matches!(still_child_of(nix::unistd::getpid()), Err(GuardError::Orphan)));
    assert!(still_child_of(getppid()).is_ok());
}
