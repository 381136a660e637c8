//! What the bytes of a database client mean.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::database(data));
