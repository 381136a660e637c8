//! What only the file gate may do to files, on the kernel's own objects: a process of the box that does it itself is refused.
//!
//! Seccomp stops these calls of a process of the box, and the file gate, which is outside of the box's cgroup, does what is judged right.
//! So nothing of this kind ever reaches a hook from within the cgroup, unless the call came another way: then it is refused here, and told.

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
offsets! { DENTRY_D_INODE DENTRY_D_NAME FILE_F_DENTRY FILE_F_INODE FILE_F_MODE INODE_I_INO INODE_I_MODE INODE_I_SB INODE_I_SIZE PATH_DENTRY SB_S_DEV SB_S_MAGIC TASK_FLAGS }

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
    // SAFETY: the kernel gives a pointer to the running task, which is there as long as this runs.
    let flags: u32 = unsafe { load(bpf_get_current_task_btf().cast(), &TASK_FLAGS) };
    if flags & DUMPS_CORE == 0 {
        tell(deed, dentry());
    }
    REFUSE
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
