//! Connecting and binding in the caller's place, where the box has no network of its own: every TCP connection goes to the broker, which is told
//! where the caller wanted to go; loopback is for the box's own listeners; socket files are those that were bound in this box, or that the policy names.
//!
//! The caller's very socket is taken (`pidfd_getfd`), or was made here ([`super::made`]), and connected to an address that is made here: nothing
//! that the caller can change is read twice.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use agentbox_core::wire::Origin;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            AddressFamily, Backlog, NetlinkAddr, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind as bind_to, connect as connect_to, getpeername,
            getsockname, getsockopt, listen as listen_on, sockopt,
        },
        stat::{SFlag, fstat, fstatat},
    },
};

use super::{
    act::as_masked,
    bounds::Region,
    listener::Notice,
    made::Made,
    memory,
    read::Read,
    resolve::{Follow, Found, From, Look, Object, Spot},
    world::{Trailing, World},
};
use crate::{setting::Outside, sys::socket::dissolve};

/// The largest address of the kernel's (`struct sockaddr_storage`).
const LONGEST: usize = 128;

/// A connection on this machine stands at once, unless a backlog is full: then a caller that would wait is told that nobody listens.
const PATIENCE: Duration = Duration::from_millis(250);

/// Between two tries of a socket file's full backlog.
const AGAIN: Duration = Duration::from_millis(5);

/// Listeners and socket files that are remembered; what has gone is forgotten first.
const MOST: usize = 16_384;

/// Names are asked for here, whatever server the machine's `resolv.conf` names.
const NAMES: u16 = 53;

/// Where the box's sockets may lead.
#[derive(Debug)]
pub struct Ways {
    v4: u16,
    v6: Option<u16>,
    line: UnixStream,
    forward: Vec<u16>,
    /// Socket files that the policy names, by their real paths.
    named: Vec<PathBuf>,
    /// The inodes of sockets that were made to listen here.
    listeners: RefCell<HashSet<u64>>,
    /// Socket files that were bound here, by device and inode, with their birth.
    files: RefCell<HashMap<(u64, u64), Birth>>,
    /// The box's sockets, where they cannot be taken from it.
    made: Option<Made>,
}

/// When a file was made, as in [`super::Stat`].
type Birth = Option<(i64, u32)>;

impl Ways {
    /// Those of a new box: its broker, the ports of loopback that lead there too, and the socket files that its policy names.
    ///
    /// # Errors
    /// The line cannot be used.
    pub fn new(outside: Outside, forward: Vec<u16>, named: Vec<PathBuf>) -> std::io::Result<Self> {
        let Outside { v4, v6, line } = outside;
        let line = UnixStream::from(line);
        // A broker that does not listen must not hold everybody up.
        line.set_nonblocking(true)?;
        Ok(Self { v4, v6, line, forward, named, listeners: RefCell::default(), files: RefCell::default(), made: None })
    }

    /// The same, where sockets are made here.
    pub(super) fn making(self, made: Made) -> Self {
        Self { made: Some(made), ..self }
    }

    /// Tells the broker, before the connection can stand.
    fn tell(&self, origin: &Origin) -> Result<(), Errno> {
        let mut line = serde_json::to_vec(origin).map_err(|_| Errno::EIO)?;
        line.push(b'\n');
        match (&self.line).write(&line) {
            Ok(written) if written == line.len() => Ok(()),
            // A part of a line: nothing that follows could be understood.
            Ok(_) => {
                let _ = self.line.shutdown(std::net::Shutdown::Both);
                Err(Errno::ECONNREFUSED)
            }
            Err(_) => Err(Errno::ECONNREFUSED),
        }
    }

    fn remember_listener(&self, socket: &OwnedFd) -> Result<(), Errno> {
        let inode = fstat(socket)?.st_ino;
        let mut listeners = self.listeners.borrow_mut();
        if listeners.len() >= MOST {
            let there: HashSet<u64> = listening().into_iter().map(|(_, inode)| inode).collect();
            listeners.retain(|inode| there.contains(inode));
            if listeners.len() >= MOST {
                return Err(Errno::ENOBUFS);
            }
        }
        listeners.insert(inode);
        Ok(())
    }

    /// Whether somebody listens at this port of loopback, and nobody but the box.
    fn is_own(&self, port: u16) -> bool {
        let listeners = self.listeners.borrow();
        let mut found = listening().into_iter().filter(|(at, _)| *at == port).peekable();
        found.peek().is_some() && found.all(|(_, inode)| listeners.contains(&inode))
    }
}

/// Every listener of the machine: port and inode.
fn listening() -> Vec<(u16, u64)> {
    const LISTENS: &str = "0A";
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        found.extend(text.lines().skip(1).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (_, port) = words.get(1)?.rsplit_once(':')?;
            (*words.get(3)? == LISTENS).then_some((u16::from_str_radix(port, 16).ok()?, words.get(9)?.parse().ok()?))
        }));
    }
    found
}

/// An address, read once.
enum Address {
    None,
    Inet(SocketAddr),
    /// Its bytes behind the family: a path without its NUL, or an abstract name with it.
    Unix(Vec<u8>),
    Netlink(u32, u32),
}

fn address(notice: &Notice) -> Result<Address, Errno> {
    let length = usize::try_from(notice.int(2)).ok().filter(|length| *length <= LONGEST).ok_or(Errno::EINVAL)?;
    let bytes = memory::bytes(notice.tid(), notice.argument(1), length)?;
    let family = bytes.first_chunk::<2>().map(|family| i32::from(u16::from_ne_bytes(*family))).ok_or(Errno::EINVAL)?;
    let part = |at: usize| bytes.get(at..);
    let number = |at: usize| part(at)?.first_chunk::<2>().map(|port| u16::from_be_bytes(*port));
    let native = |at: usize| part(at)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word));
    match family {
        libc::AF_UNSPEC => Ok(Address::None),
        libc::AF_INET => {
            // The kernel wants it whole.
            let (Some(port), Some(ip), true) = (number(2), part(4).and_then(<[u8]>::first_chunk::<4>), length >= 16) else { return Err(Errno::EINVAL) };
            Ok(Address::Inet(SocketAddr::new(Ipv4Addr::from_octets(*ip).into(), port)))
        }
        libc::AF_INET6 => {
            let (Some(port), Some(ip)) = (number(2), part(8).and_then(<[u8]>::first_chunk::<16>)) else { return Err(Errno::EINVAL) };
            Ok(Address::Inet(SocketAddr::new(Ipv6Addr::from_octets(*ip).into(), port)))
        }
        libc::AF_UNIX => {
            let name = part(2).unwrap_or_default();
            let is_path = name.first().is_some_and(|byte| *byte != 0);
            let end = if is_path { name.iter().position(|byte| *byte == 0).unwrap_or(name.len()) } else { name.len() };
            Ok(Address::Unix(name.get(..end).unwrap_or_default().to_vec()))
        }
        libc::AF_NETLINK => Ok(Address::Netlink(native(4).ok_or(Errno::EINVAL)?, native(8).ok_or(Errno::EINVAL)?)),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Makes a socket for the caller.
pub(super) fn make(notice: &Notice, world: &World) -> Result<Read, Errno> {
    let made = world.ways().and_then(|(_, ways)| ways.made.as_ref()).ok_or(Errno::ENOSYS)?;
    made.make(notice).map(|(socket, on_exec)| Read::Made(socket, on_exec))
}

/// The caller's very socket, and of which family it is. `otherwise` is what it is told of one that was made here and is done with, or that came
/// to it connected.
fn taken(notice: &Notice, world: &World, ways: &Ways, otherwise: Errno) -> Result<(OwnedFd, AddressFamily), Errno> {
    let number = notice.int(0);
    if number < 0 {
        return Err(Errno::EBADF);
    }
    let socket = match &ways.made {
        Some(made) => made.of(notice, number, world)?.ok_or(otherwise)?,
        None => world.file_of(notice.tid(), number)?,
    };
    if SFlag::from_bits_truncate(fstat(&socket)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(Errno::ENOTSOCK);
    }
    let family = getsockname::<SockaddrStorage>(socket.as_raw_fd())?.family().ok_or(Errno::EAFNOSUPPORT)?;
    // The filter lets nothing else be made.
    let kind = getsockopt(&socket, sockopt::SockType)?;
    match (family, kind) {
        (AddressFamily::Inet | AddressFamily::Inet6, SockType::Stream) | (AddressFamily::Unix, SockType::Stream | SockType::SeqPacket) => {}
        (AddressFamily::Netlink, _) => {}
        (_, _) => return Err(Errno::EOPNOTSUPP),
    }
    // If the caller has gone, it can be the socket of another process with its number.
    if notice.is_waiting() { Ok((socket, family)) } else { Err(Errno::EINTR) }
}

fn own(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    let name = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    inet(&name).ok_or(Errno::EAFNOSUPPORT)
}

fn inet(name: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::new(v4.ip().into(), v4.port()));
    v4.or_else(|| name.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port())))
}

/// Connects, and waits as the caller would; where the socket was made here also for one that would not wait, since it is to be let go only when
/// it is connected. On this machine that is at once.
fn joined(ways: &Ways, socket: &OwnedFd, to: &dyn SockaddrLike) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    let waits = ways.made.is_some() && to.family() != Some(AddressFamily::Unix);
    if flags.contains(OFlag::O_NONBLOCK) && !waits {
        return connect_to(socket.as_raw_fd(), to);
    }
    // One thread does it for everybody, so it must not wait in the kernel.
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let done = patiently(socket, to);
    fcntl(socket, FcntlArg::F_SETFL(flags))?;
    done
}

fn patiently(socket: &OwnedFd, to: &dyn SockaddrLike) -> Result<(), Errno> {
    let end = Instant::now() + PATIENCE;
    loop {
        match connect_to(socket.as_raw_fd(), to) {
            Err(Errno::EINPROGRESS | Errno::EALREADY) => {
                let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::ZERO);
                let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], left);
            }
            // A socket file's backlog is full.
            Err(Errno::EAGAIN) => std::thread::sleep(AGAIN),
            Err(Errno::EINTR) => {}
            done => return done,
        }
        if Instant::now() >= end {
            let _ = dissolve(socket.as_fd());
            return Err(Errno::ECONNREFUSED);
        }
    }
}

pub(super) fn connect(notice: &Notice, world: &World) -> Result<Read, Errno> {
    let Some((_, ways)) = world.ways() else { return Err(Errno::ENOSYS) };
    let address = address(notice)?;
    let (socket, family) = taken(notice, world, ways, Errno::EISCONN)?;
    match (address, family) {
        (Address::None, AddressFamily::Inet | AddressFamily::Inet6) => {
            dissolve(socket.as_fd())?;
            return Ok(Read::Nothing);
        }
        (Address::Inet(to), AddressFamily::Inet) if to.is_ipv4() => inet_connect(ways, &socket, to)?,
        (Address::Inet(to), AddressFamily::Inet6) if to.is_ipv6() => inet_connect(ways, &socket, to)?,
        (Address::Inet(_), AddressFamily::Inet | AddressFamily::Inet6) => return Err(Errno::EAFNOSUPPORT),
        (Address::Unix(name), AddressFamily::Unix) => unix_connect(ways, &socket, name, notice, world)?,
        (Address::None | Address::Inet(_) | Address::Unix(_) | Address::Netlink(..), _) => return Err(Errno::EINVAL),
    }
    if let Some(made) = &ways.made {
        made.is_done_with(&socket);
    }
    Ok(Read::Nothing)
}

fn inet_connect(ways: &Ways, socket: &OwnedFd, to: SocketAddr) -> Result<(), Errno> {
    if getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_ok() {
        return Err(Errno::EISCONN);
    }
    let ip = to.ip().to_canonical();
    let here = ip.is_loopback() || ip.is_unspecified();
    if here && to.port() != NAMES && !ways.forward.contains(&to.port()) {
        if !ways.is_own(to.port()) {
            return Err(Errno::ECONNREFUSED);
        }
        let near = if ip.is_unspecified() { SocketAddr::new(nearest(to.ip()), to.port()) } else { to };
        let done = joined(ways, socket, &SockaddrStorage::from(near));
        // It had the port to itself before and after.
        if !ways.is_own(to.port()) {
            let _ = dissolve(socket.as_fd());
            return Err(Errno::ECONNREFUSED);
        }
        return done;
    }
    // Over IPv4 for a socket of either family where it can be: the machine may have no `::1`.
    let (broker, from) = match (to.is_ipv4(), ways.v6) {
        (true, _) => (SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ways.v4), IpAddr::from(Ipv4Addr::LOCALHOST)),
        (false, Some(port)) => (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), IpAddr::from(Ipv6Addr::LOCALHOST)),
        (false, None) => {
            let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
            (SocketAddr::new(mapped, ways.v4), mapped)
        }
    };
    let mut local = own(socket)?;
    if local.port() == 0 {
        bind_to(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
        local = own(socket)?;
    }
    // IP_BIND_ADDRESS_NO_PORT, or bound to what only this module binds to, and yet not: nobody could be told.
    if local.port() == 0 || !local.ip().to_canonical().is_loopback() {
        return Err(Errno::EADDRNOTAVAIL);
    }
    ways.tell(&Origin { port: local.port(), v6: broker.ip().to_canonical().is_ipv6(), to: SocketAddr::new(ip, to.port()) })?;
    joined(ways, socket, &SockaddrStorage::from(broker))
}

/// Loopback in the family of an address.
fn nearest(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn unix_connect(ways: &Ways, socket: &OwnedFd, name: Vec<u8>, notice: &Notice, world: &World) -> Result<(), Errno> {
    // Abstract names are the machine's, and Landlock would ask about us instead of the caller.
    if name.first().is_none_or(|byte| *byte == 0) {
        return Err(Errno::ECONNREFUSED);
    }
    let path = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
    let from = From { world, tid: notice.tid(), dirfd: libc::AT_FDCWD, look: Look::Hold };
    let Found::Spot(mut spot) = from.find(&path, Follow::Yes)? else { return Err(Errno::ECONNREFUSED) };
    let object = spot.object.take().ok_or(Errno::ENOENT)?;
    if object.kind() != SFlag::S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    let is_born_here = ways.files.borrow().get(&object.stat.id()).is_some_and(|born| *born == object.stat.born);
    if !is_born_here && !ways.named.contains(&world.path_of(object.held()?)?) {
        return Err(Errno::EACCES);
    }
    // The socket's file is held, and who listens there may take long.
    world.give_turn();
    joined(ways, socket, &UnixAddr::new(&PathBuf::from(format!("/proc/self/fd/{}", object.held()?.as_raw_fd())))?)
}

pub(super) fn bind(notice: &Notice, world: &World) -> Result<Read, Errno> {
    let Some((_, ways)) = world.ways() else { return Err(Errno::ENOSYS) };
    let address = address(notice)?;
    let (socket, family) = taken(notice, world, ways, Errno::EINVAL)?;
    match (address, family) {
        (Address::Inet(at), AddressFamily::Inet | AddressFamily::Inet6) if at.is_ipv4() == (family == AddressFamily::Inet) => {
            match (inet_bind(&socket, at), &ways.made) {
                // One of the copies here may be all that still has the port.
                (Err(Errno::EADDRINUSE), Some(made)) if made.let_go_of_closed() > 0 => inet_bind(&socket, at)?,
                (done, _) => done?,
            }
        }
        (Address::Unix(name), AddressFamily::Unix) => unix_bind(ways, &socket, name, notice, world)?,
        (Address::Netlink(port, groups), AddressFamily::Netlink) => bind_to(socket.as_raw_fd(), &NetlinkAddr::new(port, groups))?,
        (Address::None | Address::Inet(_), AddressFamily::Inet | AddressFamily::Inet6) => return Err(Errno::EAFNOSUPPORT),
        (Address::None | Address::Inet(_) | Address::Unix(_) | Address::Netlink(..), _) => return Err(Errno::EINVAL),
    }
    Ok(Read::Nothing)
}

/// On loopback, whatever was asked for: a box's server is the machine's own affair.
fn inet_bind(socket: &OwnedFd, at: SocketAddr) -> Result<(), Errno> {
    let ip = at.ip().to_canonical();
    if !ip.is_loopback() && !ip.is_unspecified() {
        return Err(Errno::EADDRNOTAVAIL);
    }
    let bound = |ip: IpAddr| bind_to(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, at.port())));
    match at.ip() {
        // Both families, for most: more clients ask for 127.0.0.1 than for ::1.
        IpAddr::V6(v6) if v6.is_unspecified() => match bound(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()) {
            Err(Errno::EINVAL | Errno::EADDRNOTAVAIL) => bound(Ipv6Addr::LOCALHOST.into()),
            done => done,
        },
        other if ip.is_unspecified() => bound(nearest(other)),
        other => bound(other),
    }
}

fn unix_bind(ways: &Ways, socket: &OwnedFd, name: Vec<u8>, notice: &Notice, world: &World) -> Result<(), Errno> {
    // An abstract name could be one that somebody outside expects another behind.
    if name.first().is_none_or(|byte| *byte == 0) {
        return Err(Errno::EPERM);
    }
    let path = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
    let from = From { world, tid: notice.tid(), dirfd: libc::AT_FDCWD, look: Look::Hold };
    let spot = match from.find(&path, Follow::No)? {
        Found::Spot(spot) if spot.object.is_none() => spot,
        Found::Spot(_) | Found::Itself(_) | Found::Folder(..) => return Err(Errno::EADDRINUSE),
    };
    let region = world.bounds().map_or(Region::Elsewhere, |bounds| spot.path(world).map_or(Region::Elsewhere, |path| bounds.region(&path)));
    if region == Region::Elsewhere {
        return Err(Errno::EROFS);
    }
    if matches!(spot, Spot { trailing: Trailing::Slash, .. }) {
        return Err(Errno::ENOENT);
    }
    let mut place = format!("/proc/self/fd/{}/", spot.folder.as_raw_fd()).into_bytes();
    place.extend_from_slice(spot.name.to_bytes());
    let place = UnixAddr::new(std::ffi::OsStr::from_bytes(&place))?;
    as_masked(notice.tid(), world, || bind_to(socket.as_raw_fd(), &place))?;
    let made = fstatat(&spot.folder, spot.name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let born = Object::at(&spot.folder, &spot.name)?.stat;
    // In the private folder another thread of the caller can have put something else there.
    if born.kind() == SFlag::S_IFSOCK && born.id() == (made.st_dev, made.st_ino) {
        let mut files = ways.files.borrow_mut();
        if files.len() >= MOST {
            files.clear();
        }
        files.insert(born.id(), born.born);
    }
    Ok(())
}

pub(super) fn listen(notice: &Notice, world: &World) -> Result<Read, Errno> {
    let Some((_, ways)) = world.ways() else { return Err(Errno::ENOSYS) };
    if let Some(made) = &ways.made
        && made.is_listening(notice, notice.int(0), world)?
    {
        return Ok(Read::Nothing);
    }
    let (socket, family) = taken(notice, world, ways, Errno::EINVAL)?;
    if family == AddressFamily::Inet || family == AddressFamily::Inet6 {
        let at = own(&socket)?;
        if at.port() == 0 {
            // The kernel would take any address.
            inet_bind(&socket, SocketAddr::new(at.ip(), 0))?;
        }
        if !own(&socket)?.ip().to_canonical().is_loopback() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        ways.remember_listener(&socket)?;
    }
    // As the kernel takes it: what is too much is as much as there can be.
    let backlog = notice.int(1);
    listen_on(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    if let Some(made) = &ways.made {
        made.listens(&socket);
    }
    Ok(Read::Nothing)
}
