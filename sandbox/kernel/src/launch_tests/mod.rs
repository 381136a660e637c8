//! What the agent sees and can do in a real box. Each box is made in a forked child, which has one thread as the supervisor has.

mod fences;
mod names;

use std::{
    ffi::OsString,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use agentbox_core::policy::settings::Limits;

use crate::{
    control::{Exit, FromInit},
    launch::{FileGate, LaunchError, NestedUserns, Plan, Stdio, launch},
    layer::{Layer, Requirement},
    mounts::{FileFence, Provided},
    network::BoxSockets,
    stopped::OwnFiles,
    trial::in_child,
};

fn plan(command: &[&str], files: FileFence, output: OwnedFd) -> Plan {
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    Plan {
        session: format!("test-{}", std::process::id()),
        command: command.iter().map(OsString::from).collect(),
        directory: "/".into(),
        environment: vec![("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())],
        files,
        limits: Limits::default(),
        nested_userns: NestedUserns::Refused,
        doors: crate::launch::Doors::default(),
        stdio: Stdio { stdin: null(), stdout: output.try_clone().unwrap(), stderr: output, controlling: None },
        file_gate: FileGate::Off,
        own_files: OwnFiles::ByGate,
        probes: crate::launch::Probed::No,
        hostname: "box".to_owned(),
        require: Vec::new(),
        without: None,
        above: None,
    }
}

/// Runs a command in a box and tells how it ended and what it wrote.
fn boxed(command: &[&str], files: FileFence, network: impl FnOnce(BoxSockets) -> std::io::Result<()>) -> Result<(Exit, String), String> {
    let (mut reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let running =
        launch(plan(command, files, writer.into()), |sockets, _| network(sockets).map(|()| Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
    let mut output = String::new();
    reader.read_to_string(&mut output).map_err(|e| e.to_string())?;
    loop {
        match running.hear().map_err(|e| e.to_string())? {
            Some(FromInit::Ended(exit)) => return Ok((exit, output)),
            Some(_) => {}
            None => return Err("init ended without a word".to_owned()),
        }
    }
}

/// The same in a process of its own; as `uid` where we are root and it is given.
fn in_box_as(uid: Option<u32>, command: &[&str], files: FileFence) -> Result<String, String> {
    in_child(|| {
        if let Some(uid) = uid {
            become_user(uid)?;
        }
        let (exit, output) = boxed(command, files, |_| Ok(()))?;
        Ok(format!("{exit:?} {output}"))
    })
    .result()
}

fn become_user(uid: u32) -> Result<(), String> {
    let gid = nix::unistd::Gid::from_raw(uid);
    nix::unistd::setgroups(&[gid]).map_err(|e| format!("setgroups: {e}"))?;
    nix::unistd::setresgid(gid, gid, gid).map_err(|e| format!("setresgid: {e}"))?;
    let uid = nix::unistd::Uid::from_raw(uid);
    nix::unistd::setresuid(uid, uid, uid).map_err(|e| format!("setresuid: {e}"))?;
    // A change of uid makes a process not dumpable; the launcher starts as an ordinary program does.
    nix::sys::prctl::set_dumpable(true).map_err(|e| e.to_string())
}

/// As root and as an ordinary user, where both can be.
fn everyone() -> Vec<Option<u32>> {
    if nix::unistd::geteuid().is_root() { vec![None, Some(65_534)] } else { vec![None] }
}

/// Whether this machine refuses user namespaces, or all power in them: then there is nothing to test, and `doctor` says what to do.
fn no_boxes_here() -> bool {
    let trial = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        match launch(plan(&["true"], FileFence::default(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())) {
            Err(LaunchError::Layer(failure)) if failure.fix.contains("sysctl") || failure.fix.contains("docker") => Ok(failure.what),
            _ => Ok(String::new()),
        }
    });
    let why = trial.result().unwrap_or_default();
    if !why.is_empty() {
        println!("SKIPPED: no boxes on this machine: {why}");
    }
    !why.is_empty()
}

fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    /// A folder that everybody may write, with a writable tree in it.
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "work", "work/hooks", "secret"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["work/hooks/old", "work/.env", "secret/key", "outside"] {
            std::fs::write(folder.path().join(name), "content").unwrap();
            std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o666)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// The folder lies below `/tmp`, of which the box has its own; so the whole of it is shown as a writable place first.
    fn fence(&self) -> FileFence {
        FileFence {
            writable: vec![self.path("work")],
            read_only: vec![self.path("work/hooks")],
            masked: vec![self.path("work/.env"), self.path("secret")],
            provided: vec![Provided { path: "/run/agentbox/hello".into(), contents: std::sync::Arc::new(b"hello".to_vec().into()) }],
            ..FileFence::default()
        }
    }
}

#[test]
fn exit_codes_are_the_agents_own() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        assert_eq!(in_box_as(user, &sh("exit 7"), FileFence::default()), Ok("Code(7) ".to_owned()));
        assert_eq!(in_box_as(user, &sh("kill -9 $$"), FileFence::default()), Ok("Signal(9) ".to_owned()));
    }
}

#[test]
fn a_command_that_cannot_be_run_is_said() {
    if no_boxes_here() {
        return;
    }
    let tried = |command: &'static str| {
        in_child(|| {
            let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
            match launch(plan(&[command], FileFence::default(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())) {
                Err(error @ LaunchError::NotExecuted { .. }) => Ok(format!("{} {error}", error.code())),
                other => Err(format!("{other:?}")),
            }
        })
        .result()
        .unwrap()
    };
    assert!(tried("no-such-command").starts_with("127 no-such-command: not found in the box"), "{}", tried("no-such-command"));
    assert!(tried("/etc/passwd").starts_with("126 /etc/passwd: Permission denied"), "{}", tried("/etc/passwd"));
    assert!(tried("/etc").starts_with("126 "));
}

#[test]
fn files_are_as_the_plan_says() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let ground = Ground::new();
        let work = ground.path("work");
        let script = format!(
            "ls /run
            cd {0} && echo new > made && rm made && echo in-work
            echo x > hooks/new || echo hooks-read-only
            rm hooks/old || echo hooks-kept
            cat .env && test ! -s .env && echo env-empty
            echo x > .env || echo env-read-only
            cat /run/agentbox/hello; echo
            echo x > /run/agentbox/hello || echo ours-read-only
            echo x > /etc/agentbox-test || echo etc-read-only
            mount -o remount,rw / || echo no-remount
            umount {0}/.env || echo no-umount
            touch /tmp/mine && echo tmp-mine",
            work.display()
        );
        let output = in_box_as(user, &sh(&script), ground.fence()).unwrap();
        for word in [
            "in-work",
            "hooks-read-only",
            "hooks-kept",
            "env-empty",
            "env-read-only",
            "hello",
            "ours-read-only",
            "etc-read-only",
            "no-remount",
            "no-umount",
            "tmp-mine",
        ] {
            assert!(output.contains(word), "as {user:?}: no {word} in {output}");
        }
        assert!(output.starts_with("Code(0) agentbox\nuser\nin-work"), "/run holds something else: {output}");
        assert_eq!(std::fs::read_to_string(work.join(".env")).unwrap(), "content");
        assert!(work.join("hooks/old").exists() && !work.join("hooks/new").exists());
        assert!(!Path::new("/etc/agentbox-test").exists());
    }
}

#[test]
fn root_in_the_box_cannot_speak_to_the_kernel() {
    if no_boxes_here() {
        return;
    }
    let script = "echo x > /proc/sys/kernel/core_pattern || echo no-core-pattern
        echo b > /proc/sysrq-trigger || echo no-sysrq
        head -c1 /proc/kcore | wc -c
        grep CapEff /proc/self/status; grep CapBnd /proc/self/status; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status";
    let output = in_box_as(None, &sh(script), FileFence::default()).unwrap();
    for line in ["no-core-pattern", "no-sysrq", "\n0\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(output.contains(line), "no {line:?} in {output}");
    }
}

#[test]
fn the_box_has_its_own_processes_devices_and_name() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let script = "ls /proc | grep -c '^[0-9]'; hostname; cat /proc/1/comm; test -c /dev/null && echo null; echo x > /dev/null && echo wrote; ls /dev | tr '\\n' ' '; cat /proc/1/environ; kill -9 1; kill -0 1 2>&1; ls -l /proc/1/fd 2>&1 | head -1";
        let output = in_box_as(user, &sh(script), FileFence::default()).unwrap();
        for word in ["box", "null", "wrote", "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"] {
            assert!(output.contains(word), "as {user:?}: no {word} in {output}");
        }
        assert!(output.contains("Permission denied"), "PID 1 can be looked into: {output}");
        let processes: u32 = output.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(processes < 8, "{processes} processes are seen: {output}");
    }
}

#[test]
fn every_address_leads_to_the_listener_which_sees_where_it_was_to_go() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let script = "import socket
for family, to in ((socket.AF_INET, ('203.0.113.9', 8443)), (socket.AF_INET6, ('2001:db8:77::1', 443)), (socket.AF_INET, ('10.1.2.3', 39999))):
    try:
        s = socket.socket(family); s.settimeout(5); s.connect(to); print('connected', s.getpeername()[:2], s.recv(100).decode()); s.close()
    except OSError as e: print(to, e)
s = socket.socket(); s.bind(('127.0.0.1', 3000)); s.listen(); c = socket.create_connection(('127.0.0.1', 3000)); print('own', s.accept()[1] == c.getsockname())
u = socket.socket(type=socket.SOCK_DGRAM); u.connect(('203.0.113.9', 443)); u.send(b'quic')
try: u.settimeout(5); u.recv(10)
except OSError as e: print('udp', e)
for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
    try: socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP); print('icmp socket')
    except OSError as e: print('icmp', e)
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('packet socket')
except OSError as e: print('packet', e)
";
        let outcome = in_child(|| {
            if let Some(uid) = user {
                become_user(uid)?;
            }
            // The accepting side is a process of its own: this one is busy with the box.
            let serve = |sockets: BoxSockets| {
                let listeners = sockets.tcp;
                if let crate::sys::fork::Side::Child = crate::sys::fork::fork().map_err(std::io::Error::from)? {
                    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
                    loop {
                        for listener in &listeners {
                            answer(listener);
                        }
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                }
                Ok(())
            };
            boxed(&["python3", "-c", script], FileFence::default(), serve).map(|(exit, output)| format!("{exit:?} {output}"))
        })
        .result()
        .unwrap();
        if outcome.contains("No such file") {
            println!("SKIPPED: python3 is not installed");
            return;
        }
        for line in [
            "connected ('203.0.113.9', 8443) 203.0.113.9:8443",
            "connected ('10.1.2.3', 39999) 10.1.2.3:39999",
            "own True",
            "udp [Errno 111] Connection refused",
            "packet [Errno",
        ] {
            assert!(outcome.contains(line), "as {user:?}: no {line:?} in {outcome}");
        }
        assert!(!outcome.contains("icmp socket") && !outcome.contains("packet socket"), "{outcome}");
        if Path::new("/proc/sys/net/ipv6").exists() {
            assert!(outcome.contains("connected ('2001:db8:77::1', 443) [2001:db8:77::1]:443"), "{outcome}");
        } else {
            println!("SKIPPED: the IPv6 part, this kernel has none");
        }
    }
}

fn answer(listener: &TcpListener) {
    use std::io::Write as _;
    while let Ok((mut stream, _)) = listener.accept() {
        let to: SocketAddr = stream.local_addr().unwrap();
        let _ = stream.write_all(to.to_string().as_bytes());
    }
}

#[test]
fn nothing_outlives_the_box() {
    if no_boxes_here() {
        return;
    }
    let ground = Ground::new();
    let mark = ground.path("work/alive");
    let script = format!("(setsid sh -c 'sleep 1; touch {0}' &) ; exit 0", mark.display());
    assert_eq!(in_box_as(None, &sh(&script), ground.fence()), Ok("Code(0) ".to_owned()));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!mark.exists(), "a daemon lived on after the agent had ended");
}

#[test]
fn the_box_ends_with_its_supervisor() {
    if no_boxes_here() {
        return;
    }
    let ground = Ground::new();
    let mark = ground.path("work/alive");
    let script = format!("sleep 1; touch {0}", mark.display());
    let trial = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let running = launch(plan(&sh(&script), ground.fence(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        drop(running);
        Ok(String::new())
    });
    assert_eq!(trial, crate::trial::Trial::Killed(nix::sys::signal::Signal::SIGKILL));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!mark.exists(), "the agent lived on after its supervisor was killed");
}

#[test]
fn the_command_runs_only_when_the_network_is_served_and_what_is_required_holds() {
    if no_boxes_here() {
        return;
    }
    let ground = Ground::new();
    let mark = ground.path("work/ran");
    let script = format!("touch {}", mark.display());
    let (_reader, writer) = std::io::pipe().unwrap();
    let refused = |change: &dyn Fn(&mut Plan), network: &dyn Fn(BoxSockets) -> std::io::Result<()>| {
        in_child(|| {
            let mut plan = plan(&sh(&script), ground.fence(), writer.try_clone().map_err(|e| e.to_string())?.into());
            change(&mut plan);
            match launch(plan, |sockets, _| network(sockets).map(|()| Vec::new()), |_| Ok(())) {
                Err(error) => Ok(format!("{} {error}", error.code())),
                Ok(_) => Err("it started".to_owned()),
            }
        })
        .result()
        .unwrap()
    };
    // Long enough for the agent's process to be ready, had it not to wait.
    let slow = |_: BoxSockets| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        if mark.exists() { Ok(()) } else { Err(std::io::Error::other("the broker is gone")) }
    };
    assert!(refused(&|_| {}, &slow).ends_with("the broker is gone"));
    let said = refused(&|plan| plan.require = vec![Requirement::Layer(Layer::KernelGate)], &|_| Ok(()));
    assert!(said.starts_with("125 ") && said.contains("kernel-gate: it was not set up"), "{said}");
    let said = refused(&|plan| plan.stdio.stdin = std::fs::File::open("/").unwrap().into(), &|_| Ok(()));
    assert!(said.starts_with("125 ") && said.contains("standard input is a folder"), "{said}");
    assert!(!mark.exists(), "the command ran");
}

/// A socket belongs to the network that it was made in: handed in, it leads past every fence.
#[test]
fn no_stream_leads_out_of_the_box() {
    if no_boxes_here() {
        return;
    }
    let tcp = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    let ways: [(&str, &dyn Fn() -> OwnedFd); 5] = [
        ("a network socket", &|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        ("a network socket", &|| tcp().into()),
        ("a network socket", &|| std::os::unix::net::UnixDatagram::pair().unwrap().0.into()),
        ("a handle of the kernel's", &|| std::fs::File::open("/proc/self/ns/net").unwrap().into()),
        ("a handle of the kernel's", &|| nix::sys::epoll::Epoll::new(nix::sys::epoll::EpollCreateFlags::empty()).unwrap().0),
    ];
    let run = |stdin: OwnedFd| {
        in_child(move || {
            let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
            let mut plan = plan(&sh("exit 7"), FileFence::default(), writer.into());
            plan.stdio.stdin = stdin;
            match launch(plan, |_, _| Ok(Vec::new()), |_| Ok(())) {
                Err(error) => Ok(format!("{} {error}", error.code())),
                Ok(running) => fences::exit_of(&running).map(|exit| format!("{exit:?}")),
            }
        })
        .result()
        .unwrap()
    };
    for (what, make) in ways {
        let said = run(make());
        assert!(said.starts_with("125 ") && said.contains(&format!("standard input is {what}")), "{what}: {said}");
    }
    // What stands in the place of a pipe is one.
    assert_eq!(run(std::os::unix::net::UnixStream::pair().unwrap().0.into()), "Code(7)");
    assert_eq!(run(std::fs::File::open("/dev/null").unwrap().into()), "Code(7)");
}
