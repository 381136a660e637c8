use agentbox_core::{Granted, ledger::{Journal, commit}};

fn main() {}

fn twice(granted: Granted, journal: &mut dyn Journal) {
    let _ = commit(granted, "s", journal);
    let _ = commit(granted, "s", journal);
}
