//! What the kernel must find to lend a program its functions, and what a program does that panics.

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

const _: () = {
    let told = agentbox_ebpf::OBJECT_LICENCE.as_bytes();
    let mut at = 0;
    while at < told.len() {
        assert!(told[at] == LICENSE[at]);
        at += 1;
    }
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
