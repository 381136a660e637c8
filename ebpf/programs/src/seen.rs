//! What all probes share: the maps, and the box's network.

use agentbox_ebpf::{Asker, Attempt, Breach, MOST_CONNECTIONS, RING_BYTES, Tuple};
use aya_ebpf::{
    Global,
    macros::map,
    maps::{LruHashMap, RingBuf},
};

use crate::asker::asker;

/// Cookie of the box's network namespace, set before the programs are loaded. Without it nothing passes.
#[unsafe(no_mangle)]
static BOX_NETWORK: Global<u64> = Global::new(0);

/// 1 where no other network may be used; 0 where the box may make networks of its own, which lead nowhere.
#[unsafe(no_mangle)]
static STRICT: Global<u32> = Global::new(1);

/// Sockets that are being connected, by their cookie.
#[map]
pub static OPENING: LruHashMap<u64, Asker> = LruHashMap::with_max_entries(MOST_CONNECTIONS, 0);

/// Connections that stand.
#[map]
pub static CONNECTIONS: LruHashMap<Tuple, Asker> = LruHashMap::with_max_entries(MOST_CONNECTIONS, 0);

/// What was refused.
#[map]
static BREACHES: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// The answer by which the kernel goes on.
pub const PASS: i32 = 1;
/// The answer by which it refuses, with EPERM.
pub const REFUSE: i32 = 0;

#[inline(always)]
pub fn is_the_boxs(network: u64) -> bool {
    network != 0 && network == BOX_NETWORK.load()
}

/// Whether a socket of another network is refused, or only not remembered.
#[inline(always)]
pub fn is_strict() -> bool {
    STRICT.load() != 0
}

/// Puts a refused attempt on the ring; a full ring loses the record, not the refusal.
#[inline(always)]
pub fn tell(attempt: Attempt, address: [u8; 16], port: u16, protocol: u8) {
    if let Some(mut record) = BREACHES.reserve::<Breach>(0) {
        record.write(Breach { asker: asker(), address, port, protocol, reserved: 0, attempt: attempt as u32 });
        record.submit(0);
    }
}

/// IPv4 as IPv6 has it.
#[inline(always)]
pub fn mapped(v4: u32) -> [u8; 16] {
    let [a, b, c, d] = v4.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Four words as the kernel keeps an IPv6 address.
#[inline(always)]
pub fn whole(words: [u32; 4]) -> [u8; 16] {
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = [words[0].to_ne_bytes(), words[1].to_ne_bytes(), words[2].to_ne_bytes(), words[3].to_ne_bytes()];
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
