//! The system calls that our own fenced processes may make: those of a program that only talks to the network.
//!
//! All others answer ENOSYS, so that a newer libc takes them for an older kernel's and falls back. There is no exec, no new process, no
//! signal to others, no file to write, no listener to open; and the table of the box applies on top.

use crate::{
    calls::{Condition, Test},
    seccomp::Allowed,
};

const fn always(number: libc::c_long) -> Allowed {
    Allowed { number, when: &[] }
}

const fn only(number: libc::c_long, when: &'static [Condition]) -> Allowed {
    Allowed { number, when }
}

const fn bits(constant: i32) -> u32 {
    constant.cast_unsigned()
}

/// O_ACCMODE, O_CREAT and O_TRUNC: without any of them a file is only read. O_TRUNC is here because Landlock before ABI 3 lets it pass.
const WRITING: u32 = bits(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC);

/// The operations of prctl(2) that name things and touch nothing else: PR_SET_NAME, PR_GET_NAME, PR_SET_VMA.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// Each with its reason. The order is for reading.
pub(crate) const OWN_CALLS: &[Allowed] = &[
    // Bytes on descriptors that are already open.
    always(libc::SYS_read),
    always(libc::SYS_readv),
    always(libc::SYS_pread64),
    always(libc::SYS_write),
    always(libc::SYS_writev),
    always(libc::SYS_lseek),
    always(libc::SYS_close),
    always(libc::SYS_close_range),
    always(libc::SYS_dup),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_dup2),
    always(libc::SYS_dup3),
    always(libc::SYS_fcntl),
    always(libc::SYS_ioctl),  // FIONBIO, FIONREAD, TCGETS of a log on a terminal; TIOCSTI and its like are refused by the box's table
    always(libc::SYS_splice), // a body that need not be understood
    // Sockets: IPv4, IPv6 and the resolver's netlink. No UNIX socket: Docker, D-Bus, the agent of ssh and our own approvals listen on those, and
    // Landlock before ABI 9 does not see who connects to them. Name services that are asked that way say "unavailable", and libc goes on to DNS.
    // No `listen`: listeners come from the box, by descriptor.
    only(libc::SYS_socket, &[Condition { argument: 0, test: Test::Is(bits(libc::AF_INET)) }]),
    only(libc::SYS_socket, &[Condition { argument: 0, test: Test::Is(bits(libc::AF_INET6)) }]),
    only(libc::SYS_socket, &[Condition { argument: 0, test: Test::Is(bits(libc::AF_NETLINK)) }]),
    // tokio wakes itself by a pair. Streams only: a pair of datagram sockets may send to any address all the same.
    only(libc::SYS_socketpair, &[Condition { argument: 1, test: Test::Masked { mask: 0xf, is: bits(libc::SOCK_STREAM) } }]),
    always(libc::SYS_bind), // the resolver's netlink socket, and UDP
    always(libc::SYS_connect),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_accept),
    always(libc::SYS_accept4),
    always(libc::SYS_getsockname),
    always(libc::SYS_getpeername),
    always(libc::SYS_getsockopt),
    always(libc::SYS_setsockopt),
    always(libc::SYS_sendto),
    always(libc::SYS_sendmsg),
    always(libc::SYS_sendmmsg), // glibc's resolver asks for A and AAAA in one call
    always(libc::SYS_recvfrom),
    always(libc::SYS_recvmsg),
    always(libc::SYS_recvmmsg),
    always(libc::SYS_shutdown),
    // Waiting.
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_poll),
    always(libc::SYS_ppoll),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_select),
    always(libc::SYS_pselect6),
    always(libc::SYS_epoll_create1),
    always(libc::SYS_epoll_ctl),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_epoll_wait),
    always(libc::SYS_epoll_pwait),
    always(libc::SYS_epoll_pwait2),
    always(libc::SYS_eventfd2),
    always(libc::SYS_timerfd_create),
    always(libc::SYS_timerfd_settime),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_pipe),
    always(libc::SYS_pipe2),
    always(libc::SYS_nanosleep),
    always(libc::SYS_clock_nanosleep),
    always(libc::SYS_clock_gettime), // where the vDSO cannot answer
    always(libc::SYS_clock_getres),
    always(libc::SYS_gettimeofday),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_time),
    // Memory. Pages are never writable and executable at once, so that a hole cannot bring its own code.
    always(libc::SYS_brk),
    only(libc::SYS_mmap, &[Condition { argument: 2, test: Test::Masked { mask: bits(libc::PROT_EXEC), is: 0 } }]),
    only(
        libc::SYS_mmap, // a name service module
        &[Condition { argument: 2, test: Test::Masked { mask: bits(libc::PROT_EXEC | libc::PROT_WRITE), is: bits(libc::PROT_EXEC) } }],
    ),
    always(libc::SYS_munmap),
    always(libc::SYS_mremap),
    always(libc::SYS_madvise),
    // The loader of BTI-marked modules on aarch64 asks for PROT_EXEC by mprotect; on x86_64 nobody does.
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_mprotect, &[Condition { argument: 2, test: Test::Masked { mask: bits(libc::PROT_EXEC), is: 0 } }]),
    #[cfg(not(target_arch = "x86_64"))]
    always(libc::SYS_mprotect),
    always(libc::SYS_membarrier),
    // Threads for name resolution; no new process, and exec is not in this list at all.
    only(libc::SYS_clone, &[Condition { argument: 0, test: Test::Masked { mask: bits(libc::CLONE_THREAD), is: bits(libc::CLONE_THREAD) } }]),
    always(libc::SYS_set_robust_list),
    always(libc::SYS_rseq),
    always(libc::SYS_set_tid_address),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_arch_prctl), // thread-local storage, shadow stacks
    always(libc::SYS_futex),
    always(libc::SYS_sched_yield),
    always(libc::SYS_sched_getaffinity), // how many threads are worth while
    always(libc::SYS_sched_getparam),
    always(libc::SYS_sched_getscheduler),
    only(libc::SYS_prctl, &[Condition { argument: 0, test: Test::Is(bits(libc::PR_SET_NAME)) }]),
    only(libc::SYS_prctl, &[Condition { argument: 0, test: Test::Is(bits(libc::PR_GET_NAME)) }]),
    only(libc::SYS_prctl, &[Condition { argument: 0, test: Test::Is(PR_SET_VMA) }]), // malloc names its arenas
    // Signals to oneself only: tgkill carries our own number, and Landlock refuses others where its ABI can.
    always(libc::SYS_rt_sigaction),
    always(libc::SYS_rt_sigprocmask),
    always(libc::SYS_rt_sigreturn),
    always(libc::SYS_rt_sigtimedwait),
    always(libc::SYS_sigaltstack),
    always(libc::SYS_tgkill), // abort
    always(libc::SYS_restart_syscall),
    always(libc::SYS_exit),
    always(libc::SYS_exit_group),
    // Files, only to read; which, is Landlock's.
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_open, &[Condition { argument: 1, test: Test::Masked { mask: WRITING, is: 0 } }]),
    only(libc::SYS_openat, &[Condition { argument: 2, test: Test::Masked { mask: WRITING, is: 0 } }]),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_lstat),
    always(libc::SYS_fstat),
    always(libc::SYS_newfstatat),
    always(libc::SYS_statx),
    always(libc::SYS_statfs),
    always(libc::SYS_fstatfs),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_access),
    always(libc::SYS_faccessat),
    always(libc::SYS_faccessat2),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_readlink),
    always(libc::SYS_readlinkat),
    always(libc::SYS_getdents64),
    always(libc::SYS_getcwd),
    always(libc::SYS_fadvise64),
    // Who and where we are.
    always(libc::SYS_getpid),
    always(libc::SYS_gettid),
    always(libc::SYS_getppid),
    always(libc::SYS_getuid),
    always(libc::SYS_geteuid),
    always(libc::SYS_getgid),
    always(libc::SYS_getegid),
    always(libc::SYS_uname),
    always(libc::SYS_sysinfo),
    always(libc::SYS_getrusage),
    always(libc::SYS_getrandom),
    only(libc::SYS_prlimit64, &[Condition { argument: 0, test: Test::Is(0) }]), // how many descriptors and how much stack
];

/// BPF_MAP_LOOKUP_ELEM.
const MAP_LOOKUP: u32 = 1;

/// The calls of the process of the probes once its programs are attached: it waits, looks into maps and answers.
pub(crate) const PROBER_CALLS: &[Allowed] = &[
    only(libc::SYS_bpf, &[Condition { argument: 0, test: Test::Is(MAP_LOOKUP) }]),
    always(libc::SYS_read),
    always(libc::SYS_pread64), // whether anybody is in the cgroup, over and over
    always(libc::SYS_write),
    always(libc::SYS_sendto),
    always(libc::SYS_sendmsg),
    always(libc::SYS_recvfrom),
    always(libc::SYS_recvmsg),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_poll),
    always(libc::SYS_ppoll),
    always(libc::SYS_close),
    always(libc::SYS_nanosleep),
    always(libc::SYS_clock_nanosleep),
    always(libc::SYS_clock_gettime),
    always(libc::SYS_futex),
    // Memory, never writable and executable at once.
    always(libc::SYS_brk),
    only(libc::SYS_mmap, &[Condition { argument: 2, test: Test::Masked { mask: bits(libc::PROT_EXEC), is: 0 } }]),
    always(libc::SYS_munmap),
    always(libc::SYS_mremap),
    always(libc::SYS_madvise),
    always(libc::SYS_getrandom),
    always(libc::SYS_sigaltstack),
    // Rust's handler of SIGSEGV puts the kernel's own back and lets it happen again: without that a crash would never end.
    always(libc::SYS_rt_sigaction),
    always(libc::SYS_rt_sigreturn),
    always(libc::SYS_rt_sigprocmask),
    always(libc::SYS_restart_syscall),
    always(libc::SYS_exit),
    always(libc::SYS_exit_group),
];
