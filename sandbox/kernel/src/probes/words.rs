//! The words of the kernel's half as bytes, and what is told of them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use agentbox_core::safe;
use agentbox_ebpf::{Attempt, Breach, Deed, NAME_BYTES, Tuple};
use serde::{Deserialize, Serialize};

/// Who opened a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its process, in the initial pid namespace.
    pub pid: i32,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at: u64,
    /// What the thread called itself.
    pub comm: String,
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The key of a connection, as [`Tuple`] lies in memory.
pub(super) fn key(client: SocketAddr, server: SocketAddr) -> [u8; size_of::<Tuple>()] {
    let mut bytes = [0; size_of::<Tuple>()];
    let ports = [client.port().to_ne_bytes(), server.port().to_ne_bytes()].concat();
    let fields = mapped(client.ip()).into_iter().chain(mapped(server.ip())).chain(ports);
    // What is left over is the reserved word.
    bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    bytes
}

/// Reads an `Asker`; `None` where the bytes are too few.
pub(super) fn asker(bytes: &[u8]) -> Option<Seen> {
    let word = |at: usize| bytes.get(at..at + 8)?.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word));
    let comm = bytes.get(24..40)?;
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Seen { pid: i32::try_from(word(8)? >> 32).ok()?, at: word(0)?, comm: safe::line(&String::from_utf8_lossy(name), 16) })
}

/// Something that the fences should have made impossible, and that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    who: Seen,
    address: SocketAddr,
    attempt: u32,
}

/// Reads a [`Breach`].
pub(super) fn breach(bytes: &[u8]) -> Option<Refused> {
    if bytes.len() < size_of::<Breach>() {
        return None;
    }
    let address: [u8; 16] = *bytes.get(40..56)?.first_chunk()?;
    let port = u16::from_ne_bytes(*bytes.get(56..58)?.first_chunk()?);
    let attempt = u32::from_ne_bytes(*bytes.get(60..64)?.first_chunk()?);
    Some(Refused { who: asker(bytes)?, address: SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port), attempt })
}

impl Refused {
    /// One line for a person.
    pub(super) fn told(&self) -> String {
        let what = match self.attempt {
            attempt if attempt == Attempt::Connect as u32 => format!("a connection to {} outside of the box's network", self.address),
            attempt if attempt == Attempt::Send as u32 => format!("a datagram to {} outside of the box's network", self.address),
            attempt if attempt == Attempt::Create as u32 => "a socket outside of the box's network".to_owned(),
            _ => "a raw socket".to_owned(),
        };
        format!("{} (process {}) tried {what}; the kernel's probe refused it", self.who.comm, self.who.pid)
    }
}

/// A deed that came past the file gate, and that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bypassed {
    who: Seen,
    deed: u32,
    inode: u64,
    device: u32,
    name: String,
}

/// Reads an [`agentbox_ebpf::Bypass`].
pub(super) fn bypass(bytes: &[u8]) -> Option<Bypassed> {
    let name = bytes.get(56..56 + NAME_BYTES)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let half = |at: usize| bytes.get(at..at + 4)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word));
    Some(Bypassed {
        who: asker(bytes)?,
        inode: u64::from_ne_bytes(*bytes.get(40..48)?.first_chunk()?),
        device: half(48)?,
        deed: half(52)?,
        name: safe::line(&String::from_utf8_lossy(name), NAME_BYTES),
    })
}

impl Bypassed {
    /// One line for a person.
    pub(super) fn told(&self) -> String {
        let Self { who, deed, inode, device, name } = self;
        let what = match *deed {
            deed if deed == Deed::Unlink as u32 => "remove",
            deed if deed == Deed::Rmdir as u32 => "remove the folder",
            deed if deed == Deed::Rename as u32 => "rename",
            deed if deed == Deed::Link as u32 => "give another name to",
            deed if deed == Deed::Truncate as u32 => "cut short",
            deed if deed == Deed::Overwrite as u32 => "open for writing",
            deed if deed == Deed::Mode as u32 => "change the mode of",
            deed if deed == Deed::Owner as u32 => "change the owner of",
            deed if deed == Deed::Times as u32 => "change the times of",
            deed if deed == Deed::Attribute as u32 => "change an attribute of",
            _ => "do something to",
        };
        // Major and minor, as the kernel itself packs them.
        let (major, minor) = (device >> 20, device & 0xf_ffff);
        format!(
            "{} (process {}) tried to {what} `{name}` (inode {inode} on device {major}:{minor}) past the file gate; the kernel gate refused it",
            who.comm, who.pid
        )
    }
}

#[cfg(test)]
mod tests {
    use agentbox_ebpf::{Asker, Bypass};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_lie_where_the_programs_put_them() {
        assert_eq!((std::mem::offset_of!(Tuple, server), std::mem::offset_of!(Tuple, client_port), std::mem::offset_of!(Tuple, server_port)), (16, 32, 34));
        assert_eq!((std::mem::offset_of!(Asker, thread), std::mem::offset_of!(Asker, comm)), (8, 24));
        assert_eq!((std::mem::offset_of!(Breach, address), std::mem::offset_of!(Breach, port), std::mem::offset_of!(Breach, attempt)), (40, 56, 60));
        assert_eq!((std::mem::offset_of!(Bypass, inode), std::mem::offset_of!(Bypass, device)), (40, 48));
        assert_eq!((std::mem::offset_of!(Bypass, deed), std::mem::offset_of!(Bypass, name)), (52, 56));
        let key = key("127.0.0.1:258".parse().unwrap(), "[::1]:443".parse().unwrap());
        assert_eq!(key[10..16], [0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(key[31..36], [1, 258_u16.to_ne_bytes()[0], 258_u16.to_ne_bytes()[1], 443_u16.to_ne_bytes()[0], 443_u16.to_ne_bytes()[1]]);
        assert_eq!(key[36..], [0; 4]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            let _ = asker(&bytes);
            if let Some(bypassed) = bypass(&bytes) {
                prop_assert!(!bypassed.told().chars().any(char::is_control));
            }
            if let Some(refused) = breach(&bytes) {
                prop_assert!(!refused.told().chars().any(char::is_control));
            }
        }
    }
}
