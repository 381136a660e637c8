//! What only the file gate may do to files, on the kernel's own objects: a process of the box that does it itself is refused.
//!
//! Seccomp stops these calls of a process of the box, and the file gate, which is outside of the box's cgroup, does what is judged right.
//! So nothing of this kind ever reaches a hook from within the cgroup, unless the call came another way: then it is refused here, and told.
//! Excepted is the box's own memory, where the file gate lets the kernel go on, and where nothing is that anybody could miss.

use agentbox_ebpf::{Bypass, Deed, NAME_BYTES, RING_BYTES};
use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    macros::{lsm, map},
    maps::{CgroupArray, RingBuf},
    programs::LsmContext,
};

use crate::seen::asker;

macro_rules! offsets {
    ($($name:ident)*) => {
        $(
            /// Set before the programs are loaded, so that the verifier takes it for a constant.
            #[unsafe(no_mangle)]
            static $name: Global<u32> = Global::new(0);
        )*
    };
}

// Where the running kernel has these fields.
offsets! { DENTRY_D_INODE DENTRY_D_NAME DENTRY_D_SB FILE_F_DENTRY FILE_F_INODE FILE_F_MODE IATTR_IA_VALID INODE_I_INO INODE_I_MODE INODE_I_SB INODE_I_SIZE PATH_DENTRY SB_S_DEV SB_S_MAGIC SB_S_USER_NS TASK_FLAGS USER_NS_INUM }

// Number of the box's user namespace; 0, which none has, where it is not known.
offsets! { BOX_USERS }

/// The box's cgroup, alone. Until it is set nobody is refused anything.
#[map]
static BOX: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// What was refused.
#[map]
static BYPASSES: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

const PASS: i32 = 0;
/// EPERM.
const REFUSE: i32 = -1;

/// `FMODE_WRITE`.
const FOR_WRITING: u32 = 2;
const KIND: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
/// `PF_DUMPCORE`: the kernel removes an old core file in the name of the process that fell.
const DUMPS_CORE: u32 = 0x200;
/// tmpfs, on whose superblock stands who mounted it.
const MEMORY: u64 = 0x0102_1994;
/// What `utimensat(2)` and its kin ask for: `ATTR_ATIME_SET`, `ATTR_MTIME_SET`, `ATTR_TIMES_SET`, `ATTR_TOUCH`. Writing and cutting short change
/// times without any of these.
const TIMES: u32 = 1 << 7 | 1 << 8 | 1 << 16 | 1 << 17;
/// POSIX message queues are files of a size, and nobody's content is lost by opening one (`mqueue_get_inode`).
const MESSAGE_QUEUES: u64 = 0x1980_0202;

#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    judge(Deed::Unlink, || ctx.arg(1))
}

#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    judge(Deed::Rmdir, || ctx.arg(1))
}

#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    judge(Deed::Rename, || ctx.arg(1))
}

#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    judge(Deed::Link, || ctx.arg(0))
}

#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    judge(Deed::Truncate, || of_path(ctx.arg(0)))
}

/// Since Linux 6.2 what is cut through a descriptor comes here; before, to `path_truncate`.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(ctx: LsmContext) -> i32 {
    judge(Deed::Truncate, || of_file(ctx.arg(0)))
}

#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    judge(Deed::Mode, || of_path(ctx.arg(0)))
}

#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    judge(Deed::Owner, || of_path(ctx.arg(0)))
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
    judge(Deed::Times, || dentry)
}

#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(ctx: LsmContext) -> i32 {
    judge(Deed::Attribute, || ctx.arg(1))
}

#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(ctx: LsmContext) -> i32 {
    judge(Deed::Attribute, || ctx.arg(1))
}

/// Since Linux 6.2; before, access control lists were extended attributes here too.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(ctx: LsmContext) -> i32 {
    judge(Deed::Attribute, || ctx.arg(1))
}

#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(ctx: LsmContext) -> i32 {
    judge(Deed::Attribute, || ctx.arg(1))
}

/// A file that is made and opened at once is empty still; one that is not empty was there.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let file: *const u8 = ctx.arg(0);
    // SAFETY: the kernel lends the file for this call, and the offsets are its own.
    unsafe {
        if load::<u32>(file, &FILE_F_MODE) & FOR_WRITING == 0 || !is_in_the_box() {
            return PASS;
        }
        let inode: *const u8 = load(file, &FILE_F_INODE);
        if load::<u16>(inode, &INODE_I_MODE) & KIND != REGULAR || load::<i64>(inode, &INODE_I_SIZE) == 0 {
            return PASS;
        }
        let system: *const u8 = load(inode, &INODE_I_SB);
        if load::<u64>(system, &SB_S_MAGIC) == MESSAGE_QUEUES {
            return PASS;
        }
    }
    judge(Deed::Overwrite, || of_file(file))
}

fn is_in_the_box() -> bool {
    BOX.current_task_under_cgroup(0).unwrap_or(false)
}

#[inline(always)]
fn judge(deed: Deed, dentry: impl Fn() -> *const u8) -> i32 {
    if !is_in_the_box() {
        return PASS;
    }
    let dentry = dentry();
    if is_of_the_boxs_memory(dentry) {
        return PASS;
    }
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

#[inline(always)]
fn of_path(path: *const u8) -> *const u8 {
    // SAFETY: the kernel lends the path for this call.
    unsafe { load(path, &PATH_DENTRY) }
}

#[inline(always)]
fn of_file(file: *const u8) -> *const u8 {
    // SAFETY: the kernel lends the file for this call.
    unsafe { load(file, &FILE_F_DENTRY) }
}

/// A load that the verifier checks: through a pointer whose type it knows, at an offset that is a constant to it.
#[inline(always)]
unsafe fn load<T: Copy>(of: *const u8, offset: &Global<u32>) -> T {
    unsafe { of.add(offset.load() as usize).cast::<T>().read_volatile() }
}

/// A load that gives zeros where there is nothing.
#[inline(always)]
unsafe fn probe<T: Copy>(of: *const u8, offset: &Global<u32>) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    unsafe {
        // The helper fills with zeros on a fault, so its result needs no branch: branches multiply the verifier's work.
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, of.wrapping_add(offset.load() as usize).cast());
        value.assume_init()
    }
}
