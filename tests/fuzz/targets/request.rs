//! What an HTTP request means.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::request(data));
