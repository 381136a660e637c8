//! Words that the kernel programs and user space share: plain `repr(C)` data, no dependencies, sizes asserted on both sides.

#![no_std]

/// Licence string that the kernel must find in the object, or it refuses the GPL-only functions the probes need.
pub const OBJECT_LICENCE: &str = "Dual MIT/GPL";

/// Connections whose makers are remembered; the oldest are forgotten.
pub const MOST_CONNECTIONS: u32 = 4096;

/// Bytes of the ring of breaches.
pub const RING_BYTES: u32 = 16 << 10;

/// Both ends of a TCP connection, the one who opened it first. IPv4 is written v4-mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Address of who opened it, in network order.
    pub client: [u8; 16],
    /// Address that it was opened to, in network order.
    pub server: [u8; 16],
    /// Port of who opened it, in host order.
    pub client_port: u16,
    /// Port that it was opened to, in host order.
    pub server_port: u16,
    /// Zero; keeps the layout free of implicit padding.
    pub reserved: u32,
}

/// Who opened a connection, as the kernel saw it in `connect(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Nanoseconds of `CLOCK_BOOTTIME`: a process that began later has only the number of the one that asked.
    pub at: u64,
    /// Thread group and thread, in the initial pid namespace: `tgid << 32 | tid`.
    pub thread: u64,
    /// Identity of the cgroup.
    pub cgroup: u64,
    /// The thread's command name, NUL-padded. The process itself chooses it.
    pub comm: [u8; 16],
}

/// What was tried that the fences should have made impossible.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// `connect(2)` in another network namespace than the box's.
    Connect = 1,
    /// A datagram in another network namespace than the box's.
    Send = 2,
    /// A socket in another network namespace than the box's.
    Create = 3,
    /// A raw socket, or one of a kind that the box has no use for.
    Raw = 4,
}

/// A refused attempt, on the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Who tried it.
    pub asker: Asker,
    /// IPv6 address or v4-mapped, in network order; zero where there is none.
    pub address: [u8; 16],
    /// Port in host order.
    pub port: u16,
    /// `IPPROTO_TCP`, …
    pub protocol: u8,
    /// Zero; keeps the layout free of implicit padding.
    pub reserved: u8,
    /// An [`Attempt`].
    pub attempt: u32,
}

/// What only the file gate does for a process of the box, and a process did itself.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A name was to be removed.
    Unlink = 1,
    /// A folder was to be removed.
    Rmdir = 2,
    /// A name was to be moved.
    Rename = 3,
    /// A file was to get another name.
    Link = 4,
    /// A file was to be cut short.
    Truncate = 5,
    /// A file that is not empty was to be opened for writing.
    Overwrite = 6,
    /// The mode was to be changed.
    Mode = 7,
    /// The owner was to be changed.
    Owner = 8,
    /// The times were to be changed.
    Times = 9,
    /// An extended attribute or an access control list was to be changed.
    Attribute = 10,
}

/// Bytes of a name that are told.
pub const NAME_BYTES: usize = 64;

/// A refused deed, on the ring of bypasses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// Who tried it.
    pub asker: Asker,
    /// The file's inode.
    pub inode: u64,
    /// The file system's device, as the kernel has it: major in the upper 12 bits, minor in the lower 20.
    pub device: u32,
    /// A [`Deed`].
    pub deed: u32,
    /// The last name in its path, cut, with a NUL behind it.
    pub name: [u8; NAME_BYTES],
}

/// Calls that may be on their way to the file gate at once, and threads that have died on it since they were last looked through.
pub const MOST_NOTES: u32 = 4096;

/// Which call a thread was at when it was sent to the file gate, by the thread's number in the initial pid namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub at: u64,
    /// Its arguments, as in the registers.
    pub arguments: [u64; 6],
    /// Where the program goes on.
    pub instruction: u64,
    /// The call's number.
    pub number: u32,
    /// Zero; keeps the layout free of implicit padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Note>() == 72, "the kernel side writes exactly this many bytes");
const _: () = assert!(size_of::<Bypass>() == 120, "the kernel side writes exactly this many bytes");
const _: () = assert!(size_of::<Tuple>() == 40, "the kernel side uses exactly these bytes as a key");
const _: () = assert!(size_of::<Asker>() == 40, "the kernel side writes exactly this many bytes");
const _: () = assert!(size_of::<Breach>() == 64, "the kernel side writes exactly this many bytes");
const _: () = assert!(align_of::<Breach>() == 8, "ring buffer records are 8-byte aligned");
