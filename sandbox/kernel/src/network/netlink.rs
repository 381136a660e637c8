//! Just enough netlink to say a few things once: messages out, acknowledgements in.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;

/// NLM_F_CREATE | NLM_F_EXCL.
pub(super) const CREATE: u16 = 0x600;

/// Bytes of a message's header.
const HEADER: usize = 16;

/// The kernel answers at once; this is for a kernel that does not.
const PATIENCE: i64 = 2;

/// One message: its body follows the header.
#[derive(Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, flags: u16, body: Vec<u8>) -> Self {
        Self { kind, flags, body }
    }

    fn put(&self, sequence: u32, acknowledged: u16, out: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | NLM_F_REQUEST | acknowledged).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0_u32.to_ne_bytes());
        out.extend_from_slice(&self.body);
        pad(out);
    }
}

/// Appends an attribute, padded to four bytes.
pub(super) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Talk {
    fd: OwnedFd,
    sequence: u32,
}

impl Talk {
    pub(super) fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all messages in one go and waits for an acknowledgement of each.
    pub(super) fn ask(&mut self, messages: &[Message]) -> Result<(), Errno> {
        let mut out = Vec::new();
        for message in messages {
            self.sequence += 1;
            message.put(self.sequence, NLM_F_ACK, &mut out);
        }
        self.send(&out)?;
        self.acknowledged(messages.len())
    }

    /// The same between the two messages that make a batch one transaction, of which neither is acknowledged.
    pub(super) fn ask_batch(&mut self, begin: &Message, messages: &[Message], end: &Message) -> Result<(), Errno> {
        let mut out = Vec::new();
        begin.put(0, 0, &mut out);
        for message in messages {
            self.sequence += 1;
            message.put(self.sequence, NLM_F_ACK, &mut out);
        }
        end.put(0, 0, &mut out);
        self.send(&out)?;
        self.acknowledged(messages.len())
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let sent = sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
    }

    fn acknowledged(&self, mut left: usize) -> Result<(), Errno> {
        let mut buffer = vec![0; 16 << 10];
        while left > 0 {
            let count = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            while let Some((length, kind, body)) = split(rest) {
                if kind == NLMSG_ERROR {
                    let errno = body.first_chunk::<4>().map_or(libc::EIO, |bytes| i32::from_ne_bytes(*bytes).saturating_neg());
                    if errno != 0 {
                        return Err(Errno::from_raw(errno));
                    }
                    left = left.saturating_sub(1);
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

/// Length, kind and body of the first message.
fn split(bytes: &[u8]) -> Option<(usize, u16, &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk::<4>()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..6)?.first_chunk::<2>()?);
    if length < HEADER {
        return None;
    }
    Some((length, kind, bytes.get(HEADER..length)?))
}
