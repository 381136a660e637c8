//! The thread that writes: all who wait at the same moment share one sync.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use agentbox_core::ledger::{Draft, Durability, Event, Journal, NotWritten};

use super::{LONGEST_LINE, LedgerError, chain::Chain};

/// Grouped entries are on disk after so long at the latest.
const GROUP: Duration = Duration::from_millis(100);

/// Entries that share one sync, and that may wait for the thread.
const BATCH: usize = 256;

/// How long an entry may take. A disk that is slower is as good as none.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a line has besides its draft: number, time, two seals and their names.
const FRAME: usize = 512;

/// So many bytes may lie beyond the anchor when only marks are left to sync: each next box reads and checks them before it starts.
const LONGEST_TAIL: u64 = 8 << 10;

type Answer = SyncSender<Result<u64, String>>;

struct Write {
    /// In order; never empty.
    drafts: Vec<Draft>,
    durability: Durability,
    order: Order,
    answer: Answer,
}

/// Whether anything comes after an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    More,
    Last,
}

/// The ledger, open for writing. Clones share it. It starts a thread, so it is opened after the last fork.
///
/// When the last clone is dropped, all that was appended is brought to disk (but for the bare marks that a box began and ended).
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Inner>);

struct Inner {
    to: Option<SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
    /// The last entry has been answered, so nothing is left to bring to disk: the thread's own end need not be waited for.
    settled: AtomicBool,
}

impl Ledger {
    /// Opens, or begins, the ledger in `folder`.
    ///
    /// # Errors
    /// It cannot be written, others can write it, or it is not as it was left: no box may run.
    pub(crate) fn open(folder: &Path) -> Result<Self, LedgerError> {
        let chain = Chain::open(folder)?;
        let (to, from) = mpsc::sync_channel(BATCH);
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || write_all(chain, &from));
        let thread = thread.map_err(super::place::io_error("starting the writer of", folder))?;
        Ok(Self(Arc::new(Inner { to: Some(to), thread: Some(thread), settled: AtomicBool::new(false) })))
    }

    /// Appends without `&mut`: many may wait for the same sync.
    ///
    /// # Errors
    /// It is not written, or nobody knows whether it is: nothing may happen.
    pub(crate) fn write(&self, draft: Draft, durability: Durability) -> Result<u64, NotWritten> {
        self.0.settled.store(false, Ordering::Relaxed);
        self.send(vec![draft], durability, Order::More)
    }

    /// Appends many that need not be on disk yet, in order, at the price of one.
    ///
    /// # Errors
    /// As [`Ledger::write`]; none of them is written.
    pub(crate) fn write_group(&self, drafts: Vec<Draft>) -> Result<(), NotWritten> {
        if drafts.is_empty() {
            return Ok(());
        }
        self.0.settled.store(false, Ordering::Relaxed);
        self.send(drafts, Durability::Grouped, Order::More).map(drop)
    }

    /// Appends the box's last entry, and comes back when all that tells of deeds is on disk.
    ///
    /// # Errors
    /// As [`Ledger::write`].
    pub(crate) fn close(&self, draft: Draft) -> Result<u64, NotWritten> {
        let number = self.send(vec![draft], Durability::Grouped, Order::Last)?;
        self.0.settled.store(true, Ordering::Relaxed);
        Ok(number)
    }

    /// Gives the number of the last one.
    fn send(&self, drafts: Vec<Draft>, durability: Durability, order: Order) -> Result<u64, NotWritten> {
        let gone = || NotWritten("its writer has ended".to_owned());
        let (answer, answered) = mpsc::sync_channel(1);
        self.0.to.as_ref().ok_or_else(gone)?.send(Write { drafts, durability, order, answer }).map_err(|_| gone())?;
        match answered.recv_timeout(PATIENCE) {
            Ok(result) => result.map_err(NotWritten),
            Err(RecvTimeoutError::Timeout) => Err(NotWritten(format!("the disk did not answer within {} s", PATIENCE.as_secs()))),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl Journal for Ledger {
    fn append(&mut self, draft: Draft, durability: Durability) -> Result<u64, NotWritten> {
        self.write(draft, durability)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.to.take());
        if let Some(thread) = self.thread.take().filter(|_| !self.settled.load(Ordering::Relaxed)) {
            // Its last act is a sync; a panic in it has already made every append fail.
            let _ = thread.join();
        }
    }
}

fn write_all(mut chain: Chain, from: &Receiver<Write>) {
    let mut due: Option<Instant> = None;
    // Whether more than marks waits for its sync.
    let mut tells_of_deeds = false;
    loop {
        let first = match due {
            None => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => from.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(first) => {
                let batch: Vec<Write> = std::iter::once(first).chain(from.try_iter().take(BATCH - 1)).collect();
                match write_batch(&mut chain, batch, tells_of_deeds) {
                    Written::Synced => (due, tells_of_deeds) = (None, false),
                    Written::InFile { only_marks } => {
                        due = due.or_else(|| Some(Instant::now() + GROUP));
                        tells_of_deeds |= !only_marks;
                    }
                    Written::Nothing => {}
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                (due, tells_of_deeds) = (None, false);
                if let Err(error) = chain.sync() {
                    // The chain is spoilt now: each later append fails, and its asker is refused.
                    tracing::error!(%error, "grouped entries could not be brought to disk");
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                if due.is_some()
                    && (tells_of_deeds || chain.tail() > LONGEST_TAIL)
                    && let Err(error) = chain.sync()
                {
                    tracing::error!(%error, "the last entries could not be brought to disk");
                }
                return;
            }
        }
    }
}

enum Written {
    Synced,
    InFile { only_marks: bool },
    Nothing,
}

/// Whether an entry's line is surely, or was found to be, short enough.
fn fits(draft: &Draft) -> bool {
    // A byte becomes six at most (`\u001f`).
    let texts = draft.operations.iter().chain(&draft.rulings).chain([&draft.session, &draft.summary, &draft.note]).map(String::len).sum::<usize>();
    let because = draft.because.as_ref().map_or(0, |because| [&because.action, &because.place, &because.rule, &because.reason].map(String::len).iter().sum());
    let names = 8 * (draft.operations.len() + draft.rulings.len());
    let surely = draft.signatures.is_empty() && draft.hold.is_none() && 6 * (texts + because) + names + 2 * FRAME <= LONGEST_LINE;
    surely || serde_json::to_vec(draft).is_ok_and(|json| json.len() + FRAME <= LONGEST_LINE)
}

/// Appends them all, and syncs where one of them waits for that, or is the last and `unsynced` ones tell of deeds.
fn write_batch(chain: &mut Chain, batch: Vec<Write>, unsynced: bool) -> Written {
    // One that is too long must not take the others with it.
    let (batch, too_long): (Vec<Write>, Vec<Write>) = batch.into_iter().partition(|write| write.drafts.iter().all(fits));
    for write in too_long {
        let _ = write.answer.send(Err(format!("an entry is longer than {LONGEST_LINE} bytes")));
    }
    if batch.is_empty() {
        return Written::Nothing;
    }
    let is_mark = |draft: &Draft| matches!(draft.event, Event::SessionStarted | Event::SessionEnded);
    let only_marks = batch.iter().flat_map(|write| &write.drafts).all(is_mark);
    // That a box began or ended tells of no deed: the end of a short one does not wait for the disk, and comes there with whatever follows.
    let last_syncs = unsynced || !only_marks || chain.tail() > LONGEST_TAIL;
    let waits = |write: &Write| write.durability == Durability::Synced || (write.order == Order::Last && last_syncs);
    let mut drafts = Vec::new();
    let mut waiting = Vec::with_capacity(batch.len());
    for write in batch {
        let waits = waits(&write);
        drafts.extend(write.drafts);
        // Its last one is the one before this.
        waiting.push((drafts.len(), waits, write.answer));
    }
    let numbers = match chain.append(drafts) {
        Ok(numbers) => numbers,
        Err(NotWritten(why)) => {
            for (.., answer) in waiting {
                let _ = answer.send(Err(why.clone()));
            }
            return Written::Nothing;
        }
    };
    let number = |until: usize| until.checked_sub(1).and_then(|last| numbers.get(last)).copied().ok_or_else(|| "it was not counted".to_owned());
    let (synced, grouped): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, waits, _)| *waits);
    for (until, _, answer) in grouped {
        let _ = answer.send(number(until));
    }
    if synced.is_empty() {
        return Written::InFile { only_marks };
    }
    let result = chain.sync().map_err(|NotWritten(why)| why);
    for (until, _, answer) in synced {
        let _ = answer.send(result.clone().and_then(|()| number(until)));
    }
    Written::Synced
}
