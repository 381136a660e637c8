//! This process's own memory: what the loader mapped of the program, and glibc's heap.

use std::ops::ControlFlow;

use nix::errno::Errno;

/// Bytes of the smallest page of any machine that we run on. Where pages are larger, madvise(2) refuses what is no multiple of them.
const PAGE: usize = 4096;

/// More pieces than a linker makes of a program.
const MOST_PIECES: usize = 32;

/// Has all threads of this process, and of those that are forked from it, share one heap. glibc gives each thread one of its own, which takes
/// calls and pages to set up; none of our threads allocates so much that it would wait for another.
pub(crate) fn share_heap() {
    // SAFETY: mallopt takes two numbers and touches no memory of ours. What it does not know it passes over, and nothing hangs on its answer.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives the heap's free pages back to the kernel.
pub(crate) fn trim_heap() {
    // SAFETY: malloc_trim takes a number, and touches only what is free, under malloc's own lock.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
}

/// The pieces of the program's own file that are mapped and never written: code and constants. First and last byte, in whole pages.
#[derive(Debug, Default)]
pub(crate) struct Program(Vec<(usize, usize)>);

impl Program {
    /// Those of this process, which are those of all that are forked from it.
    pub(crate) fn of_this_process() -> Self {
        let mut found = Self::default();
        // SAFETY: the callback is called before this returns, with the pointer to `found`, which lives as long and is borrowed by nobody else.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut found).cast()) };
        found
    }

    /// Unmaps their pages, which lie in the page cache and are mapped again when they are touched.
    ///
    /// # Errors
    /// The kernel's; nothing is lost then.
    pub(crate) fn let_go(&self) -> Result<(), Errno> {
        self.0.iter().try_for_each(|(start, end)| {
            let at = std::ptr::without_provenance_mut(*start);
            // SAFETY: the range is mapped from the program's file, privately and without a right to write, so no page in it differs from the
            // file: what is dropped is read again from there, and running code does not notice.
            Errno::result(unsafe { libc::madvise(at, end - start, libc::MADV_DONTNEED) }).map(drop)
        })
    }

    fn take(&mut self, base: usize, piece: &libc::Elf64_Phdr) -> ControlFlow<()> {
        let is_constant = piece.p_type == libc::PT_LOAD && piece.p_flags & libc::PF_W == 0;
        let (Ok(address), Ok(size)) = (usize::try_from(piece.p_vaddr), usize::try_from(piece.p_memsz)) else { return ControlFlow::Continue(()) };
        let start = base.saturating_add(address);
        // Inwards: a page at the edge may be another piece's as well.
        let (first, last) = (start.next_multiple_of(PAGE), start.saturating_add(size) / PAGE * PAGE);
        if is_constant && first < last {
            self.0.push((first, last));
        }
        if self.0.len() < MOST_PIECES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Takes the first object that the loader knows, which is the program itself.
unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _size: libc::size_t, found: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the loader gives a pointer to a live struct for the time of this call.
    let info = unsafe { &*info };
    // SAFETY: it is the pointer that `of_this_process` gave, to a live struct that nobody else borrows.
    let found = unsafe { &mut *found.cast::<Program>() };
    let (Ok(base), count) = (usize::try_from(info.dlpi_addr), usize::from(info.dlpi_phnum)) else { return 1 };
    // SAFETY: the loader tells how many headers there are, and they stay where they are.
    let pieces = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, count) };
    let _ = pieces.iter().try_for_each(|piece| found.take(base, piece));
    1
}
