//! An approver's signature and key: read or refused, and never taken for one that nobody made.
#![no_main]

use agentbox_desk::signature::{Approvers, KeyText, PublicKey};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYtQ0lmHRsJSmEjrTHtyzLCGtvIU1cYOZZLPHLTqEWd fuzz";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = PublicKey::parse(&text);
    let Ok(approvers) = Approvers::read(&[KeyText { file: None, text: KEY.to_owned() }], &[]) else { unreachable!("it is a key") };
    assert!(approvers.verify("what was shown", &text).is_err());
});
