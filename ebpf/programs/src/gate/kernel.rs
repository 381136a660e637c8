//! The running kernel's own objects: where their fields lie, and how they are read.

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};

macro_rules! offsets {
    ($($name:ident)*) => {
        $(
            /// Set before the programs are loaded, so that the verifier takes it for a constant.
            #[unsafe(no_mangle)]
            pub static $name: Global<u32> = Global::new(0);
        )*
    };
}

// Where the running kernel has these fields.
offsets! {
    CRED_CAP_EFFECTIVE DENTRY_D_INODE DENTRY_D_NAME DENTRY_D_SB FILE_F_DENTRY FILE_F_FLAGS FILE_F_INODE FILE_F_MODE IATTR_IA_VALID INODE_I_INO INODE_I_MODE INODE_I_NLINK
    INODE_I_SB INODE_I_SIZE PATH_DENTRY SB_S_DEV SB_S_MAGIC SB_S_USER_NS SIGHAND_ACTION SIGNAL_SHARED_PENDING TASK_BLOCKED TASK_CRED TASK_FLAGS TASK_PENDING
    TASK_REAL_CRED TASK_SIGHAND TASK_SIGNAL USER_NS_INUM
}

/// A load that the verifier checks: through a pointer whose type it knows, at an offset that is a constant to it.
#[inline(always)]
pub unsafe fn load<T: Copy>(of: *const u8, offset: &Global<u32>) -> T {
    unsafe { of.add(offset.load() as usize).cast::<T>().read_volatile() }
}

/// A load that gives zeros where there is nothing.
#[inline(always)]
pub unsafe fn probe<T: Copy>(of: *const u8, offset: &Global<u32>) -> T {
    unsafe { probe_at(of, offset.load() as usize) }
}

#[inline(always)]
pub unsafe fn probe_at<T: Copy>(of: *const u8, offset: usize) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    unsafe {
        // The helper fills with zeros on a fault, so its result needs no branch: branches multiply the verifier's work.
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, of.wrapping_add(offset).cast());
        value.assume_init()
    }
}

#[inline(always)]
pub fn of_path(path: *const u8) -> *const u8 {
    // SAFETY: the kernel lends the path for this call.
    unsafe { load(path, &PATH_DENTRY) }
}

#[inline(always)]
pub fn of_file(file: *const u8) -> *const u8 {
    // SAFETY: the kernel lends the file for this call.
    unsafe { load(file, &FILE_F_DENTRY) }
}
