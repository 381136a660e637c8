//! What a client and a server of MySQL's say.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::mysql(data));
