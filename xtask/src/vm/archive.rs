//! Writes what the kernel unpacks before it has a disk: a cpio archive of the "newc" kind (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::path::Path;

/// File kinds and modes, as `stat` has them.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive that grows.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    count: u32,
    folders: Vec<String>,
}

impl Archive {
    /// A file that may be executed, with the folders that it lies in.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) {
        let path = path.trim_start_matches('/');
        let above: Vec<_> = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        for folder in above.into_iter().rev() {
            self.folder(&folder.to_string_lossy());
        }
        self.entry(path, PROGRAM, bytes);
    }

    /// A folder, once.
    pub(super) fn folder(&mut self, path: &str) {
        if !self.folders.iter().any(|known| known == path) {
            self.folders.push(path.to_owned());
            self.entry(path, FOLDER, &[]);
        }
    }

    /// The whole.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.count += 1;
        // magic, inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name with its NUL, checksum
        let fields = [self.count, mode, 0, 0, 1, 0, length(bytes.len()), 0, 0, 0, 0, length(path.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(bytes);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The format has eight hexadecimal digits; what we pack is megabytes.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn busybox_unpacks_it() {
        if crate::commands::find("busybox").is_none() {
            crate::commands::say("SKIPPED: busybox is not here");
            return;
        }
        let mut archive = Archive::default();
        archive.file("/lib/x86/libc.so", b"12345");
        archive.file("lib/other", b"");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archive");
        std::fs::write(&file, archive.finish()).unwrap();
        let mut unpack = Command::new("busybox");
        unpack.args(["cpio", "-i"]).current_dir(folder.path()).stdin(std::fs::File::open(&file).unwrap()).stderr(Stdio::null());
        assert!(unpack.status().unwrap().success());
        assert_eq!(std::fs::read(folder.path().join("lib/x86/libc.so")).unwrap(), b"12345");
        assert_eq!(std::fs::read(folder.path().join("lib/other")).unwrap(), b"");
    }
}
