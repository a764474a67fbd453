//! Records of capture files. A message that came over TLS or a WebSocket has no packet of its own: what is written is an upper
//! PDU of Wireshark (link type 252), tags that say that it is SIP and between whom, then the text.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

// Tags of epan/exported_pdu.h.
const END: u16 = 0;
const DISSECTOR: u16 = 12;
const IPV4_SOURCE: u16 = 20;
const IPV4_DESTINATION: u16 = 21;
const IPV6_SOURCE: u16 = 22;
const IPV6_DESTINATION: u16 = 23;
const PORT_TYPE: u16 = 24;
const SOURCE_PORT: u16 = 25;
const DESTINATION_PORT: u16 = 26;
/// Values of the port type.
const TCP: u32 = 2;
const UDP: u32 = 3;

/// The record of a message from one address to another, in base64.
pub(super) fn record(from: SocketAddr, to: SocketAddr, is_udp: bool, head: &str) -> String {
    let mut out = Vec::with_capacity(head.len() + 80);
    tag(&mut out, DISSECTOR, b"sip");
    for (address, v4, v6) in [(from, IPV4_SOURCE, IPV6_SOURCE), (to, IPV4_DESTINATION, IPV6_DESTINATION)] {
        match address.ip() {
            IpAddr::V4(ip) => tag(&mut out, v4, &ip.octets()),
            IpAddr::V6(ip) => tag(&mut out, v6, &ip.octets()),
        }
    }
    tag(&mut out, PORT_TYPE, &(if is_udp { UDP } else { TCP }).to_be_bytes());
    tag(&mut out, SOURCE_PORT, &u32::from(from.port()).to_be_bytes());
    tag(&mut out, DESTINATION_PORT, &u32::from(to.port()).to_be_bytes());
    tag(&mut out, END, b"");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    STANDARD.encode(out)
}

/// Tag, length, and the value filled up to four octets.
fn tag(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let padded = value.len().next_multiple_of(4);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&(padded as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len() + padded - value.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_the_protocol_and_both_ends() {
        let record = record("192.0.2.1:5060".parse().unwrap(), "[::1]:5061".parse().unwrap(), true, "SIP/2.0 200 OK");
        let bytes = STANDARD.decode(record).unwrap();
        assert_eq!(bytes[..8], [0, 12, 0, 4, b's', b'i', b'p', 0]);
        assert_eq!(bytes[8..16], [0, 20, 0, 4, 192, 0, 2, 1]);
        assert_eq!(bytes[16..20], [0, 23, 0, 16]);
        assert_eq!(bytes[36..44], [0, 24, 0, 4, 0, 0, 0, 3]);
        assert!(bytes.ends_with(b"\0\0\0\0SIP/2.0 200 OK\r\n\r\n"));
    }
}
