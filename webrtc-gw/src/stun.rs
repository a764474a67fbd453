//! STUN as ICE uses it (RFC 8489, RFC 8445 §7): Binding requests are read and answered, nothing is asked.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

/// Longest message that is read, in bytes; a check of a browser has about a hundred.
pub const MAX_SIZE: usize = 1280;

pub(crate) const HEADER: usize = 20;
pub(crate) const COOKIE: u32 = 0x2112_a442;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
pub(crate) const FINGERPRINT: u16 = 0x8028;

/// Why bytes are no Binding request that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    #[error("not STUN, or cut short")]
    Malformed,
    #[error("the checksum is wrong")]
    Fingerprint,
    #[error("another method or class")]
    NotARequest,
}

/// A Binding request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    bytes: &'a [u8],
    username: Option<&'a [u8]>,
    /// Where MESSAGE-INTEGRITY begins.
    integrity: Option<usize>,
    /// Whether the sender has chosen this path (RFC 8445 §8.1.1).
    pub use_candidate: bool,
    /// A required attribute that nobody here knows: a 420 answers it.
    unknown: Option<u16>,
}

impl<'a> Request<'a> {
    /// Reads a datagram. What stands behind MESSAGE-INTEGRITY is not looked at, but for the checksum.
    ///
    /// # Errors
    /// What is no Binding request; it is dropped without an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Request<'a>, StunError> {
        let (kind, length, cookie) = head(bytes).ok_or(StunError::Malformed)?;
        if bytes.len() > MAX_SIZE || kind & 0xc000 != 0 || cookie != COOKIE || length % 4 != 0 {
            return Err(StunError::Malformed);
        }
        if bytes.len() != HEADER + usize::from(length) {
            return Err(StunError::Malformed);
        }
        if kind != BINDING_REQUEST {
            return Err(StunError::NotARequest);
        }
        let mut request = Request { bytes, username: None, integrity: None, use_candidate: false, unknown: None };
        let mut at = HEADER;
        while at < bytes.len() {
            let (name, value, next) = attribute(bytes, at).ok_or(StunError::Malformed)?;
            match name {
                FINGERPRINT => {
                    // §14.7: it is the last one.
                    let sum = value.try_into().map(u32::from_be_bytes).map_err(|_| StunError::Malformed)?;
                    if next != bytes.len() || sum != checksum(&bytes[..at]) {
                        return Err(StunError::Fingerprint);
                    }
                }
                _ if request.integrity.is_some() => {}
                MESSAGE_INTEGRITY if value.len() == 20 => request.integrity = Some(at),
                MESSAGE_INTEGRITY => return Err(StunError::Malformed),
                USERNAME if request.username.is_none() => request.username = Some(value),
                USE_CANDIDATE => request.use_candidate = true,
                USERNAME | PRIORITY => {}
                name if name < 0x8000 => request.unknown = request.unknown.or(Some(name)),
                _ => {}
            }
            at = next;
        }
        Ok(request)
    }

    /// Our part of the USERNAME, which names the leg (RFC 8445 §7.2.2).
    #[must_use]
    pub fn local_ufrag(&self) -> Option<&'a str> {
        let name = std::str::from_utf8(self.username?).ok()?;
        name.split_once(':').map(|(ours, _)| ours)
    }

    /// The peer's part of the USERNAME.
    #[must_use]
    pub fn remote_ufrag(&self) -> Option<&'a str> {
        let name = std::str::from_utf8(self.username?).ok()?;
        name.split_once(':').map(|(_, theirs)| theirs)
    }

    /// Whether it has no USERNAME and no integrity: somebody asks for the address he is seen at.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.username.is_none() && self.integrity.is_none()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this password.
    #[must_use]
    pub fn is_signed_with(&self, password: &[u8]) -> bool {
        self.integrity.is_some_and(|at| is_signed(self.bytes, at, password))
    }

    /// A success response that names `seen`, signed where there is a password.
    #[must_use]
    pub fn success(&self, seen: SocketAddr, password: Option<&[u8]>) -> Vec<u8> {
        if let Some(unknown) = self.unknown {
            let mut message = self.begin(BINDING_ERROR);
            push(&mut message, ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
            push(&mut message, UNKNOWN_ATTRIBUTES, &unknown.to_be_bytes());
            return finish(message, password);
        }
        let mut message = self.begin(BINDING_SUCCESS);
        push(&mut message, XOR_MAPPED_ADDRESS, &xor_address(seen, &self.bytes[4..HEADER]));
        finish(message, password)
    }

    fn begin(&self, kind: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(96);
        message.extend(kind.to_be_bytes());
        message.extend([0, 0]);
        message.extend(&self.bytes[4..HEADER]);
        message
    }
}

/// Whether a datagram looks like STUN (RFC 7983 §7).
#[must_use]
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 4) && bytes.len() >= HEADER && bytes[4..8] == COOKIE.to_be_bytes()
}

/// A Binding request as a browser sends it; what our tests and benches ask with.
#[must_use]
pub fn request(transaction: [u8; 12], username: &str, password: &[u8], use_candidate: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    message.extend(BINDING_REQUEST.to_be_bytes());
    message.extend([0, 0]);
    message.extend(COOKIE.to_be_bytes());
    message.extend(transaction);
    push(&mut message, USERNAME, username.as_bytes());
    push(&mut message, PRIORITY, &0x6e00_1eff_u32.to_be_bytes());
    if use_candidate {
        push(&mut message, USE_CANDIDATE, b"");
    }
    finish(message, Some(password))
}

pub(crate) fn head(bytes: &[u8]) -> Option<(u16, u16, u32)> {
    let head = bytes.get(..HEADER)?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    Some((word(0), word(2), u32::from_be_bytes([head[4], head[5], head[6], head[7]])))
}

/// Name, value and where the next one begins.
pub(crate) fn attribute(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let head = bytes.get(at..at + 4)?;
    let (name, length) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
    let value = bytes.get(at + 4..at + 4 + usize::from(length))?;
    let next = at + 4 + usize::from(length).next_multiple_of(4);
    (next <= bytes.len()).then_some((name, value, next))
}

pub(crate) fn push(message: &mut Vec<u8>, name: u16, value: &[u8]) {
    message.extend(name.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

pub(crate) fn set_length(message: &mut [u8], length: usize) {
    message[2..4].copy_from_slice(&(length as u16).to_be_bytes());
}

pub(crate) fn finish(mut message: Vec<u8>, password: Option<&[u8]>) -> Vec<u8> {
    if let Some(password) = password {
        let length = message.len() + 24 - HEADER;
        set_length(&mut message, length);
        let tag = hmac::sign(&key(password), &message);
        push(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
    }
    let length = message.len() + 8 - HEADER;
    set_length(&mut message, length);
    let sum = checksum(&message);
    push(&mut message, FINGERPRINT, &sum.to_be_bytes());
    message
}

/// Whether the MESSAGE-INTEGRITY that begins at `at` was made with this key (§14.5).
pub(crate) fn is_signed(bytes: &[u8], at: usize, password: &[u8]) -> bool {
    let (Some(before), Some(tag)) = (bytes.get(..at), bytes.get(at + 4..at + 24)) else { return false };
    let mut signed = before.to_vec();
    // The length as if nothing came behind it.
    set_length(&mut signed, at + 24 - HEADER);
    hmac::verify(&key(password), &signed, tag).is_ok()
}

fn key(password: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password)
}

/// XOR-MAPPED-ADDRESS (§14.2); `mask` is the cookie and the transaction.
pub(crate) fn xor_address(address: SocketAddr, mask: &[u8]) -> Vec<u8> {
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    value.extend((address.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    let octets: &[u8] = match address.ip() {
        IpAddr::V4(ip) => &ip.octets(),
        IpAddr::V6(ip) => &ip.octets(),
    };
    value.extend(octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

/// FINGERPRINT (§14.7): CRC-32 of ISO-HDLC, mixed with the letters STUN.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = n as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let crc = bytes.iter().fold(!0, |crc: u32, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
    !crc ^ 0x5354_554e
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.1, with its password.
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
        80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
        80280004e57a3bcf";
    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    fn sample() -> Vec<u8> {
        let digits: Vec<u8> = SAMPLE.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_sample_of_rfc_5769() {
        let bytes = sample();
        let request = Request::parse(&bytes).unwrap();
        assert_eq!((request.local_ufrag(), request.remote_ufrag()), (Some("evtj"), Some("h6vY")));
        assert!(request.is_signed_with(PASSWORD) && !request.is_signed_with(b"another"));
        assert!(!request.use_candidate && !request.is_plain());
    }

    #[test]
    fn what_is_damaged_is_no_request() {
        let whole = sample();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let taken = Request::parse(&damaged).is_ok_and(|request| request.is_signed_with(PASSWORD));
            // A FINGERPRINT under another name is an attribute behind the integrity, which nobody looks at.
            assert!(!taken || (100..104).contains(&at), "byte {at}");
            assert!(Request::parse(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_answer_names_the_address_and_is_signed() {
        let bytes = request([7; 12], "ours:theirs", b"secret", true);
        let request = Request::parse(&bytes).unwrap();
        assert!(request.use_candidate && request.is_signed_with(b"secret"));
        for seen in ["192.0.2.1:32853", "[2001:db8::1]:9"] {
            let seen: SocketAddr = seen.parse().unwrap();
            let answer = request.success(seen, Some(b"secret"));
            assert_eq!(answer[..2], BINDING_SUCCESS.to_be_bytes());
            assert_eq!(answer[4..20], bytes[4..20]);
            let (name, value, _) = attribute(&answer, HEADER).unwrap();
            assert_eq!(name, XOR_MAPPED_ADDRESS);
            let port = u16::from_be_bytes([value[2], value[3]]) ^ 0x2112;
            assert_eq!(port, seen.port());
            assert_eq!(Request::parse(&answer), Err(StunError::NotARequest));
        }
    }

    #[test]
    fn what_must_be_understood_and_is_not_gets_420() {
        let mut message = request([1; 12], "a:b", b"k", false);
        message.truncate(message.len() - 32);
        push(&mut message, 0x0099, b"what");
        let bytes = finish(message, Some(b"k"));
        let answer = Request::parse(&bytes).unwrap().success("192.0.2.1:1".parse().unwrap(), Some(b"k"));
        assert_eq!(answer[..2], BINDING_ERROR.to_be_bytes());
    }
}
