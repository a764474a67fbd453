//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3), as a keyed 128-bit hash. The seeds are secret
//! and per process, so nobody can aim at a collision, and by chance there is none.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use smallvec::SmallVec;

use crate::message::Message;
use crate::name::Method;
use crate::transport::Transport;

const COOKIE: &[u8] = b"z9hG4bK";

/// Name of a transaction in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(u64, u64);

impl Name {
    pub(super) fn hash(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub(super) struct Namer(RandomState, RandomState);

impl Namer {
    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Namer {
        Namer(RandomState::with_seeds(a, b, c, d), RandomState::with_seeds(d.wrapping_add(1), c, b.wrapping_mul(3), !a))
    }

    /// The client transaction that `branch` and `method` name.
    pub(super) fn client(&self, branch: &[u8], method: &[u8]) -> Name {
        self.name(b'c', [branch, method, b"", b"", b""])
    }

    /// The server transaction of a request, or with `Some` the one of that method with the same branch: the INVITE of
    /// an ACK or a CANCEL.
    ///
    /// A branch of a peer that follows RFC 2543 is not unique, so more is compared then; the To tag is left out,
    /// because an ACK has one where its INVITE had none.
    ///
    /// The transport counts too: copies, CANCEL and ACK come by the way of the request (RFC 3261 §9.1, §17.1.1.3), and an
    /// answer to the same branch by another way would go astray.
    pub(super) fn server(&self, request: &Message, of: Option<Method>, transport: Transport) -> Name {
        let transport = [transport as u8];
        let method = of.map_or(request.method_text(), |m| m.as_str().as_bytes());
        let branch = request.branch();
        let unique = branch.len() > COOKIE.len() && branch[..COOKIE.len()].eq_ignore_ascii_case(COOKIE);
        if unique {
            let sent_by = request.sent_by();
            let mut lower: SmallVec<[u8; 64]> = SmallVec::new();
            let sent_by = if sent_by.iter().any(u8::is_ascii_uppercase) {
                lower.extend_from_slice(sent_by);
                lower.make_ascii_lowercase();
                &lower
            } else {
                sent_by
            };
            return self.name(b's', [branch, method, sent_by, &transport, b""]);
        }
        let cseq = request.cseq().to_be_bytes();
        let via = self.name(b'v', [request.via_text(), &cseq, &transport, b"", b""]);
        let via = [via.0.to_be_bytes(), via.1.to_be_bytes()].concat();
        self.name(b'o', [request.uri(), request.from_tag(), request.call_id(), &via, method])
    }

    fn name(&self, kind: u8, parts: [&[u8]; 5]) -> Name {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write_u8(kind);
            for part in parts {
                // The length keeps one part's end from being another's beginning.
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            hasher.finish()
        };
        Name(hash(&self.0), hash(&self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::reread;

    fn request(method: &str, via: &str, more: &str) -> Message {
        let text = format!(
            "{method} sip:a@h{more} SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        );
        reread(&text.into()).unwrap()
    }

    #[test]
    fn requests_match_by_branch_sent_by_and_method() {
        let namer = Namer::new([1, 2, 3, 4]);
        let invite = namer.server(&request("INVITE", "h.example:5070;branch=z9hG4bKa", ""), None, Transport::Udp);
        for (name, method, via, more, of, same) in [
            ("copy", "INVITE", "h.example:5070;branch=z9hG4bKa", "", None, true),
            ("another Request-URI", "INVITE", "h.example:5070;branch=z9hG4bKa", "x", None, true),
            ("case of sent-by", "INVITE", "H.Example:5070;branch=z9hG4bKa", "", None, true),
            ("another port", "INVITE", "h.example;branch=z9hG4bKa", "", None, false),
            ("another branch", "INVITE", "h.example:5070;branch=z9hG4bKb", "", None, false),
            ("another method", "OPTIONS", "h.example:5070;branch=z9hG4bKa", "", None, false),
            ("its ACK", "ACK", "h.example:5070;branch=z9hG4bKa", "", Some(Method::Invite), true),
            ("CANCEL itself", "CANCEL", "h.example:5070;branch=z9hG4bKa", "", None, false),
            ("CANCEL to INVITE", "CANCEL", "h.example:5070;branch=z9hG4bKa", "", Some(Method::Invite), true),
        ] {
            assert_eq!(namer.server(&request(method, via, more), of, Transport::Udp) == invite, same, "{name}");
        }
    }

    #[test]
    fn without_the_cookie_more_is_compared() {
        let namer = Namer::new([1, 2, 3, 4]);
        for branch in ["", ";branch=1", ";branch=z9hG4bK"] {
            let via = format!("h{branch}");
            let invite = namer.server(&request("INVITE", &via, ""), None, Transport::Udp);
            assert_eq!(namer.server(&request("INVITE", &via, ""), None, Transport::Udp), invite);
            assert_eq!(namer.server(&request("ACK", &via, ""), Some(Method::Invite), Transport::Udp), invite);
            assert_ne!(namer.server(&request("INVITE", &via, "other"), None, Transport::Udp), invite);
            assert_ne!(namer.server(&request("INVITE", &via, ""), None, Transport::Tcp), invite);
            assert_ne!(namer.server(&request("INVITE", &format!("{via};x"), ""), None, Transport::Udp), invite);
        }
    }
}
