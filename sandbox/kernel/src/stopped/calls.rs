//! The table of stopped calls: which, when by their registers alone, and what they are read as. The notify filter is generated from it.
//!
//! What is not in it needs no judge, because it cannot lose what was there: `open` with `O_CREAT | O_EXCL`, `mkdir`, `mknod` and `symlink`
//! only make names that are free; `write`, `copy_file_range`, `FICLONE` and shared mappings work through a descriptor that was opened for
//! writing, and that opening was stopped. Landlock makes the kernel refuse what is done in another way: the agent may not remove, move or
//! link names in the gated trees at all.
//!
//! In a box without namespaces nothing of that is granted in the gated trees, because Landlock cannot take a read-only place out of one: what
//! makes something new is stopped as well there, and so is what connects or binds a socket ([`WITHOUT`]). Where sockets are made for the box,
//! so is that ([`MAKES`]); where a secret lies in a gated tree, every opening is ([`READS`]), since Landlock cannot take that out either.
//!
//! A descriptor that was judged for appending only must stay one: what else could be done through it is stopped, too. It maps nothing,
//! since it was not opened for reading, and the kernel refuses it to `copy_file_range` and `FICLONE`.

use nix::errno::Errno;

use super::attributes::Call;
use crate::{
    calls::{Condition, Test},
    seccomp::{self, Allowed, SeccompError},
    setting::{Setting, Sockets},
};

/// What is stopped in a box.
#[derive(Clone, Copy, Debug)]
pub struct Stops {
    /// More where it has no namespaces.
    pub setting: Setting,
    /// Making sockets, where they are to be made here.
    pub sockets: Sockets,
    /// Openings for reading.
    pub readings: Readings,
    /// Openings for writing, and removing.
    pub own: OwnFiles,
}

/// Who opens for writing and removes what was made in this box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnFiles {
    /// The file gate, as it does with everything.
    #[default]
    ByGate,
    /// The kernel, where the kernel gate judges: nothing of it is stopped, and what was not made in this box it sends here.
    ByKernel,
}

/// Who opens what is only to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readings {
    /// The kernel, as the mounts or Landlock say.
    ByKernel,
    /// The file gate in the gated trees: a secret lies in one.
    ByGate,
}

impl Stops {
    /// In a box with namespaces of its own.
    pub const APART: Self = Self { setting: Setting::Namespaces, sockets: Sockets::Taken, readings: Readings::ByKernel, own: OwnFiles::ByGate };
}

/// What a stopped call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    OpenAt,
    Creat,
    Unlink,
    UnlinkAt,
    Rmdir,
    Rename,
    RenameAt,
    RenameAt2,
    Link,
    LinkAt,
    Truncate,
    Ftruncate,
    Fallocate,
    SetFlags,
    Umask,
    /// Something goes on that was interrupted. What the kernel gate sends here comes so, too, and is never told by this number.
    Restart,
    Mkdir,
    MkdirAt,
    Mknod,
    MknodAt,
    Symlink,
    SymlinkAt,
    Socket,
    Connect,
    Bind,
    Listen,
    /// Changes what a thing is like.
    Attributes(Call),
    /// Not offered, as on an older kernel.
    Unknown(Errno),
}

struct Row {
    number: libc::c_long,
    kind: Kind,
    /// Any of these conditions stops it; none: always.
    when: &'static [&'static [Condition]],
}

const TRUNC: u32 = libc::O_TRUNC.cast_unsigned();
const CREAT: u32 = libc::O_CREAT.cast_unsigned();
const EXCL: u32 = libc::O_EXCL.cast_unsigned();
const ACCESS: u32 = libc::O_ACCMODE.cast_unsigned();
const WRITE: u32 = libc::O_WRONLY.cast_unsigned();
const BOTH: u32 = libc::O_RDWR.cast_unsigned();
/// The bit that `O_TMPFILE` has beside `O_DIRECTORY`: it makes a file that has no name.
const UNNAMED: u32 = (libc::O_TMPFILE & !libc::O_DIRECTORY).cast_unsigned();
/// Opens nothing, whatever else is asked for.
const PATH: u32 = libc::O_PATH.cast_unsigned();

const APPEND: u32 = libc::O_APPEND.cast_unsigned();
/// Every mode of `fallocate` but FALLOC_FL_KEEP_SIZE, the lowest; the kernel knows no more than these.
const REWRITES: u32 = 0xfe;
/// Writes anywhere through a descriptor for appending, Linux 6.9.
const RWF_NOAPPEND: u32 = 0x20;

const fn is(argument: u8, value: u32) -> Condition {
    Condition { argument, test: Test::Is(value) }
}

const fn masked(argument: u8, mask: u32, is: u32) -> Condition {
    Condition { argument, test: Test::Masked { mask, is } }
}

macro_rules! opens_for_writing {
    ($argument:literal) => {
        &[
            &[masked($argument, ACCESS | PATH | EXCL | UNNAMED, WRITE)],
            &[masked($argument, ACCESS | PATH | CREAT | UNNAMED, WRITE)],
            &[masked($argument, ACCESS | PATH | EXCL | UNNAMED, BOTH)],
            &[masked($argument, ACCESS | PATH | CREAT | UNNAMED, BOTH)],
            // Neither of both: reads and writes are refused, but it can be truncated and controlled.
            &[masked($argument, ACCESS | PATH, ACCESS)],
            // Cuts short whatever the access is.
            &[masked($argument, ACCESS | PATH | TRUNC, TRUNC)],
        ]
    };
}

/// Besides [`ROWS`], unless the kernel gate judges.
const OF_OWN: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_open, kind: Kind::Open, when: opens_for_writing!(1) },
    Row { number: libc::SYS_openat, kind: Kind::OpenAt, when: opens_for_writing!(2) },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_creat, kind: Kind::Creat, when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_unlink, kind: Kind::Unlink, when: &[] },
    Row { number: libc::SYS_unlinkat, kind: Kind::UnlinkAt, when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_rmdir, kind: Kind::Rmdir, when: &[] },
];

/// Goes on with what was interrupted.
pub(super) const RESTART: libc::c_long = libc::SYS_restart_syscall;

/// Neither for reading nor for writing, and for reading what it cuts short: hooks tell such an opening badly from others.
macro_rules! opens_oddly {
    ($argument:literal) => {
        &[&[masked($argument, ACCESS | PATH, ACCESS)], &[masked($argument, ACCESS | PATH | TRUNC, TRUNC)]]
    };
}

/// Instead of those, where the kernel gate judges.
const JUDGED: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_open, kind: Kind::Open, when: opens_oddly!(1) },
    Row { number: libc::SYS_openat, kind: Kind::OpenAt, when: opens_oddly!(2) },
    Row { number: RESTART, kind: Kind::Restart, when: &[] },
];

const ROWS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_rename, kind: Kind::Rename, when: &[] },
    Row { number: libc::SYS_renameat, kind: Kind::RenameAt, when: &[] },
    Row { number: libc::SYS_renameat2, kind: Kind::RenameAt2, when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_link, kind: Kind::Link, when: &[] },
    Row { number: libc::SYS_linkat, kind: Kind::LinkAt, when: &[] },
    Row { number: libc::SYS_truncate, kind: Kind::Truncate, when: &[] },
    // Besides: a file that the caller made itself carries Landlock's word on cutting it short, which is for the names in a gated tree.
    Row { number: libc::SYS_ftruncate, kind: Kind::Ftruncate, when: &[] },
    // Without these it only makes room.
    Row { number: libc::SYS_fallocate, kind: Kind::Fallocate, when: &[&[Condition { argument: 1, test: Test::AnyBit(REWRITES) }]] },
    Row { number: libc::SYS_fcntl, kind: Kind::SetFlags, when: &[&[is(1, libc::F_SETFL.cast_unsigned()), masked(2, APPEND, 0)]] },
    Row { number: libc::SYS_pwritev2, kind: Kind::Unknown(Errno::EOPNOTSUPP), when: &[&[masked(5, RWF_NOAPPEND, RWF_NOAPPEND)]] },
    // Its requests may say RWF_NOAPPEND in memory.
    Row { number: libc::SYS_io_setup, kind: Kind::Unknown(Errno::ENOSYS), when: &[] },
    // What a thing is like.
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_chmod, kind: Kind::Attributes(Call::Chmod), when: &[] },
    Row { number: libc::SYS_fchmod, kind: Kind::Attributes(Call::Fchmod), when: &[] },
    Row { number: libc::SYS_fchmodat, kind: Kind::Attributes(Call::FchmodAt), when: &[] },
    Row { number: libc::SYS_fchmodat2, kind: Kind::Attributes(Call::FchmodAt2), when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_chown, kind: Kind::Attributes(Call::Chown), when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_lchown, kind: Kind::Attributes(Call::Lchown), when: &[] },
    Row { number: libc::SYS_fchown, kind: Kind::Attributes(Call::Fchown), when: &[] },
    Row { number: libc::SYS_fchownat, kind: Kind::Attributes(Call::FchownAt), when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_utime, kind: Kind::Attributes(Call::Utime), when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_utimes, kind: Kind::Attributes(Call::Utimes), when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_futimesat, kind: Kind::Attributes(Call::FutimesAt), when: &[] },
    Row { number: libc::SYS_utimensat, kind: Kind::Attributes(Call::UtimensAt), when: &[] },
    Row { number: libc::SYS_setxattr, kind: Kind::Attributes(Call::SetXattr), when: &[] },
    Row { number: libc::SYS_lsetxattr, kind: Kind::Attributes(Call::LsetXattr), when: &[] },
    Row { number: libc::SYS_fsetxattr, kind: Kind::Attributes(Call::FsetXattr), when: &[] },
    Row { number: libc::SYS_removexattr, kind: Kind::Attributes(Call::RemoveXattr), when: &[] },
    Row { number: libc::SYS_lremovexattr, kind: Kind::Attributes(Call::LremoveXattr), when: &[] },
    Row { number: libc::SYS_fremovexattr, kind: Kind::Attributes(Call::FremoveXattr), when: &[] },
    // Newer ways to the same, which every caller does without: setxattrat and removexattrat (6.13), file_setattr (6.17).
    Row { number: 463, kind: Kind::Unknown(Errno::ENOSYS), when: &[] },
    Row { number: 466, kind: Kind::Unknown(Errno::ENOSYS), when: &[] },
    Row { number: 469, kind: Kind::Unknown(Errno::ENOSYS), when: &[] },
    // Not to be judged: what is made in the caller's place gets the caller's mask, which is read anew after this.
    Row { number: libc::SYS_umask, kind: Kind::Umask, when: &[] },
];

macro_rules! changes_anything {
    ($argument:literal) => {
        &[
            &[masked($argument, ACCESS | PATH, WRITE)],
            &[masked($argument, ACCESS | PATH, BOTH)],
            &[masked($argument, PATH | CREAT, CREAT)],
            &[masked($argument, PATH | UNNAMED, UNNAMED)],
        ]
    };
}

/// What is stopped besides in a box without namespaces. Sockets: Landlock refuses the kernel's own doing of it for TCP, and has no word for
/// socket files that another one has bound.
const WITHOUT: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_open, kind: Kind::Open, when: changes_anything!(1) },
    Row { number: libc::SYS_openat, kind: Kind::OpenAt, when: changes_anything!(2) },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_mkdir, kind: Kind::Mkdir, when: &[] },
    Row { number: libc::SYS_mkdirat, kind: Kind::MkdirAt, when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_mknod, kind: Kind::Mknod, when: &[] },
    Row { number: libc::SYS_mknodat, kind: Kind::MknodAt, when: &[] },
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_symlink, kind: Kind::Symlink, when: &[] },
    Row { number: libc::SYS_symlinkat, kind: Kind::SymlinkAt, when: &[] },
    Row { number: libc::SYS_connect, kind: Kind::Connect, when: &[] },
    Row { number: libc::SYS_bind, kind: Kind::Bind, when: &[] },
    Row { number: libc::SYS_listen, kind: Kind::Listen, when: &[] },
];

/// What is stopped besides where the caller's own sockets cannot be had.
const MAKES: &[Row] = &[Row { number: libc::SYS_socket, kind: Kind::Socket, when: &[] }];

/// What is stopped besides where a secret lies in a tree that the gate serves.
const READS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { number: libc::SYS_open, kind: Kind::Open, when: &[&[masked(1, PATH, 0)]] },
    Row { number: libc::SYS_openat, kind: Kind::OpenAt, when: &[&[masked(2, PATH, 0)]] },
];

/// Which stopped call has this number.
pub(super) fn kind(number: i32) -> Option<Kind> {
    ROWS.iter().chain(OF_OWN).chain(JUDGED).chain(WITHOUT).chain(MAKES).find(|row| row.number == libc::c_long::from(number)).map(|row| row.kind)
}

/// The notify filter.
pub(super) fn filter(stops: Stops) -> Result<Vec<libc::sock_filter>, SeccompError> {
    let always: &[&[Condition]] = &[&[]];
    let more = match stops.setting {
        Setting::Namespaces => &[],
        Setting::Without => WITHOUT,
    };
    let makes = match stops.sockets {
        Sockets::Taken => &[],
        Sockets::Made => MAKES,
    };
    let reads = match stops.readings {
        Readings::ByKernel => &[],
        Readings::ByGate => READS,
    };
    let own = match stops.own {
        OwnFiles::ByGate => OF_OWN,
        OwnFiles::ByKernel => JUDGED,
    };
    let rows: Vec<Allowed> = ROWS
        .iter()
        .chain(own)
        .chain(more)
        .chain(makes)
        .chain(reads)
        .flat_map(|row| {
            let when = if row.when.is_empty() { always } else { row.when };
            when.iter().map(|when| Allowed { number: row.number, when })
        })
        .collect();
    seccomp::notifying(&rows)
}

/// Installs the filter on this thread and all that it will start, and gives the descriptor on which the calls arrive. Needs no_new_privs.
///
/// A caller that is held is not disturbed by signals that it handles (`WAIT_KILLABLE_RECV`): Go's and others' timers would else
/// restart the call for ever. What a person types still reaches it: see [`super::Notice::is_wanted_elsewhere`].
///
/// # Errors
/// EBUSY where somebody else listens already; EINVAL before Linux 5.19.
pub fn install(stops: Stops) -> Result<std::os::fd::OwnedFd, Errno> {
    const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
    let program = filter(stops).map_err(|_| Errno::ENOSYS)?;
    crate::sys::seccomp::add_filter_with_listener(&program, WAIT_KILLABLE_RECV)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(flags: i32) -> bool {
        let flags = flags.cast_unsigned();
        opens_by(OF_OWN, flags)
    }

    fn opens_by(rows: &[Row], flags: u32) -> bool {
        let row = rows.iter().find(|row| row.kind == Kind::OpenAt).unwrap();
        row.when.iter().any(|all| all.iter().all(|condition| matches!(condition.test, Test::Masked { mask, is } if flags & mask == is)))
    }

    #[test]
    fn where_the_kernel_gate_judges_plain_openings_and_removals_are_not_stopped() {
        use libc::*;
        let opens = |flags: i32| opens_by(JUDGED, flags.cast_unsigned());
        assert!(
            [O_RDONLY, O_WRONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_APPEND, O_PATH | O_TRUNC].into_iter().all(|flags| !opens(flags))
        );
        assert!([O_RDONLY | O_TRUNC, O_ACCMODE, O_ACCMODE | O_TRUNC].into_iter().all(opens));
        for number in [SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_creat] {
            assert!(OF_OWN.iter().any(|row| row.number == number) && !ROWS.iter().chain(JUDGED).any(|row| row.number == number));
            // What it sends here is known by its number.
            assert!(kind(i32::try_from(number).unwrap()).is_some());
        }
        for own in [OwnFiles::ByGate, OwnFiles::ByKernel] {
            filter(Stops { own, ..Stops::APART }).unwrap();
        }
    }

    #[test]
    fn an_open_that_could_lose_something_is_stopped() {
        use libc::*;
        for flags in [O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC | O_CREAT, O_RDWR | O_APPEND, O_RDONLY | O_TRUNC, O_WRONLY | O_EXCL, O_ACCMODE, O_ACCMODE | O_TRUNC]
        {
            assert!(opens(flags), "{flags:o}");
        }
        for flags in [
            O_RDONLY,
            O_RDONLY | O_CREAT,
            O_PATH,
            O_PATH | O_RDWR | O_TRUNC,
            O_WRONLY | O_CREAT | O_EXCL,
            O_RDWR | O_CREAT | O_EXCL | O_TRUNC,
            O_TMPFILE | O_RDWR,
            O_DIRECTORY,
        ] {
            assert!(!opens(flags), "{flags:o}");
        }
    }

    #[test]
    fn without_namespaces_every_open_that_makes_or_writes_is_stopped() {
        use libc::*;
        let row = WITHOUT.iter().find(|row| row.kind == Kind::OpenAt).unwrap();
        let stops = |flags: i32| {
            let flags = flags.cast_unsigned();
            opens(flags.cast_signed()) || row.when.iter().any(|all| all.iter().all(|c| matches!(c.test, Test::Masked { mask, is } if flags & mask == is)))
        };
        for flags in [O_WRONLY, O_RDWR, O_ACCMODE, O_RDONLY | O_CREAT, O_RDONLY | O_CREAT | O_EXCL, O_WRONLY | O_CREAT | O_EXCL, O_TMPFILE | O_RDWR, O_TRUNC] {
            assert!(stops(flags) && stops(flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), "{flags:o}");
        }
        for flags in [O_RDONLY, O_PATH, O_DIRECTORY, O_DIRECTORY | O_CLOEXEC, O_PATH | O_RDWR | O_CREAT] {
            assert!(!stops(flags), "{flags:o}");
        }
    }

    #[test]
    fn where_a_secret_is_in_a_tree_every_open_is_stopped_that_reads() {
        let row = READS.iter().find(|row| row.kind == Kind::OpenAt).unwrap();
        let stops =
            |flags: i32| row.when.iter().any(|all| all.iter().all(|c| matches!(c.test, Test::Masked { mask, is } if flags.cast_unsigned() & mask == is)));
        assert!([libc::O_RDONLY, libc::O_DIRECTORY | libc::O_CLOEXEC, libc::O_RDWR, libc::O_RDONLY | libc::O_NOFOLLOW].into_iter().all(stops));
        assert!(!stops(libc::O_PATH) && !stops(libc::O_PATH | libc::O_DIRECTORY));
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for row in ROWS.iter().chain(WITHOUT).chain(MAKES).chain(READS) {
            assert_eq!(kind(i32::try_from(row.number).unwrap()), Some(row.kind));
        }
        assert_eq!(kind(-1), None);
    }
}
