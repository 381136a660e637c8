//! Frames and messages of a WebSocket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentbox_broker::fuzz::websocket(data));
