//! Questions to port 53 of any address reach the one socket of their family, which learns the address and answers from it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg},
};

use super::{become_user, boxed, everyone, no_boxes_here};
use crate::{
    mounts::FileFence,
    network::BoxSockets,
    sys::fork::{Side, fork},
    trial::in_child,
};

/// Answers one question with the address that was asked, from that address.
fn answer(socket: &UdpSocket) -> Result<(), Errno> {
    let mut question = [0; 512];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(&mut question)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
    let asker = message.address.ok_or(Errno::EDESTADDRREQ)?;
    for control in message.cmsgs()? {
        let send = |asked: IpAddr, from: ControlMessage<'_>| {
            let text = asked.to_string();
            sendmsg(socket.as_raw_fd(), &[IoSlice::new(text.as_bytes())], &[from], MsgFlags::empty(), Some(&asker)).map(drop)
        };
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let from = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ipi_addr: info.ipi_addr };
                send(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(), ControlMessage::Ipv4PacketInfo(&from))?;
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let from = libc::in6_pktinfo { ipi6_ifindex: 0, ..info };
                send(Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), ControlMessage::Ipv6PacketInfo(&from))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn serve(sockets: BoxSockets) -> io::Result<()> {
    if let Side::Child = fork().map_err(io::Error::from)? {
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        loop {
            for socket in &sockets.dns {
                let _ = answer(socket);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

#[test]
fn every_resolver_of_the_world_is_ours() {
    if no_boxes_here() {
        return;
    }
    let script = "import socket
for family, to in ((socket.AF_INET, '8.8.8.8'), (socket.AF_INET, '127.0.0.53'), (socket.AF_INET, '192.0.2.100'), (socket.AF_INET6, '2001:4860:4860::8888'), (socket.AF_INET6, '::1')):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
    # Connected: an answer from any other address would not be taken.
    try: s.connect((to, 53)); s.send(b'?'); print(to, s.recv(100).decode())
    except OSError as e: print(to, e)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for address in (('0.0.0.0', 53), ('8.8.8.8', 53)):
    try: s.bind(address); print('took port 53')
    except OSError as e: print('kept', e.errno)
";
    for user in everyone() {
        let outcome = in_child(|| {
            if let Some(uid) = user {
                become_user(uid)?;
            }
            boxed(&["python3", "-c", script], FileFence::default(), serve).map(|(exit, output)| format!("{exit:?} {output}"))
        });
        let output = outcome.result().unwrap();
        if output.contains("No such file") {
            println!("SKIPPED: python3 is not installed");
            return;
        }
        let mut wanted = vec!["8.8.8.8 8.8.8.8", "127.0.0.53 127.0.0.53", "192.0.2.100 192.0.2.100"];
        if std::path::Path::new("/proc/sys/net/ipv6").exists() {
            wanted.extend(["2001:4860:4860::8888 2001:4860:4860::8888", "::1 ::1"]);
        }
        for line in wanted {
            assert!(output.contains(line), "as {user:?}: no {line:?} in {output}");
        }
        assert!(!output.contains("took port 53"), "as {user:?}: {output}");
    }
}
