//! Sockets that are made here for the box, where a caller's own cannot be taken (`pidfd_getfd` is refused): each is handed out, and a copy is
//! kept, through which it is bound and connected. The caller's number tells which one it means, by the inode that `/proc` shows at it.
//!
//! A copy keeps a socket alive that its owner has closed. So it is let go as soon as it listens or is connected, after which nothing is done
//! for it any more; of those that came to nothing, the ones that no process has are let go when room or their port is wanted.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fs,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
        stat::{SFlag, fstat},
    },
    unistd::getpid,
};

use super::{listener::Notice, world::World};
use crate::sys::notify::OnExec;

/// Copies that are kept at once, where this process may have four times as many descriptors.
const MOST: usize = 4096;

/// Listeners that are remembered.
const MOST_LISTENERS: usize = 16_384;

/// The bits of `socket(2)`'s second argument that are the type.
const TYPE: i32 = 0xf;

/// A socket, by device and inode.
type Id = (u64, u64);

/// Copies of what was handed out.
#[derive(Debug)]
pub(super) struct Made {
    most: usize,
    kept: RefCell<HashMap<Id, OwnedFd>>,
    listening: RefCell<HashSet<Id>>,
}

impl Made {
    /// None yet.
    pub(super) fn new() -> Result<Self, Errno> {
        // What a shell has by default is little.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let room = usize::try_from(hard).unwrap_or(usize::MAX).min(4 * MOST);
        setrlimit(Resource::RLIMIT_NOFILE, room as u64, hard)?;
        Ok(Self { most: room / 4, kept: RefCell::default(), listening: RefCell::default() })
    }

    /// Makes what `socket(2)` asks for. The filters let through what a box may have, and nothing else is made here.
    pub(super) fn make(&self, notice: &Notice) -> Result<(OwnedFd, OnExec), Errno> {
        let (family, kind, protocol) = (notice.int(0), notice.int(1), notice.int(2));
        let flags = SockFlag::from_bits(kind & !TYPE).ok_or(Errno::EINVAL)?;
        let (family, kind, protocol) = match (family, kind & TYPE, protocol) {
            (libc::AF_INET, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => (AddressFamily::Inet, SockType::Stream, None),
            (libc::AF_INET6, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => (AddressFamily::Inet6, SockType::Stream, None),
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, _) => return Err(Errno::EPROTONOSUPPORT),
            (libc::AF_UNIX, libc::SOCK_STREAM, 0 | libc::PF_UNIX) => (AddressFamily::Unix, SockType::Stream, None),
            (libc::AF_UNIX, libc::SOCK_SEQPACKET, 0 | libc::PF_UNIX) => (AddressFamily::Unix, SockType::SeqPacket, None),
            (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) => (AddressFamily::Netlink, SockType::Raw, Some(SockProtocol::NetlinkRoute)),
            (libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_ROUTE) => (AddressFamily::Netlink, SockType::Datagram, Some(SockProtocol::NetlinkRoute)),
            (_, _, _) => return Err(Errno::EPERM),
        };
        if self.kept.borrow().len() >= self.most && self.let_go_of_closed() == 0 {
            return Err(Errno::ENFILE);
        }
        let made = socket(family, kind, flags | SockFlag::SOCK_CLOEXEC, protocol)?;
        let copy = made.try_clone().map_err(|_| Errno::ENFILE)?;
        self.kept.borrow_mut().insert(id(&made)?, copy);
        Ok((made, if flags.contains(SockFlag::SOCK_CLOEXEC) { OnExec::Close } else { OnExec::Keep }))
    }

    /// The socket that the caller means by its number. None: it was not made here, or has been let go.
    pub(super) fn of(&self, notice: &Notice, number: i32, world: &World) -> Result<Option<OwnedFd>, Errno> {
        let id = seen(notice, number, world)?;
        self.kept.borrow().get(&id).map(|copy| copy.try_clone().map_err(|_| Errno::ENFILE)).transpose()
    }

    /// Whether the caller's number leads to what listens already.
    pub(super) fn is_listening(&self, notice: &Notice, number: i32, world: &World) -> Result<bool, Errno> {
        Ok(self.listening.borrow().contains(&seen(notice, number, world)?))
    }

    /// It is connected: nothing more is to be done for it here.
    pub(super) fn is_done_with(&self, socket: &OwnedFd) {
        if let Ok(id) = id(socket) {
            self.kept.borrow_mut().remove(&id);
        }
    }

    /// It listens, and nothing but that can be asked again.
    pub(super) fn listens(&self, socket: &OwnedFd) {
        self.is_done_with(socket);
        let mut listening = self.listening.borrow_mut();
        if listening.len() >= MOST_LISTENERS {
            listening.clear();
        }
        listening.extend(id(socket));
    }

    /// Lets go of those that no process has any more, and tells how many. One that is on its way between two processes is not seen either: it
    /// can then not be connected any more.
    pub(super) fn let_go_of_closed(&self) -> usize {
        let open = open_elsewhere();
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.retain(|(_, inode), _| open.contains(inode));
        before - kept.len()
    }
}

fn id(socket: &OwnedFd) -> Result<Id, Errno> {
    fstat(socket).map(|stat| (stat.st_dev, stat.st_ino))
}

/// What `/proc` shows at a number of the caller's.
fn seen(notice: &Notice, number: i32, world: &World) -> Result<Id, Errno> {
    if number < 0 {
        return Err(Errno::EBADF);
    }
    let seen =
        world.of_process(notice.tid(), &format!("fd/{number}"), OFlag::O_PATH).map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })?;
    let stat = fstat(seen.as_fd())?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(Errno::ENOTSOCK);
    }
    // If the caller has gone, it can be what another process with its number has there.
    if notice.is_waiting() { Ok((stat.st_dev, stat.st_ino)) } else { Err(Errno::EINTR) }
}

/// The inodes of all sockets that other processes have, as far as this one may look.
fn open_elsewhere() -> HashSet<u64> {
    let own = getpid().as_raw();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = processes.filter(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).is_some_and(|pid| pid != own));
    let descriptors = others.flat_map(|entry| fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten());
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}
