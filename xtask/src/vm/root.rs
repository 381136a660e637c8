//! The root that the kernels boot: this machine's own programs with what they load, `agentbox`, test programs; on a disk image of its own.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{archive::Archive, kernel::Kernel, modules::Modules, steps};
use crate::commands::{find, output, root as repository, succeed};

/// Packages whose programs come along.
const PACKAGES: &[&str] = &[
    "bash",
    "busybox",
    "coreutils",
    "curl",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "mawk",
    "mount",
    "openssl",
    "procps",
    "sed",
    "tar",
    "bsdutils",
    "util-linux",
];

/// Programs that come along wherever they are from.
const PROGRAMS: &[&str] = &["awk", "git"];

/// Programs of other packages, by the name that leads to them. Others of this name in PATH may be scripts that look for one.
const LINKS: &[&str] = &["/usr/bin/python3"];

/// Data that they read, files and folders. What one machine has not, another has.
const DATA: &[&str] = &[
    "/etc/alternatives",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/openssl.cnf",
    "/lib/terminfo",
    "/usr/lib/locale/C.utf8",
    "/usr/lib/ssl",
];

/// Of the repository: what test programs read.
const REPOSITORY: &[&str] = &["ESCAPES.md", "policies", "tests/escapes", "sandbox/kernel/Cargo.toml"];

/// Parts of python3's library that nothing here needs, and that are large.
const LEFT_OUT: &[&str] = &["dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo"];

/// Folders of a system; most are mounted on.
const FOLDERS: &[&str] = &["dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr/local/bin", "var/log", "var/tmp", "vm/tests"];

/// Modules that the disk takes.
const FOR_THE_DISK: &[&str] = &["virtio_pci", "virtio_blk"];

/// Modules that an installed system would load when they are first asked for.
const FOR_THE_BOX: &[&str] = &["nf_tables", "nft_tproxy", "nft_reject_inet", "overlay"];

/// How large the disk is, in megabytes; the file has holes.
const MEGABYTES: &str = "1200M";

/// What was built for it.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) agentbox: PathBuf,
    pub(super) tests: Vec<PathBuf>,
    /// What measures, where anything is measured.
    pub(super) probe: Option<PathBuf>,
}

/// Makes the disk, the same for every kernel; gives its file.
pub(super) fn make(folder: &Path, kernels: &[Kernel], programs: &Programs, steps: &[steps::Step], patience: Duration) -> Result<PathBuf> {
    let mut stage = Stage::begin(folder.join("root"))?;
    for path in package_programs()? {
        stage.add(&path)?;
    }
    for program in PROGRAMS.iter().filter_map(|name| find(name)) {
        stage.add(&program)?;
    }
    for link in LINKS {
        stage.add(Path::new(link))?;
    }
    for data in DATA.iter().map(Path::new).filter(|data| data.exists()) {
        stage.add_all(data)?;
    }
    for library in fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path()) {
        if library.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3.")) {
            stage.add_all(&library)?;
        }
    }
    for part in REPOSITORY {
        stage.add_all(&repository().join(part))?;
    }
    stage.program(&programs.agentbox, "usr/local/bin/agentbox")?;
    for test in &programs.tests {
        let name = test.file_name().context("a program without a name")?.to_string_lossy();
        // Behind the last dash cargo puts a number of its own.
        let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
        stage.program(test, &format!("vm/tests/{name}"))?;
    }
    if let Some(probe) = &programs.probe {
        stage.program(probe, "usr/local/bin/probe")?;
    }
    stage.add_libraries()?;
    stage.write("vm/init", include_str!("inside/init.sh"))?;
    stage.write("vm/yama.sh", include_str!("inside/yama.sh"))?;
    stage.write("vm/steps", &steps::script(steps))?;
    stage.write("vm/repository", &repository().to_string_lossy())?;
    stage.write("vm/patience", &patience.as_secs().to_string())?;
    for kernel in kernels {
        stage.modules(kernel)?;
    }
    stage.finish(&folder.join("root.img"))
}

/// What the kernel unpacks before it has the disk.
pub(super) fn start(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["dev", "proc", "sys", "root"] {
        archive.folder(name);
    }
    let busybox = find("busybox").context("busybox is gone")?;
    archive.file("bin/busybox", &fs::read(&busybox)?);
    for library in libraries(&BTreeSet::from([busybox]))? {
        archive.file(&library.to_string_lossy(), &fs::read(&library)?);
    }
    let modules = Modules::of(&kernel.modules())?.needed(FOR_THE_DISK)?;
    let order: String = modules.iter().map(|module| format!("{}\n", module.name)).collect();
    archive.file("modules/order", order.as_bytes());
    for module in modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.bytes);
    }
    archive.file("init", include_bytes!("inside/start.sh"));
    Ok(archive.finish())
}

/// The programs of the packages that are installed here.
fn package_programs() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for package in PACKAGES {
        // One that is not installed, or whose programs another package brings, is what a test then says.
        let Ok(files) = output(Command::new("dpkg-query").args(["--listfiles", package])) else { continue };
        let is_program = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("bin") || folder.ends_with("sbin"));
        found.extend(files.lines().map(PathBuf::from).filter(|path| is_program(path) && path.exists()));
    }
    if found.is_empty() {
        bail!("dpkg knows of no programs on this machine");
    }
    Ok(found)
}

/// The shared libraries that programs load, by the paths at which the loader finds them here.
fn libraries(programs: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    // It fails where one of many is a static program, and tells of the others all the same.
    let told = Command::new("ldd").args(programs).output().context("ldd")?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let of_line = |line: &str| line.strip_prefix('\t')?.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(text.lines().filter_map(of_line).filter(|path| path.exists()).collect())
}

/// A folder that becomes the root.
struct Stage {
    folder: PathBuf,
    /// Programs and libraries in it, by their paths here, whose libraries must come along.
    loaded: BTreeSet<PathBuf>,
}

impl Stage {
    fn begin(folder: PathBuf) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        for name in FOLDERS {
            fs::create_dir_all(folder.join(name))?;
        }
        // /bin, /lib and the like lead into /usr as they do here.
        for entry in fs::read_dir("/")?.flatten() {
            if let Ok(target) = fs::read_link(entry.path())
                && target.is_relative()
                && target.starts_with("usr")
            {
                fs::create_dir_all(folder.join(&target))?;
                symlink(&target, folder.join(entry.file_name()))?;
            }
        }
        Ok(Self { folder, loaded: BTreeSet::new() })
    }

    /// Where a path of this machine lies in the root: its folder is told without links.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let parent = path.parent().context("the root itself is not copied")?.canonicalize()?;
        let parent = self.folder.join(parent.strip_prefix("/")?);
        fs::create_dir_all(&parent)?;
        Ok(parent.join(path.file_name().context("a path without a name")?))
    }

    /// A file with its mode, or a link and what it leads to.
    fn add(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        if place.symlink_metadata().is_ok() {
            return Ok(());
        }
        let meta = path.symlink_metadata().with_context(|| path.display().to_string())?;
        if meta.is_symlink() {
            let target = fs::read_link(path)?;
            symlink(&target, &place)?;
            let leads_to = path.parent().unwrap_or(path).join(target);
            // One that leads nowhere is a link all the same; a folder that it leads to is not ours to bring.
            return if leads_to.is_file() { self.add(&leads_to) } else { Ok(()) };
        }
        if meta.is_file() {
            fs::copy(path, &place).with_context(|| path.display().to_string())?;
            if starts_as_elf(path)? {
                self.loaded.insert(path.to_owned());
            }
        }
        Ok(())
    }

    /// A file, or a folder with all that it holds.
    fn add_all(&mut self, path: &Path) -> Result<()> {
        if path.symlink_metadata()?.is_dir() {
            fs::create_dir_all(self.place(path)?)?;
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) && !entry.file_name().to_string_lossy().starts_with("config-3") {
                    self.add_all(&entry.path())?;
                }
            }
            return Ok(());
        }
        self.add(path)
    }

    /// A program that was built, without what only debuggers read.
    fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        succeed(Command::new("strip").arg("--strip-debug").arg("-o").arg(self.folder.join(to)).arg(from))?;
        self.loaded.insert(from.to_owned());
        Ok(())
    }

    fn add_libraries(&mut self) -> Result<()> {
        for library in libraries(&self.loaded)? {
            self.add(&library)?;
        }
        Ok(())
    }

    /// A script or a text of our own.
    fn write(&self, to: &str, text: &str) -> Result<()> {
        let place = self.folder.join(to);
        fs::write(&place, text)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).context("its mode")
    }

    /// The modules that the kernel asks for by itself, with the tables by which they are found.
    fn modules(&self, kernel: &Kernel) -> Result<()> {
        let place = self.folder.join("lib/modules").join(kernel.release());
        fs::create_dir_all(&place)?;
        for module in Modules::of(&kernel.modules())?.needed(FOR_THE_BOX)? {
            fs::write(place.join(format!("{}.ko", module.name)), module.bytes)?;
        }
        for table in ["modules.builtin", "modules.order"] {
            fs::copy(kernel.modules().join(table), place.join(table))?;
        }
        succeed(Command::new("busybox").args(["depmod", "-b"]).arg(&self.folder).arg(kernel.release()))?;
        let modprobe = self.folder.join("usr/sbin/modprobe");
        if modprobe.symlink_metadata().is_err() {
            symlink("/bin/busybox", modprobe)?;
        }
        Ok(())
    }

    /// The image, and the folder gone.
    fn finish(self, image: &Path) -> Result<PathBuf> {
        if image.exists() {
            fs::remove_file(image)?;
        }
        let mut make = Command::new(find("mke2fs").context("mke2fs is gone")?);
        make.args(["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0,lazy_itable_init=0", "-d"]).arg(&self.folder).arg(image).arg(MEGABYTES);
        succeed(&mut make)?;
        fs::remove_dir_all(&self.folder)?;
        Ok(image.to_owned())
    }
}

fn starts_as_elf(path: &Path) -> Result<bool> {
    use std::io::Read as _;
    let mut head = [0; 4];
    Ok(fs::File::open(path)?.read(&mut head)? == head.len() && head == *b"\x7fELF")
}
