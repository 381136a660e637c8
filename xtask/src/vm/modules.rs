//! Which modules a kernel needs for some of them, and in which order; and their bytes, unpacked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// A kernel has thousands of modules, and a chain of them is short.
const DEEPEST: usize = 32;

/// The modules of a kernel, by name.
#[derive(Debug)]
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    /// What the kernel brings in itself.
    builtin: Vec<String>,
}

/// A module as the kernel takes it.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Modules {
    /// Those below `lib/modules/RELEASE`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        gather(&folder.join("kernel"), &mut files)?;
        let builtin = fs::read_to_string(folder.join("modules.builtin"))?;
        Ok(Self { files, builtin: builtin.lines().filter_map(|line| name(Path::new(line))).collect() })
    }

    /// These and what they need, each behind what it needs; without what the kernel brings in itself.
    pub(super) fn needed(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        for name in names {
            self.add(name, &mut found, 0)?;
        }
        Ok(found)
    }

    fn add(&self, name: &str, found: &mut Vec<Module>, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            bail!("{name}: modules need each other without an end");
        }
        if found.iter().any(|module| module.name == name) || self.builtin.iter().any(|builtin| builtin == name) {
            return Ok(());
        }
        let file = self.files.get(name).with_context(|| format!("the kernel has no module {name}"))?;
        let bytes = unpacked(file)?;
        for needed in depends(&bytes) {
            self.add(&needed, found, depth + 1)?;
        }
        found.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// The name of a module by its file's: `virtio-rng.ko.xz` is `virtio_rng`.
fn name(file: &Path) -> Option<String> {
    let (stem, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

fn gather(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else if let Some(name) = name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn unpacked(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|end| end != "xz") {
        return fs::read(file).with_context(|| file.display().to_string());
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output()?;
    if !output.status.success() {
        bail!("xz {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// What stands behind `depends=` in the module's own words, which are texts with a NUL behind each.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let value = module.get(at + key.len()..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(depends(b"\x7fELF..\0license=GPL\0depends=nf_tables,nf-tproxy_ipv4\0name=x\0"), ["nf_tables", "nf_tproxy_ipv4"]);
        assert_eq!(depends(b"\x7fELF..\0depends=\0"), Vec::<String>::new());
        assert_eq!(depends(b""), Vec::<String>::new());
    }

    #[test]
    fn what_is_needed_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        for (name, needs) in [("a", "b-one,ext4"), ("b-one", "c"), ("c", "")] {
            fs::write(folder.path().join(format!("kernel/{name}.ko")), format!("\0depends={needs}\0")).unwrap();
        }
        let modules = Modules::of(folder.path()).unwrap();
        let order: Vec<String> = modules.needed(&["a", "c"]).unwrap().into_iter().map(|module| module.name).collect();
        assert_eq!(order, ["c", "b_one", "a"]);
        assert!(modules.needed(&["d"]).is_err());
        fs::write(folder.path().join("kernel/c.ko"), "\0depends=a\0").unwrap();
        assert!(modules.needed(&["a"]).is_err(), "a ring of modules has no order");
    }
}
