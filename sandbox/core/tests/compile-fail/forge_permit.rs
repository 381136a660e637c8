use std::time::SystemTime;

use agentbox_core::{Digest, Permit};

fn main() {}

fn forge(digest: Digest) -> Permit {
    Permit { digest, sequence: 1, deadline: SystemTime::now() }
}

fn make(digest: Digest) -> Permit {
    Permit::new(digest, 1, SystemTime::now())
}
