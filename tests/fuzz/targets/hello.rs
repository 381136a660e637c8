//! A TLS client's first message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::hello(data));
