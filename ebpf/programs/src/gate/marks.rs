//! What was made in this box, by marks on the kernel's own inodes.
//!
//! A mark is made when a process of the box makes the inode, and goes when the inode leaves memory. What has none may have been made in the box
//! all the same: then the file gate is asked, which knows when it was born. So a mark that is lost, or that there was no memory for, costs time.

use aya_ebpf::{
    btf_maps::InodeStorage,
    macros::{btf_map, lsm},
    programs::LsmContext,
};

use crate::{
    hooks::is_in_the_box,
    kernel::{DENTRY_D_INODE, load},
};

/// That a mark is there is all that it says.
#[btf_map]
static MARKS: InodeStorage<u32> = InodeStorage::new();

/// EOPNOTSUPP: no attribute is set on the new inode.
const NOTHING_TO_SET: i32 = -95;

/// An inode is being made, of whatever kind; where the file system asks. Others are marked when they are opened for the first time, or not at all.
#[lsm(hook = "inode_init_security")]
pub fn inode_init_security(ctx: LsmContext) -> i32 {
    if is_in_the_box() {
        mark(ctx.arg(0));
    }
    NOTHING_TO_SET
}

/// Marks an inode that a process of the box has just made.
#[inline(always)]
pub fn mark(inode: *const u8) {
    // SAFETY: the kernel lends the inode for this call.
    unsafe { MARKS.get_or_insert_ptr_mut(inode.cast_mut().cast(), None) };
}

/// Whether it was made in this box.
#[inline(always)]
pub fn is_marked(inode: *const u8) -> bool {
    // SAFETY: as above.
    !unsafe { MARKS.get_ptr_mut(inode.cast_mut().cast()) }.is_null()
}

/// What has a name.
#[inline(always)]
pub fn inode_of(dentry: *const u8) -> *const u8 {
    // SAFETY: the kernel lends the dentry for this call, and the inode as long.
    unsafe { load(dentry, &DENTRY_D_INODE) }
}
