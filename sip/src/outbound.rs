//! Flow tokens (RFC 5626 §5.2): the name of a flow that we hand out in Path and Record-Route and get back in Route.
//!
//! The token is the flow itself with a MAC over it, so nothing is stored for it, and nobody else can make one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use smallvec::SmallVec;

use crate::transport::{Flow, Transport};

/// Bytes of the MAC, as in the example algorithm of RFC 5626 §5.2.
const MAC: usize = 10;
/// Kind, node, run, listener, connection, address and port.
const MAX_FLOW: usize = 1 + 2 + 4 + 2 + 8 + 16 + 2;
const MAX_TOKEN: usize = (MAX_FLOW + MAC).div_ceil(3) * 4;

/// Signs and checks the tokens of one node.
#[derive(Clone)]
pub struct FlowTokens {
    key: Hmac<Sha256>,
    node: u16,
    run: u32,
}

/// A token that one of our nodes made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowToken {
    /// The node that holds the flow; requests go through it.
    pub node: u16,
    /// Made by an earlier run of the node: its connections are gone (430), UDP flows may still work.
    pub stale: bool,
    pub flow: Flow,
}

/// Not a token of ours: the request is answered with 403 (RFC 5626 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flow token is forged or damaged")]
pub struct Forged;

impl FlowTokens {
    /// `key` is shared by all nodes of the domain; `run` differs for each start of this node (the start time, say),
    /// as connection numbers begin anew.
    pub fn new(key: &[u8; 32], node: u16, run: u32) -> FlowTokens {
        let key = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        FlowTokens { key, node, run }
    }

    pub fn node(&self) -> u16 {
        self.node
    }

    /// Appends the token of `flow`: 39 to 60 characters that may stand in a SIP user part.
    pub fn write(&self, flow: &Flow, out: &mut String) {
        let mut bytes: SmallVec<[u8; MAX_FLOW + MAC]> = SmallVec::new();
        let ip = flow.remote.ip().to_canonical();
        bytes.push(flow.transport as u8 | if ip.is_ipv6() { 0x10 } else { 0 });
        bytes.extend_from_slice(&self.node.to_be_bytes());
        bytes.extend_from_slice(&self.run.to_be_bytes());
        bytes.extend_from_slice(&flow.listener.to_be_bytes());
        bytes.extend_from_slice(&flow.connection.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
        }
        bytes.extend_from_slice(&flow.remote.port().to_be_bytes());
        let mac = self.key.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode_string(&bytes, out);
    }

    /// Reads the user part of a Route that names us.
    pub fn read(&self, token: &str) -> Result<FlowToken, Forged> {
        let mut space = [0; MAX_TOKEN];
        if token.len() > MAX_TOKEN {
            return Err(Forged);
        }
        let len = URL_SAFE_NO_PAD.decode_slice(token, &mut space).map_err(|_| Forged)?;
        let (bytes, mac) = space[..len].split_at_checked(len.saturating_sub(MAC)).ok_or(Forged)?;
        if mac.len() != MAC {
            return Err(Forged);
        }
        self.key.clone().chain_update(bytes).verify_truncated_left(mac).map_err(|_| Forged)?;
        parse(bytes, self.run).ok_or(Forged)
    }

    /// Appends a Path or Record-Route value, `<sip:TOKEN@place;lr>`, with `;ob` where wanted: in a Path of a REGISTER
    /// that came straight from the client (RFC 5626 §5.1). `place` is `host[:port]`, with URI parameters where needed.
    pub fn write_route(&self, flow: &Flow, place: &str, ob: bool, out: &mut String) {
        out.push_str("<sip:");
        self.write(flow, out);
        out.push('@');
        out.push_str(place);
        out.push_str(if ob { ";lr;ob>" } else { ";lr>" });
    }
}

impl std::fmt::Debug for FlowTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowTokens").field("node", &self.node).field("run", &self.run).finish_non_exhaustive()
    }
}

fn parse(bytes: &[u8], run: u32) -> Option<FlowToken> {
    let (kind, bytes) = bytes.split_first()?;
    let transport = *Transport::ALL.get(usize::from(kind & 0x0f))?;
    let (node, bytes) = bytes.split_first_chunk()?;
    let (made, bytes) = bytes.split_first_chunk()?;
    let (listener, bytes) = bytes.split_first_chunk()?;
    let (connection, bytes) = bytes.split_first_chunk()?;
    let (ip, bytes) = if kind & 0x10 == 0 {
        let (ip, bytes) = bytes.split_first_chunk::<4>()?;
        (IpAddr::V4(Ipv4Addr::from(*ip)), bytes)
    } else {
        let (ip, bytes) = bytes.split_first_chunk::<16>()?;
        (IpAddr::V6(Ipv6Addr::from(*ip)), bytes)
    };
    let port = u16::from_be_bytes(bytes.try_into().ok()?);
    let flow = Flow {
        transport,
        listener: u16::from_be_bytes(*listener),
        connection: u64::from_be_bytes(*connection),
        remote: SocketAddr::new(ip, port),
    };
    Some(FlowToken { node: u16::from_be_bytes(*node), stale: u32::from_be_bytes(*made) != run, flow })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, connection: u64, remote: &str) -> Flow {
        Flow { transport, listener: 3, connection, remote: remote.parse().unwrap() }
    }

    #[test]
    fn tokens_come_back_as_the_flow() {
        let tokens = FlowTokens::new(&[7; 32], 2, 1000);
        for flow in [
            flow(Transport::Udp, 0, "192.0.2.1:5060"),
            flow(Transport::Wss, u64::MAX, "[2001:db8::7]:40000"),
            flow(Transport::Tls, 9, "198.51.100.7:1"),
        ] {
            let mut token = String::new();
            tokens.write(&flow, &mut token);
            assert!((39..=60).contains(&token.len()), "{token}");
            assert_eq!(tokens.read(&token), Ok(FlowToken { node: 2, stale: false, flow }));
            let later = FlowTokens::new(&[7; 32], 4, 1001);
            assert_eq!(later.read(&token), Ok(FlowToken { node: 2, stale: true, flow }));
        }
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let tokens = FlowTokens::new(&[7; 32], 0, 0);
        let mut token = String::new();
        tokens.write(&flow(Transport::Tcp, 5, "192.0.2.1:5060"), &mut token);
        assert_eq!(FlowTokens::new(&[8; 32], 0, 0).read(&token), Err(Forged));
        for i in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[i] = if other[i] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.read(std::str::from_utf8(&other).unwrap()), Err(Forged), "{i}");
        }
        for bad in ["", "alice", "AAAA", &token[..20], &"A".repeat(500)] {
            assert_eq!(tokens.read(bad), Err(Forged), "{bad}");
        }
    }

    #[test]
    fn routes_are_written() {
        let tokens = FlowTokens::new(&[7; 32], 0, 0);
        let mut out = String::new();
        tokens.write_route(&flow(Transport::Wss, 5, "192.0.2.1:5060"), "edge.example.com;transport=ws", true, &mut out);
        assert!(out.starts_with("<sip:") && out.ends_with("@edge.example.com;transport=ws;lr;ob>"), "{out}");
    }
}
