//! TURN messages (RFC 8656 §17, §18) in the form of STUN (RFC 8489 §5), and ChannelData (§12.4).

use std::net::{IpAddr, SocketAddr};

use crate::stun::{
    COOKIE, ERROR_CODE, FINGERPRINT, HEADER, MESSAGE_INTEGRITY, StunError, UNKNOWN_ATTRIBUTES, USERNAME, attribute,
    checksum, finish, head, is_signed, push, xor_address,
};

const CHANNEL_NUMBER: u16 = 0x000c;
const LIFETIME: u16 = 0x000d;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const REQUESTED_TRANSPORT: u16 = 0x0019;

/// Peers of one CreatePermission that are read; more make it malformed.
const PEERS: usize = 16;
/// Names of unknown attributes that are told.
const UNKNOWN: usize = 8;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Binding,
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
}

impl Method {
    const ALL: [(Method, u16); 7] = [
        (Method::Binding, 1),
        (Method::Allocate, 3),
        (Method::Refresh, 4),
        (Method::Send, 6),
        (Method::Data, 7),
        (Method::CreatePermission, 8),
        (Method::ChannelBind, 9),
    ];

    fn number(self) -> u16 {
        Method::ALL.iter().find(|(method, _)| *method == self).map_or(0, |(_, number)| *number)
    }
}

/// The two classes that come to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
}

/// A request or an indication of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    pub method: Method,
    pub class: Class,
    pub username: Option<&'a str>,
    pub realm: Option<&'a [u8]>,
    pub nonce: Option<&'a [u8]>,
    /// Seconds.
    pub lifetime: Option<u32>,
    /// A number of IANA's protocols; UDP is 17.
    pub transport: Option<u8>,
    /// 1 is IPv4, 2 is IPv6.
    pub family: Option<u8>,
    pub channel: Option<u16>,
    pub peers: Vec<SocketAddr>,
    pub data: Option<&'a [u8]>,
    /// Attributes that have to be understood and are not.
    pub unknown: Vec<u16>,
    /// Where MESSAGE-INTEGRITY begins.
    integrity: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a datagram, or a message of a stream. What stands behind MESSAGE-INTEGRITY is not looked at, but for the checksum.
    ///
    /// # Errors
    /// What is no request or indication of TURN; it is dropped without an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, StunError> {
        let (kind, length, cookie) = head(bytes).ok_or(StunError::Malformed)?;
        if kind & 0xc000 != 0 || cookie != COOKIE || length % 4 != 0 || bytes.len() != HEADER + usize::from(length) {
            return Err(StunError::Malformed);
        }
        let number = kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2;
        let known = Method::ALL.iter().find(|(_, known)| *known == number);
        let (Some((method, _)), class @ (0x0000 | 0x0010)) = (known, kind & 0x0110) else {
            return Err(StunError::NotARequest);
        };
        let class = if class == 0 { Class::Request } else { Class::Indication };
        let mut message = Message {
            bytes,
            method: *method,
            class,
            username: None,
            realm: None,
            nonce: None,
            lifetime: None,
            transport: None,
            family: None,
            channel: None,
            peers: Vec::new(),
            data: None,
            unknown: Vec::new(),
            integrity: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let (name, value, next) = attribute(bytes, at).ok_or(StunError::Malformed)?;
            if name == FINGERPRINT {
                // RFC 8489 §14.7: it is the last one.
                let sum = value.try_into().map(u32::from_be_bytes).map_err(|_| StunError::Malformed)?;
                if next != bytes.len() || sum != checksum(&bytes[..at]) {
                    return Err(StunError::Fingerprint);
                }
            } else if message.integrity.is_none() {
                message.take(name, value, at).ok_or(StunError::Malformed)?;
            }
            at = next;
        }
        Ok(message)
    }

    /// One attribute; `None` where it has no such form.
    fn take(&mut self, name: u16, value: &'a [u8], at: usize) -> Option<()> {
        match name {
            USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            REALM => self.realm = Some(value),
            NONCE => self.nonce = Some(value),
            LIFETIME => self.lifetime = Some(u32::from_be_bytes(value.try_into().ok()?)),
            REQUESTED_TRANSPORT => self.transport = Some(*value.first().filter(|_| value.len() == 4)?),
            REQUESTED_ADDRESS_FAMILY => self.family = Some(*value.first().filter(|_| value.len() == 4)?),
            CHANNEL_NUMBER => self.channel = Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?)),
            XOR_PEER_ADDRESS => {
                let peer = address(value, &self.bytes[4..HEADER])?;
                (self.peers.len() < PEERS).then(|| self.peers.push(peer))?;
            }
            DATA => self.data = Some(value),
            MESSAGE_INTEGRITY if value.len() == 20 => self.integrity = Some(at),
            MESSAGE_INTEGRITY => return None,
            name if name < 0x8000 && self.unknown.len() < UNKNOWN => self.unknown.push(name),
            _ => {}
        }
        Some(())
    }

    /// What tells a repeated request from another one.
    #[must_use]
    pub fn transaction(&self) -> [u8; 12] {
        self.bytes[8..HEADER].try_into().unwrap_or_default()
    }

    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this key.
    #[must_use]
    pub fn is_signed_with(&self, key: &[u8]) -> bool {
        self.integrity.is_some_and(|at| is_signed(self.bytes, at, key))
    }

    /// A success response, to be filled and finished.
    #[must_use]
    pub fn success(&self) -> Draft {
        Draft::answer_to(self.method, self.transaction())
    }

    /// An error response.
    #[must_use]
    pub fn error(&self, code: u16, reason: &str) -> Draft {
        self.success().into_error(code, reason)
    }
}

/// A message that is being written.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    fn new(method: Method, class: u16, mask: [u8; 16]) -> Draft {
        let number = method.number();
        let kind = number & 0x000f | (number & 0x0070) << 1 | (number & 0x0f80) << 2 | class;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(mask);
        Draft { bytes }
    }

    /// Data of a peer for the client (§11.3).
    #[must_use]
    pub fn data(transaction: [u8; 12], peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        let mut draft = Draft::new(Method::Data, 0x0010, mask(transaction));
        draft.address(XOR_PEER_ADDRESS, peer);
        push(&mut draft.bytes, DATA, data);
        let length = draft.bytes.len() - HEADER;
        crate::stun::set_length(&mut draft.bytes, length);
        draft.bytes
    }

    /// A request, or an indication where that is what the method is; what our tests and benches ask with.
    #[must_use]
    pub fn ask(method: Method, transaction: [u8; 12]) -> Draft {
        Draft::new(method, if method == Method::Send { 0x0010 } else { 0 }, mask(transaction))
    }

    /// A success response to a request whose transaction is known.
    #[must_use]
    pub fn answer_to(method: Method, transaction: [u8; 12]) -> Draft {
        Draft::new(method, 0x0100, mask(transaction))
    }

    /// The same as an error response (RFC 8489 §14.8).
    #[must_use]
    pub fn into_error(mut self, code: u16, reason: &str) -> Draft {
        self.bytes.truncate(HEADER);
        self.bytes[0] |= 0x01;
        self.bytes[1] |= 0x10;
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        push(&mut self.bytes, ERROR_CODE, &value);
        self
    }

    /// One more attribute, as it stands on the wire.
    #[must_use]
    pub fn with(mut self, name: u16, value: &[u8]) -> Draft {
        push(&mut self.bytes, name, value);
        self
    }

    /// The peer that it is about.
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Draft {
        self.address(XOR_PEER_ADDRESS, peer);
        self
    }

    fn address(&mut self, name: u16, address: SocketAddr) {
        let value = xor_address(address, &self.bytes[4..HEADER]);
        push(&mut self.bytes, name, &value);
    }

    #[must_use]
    pub fn relayed(mut self, address: SocketAddr) -> Draft {
        self.address(XOR_RELAYED_ADDRESS, address);
        self
    }

    #[must_use]
    pub fn mapped(mut self, address: SocketAddr) -> Draft {
        self.address(crate::stun::XOR_MAPPED_ADDRESS, address);
        self
    }

    /// Seconds.
    #[must_use]
    pub fn lifetime(mut self, seconds: u32) -> Draft {
        push(&mut self.bytes, LIFETIME, &seconds.to_be_bytes());
        self
    }

    #[must_use]
    pub fn challenge(mut self, realm: &str, nonce: &str) -> Draft {
        push(&mut self.bytes, REALM, realm.as_bytes());
        push(&mut self.bytes, NONCE, nonce.as_bytes());
        self
    }

    #[must_use]
    pub fn unknown(mut self, names: &[u16]) -> Draft {
        let value: Vec<u8> = names.iter().flat_map(|name| name.to_be_bytes()).collect();
        push(&mut self.bytes, UNKNOWN_ATTRIBUTES, &value);
        self
    }

    /// The bytes, signed where there is a key.
    #[must_use]
    pub fn finish(self, key: Option<&[u8]>) -> Vec<u8> {
        finish(self.bytes, key)
    }
}

fn mask(transaction: [u8; 12]) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction);
    mask
}

/// An address that was mixed with `mask`, the cookie and the transaction (RFC 8489 §14.2).
pub(super) fn address(value: &[u8], mask: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (COOKIE >> 16) as u16;
    let octets: Vec<u8> = value.get(4..)?.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match (value.get(1)?, value.len()) {
        (1, 8) => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        (2, 20) => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Channel and data of a ChannelData message (§12.4); padding is left out.
#[must_use]
pub fn channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let head = bytes.get(..4)?;
    let (channel, length) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
    let data = bytes.get(4..4 + usize::from(length))?;
    CHANNELS.contains(&channel).then_some((channel, data))
}

/// Numbers that channels may have (§12).
pub const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// A ChannelData message; padded, as it has to be on a stream and may be in a datagram (§12.5).
#[must_use]
pub fn to_channel(channel: u16, data: &[u8], padded: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() + 8);
    bytes.extend(channel.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    if padded {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// How long the message is that begins a stream, with its padding; `None` while its head is not here.
///
/// # Errors
/// What is neither STUN nor ChannelData: nothing can be read of the stream any more.
pub fn framed(bytes: &[u8]) -> Result<Option<usize>, StunError> {
    let Some(head) = bytes.get(..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    match head[0] {
        0..=3 => Ok(Some(HEADER + length)),
        0x40..=0x4f => Ok(Some((4 + length).next_multiple_of(4))),
        _ => Err(StunError::Malformed),
    }
}
