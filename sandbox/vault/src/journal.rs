//! The journal of a session: append-only, each record with its length and a seal over it and all before it, so that a torn tail is
//! seen and nothing after it is believed.
//!
//! A record is a little-endian `u32` length, a seal of sixteen bytes (BLAKE3 of the seal before and the text, cut), and the text, JSON.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
};

use crate::record::Record;

/// Longest record: a path and sixty-four kibibytes of attributes, in hexadecimal, and some.
const LONGEST: usize = 1 << 20;

/// Bytes of a seal.
const SEAL: usize = 16;

/// Bytes before the text.
const HEAD: usize = 4 + SEAL;

type Seal = [u8; SEAL];

fn sealed(before: &Seal, text: &[u8]) -> Seal {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(text);
    let mut seal = [0; SEAL];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// Appends. One at a time has it.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    seal: Seal,
    /// Bytes of whole records.
    length: u64,
    /// A record could be neither written whole nor taken back: what follows it would never be read.
    broken: bool,
    buffer: Vec<u8>,
}

impl Writer {
    /// For a new, empty file that was opened for appending.
    pub(crate) fn new(file: File) -> Self {
        Self { file, seal: [0; SEAL], length: 0, broken: false, buffer: Vec::new() }
    }

    /// Goes on with a file that was opened for reading and appending: reads it, and cuts a torn tail off.
    pub(crate) fn go_on(file: File) -> io::Result<(Self, Vec<Record>)> {
        let Told { records, length, seal, torn } = read(&file)?;
        if torn {
            file.set_len(length)?;
        }
        Ok((Self { file, seal, length, broken: false, buffer: Vec::new() }, records))
    }

    /// Adds a record. After an error it is not there, not even in part.
    pub(crate) fn add(&mut self, record: &Record) -> io::Result<()> {
        self.add_all(std::slice::from_ref(record))
    }

    /// Adds several at once: after an error none of them is there.
    pub(crate) fn add_all(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier record could not be written"));
        }
        self.buffer.clear();
        let mut last = self.seal;
        for record in records {
            last = put(&mut self.buffer, &last, record)?;
        }
        if let Err(error) = self.write() {
            self.broken = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.seal = last;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    #[cfg(not(test))]
    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)
    }

    /// In two halves, between which a test may stop it, as a full disk does.
    #[cfg(test)]
    fn write(&mut self) -> io::Result<()> {
        let (first, second) = self.buffer.split_at(self.buffer.len() / 2);
        crate::crash::step("before a record")?;
        self.file.write_all(first)?;
        crate::crash::step("within a record")?;
        self.file.write_all(second)?;
        crate::crash::step("after a record").or(Ok(()))
    }

    /// Another descriptor of the file, for syncing without holding anybody up.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Appends one record; its seal.
fn put(buffer: &mut Vec<u8>, before: &Seal, record: &Record) -> io::Result<Seal> {
    let start = buffer.len();
    buffer.resize(start + HEAD, 0);
    serde_json::to_writer(&mut *buffer, record)?;
    let text = buffer.get(start + HEAD..).unwrap_or_default();
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= LONGEST).ok_or_else(|| io::Error::other("a record that is too long"))?;
    let seal = sealed(before, text);
    for (place, byte) in buffer.iter_mut().skip(start).zip(length.to_le_bytes().iter().chain(&seal)) {
        *place = *byte;
    }
    Ok(seal)
}

/// What a journal says.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) records: Vec<Record>,
    /// Bytes of whole records.
    pub(crate) length: u64,
    seal: Seal,
    /// Whether something follows them that is no record.
    pub(crate) torn: bool,
}

/// Reads all whole records.
pub(crate) fn read(file: &File) -> io::Result<Told> {
    read_some(file, usize::MAX)
}

/// Reads the first whole records.
pub(crate) fn read_some(file: &File, most: usize) -> io::Result<Told> {
    let mut told = Told { records: Vec::new(), length: 0, seal: [0; SEAL], torn: false };
    // By position, so that the descriptor's own offset does not matter.
    let mut from = BufReader::with_capacity(128 * 1024, At { file, offset: 0 });
    let mut text = Vec::new();
    while told.records.len() < most {
        let mut head = [0; HEAD];
        let got = fill(&mut from, &mut head)?;
        if got == 0 {
            return Ok(told);
        }
        told.torn = true;
        let ([a, b, c, d], seal) = split(&head);
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if got < HEAD || length > LONGEST {
            return Ok(told);
        }
        text.resize(length, 0);
        if fill(&mut from, &mut text)? < length || sealed(&told.seal, &text) != seal {
            return Ok(told);
        }
        let Ok(record) = serde_json::from_slice(&text) else { return Ok(told) };
        told.records.push(record);
        told.seal = seal;
        told.length += (HEAD + length) as u64;
        told.torn = false;
    }
    Ok(told)
}

fn split(head: &[u8; HEAD]) -> ([u8; 4], Seal) {
    let (mut length, mut seal) = ([0; 4], [0; SEAL]);
    for (to, from) in length.iter_mut().chain(seal.iter_mut()).zip(head) {
        *to = *from;
    }
    (length, seal)
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = into.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = std::os::unix::fs::FileExt::read_at(self.file, into, self.offset)?;
        self.offset += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, os::unix::fs::FileExt};

    use super::*;

    fn made(number: u64) -> Record {
        Record::Restored { at: number, by: String::new() }
    }

    fn journal(records: u64) -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        let file = OpenOptions::new().read(true).append(true).create(true).open(folder.path().join("j")).unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap());
        for number in 0..records {
            writer.add(&made(number)).unwrap();
        }
        (folder, file)
    }

    #[test]
    fn a_tail_torn_at_any_byte_loses_only_itself() {
        let (_folder, file) = journal(3);
        let whole = read(&file).unwrap();
        assert_eq!((whole.records.len(), whole.torn), (3, false));
        let two = {
            let (_folder, file) = journal(2);
            read(&file).unwrap().length
        };
        for cut in (two + 1..whole.length).rev() {
            file.set_len(cut).unwrap();
            let told = read(&file).unwrap();
            assert_eq!((told.records.len(), told.length, told.torn), (2, two, true), "cut at {cut}");
        }
        let (mut writer, records) = Writer::go_on(file.try_clone().unwrap()).unwrap();
        assert_eq!(records.len(), 2);
        writer.add(&made(9)).unwrap();
        assert_eq!(read(&file).unwrap().records, [made(0), made(1), made(9)]);
    }

    #[test]
    fn a_changed_byte_is_seen_and_nothing_after_it_is_believed() {
        let (folder, file) = journal(4);
        let length = read(&file).unwrap().length;
        let writable = OpenOptions::new().write(true).open(folder.path().join("j")).unwrap();
        for at in 0..length {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            writable.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let told = read(&file).unwrap();
            assert!(told.torn, "byte {at}");
            assert!(told.records.len() < 4);
            assert_eq!(told.records, (0..told.records.len() as u64).map(made).collect::<Vec<_>>());
            writable.write_all_at(&byte, at).unwrap();
        }
    }
}
