//! Compiles the table of refused calls into seccomp filters, and installs them.
//!
//! One filter for each answer, because a filter of seccompiler has one action for what matches; the kernel runs all and the
//! strictest result wins. Filters are compiled before the fork; installing one is a single system call on memory that is already there.
//!
//! What it costs: the kernel (5.11 and later) runs each new filter once for every call number with only number and architecture known. A call
//! that all filters allow without looking at an argument goes into a bitmap, and no filter runs for it again. Rows and the x32
//! guard are built so that all calls without a row stay in that bitmap: measure with `cargo run -p agentbox-kernel --example seccomp_cost`.

use std::collections::{BTreeMap, btree_map::Entry};

use nix::errno::Errno;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

use crate::{
    calls::{Answer, CALLS, Call, Condition, Lifted, Test},
    setting::Setting,
    sys,
};

/// What of the table applies to a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterPlan {
    /// Whether the agent may make user namespaces of its own (`nested-userns` in the policy).
    pub nested_userns: bool,
    /// What else keeps the box apart.
    pub setting: Setting,
}

impl FilterPlan {
    /// Whether a row applies.
    #[must_use]
    pub fn includes(&self, call: &Call) -> bool {
        match call.lifted {
            Lifted::Never => true,
            Lifted::WithNestedUserns => !self.nested_userns || self.setting == Setting::Without,
            Lifted::WithNamespaces => self.setting == Setting::Without,
        }
    }
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The table cannot be said in BPF.
    #[error("the table of system calls cannot be compiled")]
    Compile(#[from] BackendError),
    /// Built for an architecture that seccompiler does not know.
    #[error("no seccomp filter is known for this architecture")]
    Architecture(#[source] BackendError),
    /// A compiled filter does not begin as the x32 guard needs it.
    #[error("a compiled seccomp filter does not begin with the architecture check")]
    Shape,
}

/// Compiled filters, ready to be installed in a child.
#[derive(Clone, Debug)]
pub struct Filters {
    programs: Vec<Vec<libc::sock_filter>>,
}

impl Filters {
    /// Puts all filters on this thread, for good. Async-signal-safe: no allocation, no lock.
    ///
    /// no_new_privs must be set before (or the caller must have CAP_SYS_ADMIN in its user namespace).
    ///
    /// # Errors
    /// What the kernel says to `seccomp(2)`; some filters may then be in place already, so the caller must end.
    pub fn install(&self) -> Result<(), Errno> {
        self.programs.iter().try_for_each(|program| sys::seccomp::add_filter(program))
    }

    /// How many instructions all filters have together.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.programs.iter().map(Vec::len).sum()
    }

    /// One filter, that lets only these calls through.
    pub(crate) fn only(allowed: &[Allowed]) -> Result<Self, SeccompError> {
        Self { programs: Vec::new() }.and_only(allowed)
    }

    /// Adds a filter that lets only these calls through, and answers ENOSYS to all others.
    pub(crate) fn and_only(mut self, allowed: &[Allowed]) -> Result<Self, SeccompError> {
        let mut rules = BTreeMap::new();
        for row in allowed {
            add_rule(&mut rules, row.number, row.when)?;
        }
        let otherwise = SeccompAction::Errno(Answer::Enosys.errno().unsigned_abs());
        // Last, because after it `seccomp` itself is refused.
        self.programs.push(assemble(SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture()?)?)?);
        Ok(self)
    }
}

/// A call that one of our own processes makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// Its number on this architecture.
    pub(crate) number: libc::c_long,
    /// All must hold.
    pub(crate) when: &'static [Condition],
}

/// Compiles the table.
///
/// # Errors
/// The table cannot be compiled for this architecture.
pub fn compile(plan: &FilterPlan) -> Result<Filters, SeccompError> {
    let mut programs = Vec::with_capacity(Answer::ALL.len() + 1);
    for answer in Answer::ALL {
        let mut rules = BTreeMap::new();
        for call in CALLS.iter().filter(|call| call.answer == *answer && plan.includes(call)) {
            add_rule(&mut rules, call.number, call.when)?;
        }
        let action = SeccompAction::Errno(answer.errno().unsigned_abs());
        let mut program = assemble(SeccompFilter::new(rules, SeccompAction::Allow, action, architecture()?)?)?;
        match answer {
            Answer::Enosys => guard_x32(&mut program)?,
            Answer::Eperm | Answer::Eafnosupport | Answer::Eprotonosupport => {}
        }
        programs.push(program);
    }
    programs.push(known_controls()?);
    Ok(Filters { programs })
}

/// The kinds of `ioctl(2)` that are let through, by the byte that tells them: terminals and pipes, sockets.
const CONTROLLED: [u32; 2] = [0x54, 0x89];

/// And these: cloning into a file that was opened for writing, and reading a file's flags, its version, its extents, its block size, its extended
/// flags.
const CONTROLS: [u32; 7] = [0x4004_9409, 0x4020_940d, 0x8008_6601, 0x8008_7601, 0xc020_660b, 2, 0x801c_581f];

/// Answers ENOTTY to every other `ioctl(2)`: file systems have commands that change or lose a file through a descriptor for reading, or through
/// one for appending alone (FS_IOC_ZERO_RANGE, EXT4_IOC_MOVE_EXT), and remove a whole tree through one of a folder (BTRFS_IOC_SNAP_DESTROY). No
/// right of Landlock's is asked for them, and in a writable place no mount refuses them. By hand, since seccompiler has no word for "none of
/// these".
fn known_controls() -> Result<Vec<libc::sock_filter>, SeccompError> {
    let known = CONTROLLED.len() + CONTROLS.len();
    let jump = |code, k, jt: usize, jf: u8| Ok::<_, SeccompError>(libc::sock_filter { code, jt: u8::try_from(jt).map_err(|_| SeccompError::Shape)?, jf, k });
    let plain = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let number = u32::try_from(libc::SYS_ioctl).map_err(|_| SeccompError::Shape)?;
    // The architecture is checked by the other filters, which kill where it is another one. Offsets as in `struct seccomp_data`.
    let mut program = vec![plain(LOAD_WORD, 0), jump(JUMP_IF_EQUAL, number, 1, 0)?, plain(RETURN, libc::SECCOMP_RET_ALLOW), plain(LOAD_WORD, 24)];
    for (index, control) in CONTROLS.iter().enumerate() {
        program.push(jump(JUMP_IF_EQUAL, *control, known - index + 2, 0)?);
    }
    program.extend([plain(SHIFT_RIGHT, 8), plain(AND, 0xff)]);
    for (index, kind) in CONTROLLED.iter().enumerate() {
        program.push(jump(JUMP_IF_EQUAL, *kind, CONTROLLED.len() - index, 0)?);
    }
    program.push(plain(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOTTY.unsigned_abs()));
    program.push(plain(RETURN, libc::SECCOMP_RET_ALLOW));
    Ok(program)
}

/// What seccompiler is told to answer where it is to be USER_NOTIF, for which it has no word. No filter of ours traces.
const STAND_IN: u32 = 0x5eed;

/// A filter that stops these calls for a listener, and lets all others through.
pub(crate) fn notifying(rows: &[Allowed]) -> Result<Vec<libc::sock_filter>, SeccompError> {
    let mut rules = BTreeMap::new();
    for row in rows {
        add_rule(&mut rules, row.number, row.when)?;
    }
    let mut program = assemble(SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(STAND_IN), architecture()?)?)?;
    let stand_in = libc::SECCOMP_RET_TRACE | STAND_IN;
    for instruction in program.iter_mut().filter(|instruction| instruction.code == RETURN && instruction.k == stand_in) {
        instruction.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    Ok(program)
}

fn architecture() -> Result<TargetArch, SeccompError> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(SeccompError::Architecture)
}

/// Several rows of one call are alternatives; a row without a condition swallows the others.
fn add_rule(rules: &mut BTreeMap<i64, Vec<SeccompRule>>, number: libc::c_long, when: &[Condition]) -> Result<(), SeccompError> {
    let alternatives = expand(when)?.into_iter().map(SeccompRule::new).collect::<Result<Vec<_>, _>>()?;
    match rules.entry(number) {
        Entry::Vacant(entry) => {
            entry.insert(alternatives);
        }
        Entry::Occupied(mut entry) if alternatives.is_empty() => entry.get_mut().clear(),
        Entry::Occupied(entry) if entry.get().is_empty() => {}
        Entry::Occupied(mut entry) => entry.get_mut().extend(alternatives),
    }
    Ok(())
}

/// The conditions as alternatives that seccompiler can say; none if there is no condition.
fn expand(when: &[Condition]) -> Result<Vec<Vec<SeccompCondition>>, BackendError> {
    if when.is_empty() {
        return Ok(Vec::new());
    }
    let mut alternatives = vec![Vec::new()];
    for condition in when {
        let ways = ways(*condition)?;
        alternatives = alternatives
            .iter()
            .flat_map(|sofar: &Vec<SeccompCondition>| ways.iter().map(move |way| [sofar.as_slice(), std::slice::from_ref(way)].concat()))
            .collect();
    }
    Ok(alternatives)
}

/// One condition as alternatives: seccompiler has no "any of these bits".
fn ways(condition: Condition) -> Result<Vec<SeccompCondition>, BackendError> {
    let new = |operator, value: u32| SeccompCondition::new(condition.argument, SeccompCmpArgLen::Dword, operator, u64::from(value));
    let masked = |mask: u32, is: u32| new(SeccompCmpOp::MaskedEq(u64::from(mask)), is);
    match condition.test {
        Test::Is(value) => Ok(vec![new(SeccompCmpOp::Eq, value)?]),
        Test::IsNot(value) => Ok(vec![new(SeccompCmpOp::Ne, value)?]),
        Test::Masked { mask, is } => Ok(vec![masked(mask, is)?]),
        Test::AnyBit(bits) => (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| bits & bit != 0).map(|bit| masked(bit, bit)).collect(),
    }
}

fn assemble(filter: SeccompFilter) -> Result<Vec<libc::sock_filter>, SeccompError> {
    let program = BpfProgram::try_from(filter)?;
    Ok(program.into_iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect())
}

/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD_WORD: u16 = 0x20;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u16 = 0x54;
/// `BPF_ALU | BPF_RSH | BPF_K`.
const SHIFT_RIGHT: u16 = 0x74;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
/// The bit that makes an x86_64 call number an x32 one.
const X32: u32 = 0x4000_0000;

/// Answers ENOSYS to every x32 number: on a kernel with x32 each call exists a second time under a number that no row knows.
///
/// The kernel's bitmap is not defeated: a comparison of the number is all that is added, and native numbers pass it.
fn guard_x32(program: &mut Vec<libc::sock_filter>) -> Result<(), SeccompError> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    // seccompiler begins: load architecture, compare, kill, load number.
    let loads_number = program.get(3).is_some_and(|i| i.code == LOAD_WORD && i.k == 0);
    if !loads_number {
        return Err(SeccompError::Shape);
    }
    let refuse = libc::SECCOMP_RET_ERRNO | Answer::Enosys.errno().unsigned_abs();
    program.splice(4..4, [libc::sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32 }, libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse }]);
    Ok(())
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
