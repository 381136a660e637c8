//! The proof that opens a token comes from the token's own stub only, and a stub strikes once.
use agentbox_core::permit::{Redeemed, Stub};

fn forge() -> Redeemed {
    Redeemed { nonce: "00".to_owned() }
}

fn strike_twice(stub: Stub) -> (Redeemed, Redeemed) {
    (stub.strike(), stub.strike())
}

fn main() {}
