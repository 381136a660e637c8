//! `bpf(2)`, only to learn whether the kernel would take a program from us.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// BPF_PROG_LOAD.
const PROG_LOAD: libc::c_uint = 5;
/// `BPF_MOV64_IMM(r0, 1); BPF_EXIT`: the smallest program, which lets everything pass.
const PASS: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// The head of `union bpf_attr` for PROG_LOAD, as of Linux 4.17; the kernel takes what is missing behind it as zero.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

/// Loads a program of this kind that does nothing, for this point of attachment; it goes away with the descriptor.
pub(crate) fn load_nothing(kind: u32, attach: u32) -> Result<OwnedFd, Errno> {
    let license = c"Dual MIT/GPL";
    let load = ProgramLoad {
        kind,
        instructions: 2,
        program: PASS.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"agentbox_doctor\0",
        interface: 0,
        attach,
    };
    // SAFETY: `load` is a prefix of union bpf_attr of the length that is told; the addresses in it lead to constants of which the kernel only reads
    // the two instructions and the text up to its NUL.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<ProgramLoad>()) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: a load that succeeds returns a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
