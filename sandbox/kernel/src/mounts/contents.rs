//! What a file of ours in the box holds: bytes, and behind them those of a file of the machine's.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::Path,
};

/// The contents of a provided file.
#[derive(Debug, Default)]
pub struct Contents {
    bytes: Vec<u8>,
    rest: Option<File>,
}

impl Contents {
    /// These bytes, and behind them all that this file holds. The kernel copies it when it is put: a bundle of certificates would else be
    /// read into the memory of one process and written from that of another, a page fault for each of its pages.
    #[must_use]
    pub fn before(bytes: Vec<u8>, rest: File) -> Self {
        Self { bytes, rest: Some(rest) }
    }

    /// Makes the file, or writes it anew.
    ///
    /// # Errors
    /// It cannot be made, or not be written whole.
    pub fn put(&self, path: &Path) -> io::Result<()> {
        self.write(File::create(path)?)
    }

    /// Writes it into a file that has been made for it.
    ///
    /// # Errors
    /// It cannot be written whole.
    pub fn write(&self, mut file: File) -> io::Result<()> {
        file.write_all(&self.bytes)?;
        if let Some(mut rest) = self.rest.as_ref() {
            // It may have been put elsewhere before.
            rest.rewind()?;
            io::copy(&mut rest, &mut file)?;
        }
        Ok(())
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, rest: None }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_comes_behind_the_bytes_each_time_it_is_put() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // More than the kernel copies in one go.
        let system = b"SYSTEM\n".repeat(40_000);
        fs::write(at("system"), &system).unwrap();
        let contents = Contents::before(b"OURS\n".to_vec(), File::open(at("system")).unwrap());
        for name in ["once", "again"] {
            contents.put(&at(name)).unwrap();
            assert_eq!(fs::read(at(name)).unwrap(), [b"OURS\n".as_slice(), &system].concat(), "{name}");
        }
        fs::write(at("longer"), [b'x'; 100]).unwrap();
        Contents::from(b"short".to_vec()).put(&at("longer")).unwrap();
        assert_eq!(fs::read(at("longer")).unwrap(), b"short");
    }
}
