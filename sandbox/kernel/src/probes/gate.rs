//! The kernel gate: programs on the kernel's security hooks, which refuse a process of the box what only the file gate may do to files.

use std::{
    fs,
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd},
};

use aya::{
    Btf, Ebpf,
    maps::CgroupArray,
    programs::{Lsm, ProgramError},
};

use super::{
    btf::{self, BtfError, Types},
    load::{first_line, release},
};

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
    ("TASK_FLAGS", &["task_struct", "flags"], 4),
    ("USER_NS_INUM", &["user_namespace", "ns", "inum"], 4),
];

/// What the running kernel says of itself.
pub(super) struct Kernel {
    /// The programs' constants, and their values.
    pub(super) offsets: Vec<(&'static str, u32)>,
    /// The programs that it takes, each with its hook.
    programs: Vec<(&'static str, &'static str)>,
    /// That it asks programs at all, or why that cannot be told. A kernel that takes none says so better.
    asks: Result<(), String>,
}

/// Looks at the running kernel; says in one line what it lacks.
pub(super) fn look() -> Result<Kernel, String> {
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
    let offsets = FIELDS.iter().map(|(name, path, width)| types.offset(path, *width).map(|offset| (*name, offset))).collect::<Result<_, BtfError>>();
    let offsets = offsets.map_err(|error| error.to_string())?;
    let asks = |hook: &str| types.parameters(&format!("bpf_lsm_{hook}"));
    let (hook, kinds) = SETATTR;
    let takes = asks(hook).ok_or_else(|| format!("this kernel has no hook {hook}"))?;
    let (_, program) = kinds.iter().find(|(count, _)| *count == takes).ok_or_else(|| format!("this kernel's hook {hook} has {takes} arguments"))?;
    let known = HOOKS.iter().filter(|hook| !LATER.contains(hook) || asks(hook).is_some());
    Ok(Kernel { offsets, programs: known.map(|hook| (*hook, *hook)).chain([(*program, hook)]).collect(), asks: modules.map(drop) })
}

/// Loads the programs and attaches them, for this cgroup alone; or says in one line which could not be and why.
pub(super) fn attach(programs: &mut Ebpf, kernel: &Kernel, cgroup: &OwnedFd) -> Result<(), String> {
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
