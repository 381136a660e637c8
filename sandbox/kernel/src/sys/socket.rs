//! The socket options that nix has no words for.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Lets an IPv6 socket take connections to, and send from, addresses that are not the machine's.
pub(crate) fn make_transparent_v6(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the option takes an int, of which the address and the size are given; the kernel only reads it.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, (&raw const on).cast(), length) };
    Errno::result(done).map(drop)
}

/// SO_NETNS_COOKIE, Linux 5.14: the identity of a socket's network namespace, as BPF programs see it.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The network that a socket is in.
pub(crate) fn network_cookie(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(8);
    // SAFETY: both addresses are of live locals; the kernel writes at most the eight bytes that the length tells.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut length) };
    Errno::result(done)?;
    if length == 8 { Ok(cookie) } else { Err(Errno::EINVAL) }
}

/// Lets go of whom a socket is connected to: `connect(2)` with no address.
pub(crate) fn dissolve(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let nobody = libc::sockaddr { sa_family: libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or(0), sa_data: [0; 14] };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap_or(16);
    // SAFETY: the address is of a live local, of which the size is given; the kernel only reads it.
    Errno::result(unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) }).map(drop)
}
