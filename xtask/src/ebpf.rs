//! `cargo xtask ebpf [--check]`: builds the programs that run in the kernel, and the object that is committed.
//!
//! Rust for BPF needs a `core` for that target, which rustup's stable does not have. Debian ships a compiler with one: it is unpacked into a
//! folder below `target`, and nothing is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use object::build::elf::{Builder, SectionData};

use crate::commands::{is_ci, output, root, say, succeed, target, tell};

/// What is committed, and cargo's name for it.
const OBJECTS: &[(&str, &str)] = &[("agentbox", "ebpf/agentbox.bpf.o"), ("agentbox-gate", "ebpf/agentbox-gate.bpf.o")];

/// With what it was built: another compiler makes other bytes.
const BUILT_WITH: &str = "ebpf/agentbox.bpf.txt";

/// Debian's compiler and its `core` for BPF.
const PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf", "libstd-rust-web-dev"];

/// Libraries with their version in their name: those that the packages above ask for.
const LIBRARIES: &[&str] = &["libstd-rust-web-", "libllvm"];

/// The linker, and the LLVM that rustup's compiler brings along.
const LINKER: (&str, &str) = ("bpf-linker", "0.13.0");

/// Builds, and writes or compares.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let is_check = arguments.iter().any(|argument| argument == "--check");
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(why) if is_check && !is_ci() => {
            tell(&format!("SKIPPED: the eBPF object is not rebuilt: {why:#}"));
            return Ok(ExitCode::SUCCESS);
        }
        Err(why) => return Err(why),
    };
    tools.build()?;
    let with = tools.told()?;
    let told = root().join(BUILT_WITH);
    let committed_with = fs::read_to_string(&told).unwrap_or_default();
    for (name, object) in OBJECTS {
        let built = tools.built(name)?;
        if !is_check {
            fs::write(root().join(object), &built)?;
            tell(&format!("{object}: {} bytes", built.len()));
            continue;
        }
        let committed = fs::read(root().join(object)).with_context(|| (*object).to_owned())?;
        if committed == built {
            tell(&format!("{object} is what its source builds to, byte for byte"));
        } else if committed_with != with {
            tell(&format!("{object} was built with\n{committed_with}and here is\n{with}so their bytes cannot be compared; both build"));
        } else {
            bail!("{object} is not what its source builds to: run `cargo xtask ebpf` and commit it");
        }
    }
    if !is_check {
        fs::write(&told, &with)?;
        tell(&with);
    }
    Ok(ExitCode::SUCCESS)
}

/// A compiler and a linker for BPF.
struct Tools {
    folder: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let tools = Self { folder: target()?.join("ebpf-tools") };
        if !tools.compiler().exists() {
            tools.fetch_compiler().context("fetching Debian's compiler for BPF")?;
        }
        if !tools.linker().exists() {
            tools.build_linker().context("building bpf-linker")?;
        }
        Ok(tools)
    }

    fn compiler(&self) -> PathBuf {
        self.folder.join("rustc-bpf")
    }

    fn linker(&self) -> PathBuf {
        self.folder.join("bin").join(LINKER.0)
    }

    fn fetch_compiler(&self) -> Result<()> {
        let (packages, unpacked) = (self.folder.join("packages"), self.folder.join("root"));
        fs::create_dir_all(&packages)?;
        fs::create_dir_all(&unpacked)?;
        let mut names: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
        names.extend(depended("rustc-web")?);
        say(&format!("fetching {}", names.join(" ")));
        succeed(Command::new("apt-get").arg("download").args(&names).current_dir(&packages))?;
        for package in fs::read_dir(&packages)? {
            succeed(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&unpacked))?;
        }
        fs::remove_dir_all(&packages)?;
        // What follows is a program of its own, so that cargo needs to know of one path only.
        let compiler = self.compiler();
        let usr = unpacked.join("usr");
        let triple = format!("{}-linux-gnu", env::consts::ARCH);
        let text = format!("#!/bin/sh\nLD_LIBRARY_PATH='{0}/lib/{triple}' exec '{0}/bin/rustc' \"$@\"\n", usr.display());
        fs::write(&compiler, text)?;
        succeed(Command::new("chmod").arg("+x").arg(&compiler))
    }

    fn build_linker(&self) -> Result<()> {
        let llvm = self.folder.join("llvm/lib");
        fs::create_dir_all(&llvm)?;
        // The compiler that rustup installed brings an LLVM of the version that the linker wants; its own name is not the usual one.
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let library = fs::read_dir(Path::new(sysroot.trim()).join("lib"))?
            .flatten()
            .map(|entry| entry.path())
            // Beside it lies a script for linkers that names it, and begins alike.
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so.")))
            .context("the compiler brings no libLLVM")?;
        for name in [library.file_name().context("a library without a name")?.to_owned(), "libLLVM.so".into()] {
            let link = llvm.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(&library, link)?;
            }
        }
        let (name, version) = LINKER;
        let mut cargo = Command::new("cargo");
        cargo.args(["install", name, "--version", version, "--locked", "--no-default-features", "--features", "llvm-22", "--root"]).arg(&self.folder);
        cargo.env("LLVM_PREFIX", self.folder.join("llvm")).env("CARGO_TARGET_DIR", self.folder.join("linker-target"));
        succeed(cargo.current_dir(&self.folder))?;
        fs::remove_dir_all(self.folder.join("linker-target")).context("removing what the linker was built from")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    fn build(&self) -> Result<()> {
        let source = root().join("ebpf/programs");
        let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
        let mut flags = vec![
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            // Else the same source would make other bytes in another folder.
            format!("--remap-path-prefix={}=.", root().display()),
            format!("--remap-path-prefix={home}=/cargo"),
        ];
        // The folders of unpacked packages are named after where they came from, which is nobody's business; the last that matches counts.
        let unpacked = fs::read_dir(Path::new(&home).join("registry/src")).into_iter().flatten().flatten();
        flags.extend(unpacked.map(|entry| format!("--remap-path-prefix={}=/crates", entry.path().display())));
        let mut path = self.folder.join("bin").into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--release", "--locked", "--target", "bpfel-unknown-none"]);
        // The compiler is a stable one, but what the helpers of aya are made of is not.
        cargo.env("RUSTC", self.compiler()).env("RUSTC_BOOTSTRAP", "1").env("PATH", path).env("CARGO_TARGET_DIR", self.target());
        cargo.env("LD_LIBRARY_PATH", self.folder.join("llvm/lib")).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        cargo.env_remove("RUSTC_WRAPPER").env_remove("RUSTFLAGS").env_remove("CARGO_PROFILE_RELEASE_DEBUG");
        succeed(cargo.current_dir(source))
    }

    /// An object without what only debuggers read.
    fn built(&self, name: &str) -> Result<Vec<u8>> {
        strip(&fs::read(self.target().join("bpfel-unknown-none/release").join(name))?)
    }

    fn told(&self) -> Result<String> {
        let compiler = output(Command::new(self.compiler()).arg("--version"))?;
        Ok(format!("compiler: {}\nlinker: {} {}\n", compiler.trim(), LINKER.0, LINKER.1))
    }
}

/// The libraries that a package asks for and that lie beside it.
fn depended(package: &str) -> Result<Vec<String>> {
    let text = output(Command::new("apt-cache").args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        package,
    ]))?;
    let mut names: Vec<String> =
        text.lines().map(str::trim).filter(|line| LIBRARIES.iter().any(|stem| line.starts_with(stem)) && !line.contains("dev")).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        bail!("apt knows no {package}: `apt-get update`, or Debian's security archive is missing")
    }
    Ok(names)
}

/// Takes out the sections that only debuggers read; the types that the kernel reads stay.
fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(bytes).map_err(|error| anyhow::anyhow!("the object cannot be read: {error}"))?;
    for section in builder.sections.iter_mut() {
        let name = section.name.to_string();
        section.delete = [".debug", ".rel.debug", ".rela.debug"].iter().any(|stem| name.starts_with(stem));
    }
    // LLVM keeps the names of sections and symbols in one table; what writes it again keeps them in two.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.data = SectionData::SectionString;
    }
    builder.delete_orphans();
    let mut out = Vec::new();
    builder.write(&mut out).map_err(|error| anyhow::anyhow!("the object cannot be written: {error}"))?;
    Ok(out)
}
