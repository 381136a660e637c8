//! The box's network: every address leads to the broker, and nothing leads anywhere else.

mod netlink;
mod nft;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt},
};

use netlink::{Message, Talk};

use crate::setting::Outside;

/// The port of the transparent listeners. A client that connects to it directly reaches the same listener, which sees the
/// same destination as for any other port.
pub const PORT: u16 = 39_999;

/// The box's own source addresses: from TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849), which no host on any
/// network can have, so that a service's log never mistakes the box for a real neighbour.
pub const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// See [`V4`].
pub const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

/// The box's loopback device: always the first of a network namespace.
const LO: u32 = 1;

/// Ports of the machine that one box may reach.
pub const MOST_DOORS: usize = 64;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {errno}")]
pub(crate) struct NetworkError {
    /// In words.
    pub(crate) what: &'static str,
    /// What the kernel said.
    pub(crate) errno: Errno,
}

fn failed(what: &'static str) -> impl Fn(Errno) -> NetworkError {
    move |errno| NetworkError { what, errno }
}

/// Sockets in the box's network namespace, for the broker.
#[derive(Debug)]
pub struct BoxSockets {
    /// Transparent listeners, one a family, and behind them those of the doors, at their ports of the box's loopback: an accepted
    /// connection's local address is where the client wanted to go.
    pub tcp: Vec<TcpListener>,
    /// Sockets on port 53 of every address, one a family, which tell the address that was asked.
    pub dns: Vec<UdpSocket>,
    /// The box's namespaces, for whoever publishes ports of it; nobody else can open them.
    pub namespaces: Option<Namespaces>,
    /// Where the box has no network of its own: on it the broker is told where each connection wanted to go ([`agentbox_core::wire::Origin`]).
    pub told: Option<OwnedFd>,
}

/// What [`crate::publish::enter`] needs.
#[derive(Debug)]
pub struct Namespaces {
    /// The namespace in which the box's ids mean something.
    pub user: OwnedFd,
    /// The box's network.
    pub network: OwnedFd,
}

/// Whether the box speaks IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ipv6 {
    /// It does.
    Up,
    /// The machine has it switched off; then nothing in the box can use it either.
    Off,
}

/// Sets up the network namespace that this process is in.
///
/// `doors` are ports of the box's loopback that lead to the broker as well.
///
/// # Errors
/// Without all of it there is no box.
pub(crate) fn set_up(doors: &[u16]) -> Result<(Vec<OwnedFd>, Ipv6), NetworkError> {
    let mut talk = Talk::open(SockProtocol::NetlinkRoute).map_err(failed("a netlink socket"))?;
    talk.ask(&[link_up()]).map_err(failed("bringing the loopback device up"))?;
    // AnyIP: every IPv4 address is "local" to the loopback device.
    talk.ask(&[address(V4.into()), route(Ipv4Addr::UNSPECIFIED.into(), V4.into())]).map_err(failed("the IPv4 address and route"))?;
    let ipv6 = match talk.ask(&[address(V6.into()), route(Ipv6Addr::UNSPECIFIED.into(), V6.into())]) {
        Ok(()) => Ipv6::Up,
        Err(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP | Errno::EACCES) => Ipv6::Off,
        Err(errno) => return Err(failed("the IPv6 address and route")(errno)),
    };
    installed(ipv6).map_err(failed("nf_tables with TPROXY (CONFIG_NF_TABLES, CONFIG_NFT_TPROXY)"))?;
    let mut families = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    if ipv6 == Ipv6::Up {
        families.push(Ipv6Addr::UNSPECIFIED.into());
    }
    let mut sockets = Vec::new();
    for any in &families {
        sockets.push(listener(*any).map_err(failed("a transparent listener"))?);
    }
    for any in &families {
        sockets.push(resolver(*any).map_err(failed("the DNS socket"))?);
    }
    for port in doors {
        sockets.push(door(Ipv4Addr::LOCALHOST.into(), *port).map_err(failed("a forwarded port"))?);
        if ipv6 == Ipv6::Up {
            sockets.push(door(Ipv6Addr::LOCALHOST.into(), *port).map_err(failed("a forwarded port"))?);
        }
    }
    Ok((sockets, ipv6))
}

/// The rules, also while another box has the kernel load its modules for the first time: until they are whole, the kernel knows nothing of them.
fn installed(ipv6: Ipv6) -> Result<(), Errno> {
    const TRIES: u32 = 3;
    const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
    for _ in 1..TRIES {
        match nft::install(ipv6) {
            Err(Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT) => std::thread::sleep(AGAIN),
            done => return done,
        }
    }
    nft::install(ipv6)
}

/// Gives the descriptors of [`set_up`] their types again, on the other side: the sockets, of which the last `doors` are doors, then the
/// namespaces.
pub(crate) fn sockets(fds: Vec<OwnedFd>, doors: usize, with: Handed) -> BoxSockets {
    let mut fds = fds;
    let namespaces = match with {
        Handed::Sockets => None,
        Handed::Namespaces => fds.pop().zip(fds.pop()).map(|(network, user)| Namespaces { user, network }),
    };
    let plain = fds.len().saturating_sub(doors);
    let mut tcp = Vec::new();
    let mut dns = Vec::new();
    for (index, fd) in fds.into_iter().enumerate() {
        if index < plain / 2 || index >= plain {
            tcp.push(TcpListener::from(fd));
        } else {
            dns.push(UdpSocket::from(fd));
        }
    }
    BoxSockets { tcp, dns, namespaces, told: None }
}

/// Listeners on the machine's own loopback, for a box that has no network of its own, and what its file gate is to know of them.
pub(crate) fn plain() -> std::io::Result<(BoxSockets, Outside)> {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // None where the machine has no IPv6.
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok();
    let (line, told) = UnixStream::pair()?;
    let v6_port = v6.as_ref().map(|v6| v6.local_addr().map(|address| address.port())).transpose()?;
    let outside = Outside { v4: v4.local_addr()?.port(), v6: v6_port, line: line.into() };
    let tcp = [Some(v4), v6].into_iter().flatten().collect();
    Ok((BoxSockets { tcp, dns: Vec::new(), namespaces: None, told: Some(told.into()) }, outside))
}

/// What init hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    Sockets,
    /// And behind them the box's user and network namespaces.
    Namespaces,
}

/// A listener at one port of the box's loopback.
fn door(address: IpAddr, port: u16) -> Result<OwnedFd, Errno> {
    let fd = open(address, SockType::Stream)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port)))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

fn open(any: IpAddr, kind: SockType) -> Result<OwnedFd, Errno> {
    let family = if any.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if any.is_ipv4() {
        setsockopt(&fd, sockopt::IpTransparent, &true)?;
    } else {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        crate::sys::socket::make_transparent_v6(fd.as_fd())?;
    }
    Ok(fd)
}

fn listener(any: IpAddr) -> Result<OwnedFd, Errno> {
    let fd = open(any, SockType::Stream)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, PORT)))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

fn resolver(any: IpAddr) -> Result<OwnedFd, Errno> {
    let fd = open(any, SockType::Datagram)?;
    if any.is_ipv4() {
        setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, 53)))?;
    Ok(fd)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    // AF_INET and AF_INET6, which are 2 and 10 on every architecture of Linux.
    if address.is_ipv4() { 2 } else { 10 }
}

/// `RTM_NEWLINK` with IFF_UP.
fn link_up() -> Message {
    const RTM_NEWLINK: u16 = 16;
    const IFF_UP: u32 = 1;
    let mut body = vec![0, 0, 0, 0];
    body.extend_from_slice(&LO.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    Message::new(RTM_NEWLINK, 0, body)
}

/// `RTM_NEWADDR` of one whole address. For IPv6 without duplicate detection, which would leave it tentative (unusable as a
/// source) for a second.
fn address(own: IpAddr) -> Message {
    const RTM_NEWADDR: u16 = 20;
    const IFA_F_NODAD: u8 = 2;
    const IFA_LOCAL: u16 = 2;
    const IFA_ADDRESS: u16 = 1;
    let bits = if own.is_ipv4() { 32 } else { 128 };
    let flags = if own.is_ipv4() { 0 } else { IFA_F_NODAD };
    let mut body = vec![family(own), bits, flags, 0];
    body.extend_from_slice(&LO.to_ne_bytes());
    netlink::attribute(&mut body, IFA_LOCAL, &octets(own));
    netlink::attribute(&mut body, IFA_ADDRESS, &octets(own));
    Message::new(RTM_NEWADDR, netlink::CREATE, body)
}

/// `RTM_NEWROUTE`: `local ANY/0 dev lo table local src OWN`.
fn route(any: IpAddr, own: IpAddr) -> Message {
    const RTM_NEWROUTE: u16 = 24;
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_BOOT: u8 = 3;
    const TYPE_LOCAL: u8 = 2;
    const RTA_OIF: u16 = 4;
    const RTA_PREFSRC: u16 = 7;
    let scope = if any.is_ipv4() { 254 } else { 0 };
    let mut body = vec![family(any), 0, 0, 0, TABLE_LOCAL, PROTOCOL_BOOT, scope, TYPE_LOCAL, 0, 0, 0, 0];
    netlink::attribute(&mut body, RTA_OIF, &LO.to_ne_bytes());
    netlink::attribute(&mut body, RTA_PREFSRC, &octets(own));
    Message::new(RTM_NEWROUTE, netlink::CREATE, body)
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::trial::in_child;

    /// A network of its own, with IPv6 as the machine's administrator has set it.
    fn with_ipv6(disabled: &'static str) -> Option<Result<String, String>> {
        if !std::path::Path::new("/proc/sys/net/ipv6").exists() {
            println!("SKIPPED: this kernel has no IPv6");
            return None;
        }
        let trial = in_child(move || {
            let said = |what: &'static str| move |error: Errno| format!("{what}: {error}");
            let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(said("SKIPPED: unshare"))?;
            let write = |path: &str, text: String| std::fs::write(path, text).map_err(|error| format!("SKIPPED: {path}: {error}"));
            write("/proc/self/setgroups", "deny".to_owned())?;
            write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            write("/proc/self/gid_map", format!("0 {gid} 1"))?;
            for which in ["all", "default", "lo"] {
                write(&format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), disabled.to_owned())?;
            }
            let (sockets, ipv6) = set_up(&[]).map_err(|error| error.to_string())?;
            Ok(format!("{ipv6:?} {}", sockets.len()))
        });
        match trial.result() {
            Err(why) if why.starts_with("SKIPPED") => {
                println!("{why}");
                None
            }
            other => Some(other),
        }
    }

    #[test]
    fn a_machine_without_ipv6_gets_a_box_without_it() {
        if let Some(outcome) = with_ipv6("1") {
            assert_eq!(outcome, Ok("Off 2".to_owned()));
        }
        if let Some(outcome) = with_ipv6("0") {
            assert_eq!(outcome, Ok("Up 4".to_owned()));
        }
    }
}
