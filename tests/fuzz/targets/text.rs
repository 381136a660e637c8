//! What a person is shown: no byte of it acts on their terminal.
#![no_main]

use agentbox_core::safe;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let line = safe::line(&text, 80);
    assert!(!line.chars().any(char::is_control));
    let block = safe::block(&text, 80, 10);
    assert!(!block.chars().any(|c| c.is_control() && c != '\n') && block.lines().count() <= 11);
});
