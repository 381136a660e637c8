//! Which addresses are near: what `*` never includes, in every form that IPv6 has for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address itself and every IPv4 address that it could stand for: mapped, compatible, translated (SIIT),
/// 6to4, NAT64, ISATAP, and both ends of a Teredo tunnel.
pub(super) fn meanings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut all = [None; 3];
    let canonical = address.to_canonical();
    all[0] = Some(canonical);
    if let IpAddr::V6(v6) = canonical {
        let [first, second] = embedded(v6);
        all[1] = first.map(IpAddr::V4);
        all[2] = second.map(IpAddr::V4);
    }
    all.into_iter().flatten()
}

fn from_halves(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let last = |s: [u16; 8]| Some(from_halves(s[6], s[7]));
    match address.segments() {
        // ::/96 compatible (RFC 4291), ::ffff:0:0:0/96 translated (RFC 2765), 64:ff9b::/96 NAT64 (RFC 6052); mapped ones are canonical already.
        s @ ([0, 0, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _]) => [last(s), None],
        // 2002::/16, 6to4 (RFC 3056).
        [0x2002, high, low, ..] => [Some(from_halves(high, low)), None],
        // 2001::/32, Teredo (RFC 4380): the server, and the client with all bits turned.
        [0x2001, 0, high, low, _, _, c, d] => [Some(from_halves(high, low)), Some(from_halves(!c, !d))],
        // ISATAP interface identifiers (RFC 5214).
        s @ [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [last(s), None],
        _ => [None, None],
    }
}

fn near_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        // Azure's metadata and DNS answer here, although the address looks public.
        || address == Ipv4Addr::new(168, 63, 129, 16)
}

fn near_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        // fc00::/7 unique local, fe80::/10 link-local, fec0::/10 site-local.
        || first & 0xfe00 == 0xfc00
        || first & 0xffc0 == 0xfe80
        || first & 0xffc0 == 0xfec0
        // 64:ff9b:1::/48 is NAT64 for local use (RFC 8215): where the IPv4 part stands is each network's own choice.
        || (first == 0x64 && second == 0xff9b && third == 1)
        // A Teredo tunnel leads through whatever its server says.
        || (first == 0x2001 && second == 0)
        // 100::/64 discards; 5f00::/16 routes by segments inside one operator.
        || first == 0x5f00
        || (first == 0x100 && second == 0 && third == 0)
}

/// Whether the address, or one that it stands for, is this machine, its neighbours, or one of `own`.
pub(super) fn is_near(address: IpAddr, own: &[IpAddr]) -> bool {
    meanings(address).any(|meaning| {
        let near = match meaning {
            IpAddr::V4(v4) => near_v4(v4),
            IpAddr::V6(v6) => near_v6(v6),
        };
        near || own.iter().any(|mine| mine.to_canonical() == meaning)
    })
}

/// Whether a name means this machine wherever it is resolved (RFC 6761).
pub(super) fn is_near_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_in_every_form() {
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.170",
            "198.18.0.1",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::5",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "64:ff9b:1:fffe::8.8.8.8",
            "2001:0:5ef5:79fd::1",
            "2a00:1::5efe:10.0.0.1",
            "2a00:1::200:5efe:127.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap(), &[]), "{near}");
        }
    }

    #[test]
    fn far_stays_far() {
        for far in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "172.15.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_near(far.parse().unwrap(), &[]), "{far}");
        }
    }

    #[test]
    fn own_addresses_in_every_form() {
        let own = ["203.0.113.9".parse().unwrap(), "2a00:9::1".parse().unwrap()];
        for mine in ["203.0.113.9", "::ffff:203.0.113.9", "64:ff9b::203.0.113.9", "2002:cb00:7109::1", "2a00:9::1"] {
            assert!(is_near(mine.parse().unwrap(), &own), "{mine}");
        }
        assert!(!is_near("203.0.113.10".parse().unwrap(), &own));
    }
}
