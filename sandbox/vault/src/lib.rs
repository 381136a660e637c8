//! Keeps what would be lost, before the deed, and brings it back.
//!
//! Empty in this version: keepers (reflink, leased hard link, bounded copy; later dumps and provider snapshots) come with the
//! file gate, which is what asks them. Until then a policy whose files need one is refused at the start of a box.
