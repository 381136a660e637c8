//! The descriptor of a seccomp listener: receiving stopped calls and answering them. Memory of another process: reading it.

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::errno::Errno;

nix::ioctl_readwrite!(notif_recv, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(notif_send, b'!', 1, libc::seccomp_notif_resp);
nix::ioctl_write_ptr!(notif_id_valid, b'!', 2, u64);
nix::ioctl_write_ptr!(notif_addfd, b'!', 3, libc::seccomp_notif_addfd);
nix::ioctl_write_int_bad!(notif_set_flags, nix::request_code_write!(b'!', 4, 8));

/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6.
const SYNC_WAKE_UP: libc::c_int = 1;

/// SECCOMP_ADDFD_FLAG_SEND, Linux 5.14.
const ADDFD_SEND: u32 = 2;

/// A call that was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    pub(crate) id: u64,
    pub(crate) tid: i32,
    pub(crate) number: i32,
    pub(crate) arguments: [u64; 6],
    /// Where the program goes on.
    pub(crate) instruction: u64,
}

/// Takes the next stopped call; waits for one. ENOENT: its caller has gone meanwhile.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Stopped, Errno> {
    // The kernel refuses a struct that is not all zeroes.
    // SAFETY: the struct is made of numbers alone, for which zero is a value.
    let mut notif: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the pointer is to a live local of the type that the request's number tells.
    unsafe { notif_recv(listener.as_raw_fd(), &raw mut notif) }?;
    let tid = i32::try_from(notif.pid).map_err(|_| Errno::ESRCH)?;
    Ok(Stopped { id: notif.id, tid, number: notif.data.nr, arguments: notif.data.args, instruction: notif.data.instruction_pointer })
}

/// How a stopped call is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// It returned this.
    Value(i64),
    /// It failed so.
    Failed(Errno),
    /// The kernel does it, reading the caller's memory anew.
    GoOn,
}

/// Answers. ENOENT: its caller has gone, and nobody hears it.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<(), Errno> {
    let (val, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        Answer::Failed(errno) => (0, -(errno as i32), 0),
        Answer::GoOn => (0, 0, 1),
    };
    let mut response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: as in `receive`.
    unsafe { notif_send(listener.as_raw_fd(), &raw mut response) }.map(drop)
}

/// Whether the caller still waits for the answer.
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: as in `receive`; the kernel only reads it.
    unsafe { notif_id_valid(listener.as_raw_fd(), &raw const id) }.is_ok()
}

/// Whether a descriptor that is given closes with exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnExec {
    Keep,
    Close,
}

/// Puts a copy of `fd` into the caller's table and answers with its number there, in one step (Linux 5.14).
pub(crate) fn give(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, on_exec: OnExec) -> Result<(), Errno> {
    add_fd(listener, id, fd, on_exec, ADDFD_SEND).map(drop)
}

/// Puts a copy of `fd` into the caller's table and tells its number there; the call is still to be answered. The caller wakes to do so, and sleeps again.
pub(crate) fn put(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, on_exec: OnExec) -> Result<i64, Errno> {
    add_fd(listener, id, fd, on_exec, 0)
}

fn add_fd(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, on_exec: OnExec, flags: u32) -> Result<i64, Errno> {
    let srcfd = u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let newfd_flags = match on_exec {
        OnExec::Keep => 0,
        OnExec::Close => libc::O_CLOEXEC.cast_unsigned(),
    };
    let request = libc::seccomp_notif_addfd { id, flags, srcfd, newfd: 0, newfd_flags };
    // SAFETY: as in `receive`; the kernel only reads it.
    unsafe { notif_addfd(listener.as_raw_fd(), &raw const request) }.map(i64::from)
}

/// Asks the kernel to hand the CPU over directly; older kernels do not know of it.
pub(crate) fn wake_directly(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    unsafe { notif_set_flags(listener.as_raw_fd(), SYNC_WAKE_UP) }.map(drop)
}

/// Reads from another process into `buffer`; may read less than asked for where a page is not there.
pub(crate) fn read_memory(tid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let remote = [there(address, buffer)?];
    nix::sys::uio::process_vm_readv(nix::unistd::Pid::from_raw(tid), &mut [std::io::IoSliceMut::new(buffer)], &remote)
}

/// Reads two places of another process at once; less than asked for where the first is not there whole, or else the second.
pub(crate) fn read_two(tid: i32, (first, one): (u64, &mut [u8]), (second, other): (u64, &mut [u8])) -> Result<usize, Errno> {
    let remote = [there(first, one)?, there(second, other)?];
    let mut local = [std::io::IoSliceMut::new(one), std::io::IoSliceMut::new(other)];
    nix::sys::uio::process_vm_readv(nix::unistd::Pid::from_raw(tid), &mut local, &remote)
}

fn there(address: u64, buffer: &[u8]) -> Result<nix::sys::uio::RemoteIoVec, Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    Ok(nix::sys::uio::RemoteIoVec { base, len: buffer.len() })
}
