//! Address ranges in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses such as `10.0.0.0/8` or `2001:db8::/32`; a bare address is a range of one.
///
/// An IPv4 address and its IPv4-mapped IPv6 form (`::ffff:10.0.0.1`) are the same address here, for a dual-stack
/// socket shows peers in the mapped form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// With the bits behind the prefix cleared.
    first: u128,
    prefix: u8,
    v4: bool,
}

/// Why text is not a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("expected an IP address, optionally with /prefix")]
    Address,
    #[error("the prefix length is not a number up to {0}")]
    Prefix(u8),
}

impl Network {
    /// The range of `prefix` leading bits around `address`; bits behind the prefix are ignored.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Network, NetworkError> {
        let address = address.to_canonical();
        let (bits, width, v4) = bits(address);
        if prefix > width {
            return Err(NetworkError::Prefix(width));
        }
        Ok(Network { first: bits & mask(prefix, width), prefix, v4 })
    }

    /// Whether `address` lies in the range. A range of one family never contains an address of the other.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width, v4) = bits(address.to_canonical());
        v4 == self.v4 && bits & mask(self.prefix, width) == self.first
    }
}

fn bits(address: IpAddr) -> (u128, u8, bool) {
    match address {
        IpAddr::V4(a) => (u128::from(u32::from(a)), 32, true),
        IpAddr::V6(a) => (u128::from(a), 128, false),
    }
}

fn mask(prefix: u8, width: u8) -> u128 {
    let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    // A shift by the full width is undefined for the type, so `/0` is spelt out.
    if prefix == 0 { 0 } else { all & (all << (width - prefix)) }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let mapped = matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
        let width = if address.is_ipv4() { 32 } else { 128 };
        let mut prefix = match prefix {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|&p| p <= width).ok_or(NetworkError::Prefix(width))?
            }
            Some(_) => return Err(NetworkError::Prefix(width)),
            None => width,
        };
        if mapped {
            // `::ffff:10.0.0.0/104` is `10.0.0.0/8`; a shorter prefix would span more than the mapped range.
            prefix = prefix.checked_sub(96).ok_or(NetworkError::Prefix(width))?;
        }
        Network::new(address, prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v4 {
            write!(f, "{}/{}", Ipv4Addr::from(self.first as u32), self.prefix)
        } else {
            write!(f, "{}/{}", Ipv6Addr::from(self.first), self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, address, inside) in [
            ("127.0.0.0/8", "127.9.8.7", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.200.0.1", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.255/24", "10.1.2.4", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("[::1]", "::1", true),
        ] {
            let network: Network = range.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{address} in {range}");
        }
    }

    #[test]
    fn printed_form_reads_back() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/", "10.0.0.0/+8", "host/8", "::ffff:1.2.3.4/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
