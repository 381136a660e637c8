//! HTTP/1's framing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::framing(data));
