//! The file of entries as one writer sees it: lock, catch up with what other boxes wrote, append, let go; sync and anchor apart.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use agentbox_core::ledger::{Draft, Entry, Event, NotWritten};

use super::{
    ANCHOR, ENTRIES, LONGEST_LINE, LedgerError,
    anchor::Anchor,
    place::{self, Sharing, io_error},
    read::{Line, Lines},
};

/// Most bytes of garbage that are kept for people to look at; what one crash leaves is far less.
const MOST_GARBAGE: u64 = 1 << 20;

/// The chain of entries, open for writing.
pub(super) struct Chain {
    folder: PathBuf,
    entries: File,
    anchor: File,
    head: Anchor,
    /// As far as the anchor is known to reach, in bytes.
    anchored: u64,
    /// Set once a sync has failed: the kernel may have dropped what it could not write, so nothing more is believed.
    spoilt: Option<String>,
}

impl Chain {
    /// Opens, or begins, the ledger in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, LedgerError> {
        place::make(folder)?;
        let (entries_path, anchor_path) = (folder.join(ENTRIES), folder.join(ANCHOR));
        let entries = place::open(&entries_path)?;
        let anchor = place::open(&anchor_path)?;
        let locked = place::lock(&entries, Sharing::Alone).map_err(io_error("locking", &entries_path))?;
        let length = entries.metadata().map_err(io_error("looking at", &entries_path))?.len();
        let head = match Anchor::read(&anchor) {
            Ok(Some(head)) => head,
            Ok(None) if length == 0 => {
                let head = Anchor::genesis();
                head.write(&anchor).map_err(io_error("writing", &anchor_path))?;
                anchor.sync_all().map_err(io_error("syncing", &anchor_path))?;
                place::sync_folder(folder)?;
                head
            }
            Ok(None) => return Err(LedgerError::Broken(format!("{} is gone", anchor_path.display()))),
            Err(error) => return Err(LedgerError::Broken(format!("{}: {error}", anchor_path.display()))),
        };
        if length < head.length {
            return Err(LedgerError::Broken(cut(length, &head)));
        }
        drop(locked);
        let anchored = head.length;
        Ok(Self { folder: folder.to_owned(), entries, anchor, head, anchored, spoilt: None })
    }

    /// Appends entries, in order; they are in the file, not yet surely on disk. All or none.
    pub(super) fn append(&mut self, drafts: Vec<Draft>) -> Result<Vec<u64>, NotWritten> {
        if let Some(spoilt) = &self.spoilt {
            return Err(NotWritten(spoilt.clone()));
        }
        let _locked = place::lock(&self.entries, Sharing::Alone).map_err(not_written("locking it"))?;
        let set_aside = catch_up(&self.folder, &self.entries, &self.anchor, &mut self.head)?;
        let mut head = self.head.clone();
        let mut bytes = Vec::new();
        let mut numbers = Vec::new();
        let session = drafts.first().map_or("", |draft| draft.session.as_str());
        let note = set_aside.map(|note| Draft { note, ..Draft::new(Event::Noted, session) });
        let notes = usize::from(note.is_some());
        for (index, draft) in note.into_iter().chain(drafts).enumerate() {
            let (entry, line) = Entry::seal_line(draft, head.count + 1, now(), &head.seal);
            if line.len() >= LONGEST_LINE {
                return Err(NotWritten(format!("an entry of {} bytes is longer than {LONGEST_LINE}", line.len() + 1)));
            }
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            head = Anchor { count: entry.sequence, length: head.length + line.len() as u64 + 1, seal: entry.seal };
            if index >= notes {
                numbers.push(head.count);
            }
        }
        if let Err(error) = self.entries.write_all_at(&bytes, self.head.length) {
            // Half an entry must not stay: the next writer would have to set it aside.
            if let Err(worse) = self.entries.set_len(self.head.length) {
                self.spoilt = Some(format!("half an entry could not be taken back: {worse}"));
            }
            return Err(not_written("writing it")(error));
        }
        self.head = head;
        Ok(numbers)
    }

    /// Brings all that was appended to disk, then says so in the anchor.
    pub(super) fn sync(&mut self) -> Result<(), NotWritten> {
        if let Some(spoilt) = &self.spoilt {
            return Err(NotWritten(spoilt.clone()));
        }
        if let Err(error) = self.entries.sync_data() {
            self.spoilt = Some(format!("bringing it to disk failed: {error}"));
            return Err(not_written("bringing it to disk")(error));
        }
        let _locked = place::lock(&self.entries, Sharing::Alone).map_err(not_written("locking it"))?;
        let anchored = Anchor::read(&self.anchor).map_err(not_written("reading its anchor"))?.unwrap_or_else(Anchor::genesis);
        if anchored.count < self.head.count {
            self.head.write(&self.anchor).map_err(not_written("writing its anchor"))?;
        }
        self.anchored = anchored.length.max(self.head.length);
        Ok(())
    }

    /// How many bytes each next writer must read, because no anchor covers them.
    pub(super) fn tail(&self) -> u64 {
        self.head.length.saturating_sub(self.anchored)
    }
}

/// Reads what other boxes have appended since `head`. Garbage that a crash left after the anchor is set aside; the note for the ledger says so.
fn catch_up(folder: &Path, entries: &File, anchor: &File, head: &mut Anchor) -> Result<Option<String>, NotWritten> {
    let meta = entries.metadata().map_err(not_written("looking at it"))?;
    if meta.nlink() == 0 {
        return Err(NotWritten("its file has been removed".to_owned()));
    }
    let length = meta.len();
    if length == head.length {
        return Ok(None);
    }
    if length < head.length {
        return Err(NotWritten(cut(length, head)));
    }
    let mut lines = Lines::from(entries, head.length);
    loop {
        match lines.next().map_err(not_written("reading it"))? {
            None => return Ok(None),
            Some(Line::Whole { bytes, .. }) => match Entry::follows(head, &bytes) {
                Ok(next) => *head = next,
                Err(_) => break,
            },
            Some(Line::Torn { .. } | Line::TooLong { .. }) => break,
        }
    }
    let anchored = Anchor::read(anchor).map_err(not_written("reading its anchor"))?.unwrap_or_else(Anchor::genesis);
    if head.length < anchored.length {
        return Err(NotWritten(format!("entry {} is not what was written; see `agentbox log --verify`", head.count + 1)));
    }
    set_aside(folder, entries, head, length).map(Some)
}

fn set_aside(folder: &Path, entries: &File, head: &Anchor, length: u64) -> Result<String, NotWritten> {
    let garbage = length - head.length;
    let kept = folder.join(format!("set-aside-{}", now()));
    let mut bytes = vec![0; usize::try_from(garbage.min(MOST_GARBAGE)).unwrap_or_default()];
    entries.read_exact_at(&mut bytes, head.length).map_err(not_written("reading what a crash left"))?;
    let aside = place::open(&kept).map_err(|error| NotWritten(error.to_string()))?;
    if let Err(error) = aside.write_all_at(&bytes, 0).and_then(|()| aside.sync_all()) {
        let _ = fs::remove_file(&kept);
        return Err(not_written("setting aside what a crash left")(error));
    }
    entries.set_len(head.length).map_err(not_written("cutting off what a crash left"))?;
    let name = kept.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{garbage} bytes after entry {} were no entries (a crash while writing); set aside in {name}", head.count))
}

/// Whether an entry is the one that comes after a head.
pub(super) trait Follows {
    /// The head with this entry; or why the line, without its end, is not the next entry.
    fn follows(head: &Anchor, line: &[u8]) -> Result<Anchor, String>;
}

impl Follows for Entry {
    fn follows(head: &Anchor, line: &[u8]) -> Result<Anchor, String> {
        let entry: Entry = serde_json::from_slice(line).map_err(|error| format!("is not an entry: {error}"))?;
        // Byte for byte what we would write: no added key, no blank, no second spelling of the same entry.
        if serde_json::to_vec(&entry).ok().as_deref() != Some(line) {
            return Err("is not spelt as it was written".to_owned());
        }
        if entry.sequence != head.count + 1 {
            return Err(format!("has number {} where {} must come", entry.sequence, head.count + 1));
        }
        if entry.previous != head.seal {
            return Err("is not sealed to the entry before it".to_owned());
        }
        if entry.seal != entry.compute_seal() {
            return Err("does not match its seal".to_owned());
        }
        Ok(Anchor { count: entry.sequence, length: head.length + line.len() as u64 + 1, seal: entry.seal })
    }
}

pub(super) fn cut(length: u64, anchor: &Anchor) -> String {
    format!("it has been cut: {length} bytes are left of at least {} with {} entries", anchor.length, anchor.count)
}

fn not_written(what: &'static str) -> impl FnOnce(io::Error) -> NotWritten {
    move |error| NotWritten(format!("{what}: {error}"))
}

/// Unix time in milliseconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
