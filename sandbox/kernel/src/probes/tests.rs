//! The probes on this kernel, with real processes in a real cgroup.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Output, Stdio},
};

use super::{load, possible};
use crate::{cgroup::Cgroup, sys::socket::network_cookie};

/// A cgroup of a test's own; `None`, with the reason printed, where there can be no probes.
fn ground(name: &str) -> Option<(Cgroup, OwnedFd)> {
    if let Err(why) = possible() {
        println!("SKIPPED: no connect probes here: {why}");
        return None;
    }
    let cgroup = crate::cgroup::plain(&format!("probes-{name}-{}", std::process::id())).unwrap();
    let folder = cgroup.open().unwrap();
    Some((cgroup, folder))
}

/// Runs a program of Python in the cgroup.
fn python(cgroup: &Cgroup, program: &str) -> Output {
    let script = format!("echo $$ > {}/cgroup.procs && exec timeout 50 python3 -c '{program}'", cgroup.path().display());
    Command::new("sh").args(["-c", &script]).output().unwrap()
}

/// Says whether a deed was refused.
const TRIED: &str = "
def tried(name, deed):
    try:
        deed()
        print(name, \"passed\")
    except PermissionError:
        print(name, \"refused\")
    except OSError as error:
        print(name, error)

";

fn own_network() -> u64 {
    network_cookie(UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()).unwrap()
}

#[test]
fn a_connection_tells_who_opened_it() {
    let Some((cgroup, folder)) = ground("who") else { return };
    let probes = load::load(&folder, own_network(), true).unwrap();
    for (listen, connect) in [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "::ffff:127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(listener) = TcpListener::bind(listen) else { continue };
        let here = listener.local_addr().unwrap();
        let family = if connect.contains(':') { "AF_INET6" } else { "AF_INET" };
        let program = format!(
            "import os, socket; s = socket.socket(socket.{family}); s.connect((\"{connect}\", {})); print(os.getpid(), *s.getsockname()[:2])",
            here.port()
        );
        let output = python(&cgroup, &program);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut words = text.split_whitespace();
        let (pid, port): (i32, u16) = (words.next().unwrap().parse().unwrap(), words.nth(1).unwrap().parse().unwrap());
        let seen = probes
            .who(SocketAddr::new(here.ip(), port), here)
            .unwrap_or_else(|| panic!("nobody opened {connect}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!((seen.pid, seen.comm.as_str()), (pid, "python3"), "{connect}");
        assert!(probes.who(SocketAddr::new(here.ip(), port.wrapping_add(1)), here).is_none());
    }
    // Who is not in the cgroup is not seen.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(probes.who(client.local_addr().unwrap(), client.peer_addr().unwrap()).is_none());
}

#[test]
fn nothing_leaves_by_another_network() {
    let Some((cgroup, folder)) = ground("breach") else { return };
    // The box's network is another than the one that the processes are in.
    let mut probes = load::load(&folder, own_network() + 1, true).unwrap();
    let program = format!(
        "import socket
{TRIED}tried(\"tcp\", lambda: socket.socket())
tried(\"udp6\", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
tried(\"raw\", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
"
    );
    let output = python(&cgroup, &program);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "tcp refused\nudp6 refused\nraw refused\n", "{}", String::from_utf8_lossy(&output.stderr));
    let told = probes.refused();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("python3 (process ") && told[0].contains("a socket outside of the box's network"), "{told:?}");
    assert!(told[2].contains("a raw socket"), "{told:?}");
}

#[test]
fn a_socket_from_elsewhere_neither_connects_nor_sends() {
    let Some((cgroup, folder)) = ground("sockets") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The sockets are made before the programs are there: a socket counts as its maker's cgroup's for good.
    let program = format!(
        "import os, socket, sys
open(\"{0}/cgroup.procs\", \"w\").write(str(os.getpid()))
tcp, fast, udp, mapped = socket.socket(), socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6)
print(\"made\", flush=True)
sys.stdin.readline()
to = (\"127.0.0.1\", {1})
{TRIED}tried(\"connect\", lambda: tcp.connect(to))
tried(\"fastopen\", lambda: fast.sendto(b\"x\", socket.MSG_FASTOPEN, to))
tried(\"sendto\", lambda: udp.sendto(b\"x\", to))
tried(\"sendmsg\", lambda: udp.sendmsg([b\"x\"], [], 0, to))
tried(\"mapped\", lambda: mapped.connect((\"::ffff:127.0.0.1\", {1})))
",
        cgroup.path().display(),
        listener.local_addr().unwrap().port()
    );
    let mut child = Command::new("timeout").args(["50", "python3", "-c", &program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut made = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut made).unwrap();
    let mut probes = load::load(&folder, own_network() + 1, true).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let wanted = "connect refused\nfastopen refused\nsendto refused\nsendmsg refused\nmapped refused\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(probes.refused().len(), 5);
    drop(probes);
    let loose = load::load(&folder, own_network() + 1, false).unwrap();
    assert_eq!(String::from_utf8_lossy(&python(&cgroup, "import socket; socket.socket(); print(1)").stdout), "1\n");
    drop(loose);
}
