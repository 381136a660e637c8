//! The socket option that nix has no word for.

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
