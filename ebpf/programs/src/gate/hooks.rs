//! What is done to files by a process of the box, on the kernel's own objects: which of it the kernel does, which the file gate, and which nobody.
//!
//! Where the box's calls are stopped by seccomp, and the file gate, which is outside of the box's cgroup, does what is judged right, nothing of this
//! kind ever reaches a hook from within the cgroup, unless the call came another way: then it is refused here, and told. Excepted is the box's own
//! memory, where the file gate lets the kernel go on, and where nothing is that anybody could miss.
//!
//! Where this gate judges ([`JUDGES`]), seccomp stops no opening for writing and no removing: what was made in this box is left to the kernel
//! ([`marks`]), and the rest goes to the file gate ([`hold`]).
//!
//! [`marks`]: crate::marks
//! [`hold`]: crate::hold

use agentbox_ebpf::{Bypass, Deed, NAME_BYTES, RING_BYTES};
use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel_str},
    macros::{lsm, map},
    maps::{CgroupArray, RingBuf},
    programs::LsmContext,
};

use crate::{
    asker::asker,
    hold::hold,
    kernel::{
        CRED_CAP_EFFECTIVE, DENTRY_D_INODE, DENTRY_D_NAME, DENTRY_D_SB, FILE_F_FLAGS, FILE_F_INODE, FILE_F_MODE, IATTR_IA_VALID, INODE_I_INO, INODE_I_MODE, INODE_I_NLINK,
        INODE_I_SB, INODE_I_SIZE, SB_S_DEV, SB_S_MAGIC, SB_S_USER_NS, TASK_CRED, TASK_FLAGS, TASK_REAL_CRED, USER_NS_INUM, load, of_file, of_path, probe,
    },
    marks::{inode_of, is_marked, mark},
};

/// Number of the box's user namespace; 0, which none has, where it is not known.
#[unsafe(no_mangle)]
static BOX_USERS: Global<u32> = Global::new(0);

/// 1 where openings for writing and removals come here without having been stopped; 0 where none may come.
#[unsafe(no_mangle)]
static JUDGES: Global<u32> = Global::new(0);

/// The box's cgroup, alone. Until it is set nobody is refused anything.
#[map]
static BOX: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// What was refused.
#[map]
static BYPASSES: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

const PASS: i32 = 0;
/// EPERM.
pub const REFUSE: i32 = -1;

/// `FMODE_WRITE`.
const FOR_WRITING: u32 = 2;
/// `FMODE_CREATED`: this opening has made the file.
const CREATED: u32 = 1 << 20;
const O_CREAT: u32 = 0o100;
/// `__O_TMPFILE`: it has made a file without a name.
const O_TMPFILE: u32 = 0o20_000_000;
/// `CAP_SYS_ADMIN`, which who mounts has.
const SYS_ADMIN: u64 = 1 << 21;
const KIND: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
/// `PF_DUMPCORE`: the kernel removes an old core file in the name of the process that fell.
pub const DUMPS_CORE: u32 = 0x200;
/// tmpfs, on whose superblock stands who mounted it.
const MEMORY: u64 = 0x0102_1994;
/// What `utimensat(2)` and its kin ask for: `ATTR_ATIME_SET`, `ATTR_MTIME_SET`, `ATTR_TIMES_SET`, `ATTR_TOUCH`. Writing and cutting short change
/// times without any of these.
const TIMES: u32 = 1 << 7 | 1 << 8 | 1 << 16 | 1 << 17;
/// POSIX message queues are files of a size, and nobody's content is lost by opening one (`mqueue_get_inode`).
const MESSAGE_QUEUES: u64 = 0x1980_0202;
/// What a pidfd leads to is a file without content since Linux 6.9 (`PID_FS_MAGIC`), which is opened for writing by whatever makes one.
const PROCESSES: u64 = 0x5049_4446;

#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    pass_on(Deed::Unlink, || ctx.arg(1))
}

#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    pass_on(Deed::Rmdir, || ctx.arg(1))
}

#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    never(Deed::Rename, || ctx.arg(1))
}

#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    never(Deed::Link, || ctx.arg(0))
}

#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    pass_on(Deed::Truncate, || of_path(ctx.arg(0)))
}

/// Since Linux 6.2 what is cut through a descriptor comes here; before, to `path_truncate`.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(ctx: LsmContext) -> i32 {
    pass_on(Deed::Truncate, || of_file(ctx.arg(0)))
}

#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    never(Deed::Mode, || of_path(ctx.arg(0)))
}

#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    never(Deed::Owner, || of_path(ctx.arg(0)))
}

/// Times alone: what else comes here has a hook of its own. Only one of this and the next is loaded.
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr(ctx: LsmContext) -> i32 {
    changes_times(ctx.arg(0), ctx.arg(1))
}

/// Since Linux 6.9 the mount's map of ids stands before the file.
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr_by_map(ctx: LsmContext) -> i32 {
    changes_times(ctx.arg(1), ctx.arg(2))
}

#[inline(always)]
fn changes_times(dentry: *const u8, wanted: *const u8) -> i32 {
    // SAFETY: the kernel lends it for this call.
    if unsafe { load::<u32>(wanted, &IATTR_IA_VALID) } & TIMES == 0 {
        return PASS;
    }
    never(Deed::Times, || dentry)
}

#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(ctx: LsmContext) -> i32 {
    never(Deed::Attribute, || ctx.arg(1))
}

#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(ctx: LsmContext) -> i32 {
    never(Deed::Attribute, || ctx.arg(1))
}

/// Since Linux 6.2; before, access control lists were extended attributes here too.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(ctx: LsmContext) -> i32 {
    never(Deed::Attribute, || ctx.arg(1))
}

#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(ctx: LsmContext) -> i32 {
    never(Deed::Attribute, || ctx.arg(1))
}

/// A file that is made and opened at once is empty still; one that is not empty was there. Where empty files of before are to be judged as well,
/// the kernel's word that the opening has made it is believed only of an empty one that was to be made.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let file: *const u8 = ctx.arg(0);
    // SAFETY: the kernel lends the file for this call, and the offsets are its own.
    unsafe {
        let mode: u32 = load(file, &FILE_F_MODE);
        let wanted = if judges() { FOR_WRITING | CREATED } else { FOR_WRITING };
        if mode & wanted == 0 || !is_in_the_box() {
            return PASS;
        }
        let inode: *const u8 = load(file, &FILE_F_INODE);
        if load::<u16>(inode, &INODE_I_MODE) & KIND != REGULAR {
            return PASS;
        }
        if load::<i64>(inode, &INODE_I_SIZE) == 0 {
            if !judges() {
                return PASS;
            }
            let flags: u32 = load(file, &FILE_F_FLAGS);
            let is_made = mode & CREATED != 0 && flags & O_CREAT != 0;
            if is_made || (flags & O_TMPFILE != 0 && load::<u32>(inode, &INODE_I_NLINK) == 0) {
                mark(inode);
                return PASS;
            }
        }
        let magic: u64 = load(load(inode, &INODE_I_SB), &SB_S_MAGIC);
        if mode & FOR_WRITING == 0 || magic == MESSAGE_QUEUES || magic == PROCESSES {
            return PASS;
        }
        let dentry = of_file(file);
        if is_of_the_boxs_memory(dentry) || (judges() && is_marked(inode)) {
            return PASS;
        }
        if judges() { hold(Deed::Overwrite, dentry) } else { refuse(Deed::Overwrite, dentry) }
    }
}

#[inline(always)]
pub fn is_in_the_box() -> bool {
    BOX.current_task_under_cgroup(0).unwrap_or(false) && !is_beneath()
}

/// Whether this is what a file system that lies over others does with what is beneath, after it was asked about what it shows: overlayfs does that in
/// the name of who has mounted it, which is the box's first process with the powers that it had then. No process of the box has a power of its own, and
/// one that has (it came from elsewhere) does not get by with it.
#[inline(always)]
fn is_beneath() -> bool {
    // SAFETY: the kernel gives a pointer to the running task; probes of what is not there give zeros.
    unsafe {
        let task: *const u8 = bpf_get_current_task_btf().cast();
        let (acts, is): (*const u8, *const u8) = (probe(task, &TASK_CRED), probe(task, &TASK_REAL_CRED));
        acts != is && probe::<u64>(acts, &CRED_CAP_EFFECTIVE) & SYS_ADMIN != 0 && probe::<u64>(is, &CRED_CAP_EFFECTIVE) & SYS_ADMIN == 0
    }
}

#[inline(always)]
fn judges() -> bool {
    JUDGES.load() != 0
}

/// For what the file gate alone does in any box.
#[inline(always)]
fn never(deed: Deed, dentry: impl Fn() -> *const u8) -> i32 {
    if !is_in_the_box() {
        return PASS;
    }
    let dentry = dentry();
    if is_of_the_boxs_memory(dentry) { PASS } else { refuse(deed, dentry) }
}

/// For what the kernel does with what was made in this box, where this gate judges.
#[inline(always)]
fn pass_on(deed: Deed, dentry: impl Fn() -> *const u8) -> i32 {
    if !is_in_the_box() {
        return PASS;
    }
    let dentry = dentry();
    if is_of_the_boxs_memory(dentry) {
        PASS
    } else if !judges() {
        refuse(deed, dentry)
    } else if is_marked(inode_of(dentry)) {
        PASS
    } else {
        hold(deed, dentry)
    }
}

/// Refuses, with an alarm.
#[inline(always)]
pub fn refuse(deed: Deed, dentry: *const u8) -> i32 {
    // SAFETY: the kernel gives a pointer to the running task, which is there as long as this runs.
    let flags: u32 = unsafe { load(bpf_get_current_task_btf().cast(), &TASK_FLAGS) };
    if flags & DUMPS_CORE == 0 {
        tell(deed, dentry);
    }
    REFUSE
}

/// Whether it lies in memory that was mounted in the box's own user namespace: then it was made in this box.
#[inline(always)]
fn is_of_the_boxs_memory(dentry: *const u8) -> bool {
    // SAFETY: the kernel lends the dentry for this call; its superblock, and that one's namespace, stay as long as it does.
    unsafe {
        let system: *const u8 = load(dentry, &DENTRY_D_SB);
        if load::<u64>(system, &SB_S_MAGIC) != MEMORY {
            return false;
        }
        let users: *const u8 = load(system, &SB_S_USER_NS);
        BOX_USERS.load() != 0 && load::<u32>(users, &USER_NS_INUM) == BOX_USERS.load()
    }
}

/// Puts a refused deed on the ring; a full ring loses the record, not the refusal.
#[inline(always)]
fn tell(deed: Deed, dentry: *const u8) {
    let Some(mut record) = BYPASSES.reserve::<Bypass>(0) else { return };
    // SAFETY: reads that fault give zeros, and the kernel lends what the hook was given.
    unsafe {
        let inode: *const u8 = probe(dentry, &DENTRY_D_INODE);
        let system: *const u8 = probe(inode, &INODE_I_SB);
        record.write(Bypass {
            asker: asker(),
            inode: probe(inode, &INODE_I_INO),
            device: probe(system, &SB_S_DEV),
            deed: deed as u32,
            name: [0; NAME_BYTES],
        });
        let name: *const u8 = probe(dentry, &DENTRY_D_NAME);
        bpf_probe_read_kernel_str((&raw mut (*record.as_mut_ptr()).name).cast(), NAME_BYTES as u32, name.cast());
    }
    record.submit(0);
}
