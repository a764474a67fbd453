//! The `branch` of our own Via: unique, and telling a loop from a spiral (RFC 3261 §16.6 step 8, RFC 5393 §4.2).
//!
//! ```text
//! z9hG4bK <prefix> <unique: base 32> ~ <loop part: 8 hexadecimal digits>
//! ```

use std::fmt::Write as _;

use crate::message::Message;
use crate::name::HeaderName;

const COOKIE: &str = "z9hG4bK";
const SEPARATOR: char = '~';

/// Writes a branch. `prefix` names the node and worker (token characters); `unique` must differ for each branch of
/// one prefix; the loop part is [`loop_hash`] of the request as received, left out where the request cannot loop.
pub fn branch(out: &mut String, prefix: &str, unique: u64, loop_part: Option<u32>) {
    out.push_str(COOKIE);
    out.push_str(prefix);
    push_base32(out, unique);
    if let Some(hash) = loop_part {
        out.push(SEPARATOR);
        push_hex(out, hash);
    }
}

/// A branch of ours, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BranchParts<'a> {
    /// Prefix and unique part.
    pub unique: &'a [u8],
    pub loop_part: Option<u32>,
}

impl<'a> BranchParts<'a> {
    /// `None` where it lacks the magic cookie.
    pub fn parse(branch: &'a [u8]) -> Option<BranchParts<'a>> {
        let rest = branch.strip_prefix(COOKIE.as_bytes())?;
        if let Some((head, [b'~', hex @ ..])) = rest.len().checked_sub(9).map(|at| rest.split_at(at))
            && let Some(hash) = parse_hex(hex)
        {
            return Some(BranchParts { unique: head, loop_part: Some(hash) });
        }
        Some(BranchParts { unique: rest, loop_part: None })
    }
}

/// Hash of everything in a request as received that decides where we send it; not of the method, so that ACK and
/// CANCEL get the value of their INVITE (RFC 5393 §4.2.1). Call-ID and CSeq keep one collision from repeating.
pub fn loop_hash(request: &Message) -> u32 {
    const USED: [HeaderName; 4] =
        [HeaderName::Route, HeaderName::AcceptContact, HeaderName::RejectContact, HeaderName::RequestDisposition];
    let mut hash = Hash::new();
    hash.add(request.uri());
    for name in USED {
        for value in request.headers(name) {
            hash.add(value);
        }
        hash.add(&[name as u8]);
    }
    hash.add(request.call_id());
    hash.add(&request.cseq().to_le_bytes());
    let hash = hash.finish();
    (hash ^ (hash >> 32)) as u32
}

/// The branch of a request forwarded without state: the same for each retransmission, for its CANCEL and its ACK to a
/// non-2xx response (RFC 3261 §16.11).
pub fn stateless_branch(out: &mut String, request: &Message, prefix: &str) {
    let mut hash = Hash::new();
    if request.branch().starts_with(COOKIE.as_bytes()) {
        // sent-by too: branches are unique only within the element that made them.
        hash.add(request.branch());
        hash.add(request.sent_by());
    } else {
        hash.add(request.via_text());
        hash.add(request.to_tag());
        hash.add(request.from_tag());
        hash.add(request.call_id());
        hash.add(&request.cseq().to_le_bytes());
        hash.add(request.uri());
    }
    branch(out, prefix, hash.finish(), Some(loop_hash(request)));
}

/// A fast hash that is the same in every build and on every node; not against adversaries (RFC 5393 §4.2.4).
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0x9e37_79b9_7f4a_7c15)
    }

    fn add(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let mut tail = [0u8; 8];
        let rest = chunks.remainder();
        tail[..rest.len()].copy_from_slice(rest);
        // The length keeps "ab" + "c" apart from "a" + "bc".
        self.mix(u64::from_le_bytes(tail) ^ (bytes.len() as u64) << 56);
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f_u128;
        self.0 = (product ^ (product >> 64)) as u64 ^ self.0.rotate_left(23);
    }

    fn finish(mut self) -> u64 {
        self.mix(0x8ebc_6af0_9c88_c6e3);
        self.0
    }
}

fn push_base32(out: &mut String, mut value: u64) {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut digits = [0u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = DIGITS[(value & 31) as usize];
        value >>= 5;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|d| *d as char));
}

fn push_hex(out: &mut String, value: u32) {
    let _ = write!(out, "{value:08x}");
}

fn parse_hex(hex: &[u8]) -> Option<u32> {
    let fine = hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    std::str::from_utf8(hex).ok().filter(|_| fine).and_then(|hex| u32::from_str_radix(hex, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::validate::tests::request;

    #[test]
    fn a_branch_comes_apart_again() {
        for (unique, hash) in [(0, None), (u64::MAX, Some(0)), (77, Some(u32::MAX))] {
            let mut text = String::new();
            branch(&mut text, "n1.", unique, hash);
            let parts = BranchParts::parse(text.as_bytes()).unwrap();
            assert!(parts.unique.starts_with(b"n1."), "{text}");
            assert_eq!(parts.loop_part, hash, "{text}");
        }
        for foreign in ["z9hG4bK", "z9hG4bK~", "z9hG4bKx~ABCDEF01", "z9hG4bK~1234567"] {
            assert_eq!(BranchParts::parse(foreign.as_bytes()).unwrap().loop_part, None, "{foreign}");
        }
        assert_eq!(BranchParts::parse(b"1"), None);
    }

    #[test]
    fn the_loop_part_changes_with_what_routes_but_not_with_the_method() {
        let base = request("INVITE", "sip:a@example.com", "Route: <sip:p1;lr>\r\n");
        assert_eq!(loop_hash(&base), loop_hash(&request("ACK", "sip:a@example.com", "Route: <sip:p1;lr>\r\n")));
        assert_eq!(
            loop_hash(&base),
            loop_hash(&request("INVITE", "sip:a@example.com", "X: y\r\nRoute: <sip:p1;lr>\r\n"))
        );
        for other in [
            request("INVITE", "sip:b@example.com", "Route: <sip:p1;lr>\r\n"),
            request("INVITE", "sip:a@example.com", ""),
            request("INVITE", "sip:a@example.com", "Route: <sip:p2;lr>\r\n"),
            request("INVITE", "sip:a@example.com", "Route: <sip:p1;lr>\r\nAccept-Contact: *;audio\r\n"),
        ] {
            assert_ne!(loop_hash(&base), loop_hash(&other));
        }
    }

    #[test]
    fn a_stateless_branch_is_a_function_of_the_message() {
        let made = |request: &Message| {
            let mut out = String::new();
            stateless_branch(&mut out, request, "n");
            out
        };
        let first = request("INVITE", "sip:a@example.com", "");
        assert_eq!(made(&first), made(&request("CANCEL", "sip:a@example.com", "")));
        let text = String::from_utf8(first.bytes().to_vec()).unwrap();
        let parse = |text: String| Message::parse(text.into(), &crate::Limits::default()).unwrap();
        assert_ne!(made(&first), made(&parse(text.replace("z9hG4bKc1", "z9hG4bKc2"))));
        let old = text.replace(";branch=z9hG4bKc1", "");
        assert_ne!(made(&parse(old.clone())), made(&parse(old.replace("CSeq: 1", "CSeq: 2"))));
    }
}
