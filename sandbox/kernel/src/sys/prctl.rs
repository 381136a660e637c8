//! Those of `prctl(2)` that nix has no safe word for.

use nix::errno::Errno;

/// Whether a capability is in the bounding set; EINVAL for numbers beyond the kernel's last.
pub(crate) fn bounding_set_has(capability: u8) -> Result<bool, Errno> {
    // SAFETY: PR_CAPBSET_READ takes a number and touches no memory of ours.
    let answer = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability), 0, 0, 0) };
    Errno::result(answer).map(|is| is == 1)
}

/// Takes a capability out of the bounding set; needs CAP_SETPCAP in the current user namespace.
pub(crate) fn drop_from_bounding_set(capability: u8) -> Result<(), Errno> {
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
    let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    Errno::result(done).map(drop)
}

/// Sets the securebits; needs CAP_SETPCAP in the current user namespace.
pub(crate) fn set_securebits(bits: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: PR_SET_SECUREBITS takes a number and touches no memory of ours.
    let done = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) };
    Errno::result(done).map(drop)
}

/// The securebits.
#[cfg(test)]
pub(crate) fn securebits() -> Result<libc::c_ulong, Errno> {
    // SAFETY: PR_GET_SECUREBITS takes nothing and touches no memory of ours.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    Errno::result(bits).map(|bits| libc::c_ulong::from(bits.cast_unsigned()))
}
