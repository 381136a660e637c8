//! `socket(2)`: only streams and datagrams, only in the box's own network.

use agentbox_ebpf::Attempt;
use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_get_netns_cookie, macros::cgroup_sock, programs::SockContext};

use crate::seen::{PASS, REFUSE, is_strict, is_the_boxs, tell};

const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;

#[cgroup_sock(sock_create)]
pub fn create(ctx: SockContext) -> i32 {
    // SAFETY: the context is the kernel's own, of the kind that this function takes.
    let (kind, protocol, network) = unsafe { ((*ctx.sock).type_, (*ctx.sock).protocol, bpf_get_netns_cookie(ctx.as_ptr())) };
    if is_strict() && kind != STREAM && kind != DATAGRAM {
        tell(Attempt::Raw, [0; 16], 0, protocol as u8);
        return REFUSE;
    }
    if is_strict() && !is_the_boxs(network) {
        tell(Attempt::Create, [0; 16], 0, protocol as u8);
        return REFUSE;
    }
    PASS
}
