//! What only the file gate may judge comes to it: the call is let fail so that the kernel restarts it as `restart_syscall`, which the filter stops.
//!
//! A call that fails with `-ERESTART_RESTARTBLOCK` is restarted on its way back into the program, with its arguments still in their registers, if
//! the thread has a reason to look for signals there. It has one when a stop was sent to it that was taken back at once. The kernel never says these
//! codes to a program then: only where it has no such reason would they be seen, and so nothing is answered with one before the stop was sent.
//!
//! The note says which call it was. Nothing hangs on it but that: the file gate judges the registers as it does those of a call that was stopped
//! itself, and a program that asks for `restart_syscall` could have asked for the call.

use agentbox_ebpf::{Deed, MOST_NOTES, Note};
use aya_ebpf::{
    bindings::pt_regs,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_send_signal_thread, bpf_task_pt_regs},
    },
    macros::map,
    maps::HashMap,
};

use crate::{
    hooks::{DUMPS_CORE, REFUSE, refuse},
    kernel::{SIGHAND_ACTION, SIGNAL_SHARED_PENDING, TASK_BLOCKED, TASK_FLAGS, TASK_PENDING, TASK_SIGHAND, TASK_SIGNAL, load, probe, probe_at},
};

/// Which call a thread was at, by its number. The file gate takes them away; one that finds no room is refused.
#[map]
static NOTES: HashMap<u32, Note> = HashMap::with_max_entries(MOST_NOTES, 0);

/// `-ERESTARTNOINTR`: again, from its beginning, after the signals that wait.
const AGAIN: i32 = -513;
/// `-ERESTART_RESTARTBLOCK`: again, as `restart_syscall`.
const AS_RESTART: i32 = -516;

/// Who does not come back to a program: `PF_EXITING`, `PF_IO_WORKER`, `PF_USER_WORKER` (6.4), `PF_KTHREAD`.
const NO_WAY_BACK: u32 = 0x4 | 0x10 | 0x4000 | 0x20_0000;

const SIGCONT: u32 = 18;
const SIGSTOP: u32 = 19;
/// `struct k_sigaction` in bytes; the loader compares the whole table. Its first word is the handler.
const ACTION_BYTES: usize = 32;
/// The handlers that are none: `SIG_DFL` and `SIG_IGN`.
const NO_HANDLER: u64 = 1;

/// Whether a deed comes of a call of this number that the file gate knows by its registers. Anything else (`io_uring_enter`, say) did not come this way.
#[inline(always)]
fn comes_of(deed: Deed, number: u64) -> bool {
    const OPEN: u64 = 2;
    const RENAME: u64 = 82;
    const RMDIR: u64 = 84;
    const CREAT: u64 = 85;
    const UNLINK: u64 = 87;
    const OPENAT: u64 = 257;
    const UNLINKAT: u64 = 263;
    const RENAMEAT: u64 = 264;
    const RENAMEAT2: u64 = 316;
    match deed {
        Deed::Unlink => number == UNLINK || number == UNLINKAT,
        Deed::Rmdir => number == RMDIR || number == UNLINKAT,
        Deed::Rename => number == RENAME || number == RENAMEAT || number == RENAMEAT2,
        // An opening cuts short, too.
        Deed::Overwrite | Deed::Truncate => number == OPEN || number == OPENAT || number == CREAT,
        Deed::Link | Deed::Mode | Deed::Owner | Deed::Times | Deed::Attribute => false,
    }
}

/// Sends the call to the file gate; where that cannot be, refuses it.
#[inline(always)]
pub fn hold(deed: Deed, dentry: *const u8) -> i32 {
    // SAFETY: the kernel gives a pointer to the running task, whose registers and signals stay as long as this runs; probes of what is not there give zeros.
    unsafe {
        let task = bpf_get_current_task_btf();
        let flags: u32 = load(task.cast(), &TASK_FLAGS);
        if flags & DUMPS_CORE != 0 {
            return REFUSE;
        }
        let registers = bpf_task_pt_regs(task) as *const pt_regs;
        let number = (&raw const (*registers).orig_rax).read_volatile();
        if flags & NO_WAY_BACK != 0 || !comes_of(deed, number) {
            return refuse(deed, dentry);
        }
        let task: *const u8 = task.cast();
        let blocked: u64 = probe(task, &TASK_BLOCKED);
        // The stop is taken back by SIGCONT: a handler for that would be run, and the call end with EINTR whenever it is tried.
        let actions: *const u8 = probe(task, &TASK_SIGHAND);
        let handler: u64 = probe_at(actions, SIGHAND_ACTION.load() as usize + (SIGCONT as usize - 1) * ACTION_BYTES);
        if handler > NO_HANDLER && blocked & (1 << (SIGCONT - 1)) == 0 {
            return REFUSE;
        }
        let register = |of: *const u64| of.read_volatile();
        let note = Note {
            at: bpf_ktime_get_boot_ns(),
            arguments: [
                register(&raw const (*registers).rdi),
                register(&raw const (*registers).rsi),
                register(&raw const (*registers).rdx),
                register(&raw const (*registers).r10),
                register(&raw const (*registers).r8),
                register(&raw const (*registers).r9),
            ],
            instruction: register(&raw const (*registers).rip),
            number: number as u32,
            reserved: 0,
        };
        // To the thread and never to its process, of which another thread would take it.
        if NOTES.insert(&(bpf_get_current_pid_tgid() as u32), &note, 0).is_err() || bpf_send_signal_thread(SIGSTOP) != 0 {
            return REFUSE;
        }
        bpf_send_signal_thread(SIGCONT);
        // A handler that is due would end the call with EINTR, where an opening or a removal never has ended so: it comes first, and the call then begins
        // anew. Looked at last: what comes from here on to the way back does end it so.
        let shared: *const u8 = probe(task, &TASK_SIGNAL);
        let waiting: u64 = probe::<u64>(task, &TASK_PENDING) | probe::<u64>(shared, &SIGNAL_SHARED_PENDING);
        if waiting & !blocked != 0 { AGAIN } else { AS_RESTART }
    }
}
