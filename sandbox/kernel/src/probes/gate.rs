//! The kernel gate: programs on the kernel's security hooks, which refuse a process of the box what only the file gate may do to files; or, where
//! they judge, leave to the kernel what is done with files that were made in the box, and send the rest to the file gate.

use std::{
    fs,
    io::Read as _,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Btf, Ebpf,
    maps::{CgroupArray, Map, MapData, RingBuf},
    programs::{Lsm, ProgramError},
};

use super::{
    Gate,
    btf::{self, BtfError, Types},
    load::{first_line, map, plain_loader, release, ring, taken},
    words,
};

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/agentbox-gate.bpf.o");

/// The list of security modules that the kernel asks.
const MODULES: &str = "/sys/kernel/security/lsm";

/// The programs, each called after its hook, but for [`SETATTR`].
const HOOKS: &[&str] = &[
    "path_unlink",
    "path_rmdir",
    "path_rename",
    "path_link",
    "path_truncate",
    "file_truncate",
    "file_open",
    "path_chmod",
    "path_chown",
    "inode_setxattr",
    "inode_removexattr",
    "inode_set_acl",
    "inode_remove_acl",
];

/// Came with Linux 6.2. Before, `path_truncate` was asked in the place of the first, and those for extended attributes in that of the others.
const LATER: &[&str] = &["file_truncate", "inode_set_acl", "inode_remove_acl"];

/// A hook of which there are two kinds: how many arguments it has, and the program for it.
const SETATTR: (&str, &[(usize, &str)]) = ("inode_setattr", &[(2, "inode_setattr"), (3, "inode_setattr_by_map")]);

/// What the programs read: their constant, the field that it is the place of, and how many bytes they take it for.
const FIELDS: &[(&str, &[&str], u32)] = &[
    ("CRED_CAP_EFFECTIVE", &["cred", "cap_effective"], 8),
    ("DENTRY_D_INODE", &["dentry", "d_inode"], 8),
    ("DENTRY_D_NAME", &["dentry", "d_name", "name"], 8),
    ("DENTRY_D_SB", &["dentry", "d_sb"], 8),
    ("FILE_F_DENTRY", &["file", "f_path", "dentry"], 8),
    ("FILE_F_INODE", &["file", "f_inode"], 8),
    ("FILE_F_MODE", &["file", "f_mode"], 4),
    ("IATTR_IA_VALID", &["iattr", "ia_valid"], 4),
    ("INODE_I_INO", &["inode", "i_ino"], 8),
    ("INODE_I_MODE", &["inode", "i_mode"], 2),
    ("INODE_I_SB", &["inode", "i_sb"], 8),
    ("INODE_I_SIZE", &["inode", "i_size"], 8),
    ("PATH_DENTRY", &["path", "dentry"], 8),
    ("SB_S_DEV", &["super_block", "s_dev"], 4),
    ("SB_S_MAGIC", &["super_block", "s_magic"], 8),
    ("SB_S_USER_NS", &["super_block", "s_user_ns"], 8),
    ("TASK_CRED", &["task_struct", "cred"], 8),
    ("TASK_FLAGS", &["task_struct", "flags"], 4),
    ("TASK_REAL_CRED", &["task_struct", "real_cred"], 8),
    ("USER_NS_INUM", &["user_namespace", "ns", "inum"], 4),
];

/// The same, for where it judges.
const MORE: &[(&str, &[&str], u32)] = &[
    ("FILE_F_FLAGS", &["file", "f_flags"], 4),
    ("INODE_I_NLINK", &["inode", "i_nlink"], 4),
    // 64 of them, with 32 bytes each.
    ("SIGHAND_ACTION", &["sighand_struct", "action"], 2048),
    ("SIGNAL_SHARED_PENDING", &["signal_struct", "shared_pending", "signal"], 8),
    ("TASK_BLOCKED", &["task_struct", "blocked"], 8),
    ("TASK_PENDING", &["task_struct", "pending", "signal"], 8),
    ("TASK_SIGHAND", &["task_struct", "sighand"], 8),
    ("TASK_SIGNAL", &["task_struct", "signal"], 8),
];

/// Marks what the box makes, where the file system asks; only where the gate judges.
const MARKS: &str = "inode_init_security";

/// What the running kernel says of itself.
struct Kernel {
    /// The programs' constants, and their values.
    offsets: Vec<(&'static str, u32)>,
    /// The programs that it takes, each with its hook.
    programs: Vec<(&'static str, &'static str)>,
    /// That it asks programs at all, or why that cannot be told. A kernel that takes none says so better.
    asks: Result<(), String>,
}

/// Looks at the running kernel; says in one line what it lacks.
fn look(gate: Gate) -> Result<Kernel, String> {
    let modules = fs::read_to_string(MODULES).map_err(|error| format!("{MODULES}, the list of security modules, cannot be read: {error}"));
    if let Ok(modules) = &modules
        && !modules.trim().split(',').any(|module| module == "bpf")
    {
        // Programs could be loaded all the same, and would never be asked.
        return Err(format!("`bpf` is not among this kernel's security modules ({})", modules.trim()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(btf::KERNEL).map_err(|error| format!("{}: {error}", btf::KERNEL))?;
    file.take(btf::LONGEST).read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", btf::KERNEL))?;
    let types = Types::read(&bytes).map_err(|error| error.to_string())?;
    let more = if gate == Gate::Judges { MORE } else { &[] };
    let offsets =
        FIELDS.iter().chain(more).map(|(name, path, width)| types.offset(path, *width).map(|offset| (*name, offset))).collect::<Result<_, BtfError>>();
    let offsets = offsets.map_err(|error| error.to_string())?;
    let asks = |hook: &str| types.parameters(&format!("bpf_lsm_{hook}"));
    let (hook, kinds) = SETATTR;
    let takes = asks(hook).ok_or_else(|| format!("this kernel has no hook {hook}"))?;
    let (_, program) = kinds.iter().find(|(count, _)| *count == takes).ok_or_else(|| format!("this kernel's hook {hook} has {takes} arguments"))?;
    let marks = (gate == Gate::Judges).then_some((MARKS, MARKS));
    let known = HOOKS.iter().filter(|hook| !LATER.contains(hook) || asks(hook).is_some());
    Ok(Kernel { offsets, programs: known.map(|hook| (*hook, *hook)).chain([(*program, hook)]).chain(marks).collect(), asks: modules.map(drop) })
}

/// Attached programs; they go with this.
pub(super) struct Guard {
    bypasses: RingBuf<MapData>,
    /// The map in which it stands which call is on its way to the file gate.
    notes: Map,
    _programs: Ebpf,
}

impl Guard {
    /// Readable when something was refused.
    pub(super) fn ring(&self) -> BorrowedFd<'_> {
        self.bypasses.as_fd()
    }

    /// What was refused since it was last asked, a line each.
    pub(super) fn refused(&mut self) -> Vec<String> {
        taken(&mut self.bypasses, |record| words::bypass(record).map(|bypassed| bypassed.told()))
    }

    /// Where it is noted which call is on its way to the file gate.
    ///
    /// # Errors
    /// The object has another kind of map there.
    pub(super) fn notes(&self) -> Result<BorrowedFd<'_>, String> {
        match &self.notes {
            Map::HashMap(map) => Ok(map.fd().as_fd()),
            _ => Err("the object's map NOTES is of another kind".to_owned()),
        }
    }
}

/// Loads the programs and attaches them, for this cgroup alone; or says in one line which could not be and why. `users` is the number of the box's
/// user namespace; 0: nothing in memory is taken for the box's.
pub(super) fn load(cgroup: &OwnedFd, users: u32, gate: Gate) -> Result<Guard, String> {
    let judges = match gate {
        Gate::Not => return Err("nobody asked for it".to_owned()),
        Gate::Refuses => 0_u32,
        Gate::Judges if cfg!(target_arch = "x86_64") => 1,
        Gate::Judges => return Err("it judges on x86-64 alone, whose calls it knows by their numbers".to_owned()),
    };
    let kernel = look(gate)?;
    let mut loader = plain_loader();
    loader.override_global("BOX_USERS", &users, true).override_global("JUDGES", &judges, true);
    for (name, offset) in &kernel.offsets {
        loader.override_global(name, offset, true);
    }
    let mut programs = loader.load(OBJECT).map_err(|error| format!("the object: {}", first_line(&error.to_string())))?;
    attach(&mut programs, &kernel, cgroup)?;
    let (bypasses, notes) = (ring(&mut programs, "BYPASSES")?, map(&mut programs, "NOTES")?);
    Ok(Guard { bypasses, notes, _programs: programs })
}

fn attach(programs: &mut Ebpf, kernel: &Kernel, cgroup: &OwnedFd) -> Result<(), String> {
    let map = programs.map_mut("BOX").ok_or("the object has no map BOX")?;
    CgroupArray::try_from(map).and_then(|mut of| of.set(0, cgroup.as_raw_fd(), 0)).map_err(|error| format!("the box's cgroup: {error}"))?;
    let types = Btf::from_sys_fs().map_err(|error| first_line(&error.to_string()).to_owned())?;
    for (name, hook) in &kernel.programs {
        let program = programs.program_mut(name).ok_or_else(|| format!("the object has no program {name}"))?;
        one(program, hook, &types).map_err(|error| {
            tracing::info!(program = name, ?error, "the kernel's log");
            format!("program {name} on Linux {}: {}", release(), reason(&error))
        })?;
    }
    kernel.asks.clone()
}

fn one(program: &mut aya::programs::Program, hook: &str, types: &Btf) -> Result<(), ProgramError> {
    let program: &mut Lsm = program.try_into()?;
    program.load(hook, types)?;
    program.attach().map(drop)
}

/// One line; what the kernel itself said, where it said something.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let counts = |line: &str| ["processed ", "stack depth ", "verification time "].iter().any(|start| line.starts_with(start));
            let last = log.lines().rev().find(|line| !line.trim().is_empty() && !counts(line));
            last.map_or_else(|| format!("the kernel refuses it: {io_error}"), |last| format!("the kernel refuses it: {io_error}: {last}"))
        }
        other => first_line(&other.to_string()).to_owned(),
    }
}
