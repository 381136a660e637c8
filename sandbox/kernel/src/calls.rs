//! The table of refused system calls, one reason a row; the seccomp filters are generated from it.
//!
//! Conditions look at registers only, and compare 32 bits: the kernel reads these arguments as `int` or `unsigned int`,
//! so that `0x1_0000_5412` is TIOCSTI to it as well (a 64-bit comparison would let it through).
//!
//! Left alone on purpose, with the reason:
//! - `ptrace`, `process_vm_readv`, `process_vm_writev`: debuggers and tracers of the agent's own children must work. Whom they
//!   could hurt is out of reach by other means: processes outside have no number in the box's PID namespace, its PID 1 is
//!   non-dumpable, and Landlock refuses to trace anything outside the domain; the last alone is what a box without namespaces has.
//! - `sendto`, `sendmsg` with `MSG_FASTOPEN`: the SYN is routed inside the box's own network namespace, where TPROXY takes it to
//!   the broker whether it carries data or not. There is no other way out that an early byte could take.
//! - `name_to_handle_at`: tells a number and opens nothing; `open_by_handle_at` is what would use it.
//! - `memfd_secret`, `memfd_create`, `process_mrelease`, `kcmp`, `fanotify_init`, `landlock_*`: reach nothing beyond the caller's own processes
//!   and files.
//! - `seccomp` without a listener, `PR_SET_NO_NEW_PRIVS`: browsers and package managers fence their own children.

use std::fmt;

/// What a refused call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Not permitted: the caller is told so and stops.
    Eperm,
    /// As a kernel without the call: the caller falls back to the call that can be judged by its registers.
    Enosys,
    /// As a kernel without this address family.
    Eafnosupport,
    /// As a kernel without this protocol.
    Eprotonosupport,
}

impl Answer {
    /// All of them: one filter each.
    pub const ALL: &'static [Self] = &[Self::Eperm, Self::Enosys, Self::Eafnosupport, Self::Eprotonosupport];

    /// The number that the caller finds in `errno`.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Eperm => libc::EPERM,
            Self::Enosys => libc::ENOSYS,
            Self::Eafnosupport => libc::EAFNOSUPPORT,
            Self::Eprotonosupport => libc::EPROTONOSUPPORT,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eperm => "EPERM",
            Self::Enosys => "ENOSYS",
            Self::Eafnosupport => "EAFNOSUPPORT",
            Self::Eprotonosupport => "EPROTONOSUPPORT",
        })
    }
}

/// A test of the lower 32 bits of one argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Is(u32),
    /// Not equal.
    IsNot(u32),
    /// Equal under a mask.
    Masked {
        /// The bits that count.
        mask: u32,
        /// What they must be.
        is: u32,
    },
    /// At least one of these bits is set.
    AnyBit(u32),
}

impl Test {
    /// Whether `value` passes; the filters are tested against this plain reading.
    #[must_use]
    pub const fn holds(self, value: u32) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::IsNot(unwanted) => value != unwanted,
            Self::Masked { mask, is } => value & mask == is,
            Self::AnyBit(bits) => value & bits != 0,
        }
    }
}

/// One argument with its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// What must hold of it.
    pub test: Test,
}

const fn argument(argument: u8, test: Test) -> Condition {
    Condition { argument, test }
}

/// When a row is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifted {
    /// Never.
    Never,
    /// When the policy says `nested-userns = true`.
    WithNestedUserns,
    /// Where the box has namespaces of its own, which do better what the row does.
    WithNamespaces,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As in its manual page.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: libc::c_long,
    /// All must hold; none means always.
    pub when: &'static [Condition],
    /// What it returns.
    pub answer: Answer,
    /// Whether a policy can lift it.
    pub lifted: Lifted,
    /// Why; one sentence.
    pub reason: &'static str,
}

const fn always(name: &'static str, number: libc::c_long, answer: Answer, reason: &'static str) -> Call {
    Call { name, number, when: &[], answer, lifted: Lifted::Never, reason }
}

const fn when(name: &'static str, number: libc::c_long, when: &'static [Condition], answer: Answer, reason: &'static str) -> Call {
    Call { name, number, when, answer, lifted: Lifted::Never, reason }
}

const fn unless_nested(name: &'static str, number: libc::c_long, when: &'static [Condition], reason: &'static str) -> Call {
    Call { name, number, when, answer: Answer::Eperm, lifted: Lifted::WithNestedUserns, reason }
}

const fn unless_apart(name: &'static str, number: libc::c_long, when: &'static [Condition], answer: Answer, reason: &'static str) -> Call {
    Call { name, number, when, answer, lifted: Lifted::WithNamespaces, reason }
}

/// `open_tree_attr(2)`, Linux 6.15; the same number on every architecture, not yet in libc.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

/// What an `int` constant looks like in the lower half of a register.
const fn bits(constant: i32) -> u32 {
    constant.cast_unsigned()
}

/// Every namespace flag of `clone(2)`; the low byte is the exit signal there, so CLONE_NEWTIME (0x80) does not exist in it.
const NAMESPACES_OF_CLONE: u32 =
    bits(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP);

/// Those of `unshare(2)`, which knows time namespaces as well.
const NAMESPACES_OF_UNSHARE: u32 = NAMESPACES_OF_CLONE | 0x80;

/// READ_IMPLIES_EXEC, MMAP_PAGE_ZERO and ADDR_COMPAT_LAYOUT of personality(2).
const WEAKENING_PERSONALITIES: u32 = 0x040_0000 | 0x010_0000 | 0x020_0000;

/// The type in the second argument of `socket(2)`, without SOCK_NONBLOCK and SOCK_CLOEXEC (the kernel's SOCK_TYPE_MASK).
const SOCKET_TYPE: u32 = 0xf;

/// As in `<linux/net.h>`; libc's constant is marked as outdated, which is the point of the row.
const SOCK_PACKET: i32 = 10;

/// The process that the box's namespace numbers 1: ours.
const PID_ONE: u32 = 1;

const fn socket_type(family: i32, kind: i32) -> [Condition; 2] {
    [argument(0, Test::Is(bits(family))), argument(1, Test::Masked { mask: SOCKET_TYPE, is: bits(kind) })]
}

/// Any process but the caller.
const OTHER: Test = Test::IsNot(0);

const fn option(level: i32, name: i32) -> [Condition; 2] {
    [argument(1, Test::Is(bits(level))), argument(2, Test::Is(bits(name)))]
}

/// Neither unspecified, TCP nor UDP.
const fn odd_protocol(family: i32) -> [Condition; 4] {
    [
        argument(0, Test::Is(bits(family))),
        argument(2, Test::IsNot(0)),
        argument(2, Test::IsNot(bits(libc::IPPROTO_TCP))),
        argument(2, Test::IsNot(bits(libc::IPPROTO_UDP))),
    ]
}

const RAW: &str = "a raw socket writes its own headers, past everything that looks at ports and connections";
const PACKET: &str = "the old name of packet sockets: whole frames, below the firewall that leads to the broker";
const SEQPACKET: &str = "SCTP by its socket type: no broker speaks it, and its kernel code is rarely looked at";
const DCCP: &str = "DCCP is not led to the broker, and its kernel code has a row of holes";
const RDM: &str = "no inet protocol of ours uses it";
const PROTOCOL: &str =
    "MPTCP, SCTP, SMC, UDP-Lite, L2TP, ICMP: TPROXY leads TCP to the broker, anything else would be a way beside it; clients fall back to TCP";
const MODULES: &str = "code in the kernel is beyond every fence";
const KEXEC: &str = "another kernel is beyond every fence";
const MOUNTS: &str = "the box's view of the file system is the mounts that were made for it; a new mount could uncover what is masked or read-only";
const KEYS: &str = "key rings belong to the user, not to a namespace: tickets and keys of the session outside lie in them";
const IO_URING: &str = "its operations pass no filter and no register test; callers fall back to plain calls";
const OTHERS_SCHEDULING: &str = "PID 1 of the box is ours; its share of the processor is not the agent's to change";
const CLOCK: &str = "time is not namespaced: permits, certificates and the ledger depend on it";
const HOST: &str = "a matter of the whole machine, for its administrator";
const SET_USER_ID: &str = "in the workspace it would run outside as its owner for whoever starts it there: for another user of the machine a way to become this one, or root where the box is root's";

/// The bit of a mode that a program takes its owner's rights by.
const MODE: Test = Test::AnyBit(libc::S_ISUID);

/// `open(2)` looks at a mode only where it may make a file.
const MAKES: Test = Test::AnyBit(bits(libc::O_CREAT) | O_TMPFILE_ALONE);

/// `O_TMPFILE` holds `O_DIRECTORY` too.
const O_TMPFILE_ALONE: u32 = bits(libc::O_TMPFILE & !libc::O_DIRECTORY);

/// `fchmodat2(2)`, Linux 6.6; the same number on every architecture.
const SYS_FCHMODAT2: libc::c_long = 452;

/// `socket(2)` takes either for datagrams of UNIX sockets.
const DATAGRAMS: [i32; 2] = [libc::SOCK_DGRAM, libc::SOCK_RAW];

const NO_NETWORK: &str = "without a network of the box's own its datagrams would go to the machine's, past the broker; names are asked for over TCP";
const NO_LOG: &str = "a datagram goes to any socket file that is named in it, and so to services outside that no broker sees";
const FAST_OPEN: &str = "connects without connect(2), and so past who connects in the caller's place";
const FAST_OPEN_BIT: Test = Test::AnyBit(0x2000_0000); // MSG_FASTOPEN
const ROUTED: &str = "sends the packets of a connection to another machine than the one that is connected to";
const SHARED_IPC: &str = "without an IPC namespace it is shared with every process of the machine";
const OF_OTHERS: &str = "without a PID namespace the number can be that of a process outside, to which Landlock does not keep it from being said";

const LEASES: &str = "whoever opens a leased file waits for its holder, up to 45 seconds: the file gate too, and the vault cannot keep what it cannot read";

/// `fcntl(2)`'s F_SETDELEG, Linux 6.19.
const F_SETDELEG: u32 = 1040;

const FOREIGN_MEMORY: &str = "moves the memory of another process about; nobody in a box needs it, and kernel holes were found in it";

/// Every refused call. The order is for reading; seccompiler sorts by number.
pub const CALLS: &[Call] = &[
    // Doors that open other doors.
    always("io_uring_setup", libc::SYS_io_uring_setup, Answer::Enosys, IO_URING),
    always("io_uring_enter", libc::SYS_io_uring_enter, Answer::Enosys, IO_URING),
    always("io_uring_register", libc::SYS_io_uring_register, Answer::Enosys, IO_URING),
    always("openat2", libc::SYS_openat2, Answer::Enosys, "its flags lie in memory, where they can change after they were read; callers fall back to openat"),
    always("clone3", libc::SYS_clone3, Answer::Enosys, "its namespace flags lie in memory, where no filter sees them; libc falls back to clone"),
    always("bpf", libc::SYS_bpf, Answer::Eperm, "programs and maps in the kernel; its verifier has been a way to root"),
    always("userfaultfd", libc::SYS_userfaultfd, Answer::Eperm, "lets a program stop the kernel in the middle of a copy: the tool of most race exploits"),
    always("perf_event_open", libc::SYS_perf_event_open, Answer::Eperm, "watches the kernel and other processes, and has a row of holes"),
    always("open_by_handle_at", libc::SYS_open_by_handle_at, Answer::Eperm, "opens by inode, past every path, mask and mount"),
    always("pidfd_getfd", libc::SYS_pidfd_getfd, Answer::Eperm, "takes descriptors out of another process"),
    when(
        "seccomp",
        libc::SYS_seccomp,
        &[
            argument(0, Test::Is(libc::SECCOMP_SET_MODE_FILTER)),
            argument(1, Test::AnyBit(0x8)), // SECCOMP_FILTER_FLAG_NEW_LISTENER
        ],
        Answer::Eperm,
        "the newest listener answers first: the agent could let its own calls continue where ours would refuse",
    ),
    // Namespaces and roots.
    unless_nested(
        "unshare",
        libc::SYS_unshare,
        &[argument(0, Test::AnyBit(NAMESPACES_OF_UNSHARE))],
        "a new user namespace gives all capabilities over new objects: most of the kernel code that only root reaches otherwise",
    ),
    unless_nested("clone", libc::SYS_clone, &[argument(0, Test::AnyBit(NAMESPACES_OF_CLONE))], "as unshare"),
    unless_nested("setns", libc::SYS_setns, &[], "enters namespaces that are not the box's"),
    unless_nested("chroot", libc::SYS_chroot, &[], "the classic way out of a view of the file system, and of no use without privileges"),
    always("mount", libc::SYS_mount, Answer::Eperm, MOUNTS),
    always("umount2", libc::SYS_umount2, Answer::Eperm, MOUNTS),
    always("pivot_root", libc::SYS_pivot_root, Answer::Eperm, MOUNTS),
    always("move_mount", libc::SYS_move_mount, Answer::Eperm, MOUNTS),
    always("open_tree", libc::SYS_open_tree, Answer::Eperm, MOUNTS),
    always("open_tree_attr", SYS_OPEN_TREE_ATTR, Answer::Eperm, MOUNTS),
    always("fsopen", libc::SYS_fsopen, Answer::Eperm, MOUNTS),
    always("fsconfig", libc::SYS_fsconfig, Answer::Eperm, MOUNTS),
    always("fsmount", libc::SYS_fsmount, Answer::Eperm, MOUNTS),
    always("fspick", libc::SYS_fspick, Answer::Eperm, MOUNTS),
    always("mount_setattr", libc::SYS_mount_setattr, Answer::Eperm, MOUNTS),
    // The kernel itself, and the machine.
    always("init_module", libc::SYS_init_module, Answer::Eperm, MODULES),
    always("finit_module", libc::SYS_finit_module, Answer::Eperm, MODULES),
    always("delete_module", libc::SYS_delete_module, Answer::Eperm, MODULES),
    always("kexec_load", libc::SYS_kexec_load, Answer::Eperm, KEXEC),
    always("kexec_file_load", libc::SYS_kexec_file_load, Answer::Eperm, KEXEC),
    always("reboot", libc::SYS_reboot, Answer::Eperm, HOST),
    always("swapon", libc::SYS_swapon, Answer::Eperm, HOST),
    always("swapoff", libc::SYS_swapoff, Answer::Eperm, HOST),
    always("acct", libc::SYS_acct, Answer::Eperm, HOST),
    always("quotactl", libc::SYS_quotactl, Answer::Eperm, HOST),
    always("quotactl_fd", libc::SYS_quotactl_fd, Answer::Eperm, HOST),
    always("vhangup", libc::SYS_vhangup, Answer::Eperm, HOST),
    always("settimeofday", libc::SYS_settimeofday, Answer::Eperm, CLOCK),
    always("clock_settime", libc::SYS_clock_settime, Answer::Eperm, CLOCK),
    always("adjtimex", libc::SYS_adjtimex, Answer::Eperm, CLOCK),
    always("clock_adjtime", libc::SYS_clock_adjtime, Answer::Eperm, CLOCK),
    always("syslog", libc::SYS_syslog, Answer::Eperm, "the kernel's log tells its addresses and what other users' programs did"),
    always("lookup_dcookie", libc::SYS_lookup_dcookie, Answer::Eperm, "tells paths of files that the box may not see; gone from new kernels"),
    #[cfg(target_arch = "x86_64")]
    always("iopl", libc::SYS_iopl, Answer::Eperm, HOST),
    #[cfg(target_arch = "x86_64")]
    always("ioperm", libc::SYS_ioperm, Answer::Eperm, HOST),
    when(
        "personality",
        libc::SYS_personality,
        &[argument(0, Test::IsNot(u32::MAX)), argument(0, Test::AnyBit(WEAKENING_PERSONALITIES))],
        Answer::Eperm,
        "executable data and a mapped zero page undo the memory protection of what is run next; ADDR_NO_RANDOMIZE stays, debuggers need it",
    ),
    // Secrets of the session outside.
    always("keyctl", libc::SYS_keyctl, Answer::Eperm, KEYS),
    always("add_key", libc::SYS_add_key, Answer::Eperm, KEYS),
    always("request_key", libc::SYS_request_key, Answer::Eperm, "as keyctl, and it makes root run a helper program outside"),
    // Sockets that no broker sees.
    when(
        "socket",
        libc::SYS_socket,
        &[
            argument(0, Test::IsNot(bits(libc::AF_UNIX))),
            argument(0, Test::IsNot(bits(libc::AF_INET))),
            argument(0, Test::IsNot(bits(libc::AF_INET6))),
            argument(0, Test::IsNot(bits(libc::AF_NETLINK))),
        ],
        Answer::Eafnosupport,
        "only UNIX, IPv4, IPv6 and netlink: vsock leaves the virtual machine, packet and XDP go below the firewall, SMC goes beside it, and AF_ALG, TIPC, Bluetooth, CAN and the rest are \
         kernel code that nobody here needs",
    ),
    when(
        "socketpair",
        libc::SYS_socketpair,
        &[argument(0, Test::IsNot(bits(libc::AF_UNIX)))],
        Answer::Eafnosupport,
        "only UNIX sockets come in pairs; TIPC's are the exception, and kernel code that nobody here needs",
    ),
    when(
        "socket",
        libc::SYS_socket,
        &[argument(0, Test::Is(bits(libc::AF_NETLINK))), argument(2, Test::IsNot(bits(libc::NETLINK_ROUTE)))],
        Answer::Eprotonosupport,
        "getifaddrs needs NETLINK_ROUTE, which only reads without capabilities; the other families configure firewalls, audit, IPsec and devices",
    ),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET, libc::SOCK_RAW), Answer::Eperm, RAW),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET6, libc::SOCK_RAW), Answer::Eperm, RAW),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET, libc::SOCK_RDM), Answer::Eperm, RDM),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET6, libc::SOCK_RDM), Answer::Eperm, RDM),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET, libc::SOCK_SEQPACKET), Answer::Eperm, SEQPACKET),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET6, libc::SOCK_SEQPACKET), Answer::Eperm, SEQPACKET),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET, libc::SOCK_DCCP), Answer::Eperm, DCCP),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET6, libc::SOCK_DCCP), Answer::Eperm, DCCP),
    when("socket", libc::SYS_socket, &socket_type(libc::AF_INET, SOCK_PACKET), Answer::Eperm, PACKET),
    when("socket", libc::SYS_socket, &odd_protocol(libc::AF_INET), Answer::Eprotonosupport, PROTOCOL),
    when("socket", libc::SYS_socket, &odd_protocol(libc::AF_INET6), Answer::Eprotonosupport, PROTOCOL),
    // The terminal as a door.
    when(
        "ioctl",
        libc::SYS_ioctl,
        &[argument(1, Test::Is(0x5412))], // TIOCSTI
        Answer::Eperm,
        "types into the terminal as if the person had",
    ),
    when(
        "ioctl",
        libc::SYS_ioctl,
        &[argument(1, Test::Is(0x541C))], // TIOCLINUX
        Answer::Eperm,
        "selects and pastes on a console: types as the person",
    ),
    when(
        "ioctl",
        libc::SYS_ioctl,
        &[argument(1, Test::Is(0x5423))], // TIOCSETD
        Answer::Eperm,
        "loads line disciplines, a row of kernel holes that no shell needs",
    ),
    // Our own process in the box.
    when(
        "prlimit64",
        libc::SYS_prlimit64,
        &[argument(0, Test::Is(PID_ONE))],
        Answer::Eperm,
        "PID 1 of the box is ours: a limit of its processor time or files would end it. Whoever runs outside has no number here",
    ),
    when("sched_setaffinity", libc::SYS_sched_setaffinity, &[argument(0, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when("sched_setscheduler", libc::SYS_sched_setscheduler, &[argument(0, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when("sched_setparam", libc::SYS_sched_setparam, &[argument(0, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when("sched_setattr", libc::SYS_sched_setattr, &[argument(0, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when("setpriority", libc::SYS_setpriority, &[argument(1, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when(
        "setpriority",
        libc::SYS_setpriority,
        &[argument(0, Test::Is(libc::PRIO_USER))],
        Answer::Eperm,
        "all processes of the user at once, and PID 1 of the box is among them",
    ),
    when("ioprio_set", libc::SYS_ioprio_set, &[argument(1, Test::Is(PID_ONE))], Answer::Eperm, OTHERS_SCHEDULING),
    when(
        "ioprio_set",
        libc::SYS_ioprio_set,
        &[argument(0, Test::Is(3))], // IOPRIO_WHO_USER
        Answer::Eperm,
        "all processes of the user at once, and PID 1 of the box is among them",
    ),
    when("migrate_pages", libc::SYS_migrate_pages, &[argument(0, Test::IsNot(0))], Answer::Eperm, FOREIGN_MEMORY),
    when("move_pages", libc::SYS_move_pages, &[argument(0, Test::IsNot(0))], Answer::Eperm, FOREIGN_MEMORY),
    always("process_madvise", libc::SYS_process_madvise, Answer::Eperm, FOREIGN_MEMORY),
    // What keeps others from a file.
    when("fcntl", libc::SYS_fcntl, &[argument(1, Test::Is(bits(libc::F_SETLEASE)))], Answer::Eperm, LEASES),
    when("fcntl", libc::SYS_fcntl, &[argument(1, Test::Is(F_SETDELEG))], Answer::Eperm, LEASES),
    // Programs that run with another's rights.
    #[cfg(target_arch = "x86_64")]
    when("chmod", libc::SYS_chmod, &[argument(1, MODE)], Answer::Eperm, SET_USER_ID),
    when("fchmod", libc::SYS_fchmod, &[argument(1, MODE)], Answer::Eperm, SET_USER_ID),
    when("fchmodat", libc::SYS_fchmodat, &[argument(2, MODE)], Answer::Eperm, SET_USER_ID),
    when("fchmodat2", SYS_FCHMODAT2, &[argument(2, MODE)], Answer::Eperm, SET_USER_ID),
    #[cfg(target_arch = "x86_64")]
    when("creat", libc::SYS_creat, &[argument(1, MODE)], Answer::Eperm, SET_USER_ID),
    #[cfg(target_arch = "x86_64")]
    when("open", libc::SYS_open, &[argument(1, MAKES), argument(2, MODE)], Answer::Eperm, SET_USER_ID),
    when("openat", libc::SYS_openat, &[argument(2, MAKES), argument(3, MODE)], Answer::Eperm, SET_USER_ID),
    #[cfg(target_arch = "x86_64")]
    when("mknod", libc::SYS_mknod, &[argument(1, MODE)], Answer::Eperm, SET_USER_ID),
    when("mknodat", libc::SYS_mknodat, &[argument(2, MODE)], Answer::Eperm, SET_USER_ID),
    // Where there is no namespace to do it.
    unless_apart("socket", libc::SYS_socket, &socket_type(libc::AF_INET, libc::SOCK_DGRAM), Answer::Eperm, NO_NETWORK),
    unless_apart("socket", libc::SYS_socket, &socket_type(libc::AF_INET6, libc::SOCK_DGRAM), Answer::Eperm, NO_NETWORK),
    unless_apart("socket", libc::SYS_socket, &socket_type(libc::AF_UNIX, DATAGRAMS[0]), Answer::Eperm, NO_LOG),
    unless_apart("socket", libc::SYS_socket, &socket_type(libc::AF_UNIX, DATAGRAMS[1]), Answer::Eperm, NO_LOG),
    unless_apart("socketpair", libc::SYS_socketpair, &socket_type(libc::AF_UNIX, DATAGRAMS[0]), Answer::Eperm, NO_LOG),
    unless_apart("socketpair", libc::SYS_socketpair, &socket_type(libc::AF_UNIX, DATAGRAMS[1]), Answer::Eperm, NO_LOG),
    unless_apart("sendto", libc::SYS_sendto, &[argument(3, FAST_OPEN_BIT)], Answer::Eperm, FAST_OPEN),
    unless_apart("sendmsg", libc::SYS_sendmsg, &[argument(2, FAST_OPEN_BIT)], Answer::Eperm, FAST_OPEN),
    unless_apart("sendmmsg", libc::SYS_sendmmsg, &[argument(3, FAST_OPEN_BIT)], Answer::Eperm, FAST_OPEN),
    unless_apart("setsockopt", libc::SYS_setsockopt, &option(libc::IPPROTO_IP, libc::IP_OPTIONS), Answer::Eperm, ROUTED),
    unless_apart("setsockopt", libc::SYS_setsockopt, &option(libc::IPPROTO_IPV6, libc::IPV6_RTHDR), Answer::Eperm, ROUTED),
    unless_apart("setsockopt", libc::SYS_setsockopt, &option(libc::IPPROTO_IPV6, libc::IPV6_2292PKTOPTIONS), Answer::Eperm, ROUTED),
    unless_apart("mq_open", libc::SYS_mq_open, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("mq_unlink", libc::SYS_mq_unlink, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("shmget", libc::SYS_shmget, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("shmat", libc::SYS_shmat, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("shmctl", libc::SYS_shmctl, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("semget", libc::SYS_semget, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("semop", libc::SYS_semop, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("semtimedop", libc::SYS_semtimedop, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("semctl", libc::SYS_semctl, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("msgget", libc::SYS_msgget, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("msgsnd", libc::SYS_msgsnd, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("msgrcv", libc::SYS_msgrcv, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("msgctl", libc::SYS_msgctl, &[], Answer::Enosys, SHARED_IPC),
    unless_apart("prlimit64", libc::SYS_prlimit64, &[argument(0, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("sched_setaffinity", libc::SYS_sched_setaffinity, &[argument(0, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("sched_setscheduler", libc::SYS_sched_setscheduler, &[argument(0, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("sched_setparam", libc::SYS_sched_setparam, &[argument(0, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("sched_setattr", libc::SYS_sched_setattr, &[argument(0, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("setpriority", libc::SYS_setpriority, &[argument(1, OTHER)], Answer::Eperm, OF_OTHERS),
    unless_apart("ioprio_set", libc::SYS_ioprio_set, &[argument(1, OTHER)], Answer::Eperm, OF_OTHERS),
];
