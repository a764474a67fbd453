//! STUN binding requests as keep-alives on the SIP port (RFC 5626 §3.5.2, §8; RFC 5389 §6, §15.2).

use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Whether a datagram is STUN and not SIP: the two top bits of the first octet are 0, and no SIP message begins with
/// a control character (RFC 5626 §8.1).
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|b| *b <= 1)
}

/// The answer to a binding request from `remote`: its address as we see it. `None` for everything else, since on
/// this port no other method is offered and an error answer would only serve reflection.
pub(crate) fn answer(datagram: &[u8], remote: SocketAddr) -> Option<Vec<u8>> {
    let header = datagram.get(..HEADER)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if word(0) != BINDING_REQUEST || cookie != COOKIE || usize::from(word(2)) != datagram.len() - HEADER {
        return None;
    }
    let mut answer = Vec::with_capacity(HEADER + 24);
    answer.extend_from_slice(&BINDING_SUCCESS.to_be_bytes());
    let ip = remote.ip().to_canonical();
    let value_length: u16 = if ip.is_ipv4() { 8 } else { 20 };
    answer.extend_from_slice(&(4 + value_length).to_be_bytes());
    answer.extend_from_slice(&header[4..]);
    answer.extend_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
    answer.extend_from_slice(&value_length.to_be_bytes());
    answer.push(0);
    answer.push(if ip.is_ipv4() { 1 } else { 2 });
    answer.extend_from_slice(&(remote.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    // The address is masked with the cookie and, for IPv6, the transaction id behind it.
    let mask = &header[4..];
    match ip {
        IpAddr::V4(ip) => answer.extend(ip.octets().iter().zip(mask).map(|(a, m)| a ^ m)),
        IpAddr::V6(ip) => answer.extend(ip.octets().iter().zip(mask).map(|(a, m)| a ^ m)),
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        bytes.extend(1..=12);
        bytes
    }

    #[test]
    fn reflexive_address() {
        let answer4 = answer(&request(), "192.0.2.1:32853".parse().unwrap()).unwrap();
        // RFC 5769 §2.2 has the same address, and so the same masked bytes.
        assert_eq!(answer4[..4], [1, 1, 0, 12]);
        assert_eq!(answer4[4..20], request()[4..]);
        assert_eq!(answer4[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let answer6 = answer(&request(), "[2001:db8::1]:5060".parse().unwrap()).unwrap();
        assert_eq!(answer6.len(), 44);
        assert_eq!(answer6[28..32], [0x01, 0x13, 0xa9, 0xfa], "2001:0db8 under the cookie");
        assert_eq!(answer6[43], 1 ^ 12);
    }

    #[test]
    fn anything_else_gets_no_answer() {
        let remote = "192.0.2.1:1".parse().unwrap();
        let mut no_cookie = request();
        no_cookie[4] = 0;
        let mut wrong_length = request();
        wrong_length[3] = 4;
        let mut indication = request();
        indication[1] = 0x11;
        for bytes in [&no_cookie[..], &wrong_length, &indication, &request()[..19], b"", &[0, 0, 0, 0]] {
            assert_eq!(answer(bytes, remote), None, "{bytes:?}");
        }
    }
}
