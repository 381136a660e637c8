//! Keeps what would be lost, before the deed, and brings it back.
//!
//! # On disk
//! A vault is a folder (0700) on the file system of the things that it keeps, out of reach of every box:
//!
//! | path | what |
//! |---|---|
//! | `swept` | its time is that of the last sweep; there is one a day, at the end of a session |
//! | `lock` | shared while a session begins, exclusive while sessions are dropped |
//! | `sessions/NAME/journal` | what happened, one sealed record an event; locked while the session runs |
//! | `sessions/NAME/oN` | the content of the kept thing number N of that session: a reflink, the inode itself, or a copy |
//! | `sessions/NAME/bytes` | what the session takes on disk, written at its end |
//! | `objects/ab/HEX` | another name of a content, by its digest (BLAKE3): contents that are equal become one inode with several names. One that no session names any more has a single link, and `gc` takes it |
//!
//! Keeping costs a constant: contents are hashed afterwards (`seal`), copies while they are copied. Until then an object is known by
//! size and time. Whatever is brought back is verified first.
//!
//! # Crashes
//! An object stands before the record that lists it is written, and a record is whole or not there. So when the process is killed
//! anywhere, what is listed is there, and what is there without being listed is a remnant that `gc` takes. Against a power cut
//! `Session::sync` puts objects, their names and the journal on disk, in this order; records after the last `Synced` are looked at one
//! by one when another boot reads them, and those whose object is not whole are not listed.
//!
//! # Processes
//! [`Vault`] is for the supervisor and for people's commands. [`Session`] keeps, in a process that may be in another mount namespace:
//! all its work is relative to descriptors ([`Hands`]) that were opened before.

mod births;
mod bytes;
mod crash;
mod discard;
mod error;
mod facts;
mod finish;
mod folder;
mod gc;
mod history;
mod journal;
mod keepers;
mod record;
mod room;
mod session;
mod sessions;
mod settings;
pub mod site;
mod subject;
#[cfg(test)]
mod tests;
pub mod undo;
mod vault;

use std::time::Duration;

pub use bytes::Bytes;
pub use error::{NotKept, VaultError, Why};
pub use facts::{Facts, Identity, Kind, Stamp};
pub use finish::Summary;
pub use gc::Swept;
pub use record::{Age, Body, Digest, Loss, Print, Record, Start, Way};
pub use session::{Kept, Session};
pub use sessions::{State, Told};
pub use settings::Settings;
pub use subject::{Foretold, Hands, Move, Outcome, Subject, TakeLease};
pub use vault::{Begin, Vault};

/// How long what was kept may wait for its way to the disk, where nobody was asked about the deed.
pub const SYNC_EVERY: Duration = Duration::from_millis(100);
