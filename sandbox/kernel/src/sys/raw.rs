//! Any system call by number, for tests that make the calls which the filters refuse.

use nix::errno::Errno;

/// Makes the call with these registers and tells its error.
pub(crate) fn call(number: libc::c_long, registers: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = registers;
    // SAFETY: only tests call this, with numbers and null or short invalid pointers of which the kernel checks every one; no register points to
    // memory that Rust owns.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(answer)
}

/// `getpid` through the 32-bit gate, whose numbers mean other calls.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_by_int80() -> i64 {
    let answer: i64;
    // SAFETY: call 20 of the 32-bit table is getpid, which takes nothing and touches no memory; the 64-bit kernel clears r8 to r11 on this way.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    answer
}
