//! From a path in the caller's words to the very folder and name that it leads to.
//!
//! The kernel resolves what it can (`openat2`, without magic links). What leads through `/proc/self` it would resolve for us instead of the
//! caller, so that is walked step by step, and `self` is the caller.

use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    rc::Rc,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat},
    libc,
    sys::{
        stat::{Mode, SFlag, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use super::{
    folders::Folder,
    stat::Stat,
    world::{Roots, Trailing, World, joined, split},
};

/// Links that are followed, as the kernel's own bound.
const MOST_LINKS: usize = 40;

/// Names in a path, with those of the links in it.
const MOST_NAMES: usize = 4096;

/// The inode of the root of every `/proc`.
const PROC_ROOT: u64 = 1;

/// Whether a link at the end is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Yes,
    No,
    /// Only if a slash comes after it.
    Folders,
}

/// How what has a name is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is taken hold of, and acted on as that.
    Hold,
    /// Its name is only looked at, where it will be the name that is acted on: at once, or when it has been taken hold of after all.
    Glance,
}

/// Something that is there.
#[derive(Debug)]
pub(super) struct Object {
    /// The thing itself; none after a glance.
    fd: Option<OwnedFd>,
    pub(super) stat: Stat,
}

impl Object {
    pub(super) fn kind(&self) -> SFlag {
        self.stat.kind()
    }

    /// The thing itself, if it is held.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// The thing itself.
    ///
    /// # Errors
    /// EBUSY: it was only glanced at, and may be another by now.
    pub(super) fn held(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd().ok_or(Errno::EBUSY)
    }

    /// Whether it is of a `/proc`. What was glanced at is not: see [`Walk::glance`].
    pub(super) fn is_of_proc(&self) -> bool {
        // It has no disk.
        self.stat.is_of_no_disk() && self.fd().is_some_and(is_proc)
    }

    pub(super) fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = Stat::of(&fd)?;
        Ok(Self { fd: Some(fd), stat })
    }

    pub(super) fn from_parts(fd: OwnedFd, stat: Stat) -> Self {
        Self { fd: Some(fd), stat }
    }

    /// What has this name now.
    pub(super) fn at(folder: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        Self::of(openat(folder, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// Takes hold of what was only glanced at.
    ///
    /// # Errors
    /// EBUSY: another thing has the name by now.
    pub(super) fn hold(&mut self, folder: impl AsFd, name: &CStr) -> Result<(), Errno> {
        if self.fd.is_some() {
            return Ok(());
        }
        let now = Self::at(folder, name)?;
        if !now.stat.is_of(&self.stat) {
            return Err(Errno::EBUSY);
        }
        *self = now;
        Ok(())
    }
}

/// A name in a folder, with what has it at the moment.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) folder: Rc<OwnedFd>,
    pub(super) name: CString,
    pub(super) object: Option<Object>,
    pub(super) trailing: Trailing,
    /// What the folder lies in.
    pub(super) ground: Ground,
    /// Whether the folder is in the box's own memory, where nothing is that anybody could miss.
    pub(super) scratch: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Found {
    Spot(Spot),
    /// To something by a magic link: by no name.
    Itself(Object),
    /// To `.`, `..` or the root: to no name that could be removed or made.
    Folder(Dots, OwnedFd),
}

/// How a path without a last name ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    One,
    Two,
    Root,
}

impl Spot {
    /// The absolute path, as the agent sees it.
    pub(super) fn path(&self, world: &World) -> Result<PathBuf, Errno> {
        Ok(joined(&world.path_of(self.folder.as_fd())?, self.name.to_bytes()))
    }

    /// Takes hold of what has the name.
    ///
    /// # Errors
    /// See [`Object::hold`].
    pub(super) fn hold(&mut self) -> Result<(), Errno> {
        self.object.as_mut().map_or(Ok(()), |object| object.hold(&self.folder, &self.name))
    }

    /// Whether the name still leads to what was judged, or still to nothing. What was glanced at was looked at a moment ago: else it would be held.
    pub(super) fn stands(&self) -> Result<(), Errno> {
        if self.object.as_ref().is_some_and(|object| object.fd.is_none()) {
            return Ok(());
        }
        let now = nix::sys::stat::fstatat(&self.folder, self.name.as_c_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
        match (now, &self.object) {
            (Ok(now), Some(object)) if (now.st_dev, now.st_ino) == object.stat.id() => Ok(()),
            (Err(Errno::ENOENT), None) => Ok(()),
            // Another thing has the name: it was not judged. The caller is told what a race of its own would have told it.
            (Ok(_), _) => Err(Errno::EBUSY),
            (Err(errno), _) => Err(errno),
        }
    }
}

/// The caller's place from which paths are resolved.
pub(super) struct From<'w> {
    pub(super) world: &'w World,
    pub(super) tid: i32,
    /// The descriptor argument: `AT_FDCWD`, or one of the caller's.
    pub(super) dirfd: i32,
    pub(super) look: Look,
}

impl From<'_> {
    /// Resolves a path.
    pub(super) fn find(&self, path: &CStr, follow: Follow) -> Result<Found, Errno> {
        if path.to_bytes().is_empty() {
            return Err(Errno::ENOENT);
        }
        // The first look.
        self.world.take_turn()?;
        let (before, last, trailing) = split(path);
        let words = self.words(before);
        let mut walk = Walk { from: self, links: 0 };
        if !matches!(last, b"" | b"." | b"..")
            && let Some(folder) = words.as_deref().and_then(|words| self.world.folder_again(self.tid, words))
        {
            return walk.last(folder, last, trailing, follow);
        }
        let base = if before.is_empty() { self.base(path.to_bytes())? } else { self.base_again(path.to_bytes())? };
        walk.path(base, path, follow, words)
    }

    /// What a path leads to, for what is done to the thing, wherever its name is. None where it is to be walked to ([`From::find`]): by what leads
    /// through `/proc`, or fails.
    pub(super) fn thing(&self, path: &CStr, follow: Follow) -> Option<Object> {
        let (_, last, trailing) = split(path);
        if matches!(last, b"" | b"." | b"..") || trailing == Trailing::Slash {
            return None;
        }
        self.world.take_turn().ok()?;
        let end = if follow == Follow::Yes { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC | end).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let base = self.base_again(path.to_bytes()).ok()?;
        let object = Object::of(openat2(&base, relative(path.to_bytes()), how).ok()?).ok()?;
        (!object.is_of_proc()).then_some(object)
    }

    /// How the folder of a path is called, among those that calls came through lately. None where it must be walked to.
    fn words(&self, before: &[u8]) -> Option<Vec<u8>> {
        // A caller with another root means another folder by the same words.
        if self.world.roots() == Roots::Various {
            return None;
        }
        if before.first() == Some(&b'/') {
            return Some(before.to_vec());
        }
        let mut words = match self.dirfd {
            libc::AT_FDCWD => b"cwd".to_vec(),
            ..0 => return None,
            number => format!("fd/{number}").into_bytes(),
        };
        if !before.is_empty() {
            words.push(b'/');
            words.extend_from_slice(before);
        }
        Some(words)
    }

    /// Resolves a second path of the same call, which often leads to the folder of the first.
    pub(super) fn find_beside(&self, first: (&From<'_>, &CStr, &Found), path: &CStr, follow: Follow) -> Result<Found, Errno> {
        let (from, other, found) = first;
        let (before, last, trailing) = split(path);
        match found {
            Found::Spot(spot) if from.dirfd == self.dirfd && split(other).0 == before && !spot.ground.proc && !matches!(last, b"" | b"." | b"..") => {
                let mut walk = Walk { from: self, links: 0 };
                walk.last(Folder { fd: spot.folder.clone(), ground: spot.ground }, last, trailing, follow)
            }
            Found::Spot(_) | Found::Itself(_) | Found::Folder(..) => self.find(path, follow),
        }
    }

    /// What the descriptor argument itself leads to.
    pub(super) fn itself(&self) -> Result<Object, Errno> {
        Object::of(self.own("cwd", OFlag::O_PATH)?)
    }

    fn base(&self, path: &[u8]) -> Result<Base<'_>, Errno> {
        if path.first() == Some(&b'/') { self.root() } else { self.own("cwd", OFlag::O_PATH | OFlag::O_DIRECTORY).map(Base::Own) }
    }

    /// The same, by a look where it is held from calls before.
    fn base_again(&self, path: &[u8]) -> Result<Base<'_>, Errno> {
        let words = if path.first() == Some(&b'/') { None } else { self.words(b"") };
        let Some(words) = words else { return self.base(path) };
        if let Some(folder) = self.world.folder_again(self.tid, &words) {
            return Ok(Base::Held(folder.fd));
        }
        let own = Rc::new(self.base(path)?.into_owned()?);
        let stat = Stat::of(&own)?;
        let folder = Folder { ground: Ground::of(own.as_fd(), &stat), fd: own.clone() };
        self.world.folders().remember(words, &folder, stat);
        Ok(Base::Held(own))
    }

    fn root(&self) -> Result<Base<'_>, Errno> {
        match self.world.roots() {
            Roots::One => Ok(Base::Root(self.world.root())),
            Roots::Various => self.checked_root().map(Base::Own),
        }
    }

    /// The caller's root, where it is the box's; a caller with another one asks for what nobody could judge by its path.
    fn checked_root(&self) -> Result<OwnedFd, Errno> {
        let root = self.world.of_process(self.tid, "root", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let (theirs, ours) = (fstat(&root)?, fstat(self.world.root())?);
        let same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) && self.world.path_of(root.as_fd())?.as_os_str() == "/";
        if same { Ok(root) } else { Err(Errno::EPERM) }
    }

    fn own(&self, folder: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        if self.world.roots() == Roots::Various {
            self.checked_root()?;
        }
        if self.dirfd == libc::AT_FDCWD {
            return self.world.of_process(self.tid, folder, flags);
        }
        if self.dirfd < 0 {
            return Err(Errno::EBADF);
        }
        self.world.of_process(self.tid, &format!("fd/{}", self.dirfd), flags).map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })
    }
}

/// Where a walk begins.
enum Base<'w> {
    Root(BorrowedFd<'w>),
    Own(OwnedFd),
    Held(Rc<OwnedFd>),
}

impl AsFd for Base<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Own(fd) => fd.as_fd(),
            Self::Held(fd) => fd.as_fd(),
        }
    }
}

impl Base<'_> {
    fn into_owned(self) -> Result<OwnedFd, Errno> {
        match self {
            Self::Root(fd) => fd.try_clone_to_owned().map_err(|_| Errno::EMFILE),
            Self::Own(fd) => Ok(fd),
            Self::Held(fd) => fd.try_clone().map_err(|_| Errno::EMFILE),
        }
    }
}

struct Walk<'f, 'w> {
    from: &'f From<'w>,
    links: usize,
}

impl Walk<'_, '_> {
    /// `words`: how the folder is to be known again.
    fn path(&mut self, base: Base<'_>, path: &CStr, follow: Follow, words: Option<Vec<u8>>) -> Result<Found, Errno> {
        let (before, last, trailing) = split(path);
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let (folder, stat) = if before.iter().all(|byte| *byte == b'/') {
            let stat = Stat::of(&base)?;
            (base.into_owned()?, stat)
        } else {
            match openat2(&base, relative(before), how) {
                Ok(folder) => {
                    let stat = Stat::of(&folder)?;
                    if Ground::of(folder.as_fd(), &stat).proc {
                        // `self` in it would be this process.
                        return self.slowly(base.into_owned()?, path.to_bytes(), follow);
                    }
                    (folder, stat)
                }
                // A magic link on the way, or one that the kernel resolved for us instead of the caller; or really a loop.
                Err(Errno::ELOOP | Errno::ENOENT) => return self.slowly(base.into_owned()?, path.to_bytes(), follow),
                Err(errno) => return Err(errno),
            }
        };
        match last {
            b"" => return Ok(Found::Folder(Dots::Root, folder)),
            b"." => return Ok(Found::Folder(Dots::One, folder)),
            b".." => return Ok(Found::Folder(Dots::Two, up(folder.as_fd())?)),
            _ => {}
        }
        let ground = Ground::of(folder.as_fd(), &stat);
        let folder = Folder { fd: Rc::new(folder), ground };
        if let Some(words) = words {
            self.from.world.folders().remember(words, &folder, stat);
        }
        self.last(folder, last, trailing, follow)
    }

    /// The end of a path: what has the name, and where a link leads.
    fn last(&mut self, Folder { fd: folder, ground }: Folder, name: &[u8], trailing: Trailing, follow: Follow) -> Result<Found, Errno> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        if ground.proc {
            return self.slowly(folder.try_clone().map_err(|_| Errno::EMFILE)?, name.to_bytes(), follow);
        }
        let object = match self.glance(&folder, &name, ground).and_then(|seen| seen.map_or_else(|| Object::at(&folder, &name), Ok)) {
            Ok(object) => Some(object),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        match object {
            Some(mut object) if object.kind() == SFlag::S_IFLNK && (follow == Follow::Yes || (follow == Follow::Folders && trailing == Trailing::Slash)) => {
                self.link()?;
                object.hold(&folder, &name)?;
                let mut target = readlinkat(object.held()?, "")?.as_bytes().to_vec();
                if trailing == Trailing::Slash {
                    target.push(b'/');
                }
                let base = if target.first() == Some(&b'/') { self.from.root()? } else { Base::Own(folder.try_clone().map_err(|_| Errno::EMFILE)?) };
                let target = CString::new(target).map_err(|_| Errno::EINVAL)?;
                if target.is_empty() {
                    return Err(Errno::ENOENT);
                }
                self.path(base, &target, follow, None)
            }
            object => Ok(Found::Spot(self.spot(folder, name, object, trailing, ground))),
        }
    }

    /// What has a name, by a look at the name. None where it must be taken hold of: what is mounted there could be of a `/proc`.
    fn glance(&self, folder: &OwnedFd, name: &CStr, ground: Ground) -> Result<Option<Object>, Errno> {
        if self.from.look == Look::Hold {
            return Ok(None);
        }
        let stat = Stat::at(folder, name)?;
        Ok((stat.mount == ground.mount).then_some(Object { fd: None, stat }))
    }

    fn spot(&self, folder: Rc<OwnedFd>, name: CString, object: Option<Object>, trailing: Trailing, ground: Ground) -> Spot {
        Spot { folder, name, object, trailing, ground, scratch: self.from.world.is_alone(ground.mount) }
    }

    fn link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_LINKS { Err(Errno::ELOOP) } else { Ok(()) }
    }

    /// Name by name, for what leads through `/proc`.
    fn slowly(&mut self, base: OwnedFd, path: &[u8], follow: Follow) -> Result<Found, Errno> {
        let mut at = base;
        let mut trailing = if path.last() == Some(&b'/') { Trailing::Slash } else { Trailing::None };
        let mut rest: VecDeque<Vec<u8>> = names(path).collect();
        // Whether we are below the caller's own folder.
        let mut own = false;
        let mut seen = 0;
        while let Some(name) = rest.pop_front() {
            seen += 1;
            if seen > MOST_NAMES || rest.len() > MOST_NAMES {
                return Err(Errno::ENAMETOOLONG);
            }
            let is_last = rest.is_empty();
            if name == b".." {
                // Above the caller's own folder outside are all processes of the machine.
                if self.from.world.is_outer(fstat(&at)?.st_dev) {
                    return Err(Errno::EACCES);
                }
                at = up(at.as_fd())?;
                if is_last {
                    return Ok(Found::Folder(Dots::Two, at));
                }
                continue;
            }
            let ground = Ground::of(at.as_fd(), &Stat::of(&at)?);
            let in_proc = ground.proc;
            if in_proc && fstat(&at)?.st_ino == PROC_ROOT && self.is_caller(&name)? {
                at = self.from.world.folder_of(self.from.tid)?;
                own = true;
                if is_last {
                    return Ok(Found::Folder(Dots::One, at));
                }
                continue;
            }
            let text = CString::new(name).map_err(|_| Errno::EINVAL)?;
            let object = match Object::at(&at, &text) {
                Ok(object) => object,
                Err(Errno::ENOENT) if is_last => return Ok(Found::Spot(self.spot(Rc::new(at), text, None, trailing, ground))),
                Err(errno) => return Err(errno),
            };
            let ends = is_last && (follow == Follow::No || (follow == Follow::Folders && trailing == Trailing::None));
            if object.kind() != SFlag::S_IFLNK || ends {
                if is_last {
                    return Ok(Found::Spot(self.spot(Rc::new(at), text, Some(object), trailing, ground)));
                }
                if object.kind() != SFlag::S_IFDIR {
                    return Err(Errno::ENOTDIR);
                }
                at = object.fd.ok_or(Errno::EBUSY)?;
                continue;
            }
            self.link()?;
            if in_proc && self.is_own_magic(at.as_fd(), own)? {
                own = false;
                // The kernel follows it to what the caller has, whatever it is called.
                let fd = openat(&at, text.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
                if is_last {
                    return Ok(Found::Itself(Object::of(fd)?));
                }
                at = fd;
                continue;
            }
            let target = readlinkat(object.held()?, "")?;
            let target = target.as_bytes();
            if target.first() == Some(&b'/') {
                at = self.from.root()?.into_owned()?;
                own = false;
            }
            if is_last && target.last() == Some(&b'/') {
                trailing = Trailing::Slash;
            }
            for name in names(target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(name);
            }
        }
        Ok(Found::Folder(Dots::One, at))
    }

    /// Whether a name in the root of a `/proc` is the caller.
    fn is_caller(&self, name: &[u8]) -> Result<bool, Errno> {
        if matches!(name, b"self" | b"thread-self") {
            return Ok(true);
        }
        if !name.iter().all(u8::is_ascii_digit) {
            return Ok(false);
        }
        let number = self.from.world.number_inside(self.from.tid)?;
        Ok(name == number.as_bytes())
    }

    /// Whether a folder of `/proc` belongs to the caller as the outer `/proc` shows it, or else holds plain links.
    fn is_own_magic(&self, folder: BorrowedFd<'_>, own: bool) -> Result<bool, Errno> {
        let stat = fstat(folder)?;
        if stat.st_ino == PROC_ROOT {
            // `mounts`, `net`: plain links to `self/…`.
            return Ok(false);
        }
        // Another process's: nobody else's descriptors are reached in a caller's name. Without namespaces the outer `/proc` is the box's, too.
        if self.from.world.is_outer(stat.st_dev) && (own || self.from.world.bounds().is_none()) { Ok(true) } else { Err(Errno::EACCES) }
    }
}

/// What a folder lies in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground {
    pub(super) mount: u64,
    pub(super) proc: bool,
}

impl Ground {
    fn of(folder: BorrowedFd<'_>, stat: &Stat) -> Self {
        Self { mount: stat.mount, proc: stat.is_of_no_disk() && is_proc(folder) }
    }
}

/// As the kernel takes a path from a folder: without the slashes at its beginning.
fn relative(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

fn up(folder: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(folder, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

pub(super) fn is_proc(folder: BorrowedFd<'_>) -> bool {
    fstatfs(folder).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}
