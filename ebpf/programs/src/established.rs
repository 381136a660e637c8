//! A connection stands: from now on its two ends tell who opened it.

use agentbox_ebpf::Tuple;
use aya_ebpf::{EbpfContext as _, bindings::BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, helpers::generated::bpf_get_socket_cookie, macros::sock_ops, programs::SockOpsContext};

use crate::seen::{CONNECTIONS, OPENING, mapped, whole};

const INET: u32 = 2;

#[sock_ops]
pub fn established(ctx: SockOpsContext) -> u32 {
    if ctx.op() != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB {
        return 1;
    }
    // SAFETY: the context is the kernel's own, of the kind that this function takes.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if let Some(asker) = OPENING.get_ptr(&cookie) {
        // SAFETY: the kernel keeps an entry of the map readable until this program ends.
        let asker = unsafe { *asker };
        let (client, server) = if ctx.family() == INET { (mapped(ctx.local_ip4()), mapped(ctx.remote_ip4())) } else { (six(&ctx, true), six(&ctx, false)) };
        // The own port stands in host order, the other's in the upper half in network order.
        let tuple = Tuple { client, server, client_port: ctx.local_port() as u16, server_port: u32::from_be(ctx.remote_port()) as u16, reserved: 0 };
        let _ = CONNECTIONS.insert(&tuple, &asker, 0);
        let _ = OPENING.remove(&cookie);
    }
    1
}

#[inline(always)]
fn six(ctx: &SockOpsContext, own: bool) -> [u8; 16] {
    // Word by word: the verifier takes no wider read of this context.
    let words = unsafe { if own { &raw const (*ctx.ops).local_ip6 } else { &raw const (*ctx.ops).remote_ip6 } }.cast::<u32>();
    // SAFETY: the field is four words of a context that the kernel made for this call.
    unsafe { whole([words.read_volatile(), words.add(1).read_volatile(), words.add(2).read_volatile(), words.add(3).read_volatile()]) }
}
