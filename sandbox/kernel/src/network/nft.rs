//! The box's nf_tables rules, said to the kernel directly: there may be no `nft` program.
//!
//! As `nft list ruleset` would print them:
//! ```text
//! table inet agentbox {
//!   chain redirect { type filter hook prerouting priority mangle;
//!     ip  daddr 127.0.0.0/8 accept      ip  daddr OWN accept
//!     ip6 daddr ::1 accept              ip6 daddr OWN accept
//!     meta l4proto tcp tproxy to :PORT accept }
//!   chain input { type filter hook input priority filter;
//!     icmp type echo-request reject     icmpv6 type echo-request reject }
//! }
//! ```

use nix::{errno::Errno, sys::socket::SockProtocol};

use super::{
    Ipv6, PORT, V4, V6,
    netlink::{CREATE, Message, Talk, attribute},
};

const TABLE: &str = "agentbox";

/// `NFNL_SUBSYS_NFTABLES << 8`.
const NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = NFTABLES;
const NEW_CHAIN: u16 = NFTABLES | 3;
const NEW_RULE: u16 = NFTABLES | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLM_F_APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

/// `NFPROTO_INET`: both IPv4 and IPv6.
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// The register that expressions pass a value in: `NFT_REG_1`.
const REGISTER: u32 = 1;

/// Netfilter hooks.
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;

/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;

/// Which part of a packet is loaded: `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

pub(super) fn install(ipv6: Ipv6) -> Result<(), Errno> {
    let mut messages = vec![table(), chain("redirect", PREROUTING, -150), chain("input", INPUT, 0)];
    messages.push(rule("redirect", |r| r.protocol(IPV4).load(NETWORK, 16, 1).equals(&[127]).accept()));
    messages.push(rule("redirect", |r| r.protocol(IPV4).load(NETWORK, 16, 4).equals(&V4.octets()).accept()));
    if ipv6 == Ipv6::Up {
        messages.push(rule("redirect", |r| r.protocol(IPV6).load(NETWORK, 24, 16).equals(&std::net::Ipv6Addr::LOCALHOST.octets()).accept()));
        messages.push(rule("redirect", |r| r.protocol(IPV6).load(NETWORK, 24, 16).equals(&V6.octets()).accept()));
    }
    messages.push(rule("redirect", |r| r.transport(TCP).tproxy(PORT).accept()));
    // AnyIP would have the kernel answer a ping for every address of the world: that would be a lie.
    messages.push(rule("input", |r| r.transport(ICMP).load(TRANSPORT, 0, 1).equals(&[8]).reject()));
    messages.push(rule("input", |r| r.transport(ICMPV6).load(TRANSPORT, 0, 1).equals(&[128]).reject()));
    let mut talk = Talk::open(SockProtocol::NetlinkNetFilter)?;
    talk.ask_batch(&batch(BATCH_BEGIN), &messages, &batch(BATCH_END))
}

/// `struct nfgenmsg`: family, version, resource id in network order.
fn header(family: u8, resource: u16) -> Vec<u8> {
    let mut body = vec![family, 0];
    body.extend_from_slice(&resource.to_be_bytes());
    body
}

fn batch(kind: u16) -> Message {
    Message::new(kind, 0, header(0, 10))
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn table() -> Message {
    let mut body = header(INET, 0);
    attribute(&mut body, 1, &text(TABLE));
    Message::new(NEW_TABLE, CREATE, body)
}

fn chain(name: &str, hook: u32, priority: i32) -> Message {
    let mut at = Vec::new();
    attribute(&mut at, 1, &hook.to_be_bytes());
    attribute(&mut at, 2, &priority.to_be_bytes());
    let mut body = header(INET, 0);
    attribute(&mut body, 1, &text(TABLE));
    attribute(&mut body, 3, &text(name));
    attribute(&mut body, 4 | NESTED, &at);
    attribute(&mut body, 5, &ACCEPT.to_be_bytes());
    attribute(&mut body, 7, &text("filter"));
    Message::new(NEW_CHAIN, CREATE, body)
}

fn rule(chain: &str, say: impl FnOnce(Rule) -> Rule) -> Message {
    let mut body = header(INET, 0);
    attribute(&mut body, 1, &text(TABLE));
    attribute(&mut body, 2, &text(chain));
    attribute(&mut body, 4 | NESTED, &say(Rule(Vec::new())).0);
    Message::new(NEW_RULE, CREATE | NLM_F_APPEND, body)
}

/// The expressions of one rule.
struct Rule(Vec<u8>);

impl Rule {
    fn expression(mut self, name: &str, data: &[u8]) -> Self {
        let mut expression = Vec::new();
        attribute(&mut expression, 1, &text(name));
        attribute(&mut expression, 2 | NESTED, data);
        // NFTA_LIST_ELEM.
        attribute(&mut self.0, 1 | NESTED, &expression);
        self
    }

    fn meta(self, key: u32) -> Self {
        let mut data = Vec::new();
        attribute(&mut data, 2, &key.to_be_bytes());
        attribute(&mut data, 1, &REGISTER.to_be_bytes());
        self.expression("meta", &data)
    }

    /// `meta nfproto FAMILY`.
    fn protocol(self, family: u8) -> Self {
        self.meta(15).equals(&[family])
    }

    /// `meta l4proto PROTOCOL`.
    fn transport(self, protocol: u8) -> Self {
        self.meta(16).equals(&[protocol])
    }

    fn load(self, base: u32, offset: u32, length: u32) -> Self {
        let mut data = Vec::new();
        for (kind, value) in [(1, REGISTER), (2, base), (3, offset), (4, length)] {
            attribute(&mut data, kind, &value.to_be_bytes());
        }
        self.expression("payload", &data)
    }

    fn equals(self, value: &[u8]) -> Self {
        let mut literal = Vec::new();
        attribute(&mut literal, 1, value);
        let mut data = Vec::new();
        attribute(&mut data, 1, &REGISTER.to_be_bytes());
        attribute(&mut data, 2, &0_u32.to_be_bytes());
        attribute(&mut data, 3 | NESTED, &literal);
        self.expression("cmp", &data)
    }

    /// `tproxy to :port`: the listener's address stays open, so that both families reach theirs.
    fn tproxy(self, port: u16) -> Self {
        let mut literal = Vec::new();
        attribute(&mut literal, 1, &port.to_be_bytes());
        let mut load = Vec::new();
        attribute(&mut load, 1, &REGISTER.to_be_bytes());
        attribute(&mut load, 2 | NESTED, &literal);
        let mut data = Vec::new();
        attribute(&mut data, 1, &0_u32.to_be_bytes());
        attribute(&mut data, 3, &REGISTER.to_be_bytes());
        self.expression("immediate", &load).expression("tproxy", &data)
    }

    fn accept(self) -> Self {
        let mut verdict = Vec::new();
        attribute(&mut verdict, 1, &ACCEPT.to_be_bytes());
        let mut literal = Vec::new();
        attribute(&mut literal, 2 | NESTED, &verdict);
        let mut data = Vec::new();
        // NFT_REG_VERDICT is register 0.
        attribute(&mut data, 1, &0_u32.to_be_bytes());
        attribute(&mut data, 2 | NESTED, &literal);
        self.expression("immediate", &data)
    }

    /// `reject with icmpx admin-prohibited`.
    fn reject(self) -> Self {
        let mut data = Vec::new();
        attribute(&mut data, 1, &2_u32.to_be_bytes());
        attribute(&mut data, 2, &[3]);
        self.expression("reject", &data)
    }
}
