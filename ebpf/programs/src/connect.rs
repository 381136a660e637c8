//! `connect(2)` and datagrams to an address: who it is, and that it happens in the box's own network.

use agentbox_ebpf::Attempt;
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};

use crate::{
    asker::asker,
    seen::{OPENING, PASS, REFUSE, is_strict, is_the_boxs, mapped, tell, whole},
};

const TCP: u32 = 6;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Attempt::Connect, |ctx| mapped(unsafe { (*ctx.sock_addr).user_ip4 }))
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Attempt::Connect, six)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Attempt::Send, |ctx| mapped(unsafe { (*ctx.sock_addr).user_ip4 }))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Attempt::Send, six)
}

#[inline(always)]
fn six(ctx: &SockAddrContext) -> [u8; 16] {
    // Word by word: the verifier takes no wider read of this context on 6.1.
    let address = unsafe { &raw const (*ctx.sock_addr).user_ip6 }.cast::<u32>();
    // SAFETY: the field is four words of a context that the kernel made for this call.
    unsafe { whole([address.read_volatile(), address.add(1).read_volatile(), address.add(2).read_volatile(), address.add(3).read_volatile()]) }
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, attempt: Attempt, address: impl Fn(&SockAddrContext) -> [u8; 16]) -> i32 {
    // SAFETY: the context is the kernel's own, of the kind that these functions take.
    let (network, protocol) = unsafe { (bpf_get_netns_cookie(ctx.as_ptr()), (*ctx.sock_addr).protocol) };
    if !is_the_boxs(network) {
        if !is_strict() {
            return PASS;
        }
        // SAFETY: as above. The port stands in network order.
        let port = u16::from_be(unsafe { (*ctx.sock_addr).user_port } as u16);
        tell(attempt, address(ctx), port, protocol as u8);
        return REFUSE;
    }
    if attempt as u32 == Attempt::Connect as u32 && protocol == TCP {
        // SAFETY: as above.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        let _ = OPENING.insert(&cookie, &asker(), 0);
    }
    PASS
}
