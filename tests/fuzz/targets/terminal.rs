//! What an agent's terminal writes: however it is cut, the same passes, and what has passed once passes again.
#![no_main]

use agentbox_kernel::terminal::Filter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (cut, bytes) = data.split_first().map_or((1, data), |(cut, bytes)| (usize::from(*cut).max(1), bytes));
    let filter = |bytes: &[u8], cut: usize| {
        let (mut filter, mut out) = (Filter::default(), Vec::new());
        bytes.chunks(cut).for_each(|piece| filter.pass(piece, &mut out));
        out
    };
    let once = filter(bytes, bytes.len().max(1));
    assert_eq!(filter(bytes, cut), once);
    assert_eq!(filter(&once, once.len().max(1)), once);
});
