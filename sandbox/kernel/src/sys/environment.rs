//! The environment's own bytes, which no safe function erases: `unsetenv` only forgets where they are.

use std::ffi::CStr;

/// More variables than any process has; the block itself is bounded by the kernel's limit on arguments.
const MOST: usize = 100_000;

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

/// Overwrites every variable, name and value, whose name is not to be kept. `/proc/self/environ` then shows the gaps.
///
/// The caller upholds: no other thread exists, and nothing holds a pointer that `getenv` gave.
pub(crate) fn erase(keep: impl Fn(&[u8]) -> bool) {
    // SAFETY: reading the pointer races with nobody, as this is the only thread.
    let list = unsafe { environ };
    if list.is_null() {
        return;
    }
    for index in 0..MOST {
        // SAFETY: the list ends with a null pointer, at which this loop stops, so `index` is within it.
        let place = unsafe { list.add(index) };
        // SAFETY: as above, `place` lies within the list.
        let variable = unsafe { *place };
        if variable.is_null() {
            return;
        }
        // SAFETY: each entry leads to text that ends with a NUL, made by the kernel or by setenv; nothing changes it while we look.
        let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
        let length = text.len();
        if keep(text.split(|byte| *byte == b'=').next().unwrap_or_default()) {
            continue;
        }
        // SAFETY: these bytes are writable (the kernel's block on the stack, or setenv's memory), `length` of them come before the NUL, and the
        // borrow of `text` has ended.
        unsafe { std::ptr::write_bytes(variable, 0, length) };
    }
}
