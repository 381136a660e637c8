//! Words that the kernel programs and user space share: plain `repr(C)` data, no dependencies, sizes asserted on both sides.
//!
//! The programs themselves come with the kernel gate; what is here is what their user-space half already speaks of.

#![no_std]

/// Licence string that the kernel must find in the object, or it refuses the GPL-only functions the probes need.
pub const OBJECT_LICENCE: &str = "Dual MIT/GPL";

/// An attempt to connect or send, as a cgroup `connect4/6` or `sendmsg4/6` program reports it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectEvent {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub at: u64,
    /// Thread group and thread, in the initial pid namespace: `tgid << 32 | tid`.
    pub thread: u64,
    /// Start time of the thread group's leader, which tells a reused pid apart.
    pub started: u64,
    /// Identity of the cgroup.
    pub cgroup: u64,
    /// IPv6 address, or an IPv4 address in v4-mapped form, in network order.
    pub address: [u8; 16],
    /// Port in host order.
    pub port: u16,
    /// `IPPROTO_TCP`, `IPPROTO_UDP`, …
    pub protocol: u8,
    /// 1 where the program refused it.
    pub refused: u8,
    /// Zero; keeps the layout free of implicit padding.
    pub reserved: u32,
    /// The thread's command name, NUL-padded.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<ConnectEvent>() == 72, "the kernel side writes exactly this many bytes");
const _: () = assert!(align_of::<ConnectEvent>() == 8, "ring buffer records are 8-byte aligned");
