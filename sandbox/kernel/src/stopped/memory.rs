//! The one reading of the caller's memory.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::sys::notify::{read_memory, read_two};

/// The kernel's own bound for a path, with its NUL.
const PATH_MAX: usize = 4096;

/// The smallest page of any machine: a reading that stays in one page is whole or fails.
const PAGE: u64 = 4096;

/// Most paths are shorter, and are read at once.
const FIRST: usize = 256;

/// So many bytes at `address`.
///
/// # Errors
/// EFAULT: they are not all there. EPERM: this process cannot be read.
pub(super) fn bytes(tid: i32, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let mut got = 0;
    while let Some(room) = bytes.get_mut(got..).filter(|room| !room.is_empty()) {
        let at = address.checked_add(got as u64).ok_or(Errno::EFAULT)?;
        match read_memory(tid, at, room).map_err(gone)? {
            0 => return Err(Errno::EFAULT),
            read => got += read,
        }
    }
    Ok(bytes)
}

fn gone(errno: Errno) -> Errno {
    if errno == Errno::ESRCH { Errno::EINTR } else { errno }
}

/// The strings at two addresses, as [`path`]; in one reading, where both are short enough.
pub(super) fn two_paths(tid: i32, first: u64, second: u64) -> Result<(CString, CString), Errno> {
    let (mut one, mut other) = ([0; FIRST], [0; FIRST]);
    let wanted = |address: u64| usize::try_from(PAGE - address % PAGE).unwrap_or(FIRST).min(FIRST);
    let (one_length, other_length) = (wanted(first), wanted(second));
    if let (Some(one), Some(other)) = (one.get_mut(..one_length), other.get_mut(..other_length)) {
        // What is not there is found out below.
        let got = read_two(tid, (first, &mut *one), (second, &mut *other)).map_err(gone).unwrap_or(0);
        let ended = |bytes: &[u8]| CStr::from_bytes_until_nul(bytes).ok().map(CStr::to_owned);
        if got == one_length + other_length
            && let (Some(one), Some(other)) = (ended(one), ended(other))
        {
            return Ok((one, other));
        }
    }
    Ok((path(tid, first)?, path(tid, second)?))
}

/// The string at `address`, as the kernel would take it for a path.
///
/// # Errors
/// EFAULT: it is not there. ENAMETOOLONG: it does not end. EPERM: this process cannot be read.
pub(super) fn path(tid: i32, address: u64) -> Result<CString, Errno> {
    let mut text = Vec::with_capacity(FIRST);
    let mut at = address;
    while text.len() < PATH_MAX {
        let in_page = usize::try_from(PAGE - at % PAGE).unwrap_or(PATH_MAX);
        let wanted = if text.is_empty() { FIRST } else { PATH_MAX }.min(in_page).min(PATH_MAX - text.len());
        let mut chunk = [0; PATH_MAX];
        let room = chunk.get_mut(..wanted).ok_or(Errno::EFAULT)?;
        let read = read_memory(tid, at, room).map_err(gone)?;
        let read = room.get(..read).unwrap_or_default();
        if read.is_empty() {
            return Err(Errno::EFAULT);
        }
        if let Some(end) = read.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(read.get(..end).unwrap_or_default());
            return CString::new(text).map_err(|_| Errno::EFAULT);
        }
        text.extend_from_slice(read);
        at = at.checked_add(read.len() as u64).ok_or(Errno::EFAULT)?;
    }
    Err(Errno::ENAMETOOLONG)
}
