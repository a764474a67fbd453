//! Whom an allocation may send to (RFC 8656 §21.4 and the abuse of relays to get behind a firewall).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A network: an address and the bits of it that count.
pub type Prefix = (IpAddr, u8);

/// Peers that may be sent to: any on the public network, those of networks that were named, and what the server itself has for
/// browsers.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Networks that are not public, and may be sent to all the same.
    pub allowed: Vec<Prefix>,
    /// The media port of the server, which takes what browsers send.
    pub media: Vec<SocketAddr>,
}

impl Peers {
    /// Whether data may go there. `is_relayed`: whether it is a relayed address of this server.
    #[must_use]
    pub fn admit(&self, peer: SocketAddr, is_relayed: bool) -> bool {
        peer.port() != 0 && (is_relayed || self.media.contains(&peer) || self.admit_address(peer.ip()))
    }

    /// Whether some port of an address may be sent to.
    #[must_use]
    pub fn admit_some(&self, address: IpAddr) -> bool {
        self.media.iter().any(|media| media.ip() == address) || self.admit_address(address)
    }

    /// Whether an address may be sent to on any of its ports.
    #[must_use]
    pub fn admit_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        // What is ours has ports for others than browsers.
        let is_ours = self.media.iter().any(|media| media.ip() == address);
        let named = self.allowed.iter().any(|network| contains(*network, address));
        named || is_public(address) && !is_ours
    }
}

fn contains((network, bits): Prefix, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u8| bits == 0 || bits <= width && a >> (width - bits) == b >> (width - bits);
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// What the registries of special addresses (RFC 6890) leave for the public network.
fn is_public(address: IpAddr) -> bool {
    const SPECIAL: [Prefix; 22] = [
        v4(0, 0, 0, 0, 8),
        v4(10, 0, 0, 0, 8),
        v4(100, 64, 0, 0, 10),
        v4(127, 0, 0, 0, 8),
        v4(169, 254, 0, 0, 16),
        v4(172, 16, 0, 0, 12),
        v4(192, 0, 0, 0, 24),
        v4(192, 0, 2, 0, 24),
        v4(192, 168, 0, 0, 16),
        v4(198, 18, 0, 0, 15),
        v4(198, 51, 100, 0, 24),
        v4(203, 0, 113, 0, 24),
        // Multicast, reserved, broadcast.
        v4(224, 0, 0, 0, 3),
        // Unspecified, loopback and what has an IPv4 address within.
        v6(0, 0, 96),
        v6(0x0064, 0xff9b, 32),
        v6(0x0100, 0, 64),
        v6(0x2001, 0, 23),
        v6(0x2001, 0x0db8, 32),
        v6(0x2002, 0, 16),
        v6(0xfc00, 0, 7),
        v6(0xfe80, 0, 9),
        v6(0xff00, 0, 8),
    ];
    !SPECIAL.iter().any(|network| contains(*network, address))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Prefix {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

const fn v6(first: u16, second: u16, bits: u8) -> Prefix {
    (IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_sent_to() {
        let peers = Peers {
            allowed: vec![("10.7.0.0".parse().unwrap(), 16)],
            media: vec!["198.41.0.4:10000".parse().unwrap(), "127.0.0.1:10000".parse().unwrap()],
        };
        for (peer, admitted) in [
            ("8.8.8.8:53", true),
            ("[2606:4700::1]:443", true),
            ("8.8.8.8:0", false),
            ("127.0.0.1:10000", true),
            ("127.0.0.1:5060", false),
            ("198.41.0.4:10000", true),
            ("198.41.0.4:5060", false),
            ("10.7.3.4:9", true),
            ("10.8.3.4:9", false),
            ("192.168.1.1:80", false),
            ("172.31.255.1:80", false),
            ("172.32.0.1:80", true),
            ("169.254.169.254:80", false),
            ("100.100.0.1:80", false),
            ("224.0.0.1:80", false),
            ("255.255.255.255:80", false),
            ("0.0.0.0:80", false),
            ("[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("[::ffff:8.8.8.8]:80", true),
            ("[64:ff9b::a00:1]:80", false),
            ("[fd00::1]:80", false),
            ("[fe80::1]:80", false),
            ("[ff02::1]:80", false),
            ("[2002:7f00:1::]:80", false),
        ] {
            assert_eq!(peers.admit(peer.parse().unwrap(), false), admitted, "{peer}");
        }
        assert!(peers.admit("127.0.0.1:40000".parse().unwrap(), true));
    }
}
