use std::time::SystemTime;

use agentbox_core::{Digest, permit::Token};

fn main() {}

fn forge(digest: Digest) -> Token {
    Token { digest, sequence: 1, deadline: SystemTime::now(), nonce: String::new() }
}
