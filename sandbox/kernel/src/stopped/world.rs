//! The box as the file gate sees it: its files, and the processes outside whose numbers the notifications carry.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    fs::File,
    io::Read as _,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    sched::{CloneFlags, setns},
    sys::{
        signal::{SigSet, Signal},
        stat::{Mode, fstat},
    },
};
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::{
    bounds::Bounds,
    folders::{Folder, Folders},
    made,
    reserve::{Left, Reserve},
    sockets::Ways,
    stat::Stat,
};
use crate::{
    capabilities, lease, mounts,
    sys::foreign,
    turns::{Busy, Turns},
};

/// For how long a mask that was read counts: a number of a process can be another's after that.
const MASK_LASTS: Duration = Duration::from_millis(50);

/// Masks that are remembered.
const MOST_MASKS: usize = 1024;

/// Things made here that are remembered.
const MOST_MADE: usize = 1 << 18;

/// A `status` file of `/proc` is a few kilobytes; the mask stands near its top.
const STATUS: usize = 4096;

/// What somebody types, sends, or has set to end a call that takes long. Other handlers must not make an `open` fail that cannot fail so
/// elsewhere: shells have one for SIGCHLD, Go for SIGURG.
const ENDING: [Signal; 6] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGALRM, Signal::SIGTERM, Signal::SIGTSTP];

/// Whether every process of the box has the box's own root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// None can have another: user namespaces are refused, and without one nobody changes its root.
    One,
    /// The agent may make user namespaces, and in one of them change its root.
    Various,
}

/// What the gate needs to resolve a path and to do a deed.
#[derive(Debug)]
pub struct World {
    proc: OwnedFd,
    root: OwnedFd,
    roots: Roots,
    /// The descriptors of this process, in `/proc` outside.
    fds: OwnedFd,
    /// The process that called last, in `/proc` outside: a number that has a new owner finds nothing in it.
    last: RefCell<Option<(i32, OwnedFd)>>,
    folders: Folders,
    /// The device of `/proc` outside.
    outer: u64,
    /// Mounts that are the box's own: memory, and layers over caches.
    own: Vec<u64>,
    /// Those of them with nothing else mounted beneath.
    alone: Vec<u64>,
    masks: RefCell<HashMap<i32, (Instant, Mode)>>,
    /// This process's own, which it has whenever it does nothing for a caller.
    own_mask: Mode,
    files: Files,
    /// What no mount says, where the box has no namespaces.
    without: Option<(Bounds, Ways)>,
    reserve: Left,
    /// What was made here for the box, where all that it makes is: see [`World::has_made`].
    made: RefCell<HashSet<Made>>,
    /// With the gates of other boxes on the same trees; none in tests of one.
    turns: Option<Turns>,
    /// The last turn that was waited for in vain, until somebody tells of it.
    busy: RefCell<Option<Busy>>,
}

/// A thing by its device, inode and birth: an inode that has been let go of is soon another thing's.
type Made = (u64, u64, (i64, u32));

/// Whether the very open files of callers can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    Had,
    /// `pidfd_getfd` is refused, as by Docker's filter: then nothing can be held to appending.
    Refused,
}

impl World {
    /// `/proc` of the namespace that this process was started in: to be opened before [`World::enter`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn proc() -> Result<OwnedFd, Errno> {
        open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Moves this process, which has one thread, into the box's user and mount namespaces; not among its processes.
    ///
    /// The box has one user, and so has this process from now on: files are made and removed with the rights that the caller has. Of the
    /// powers that come with the namespace it keeps one, to read the memory of callers that are not dumpable (ssh-agent, gpg-agent), and
    /// one that sleeps until [`with_reading`] wakes it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(proc: OwnedFd, user: BorrowedFd<'_>, mounts: BorrowedFd<'_>, roots: Roots, layered: &[PathBuf]) -> Result<Self, Errno> {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
        setns(mounts, CloneFlags::CLONE_NEWNS)?;
        keep_little()?;
        // A file that grows beyond this process's limit must not end it.
        SigSet::from(Signal::SIGXFSZ).thread_block()?;
        Self::here(proc, roots, layered)
    }

    /// Stays where it is, for a box without namespaces: its files are the machine's, and these bounds stand in for its mounts. This process
    /// loses every power.
    ///
    /// # Errors
    /// The kernel's.
    pub fn outside(proc: OwnedFd, bounds: Bounds, ways: Ways) -> Result<Self, Errno> {
        capabilities::drop_all().map_err(|_| Errno::EPERM)?;
        SigSet::from(Signal::SIGXFSZ).thread_block()?;
        let world = Self::seeing(proc, Roots::One, Vec::new(), &[])?;
        let ways = match world.files {
            Files::Had => ways,
            // The filter of such a box stops the making of sockets as well: see `setting::sockets`.
            Files::Refused => ways.making(made::Made::new()?),
        };
        let reserve = Left::from(bounds.reserve.clone());
        Ok(Self { without: Some((bounds, ways)), reserve, ..world })
    }

    /// The files that this process sees. `layered` are trees under layers of the box's own, which nothing that is outside can be written through.
    pub(super) fn here(proc: OwnedFd, roots: Roots, layered: &[PathBuf]) -> Result<Self, Errno> {
        Self::seeing(proc, roots, mounts::private_folders(), layered)
    }

    /// The same, where these folders are the box's own memory.
    fn seeing(proc: OwnedFd, roots: Roots, folders: Vec<PathBuf>, layered: &[PathBuf]) -> Result<Self, Errno> {
        let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mount_at = |folder: &Path| mount_of(open(folder, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?.as_fd()).ok();
        // A folder that is no mount of its own holds what was there before.
        let whole = mount_of(root.as_fd())?;
        let mounted = mounts::list::mounted(proc.as_fd())?;
        // Landlock grants what it grants to a folder to all that is mounted beneath it too: a workspace below /tmp.
        let is_alone = |folder: &Path| !mounted.iter().any(|at| at.starts_with(folder) && !folders.contains(at));
        let mount_of_own = |folder: &PathBuf| mount_at(folder).filter(|mount| *mount != whole);
        let mut own: Vec<u64> = folders.iter().filter_map(mount_of_own).collect();
        let alone: Vec<u64> = folders.iter().filter(|folder| is_alone(folder)).filter_map(mount_of_own).collect();
        for tree in layered {
            // The box's first process has made it: where there is none, or nothing but the whole, no word of ours is true.
            let (mount, device) = layer_at(tree).filter(|(mount, _)| *mount != whole).ok_or(Errno::EXDEV)?;
            own.push(mount);
            // Its folders that are pinned are mounts of the same layer; a layer that was outside already has another device.
            let pinned = mounted.iter().filter(|at| *at != tree && at.starts_with(tree)).filter_map(|at| layer_at(at));
            own.extend(pinned.filter(|(_, other)| *other == device).map(|(mount, _)| mount));
        }
        let outer = fstat(&proc)?.st_dev;
        // Of ourselves, whom nothing but a filter keeps from it; by the process, since before Linux 6.9 a thread cannot be opened.
        let probe = foreign::open(nix::unistd::getpid().as_raw()).and_then(|me| foreign::take(me.as_fd(), root.as_raw_fd()));
        let files = if probe.is_ok() { Files::Had } else { Files::Refused };
        let fds = openat(&proc, "self/fd", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let own_mask = mask_in(&text_of(openat(&proc, "self/status", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)?)?;
        Ok(Self {
            proc,
            fds,
            last: RefCell::default(),
            folders: Folders::default(),
            root,
            roots,
            outer,
            own,
            alone,
            masks: RefCell::default(),
            own_mask,
            files,
            without: None,
            reserve: Left::from(Reserve::default()),
            made: RefCell::default(),
            turns: None,
            busy: RefCell::default(),
        })
    }

    /// The same, where the gates of other boxes do deeds in the same trees.
    #[must_use]
    pub fn taking(self, turns: Turns) -> Self {
        Self { turns: Some(turns), ..self }
    }

    /// Waits for this gate's turn, from which on no other gate changes what is looked at, until [`World::give_turn`]. Had already, it is kept. To be
    /// taken when the caller's memory has been read, which it can make take long.
    ///
    /// # Errors
    /// EBUSY: another gate does not give it back, as [`World::was_busy`] tells.
    pub fn take_turn(&self) -> Result<(), Errno> {
        self.turns.as_ref().map_or(Ok(()), Turns::take).map_err(|busy| {
            *self.busy.borrow_mut() = Some(busy);
            Errno::EBUSY
        })
    }

    /// Ends the turn, if it is had: before a caller is answered, who would else go on in it, and before what may take long.
    pub fn give_turn(&self) {
        if let Some(turns) = &self.turns {
            turns.give();
        }
    }

    /// Whether a turn was waited for in vain since this was asked last.
    pub fn was_busy(&self) -> Option<Busy> {
        self.busy.take()
    }

    pub(super) fn files(&self) -> Files {
        self.files
    }

    /// Whether this very thing was made here for the box. On a layered file system, as containers have it, births alone do not tell. Always no
    /// where the box makes things itself.
    #[must_use]
    pub fn has_made(&self, stat: &Stat) -> bool {
        stat.born.is_some_and(|born| self.made.borrow().contains(&(stat.device, stat.inode, born)))
    }

    /// It has just been made.
    pub(super) fn remember(&self, made: BorrowedFd<'_>) {
        if self.without.is_none() {
            return;
        }
        let mut known = self.made.borrow_mut();
        // What is too much is nobody's own, and so is what cannot be told again.
        if known.len() < MOST_MADE
            && let Ok(stat) = Stat::of(made)
            && let Some(born) = stat.born
        {
            known.insert((stat.device, stat.inode, born));
        }
    }

    pub(super) fn reserve(&self) -> &Left {
        &self.reserve
    }

    pub(super) fn bounds(&self) -> Option<&Bounds> {
        self.without.as_ref().map(|(bounds, _)| bounds)
    }

    pub(super) fn ways(&self) -> Option<(&Bounds, &Ways)> {
        self.without.as_ref().map(|(bounds, ways)| (bounds, ways))
    }

    /// The very open file that a caller knows by this number.
    pub(super) fn file_of(&self, tid: i32, number: i32) -> Result<OwnedFd, Errno> {
        let process = match foreign::open(tid) {
            Err(Errno::EINVAL) => foreign::open(self.process_of(tid)?)?,
            process => process?,
        };
        let file = foreign::take(process.as_fd(), number)?;
        // On older kernels that was the table of its process, and a thread can have its own.
        let seen = self.of_process(tid, &format!("fd/{number}"), OFlag::O_PATH).map_err(|_| Errno::EBADF)?;
        let (had, seen) = (fstat(&file)?, fstat(&seen)?);
        if (had.st_dev, had.st_ino) == (seen.st_dev, seen.st_ino) { Ok(file) } else { Err(Errno::EBADF) }
    }

    fn process_of(&self, tid: i32) -> Result<i32, Errno> {
        self.status(tid)?.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok()).ok_or(Errno::ESRCH)
    }

    /// Whether a device is that of `/proc` outside.
    pub(super) fn is_outer(&self, device: u64) -> bool {
        device == self.outer
    }

    pub(super) fn roots(&self) -> Roots {
        self.roots
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A file of a process in `/proc` outside.
    pub(super) fn of_process(&self, tid: i32, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let mut last = self.last.borrow_mut();
        if let Some((known, process)) = &*last
            && *known == tid
        {
            match openat(process, name, flags | OFlag::O_CLOEXEC, Mode::empty()) {
                // Its number may have a new owner.
                Err(Errno::ESRCH | Errno::ENOENT) => {}
                done => return done,
            }
        }
        let process = self.folder_of(tid)?;
        let opened = openat(&process, name, flags | OFlag::O_CLOEXEC, Mode::empty());
        *last = Some((tid, process));
        opened
    }

    pub(super) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// A folder that is held, if it is the one that these words of a process lead to: from its own folder in `/proc`, or from the root. Through which
    /// links they lead there now does not matter: by the same words, and then by no magic link but the caller's own, a call has come to this very folder.
    pub(super) fn folder_again(&self, tid: i32, words: &[u8]) -> Option<Folder> {
        self.folders.again(words, |words| {
            if words.to_bytes().starts_with(b"/") {
                return Stat::behind(&self.root, words).ok();
            }
            let of_caller = [tid.to_string().as_bytes(), b"/", words.to_bytes()].concat();
            Stat::behind(&self.proc, &CString::new(of_caller).ok()?).ok()
        })
    }

    /// What a name in a process's folder is like, be it a link.
    pub(super) fn about(&self, tid: i32, name: &str) -> Result<Stat, Errno> {
        Stat::at(&self.proc, &CString::new(format!("{tid}/{name}")).map_err(|_| Errno::EINVAL)?)
    }

    /// A process's folder in `/proc` outside.
    pub(super) fn folder_of(&self, tid: i32) -> Result<OwnedFd, Errno> {
        openat(&self.proc, tid.to_string().as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Opens anew what a descriptor of ours leads to.
    pub(super) fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.fds, Self::name_of(fd).as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// A name for what a descriptor of ours leads to, relative to [`World::fds`].
    pub(super) fn name_of(fd: BorrowedFd<'_>) -> String {
        fd.as_raw_fd().to_string()
    }

    /// `/proc` outside.
    pub(super) fn outer_proc(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    pub(super) fn fds(&self) -> BorrowedFd<'_> {
        self.fds.as_fd()
    }

    /// Where a folder lies, as the agent sees it.
    pub(super) fn path_of(&self, fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
        readlinkat(&self.fds, Self::name_of(fd).as_str()).map(PathBuf::from)
    }

    /// Whether a mount is the box's own memory, where nothing is that anybody could miss, and the kernel may do what is done there: Landlock
    /// lets the box do the same in all that is mounted beneath.
    pub(super) fn is_alone(&self, mount: u64) -> bool {
        self.alone.contains(&mount)
    }

    /// Whether what is come by through this mount lies in the box's own memory or in a layer of its own: then it was made in this box, or is not
    /// lost by what the box does, whatever else is mounted beneath.
    pub(super) fn is_own(&self, mount: u64) -> bool {
        self.own.contains(&mount)
    }

    /// Keeps a file as it is for as long as the descriptor lives: nobody has it open for writing, and an opening for writing waits.
    ///
    /// # Errors
    /// Somebody has it open for writing, or has it mapped so; or its file system cannot tell.
    pub fn hold_still(&self, object: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let file = self.reopen(object, OFlag::O_RDONLY)?;
        lease::read_lease(file.as_fd()).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        Ok(file)
    }

    /// The number that a process has in the box.
    pub(super) fn number_inside(&self, tid: i32) -> Result<String, Errno> {
        let status = self.status(tid)?;
        // From our namespace inwards: the box's is the next one, where it has one.
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).ok_or(Errno::EIO)?;
        numbers.split_whitespace().take(2).last().map(str::to_owned).ok_or(Errno::EIO)
    }

    fn status(&self, tid: i32) -> Result<String, Errno> {
        text_of(self.of_process(tid, "status", OFlag::O_RDONLY)?)
    }

    /// Whether a signal waits that the thread has a handler for and that means it to leave off: it does not see it while its call is held.
    pub(super) fn is_wanted(&self, tid: i32) -> Result<bool, Errno> {
        let status = self.status(tid)?;
        let set = |name: &str| {
            let hex = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(Errno::EIO)?;
            u64::from_str_radix(hex.trim(), 16).map_err(|_| Errno::EIO)
        };
        let pending = (set("SigPnd:")? | set("ShdPnd:")?) & !set("SigBlk:")? & !set("SigIgn:")?;
        let ending = ENDING.iter().fold(0, |all, signal| all | 1_u64 << (*signal as u32 - 1));
        Ok(pending & set("SigCgt:")? & ending != 0)
    }

    /// The mask of the modes of what this process makes.
    pub(super) fn own_mask(&self) -> Mode {
        self.own_mask
    }

    /// The mask of the modes of what the caller makes.
    pub(super) fn mask(&self, tid: i32) -> Result<Mode, Errno> {
        let mut masks = self.masks.borrow_mut();
        if let Some((since, mask)) = masks.get(&tid)
            && since.elapsed() < MASK_LASTS
        {
            return Ok(*mask);
        }
        let mask = mask_in(&self.status(tid)?)?;
        if masks.len() >= MOST_MASKS {
            masks.clear();
        }
        masks.insert(tid, (Instant::now(), mask));
        Ok(mask)
    }

    /// A mask is about to change; threads share it, so all are read anew.
    pub(super) fn forget_masks(&self) {
        self.masks.borrow_mut().clear();
    }
}

/// Runs `work` with the power to read each file of the box's user, whatever its mode says, where this process has it asleep: else nothing
/// could be kept of a file that the agent has made unreadable before it removes it.
pub fn with_reading<T>(work: impl FnOnce() -> T) -> T {
    let Ok(before) = caps::read(None, CapSet::Effective) else { return work() };
    let mut raised = before.clone();
    raised.insert(Capability::CAP_DAC_READ_SEARCH);
    let raised = caps::set(None, CapSet::Effective, &raised);
    let done = work();
    if raised.is_ok() && caps::set(None, CapSet::Effective, &before).is_err() {
        // The kernel takes every set that is smaller; what is not lowered must not do a deed.
        std::process::abort();
    }
    done
}

/// A `status` file of `/proc`, which the kernel writes at once and gives in one reading.
fn text_of(status: OwnedFd) -> Result<String, Errno> {
    let mut bytes = vec![0; STATUS];
    let got = File::from(status).read(&mut bytes).map_err(|_| Errno::EIO)?;
    bytes.truncate(got);
    // A name may hold anything.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn mask_in(status: &str) -> Result<Mode, Errno> {
    let octal = status.lines().find_map(|line| line.strip_prefix("Umask:")).ok_or(Errno::EIO)?;
    u32::from_str_radix(octal.trim(), 8).ok().and_then(Mode::from_bits).ok_or(Errno::EIO)
}

fn keep_little() -> Result<(), Errno> {
    let set = |which, kept: &[Capability]| caps::set(None, which, &kept.iter().copied().collect()).map_err(|_| Errno::EPERM);
    set(CapSet::Ambient, &[])?;
    set(CapSet::Inheritable, &[])?;
    set(CapSet::Effective, &[Capability::CAP_SYS_PTRACE])?;
    set(CapSet::Permitted, &[Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH])
}

/// The mount of a layer at a folder, and its device.
fn layer_at(folder: &Path) -> Option<(u64, u64)> {
    let fd = open(folder, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let is_layer = rustix::fs::fstatfs(&fd).ok()?.f_type == libc::OVERLAYFS_SUPER_MAGIC;
    if is_layer { Some((mount_of(fd.as_fd()).ok()?, fstat(&fd).ok()?.st_dev)) } else { None }
}

pub(super) fn mount_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let found = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 { Err(Errno::ENOSYS) } else { Ok(found.stx_mnt_id) }
}

/// A path's last name and what is before it.
pub(super) fn split(path: &CStr) -> (&[u8], &[u8], Trailing) {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let (whole, slashes) = bytes.split_at(end);
    let start = whole.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (before, last) = whole.split_at(start);
    (before, last, if slashes.is_empty() { Trailing::None } else { Trailing::Slash })
}

/// Whether a path ends in a slash, and so means a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailing {
    None,
    Slash,
}

/// The folders of a box, for its policy: absolute, as the agent names them.
pub(super) fn joined(folder: &Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    folder.join(std::ffi::OsStr::from_bytes(name))
}
