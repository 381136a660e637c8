//! `landlock_create_ruleset(2)` as a question; rulesets themselves are made by the `landlock` crate.

use nix::errno::Errno;

/// LANDLOCK_CREATE_RULESET_VERSION.
const VERSION: libc::c_uint = 1;

/// The ABI that the kernel offers.
pub(crate) fn abi() -> Result<u32, Errno> {
    let nothing: *const libc::c_void = std::ptr::null();
    // SAFETY: with a null pointer, size 0 and this flag the call only answers a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    Errno::result(answer).and_then(|abi| u32::try_from(abi).map_err(|_| Errno::EINVAL))
}
