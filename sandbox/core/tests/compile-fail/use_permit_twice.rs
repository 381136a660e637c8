use std::time::SystemTime;

use agentbox_core::{Digest, Permit};

fn main() {}

fn twice(permit: Permit, digest: &Digest) {
    let _ = permit.consume(digest, SystemTime::now());
    let _ = permit.consume(digest, SystemTime::now());
}
