//! What a relay makes of a frame (RFC 4976 §6.2-§6.4): who may send it, and where it goes.
//!
//! Decisions about facts; connections, sessions and queues belong to the caller. The order
//! in which things go out is in [`crate::outgoing`].

use smallvec::SmallVec;

use crate::chunk::ChunkHead;
use crate::head::{Flag, Head, Method};
use crate::uri::Uri;
use crate::write::end_line;

/// How the first URI of To-Path is compared with the one that was handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Matching {
    /// By RFC 4975 §6.1.
    #[default]
    Strict,
    /// Host and port may differ: a middlebox may have put its own in (RFC 6714).
    Cema,
    /// Only the session-id counts, the practice of session border controllers.
    Session,
}

impl Matching {
    /// Whether `uri` means the one that was `handed_out`.
    pub fn same(self, uri: &Uri<'_>, handed_out: &Uri<'_>) -> bool {
        match self {
            Matching::Strict => uri.matches(handed_out),
            Matching::Cema => {
                uri.matches_session(handed_out)
                    && uri.secure == handed_out.secure
                    && uri.transport.eq_ignore_ascii_case(handed_out.transport)
            }
            Matching::Session => uri.matches_session(handed_out),
        }
    }
}

/// The far side of a session: the connection that uses its URI from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Nobody has used it yet.
    Nowhere,
    /// To the connection that the frame came on.
    Here,
    Elsewhere,
}

/// A URI of ours that a frame names, and how the connection it came on stands to it.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// As it was handed out.
    pub uri: Uri<'a>,
    /// The frame came on the connection of the client that asked for the URI.
    pub from_owner: bool,
    pub bound: Bound,
    /// Its time is over.
    pub expired: bool,
}

/// Which side of a session a frame comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client that asked for the URI: the frame goes out into the world.
    Owner,
    /// Somebody else: the frame goes to that client, and nowhere else (§6.4).
    Peer,
}

/// Why a frame is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    #[error("addressed to another host")]
    NotUs,
    #[error("no such session")]
    Unknown,
    #[error("the session belongs to another connection")]
    Bound,
    #[error("an msrps URI on a connection without TLS")]
    Insecure,
    #[error("not the certificate that was announced")]
    Certificate,
    #[error("no next hop")]
    NoNextHop,
    #[error("the paths lead through this relay too often")]
    Loop,
    #[error("the method is blocked")]
    Method,
}

impl Refused {
    /// The response code, where one is due.
    pub fn code(self) -> u16 {
        match self {
            Refused::NotUs | Refused::Unknown => 481,
            Refused::Bound => 506,
            Refused::Insecure | Refused::Certificate => 403,
            Refused::NoNextHop | Refused::Loop => 400,
            Refused::Method => 501,
        }
    }

    /// The comment of that response.
    pub fn comment(self) -> &'static str {
        match self.code() {
            481 => "No Such Session",
            506 => "Session Already In Use",
            403 => "Forbidden",
            501 => "Unknown Method",
            _ => "Bad Request",
        }
    }

    /// The connection has to go: whoever is there takes us for somebody else (§6.2), or is not who he should be
    /// (RFC 8122 §6.2).
    pub fn ends_connection(self) -> bool {
        matches!(self, Refused::NotUs | Refused::Certificate)
    }
}

/// Who sends a frame whose next URI is `uri`. `ours` tells whether its host and port are ours, `named` what was handed
/// out with its session-id; `secure` that the frame came over TLS.
pub fn admit(
    uri: &Uri<'_>,
    ours: bool,
    named: Option<&Named<'_>>,
    secure: bool,
    matching: Matching,
) -> Result<Side, Refused> {
    let named = named.filter(|named| !named.expired && matching.same(uri, &named.uri));
    let Some(named) = named else { return Err(if ours { Refused::Unknown } else { Refused::NotUs }) };
    // A session begins over TLS. The connection that it was asked for on, and the one that its client has named with
    // a `msrp` URI (RFC 4976 §9.2), are part of it as they are: what goes to the peer in the clear may come back so.
    if named.uri.secure && !secure && !named.from_owner && named.bound != Bound::Here {
        return Err(Refused::Insecure);
    }
    match (named.from_owner, named.bound) {
        (true, _) => Ok(Side::Owner),
        (false, Bound::Elsewhere) => Err(Refused::Bound),
        (false, Bound::Nowhere | Bound::Here) => Ok(Side::Peer),
    }
}

/// What the previous hop of a SEND gets at once (§6.4.1): a 200 means that the bytes are here.
pub fn acknowledges(head: &Head) -> bool {
    head.method() == Some(Method::Send) && head.wants_response(200)
}

/// To-Path and From-Path of a frame after `shifts` URIs of ours have moved from the head of one to the head of the
/// other (§6.4), one after the other. `None` if To-Path has no more than those.
pub fn shifted(head: &Head, shifts: usize) -> Option<(&str, String)> {
    let (mut to, from) = (head.raw_to_path(), head.raw_from_path());
    let mut own = SmallVec::<[&str; 4]>::new();
    for _ in 0..shifts {
        let (first, rest) = split(to);
        own.push(first);
        to = rest;
    }
    if to.is_empty() {
        return None;
    }
    let mut path = String::with_capacity(head.raw_to_path().len() + from.len() + 1);
    for uri in own.iter().rev() {
        path.push_str(uri);
        path.push(' ');
    }
    path.push_str(from);
    Some((to, path))
}

/// The first URI of a path and the rest.
pub fn split(path: &str) -> (&str, &str) {
    let (first, rest) = path.split_once(' ').unwrap_or((path, ""));
    (first, rest.trim_start_matches(' '))
}

/// The head of a SEND as it goes to the next hop, all headers but paths and range as they came.
pub fn chunk_head(head: &Head, shifts: usize) -> Option<ChunkHead> {
    let (to, from) = shifted(head, shifts)?;
    Some(ChunkHead::with_paths(head, to, &from))
}

/// A frame other than SEND as it goes to the next hop, whole, under the transaction id `id`, which must not stand in
/// `body` after dashes.
pub fn forward(head: &Head, shifts: usize, id: &str, body: &[u8], flag: Flag) -> Option<Vec<u8>> {
    let (to, from) = shifted(head, shifts)?;
    let mut out = Vec::with_capacity(head.bytes().len() + body.len() + 64);
    out.extend_from_slice(b"MSRP ");
    out.extend_from_slice(id.as_bytes());
    out.push(b' ');
    if let Some(code) = head.status() {
        out.extend_from_slice(format!("{code:03}").as_bytes());
        if !head.word().is_empty() {
            out.push(b' ');
        }
    }
    out.extend_from_slice(head.word().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, path) in [("To-Path: ", to), ("From-Path: ", &from)] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for mime in [false, true] {
        let lines = others(head).filter(|(name, _)| is_mime(name) == mime);
        lines.for_each(|(_, raw)| out.extend_from_slice(raw));
    }
    if head.has_body() {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }
    end_line(&mut out, id, flag);
    Some(out)
}

fn others(head: &Head) -> impl Iterator<Item = (&str, &[u8])> {
    let path = |name: &str| name.eq_ignore_ascii_case("To-Path") || name.eq_ignore_ascii_case("From-Path");
    head.lines().filter(move |line| !path(line.name)).map(|line| (line.name, line.raw))
}

fn is_mime(name: &str) -> bool {
    name.len() > 8 && name.as_bytes()[..8].eq_ignore_ascii_case(b"Content-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDED_OUT: &str = "msrp://relay.example.com:2855/s3ss10n;tcp";

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn who_may_send() {
        let named = |from_owner, bound, expired| Named { uri: uri(HANDED_OUT), from_owner, bound, expired };
        use Bound::{Elsewhere, Here, Nowhere};
        for (name, named, ours, expected) in [
            ("its owner", Some(named(true, Nowhere, false)), true, Ok(Side::Owner)),
            ("its owner, bound elsewhere", Some(named(true, Elsewhere, false)), true, Ok(Side::Owner)),
            ("the first from outside", Some(named(false, Nowhere, false)), true, Ok(Side::Peer)),
            ("the same again", Some(named(false, Here, false)), true, Ok(Side::Peer)),
            ("another", Some(named(false, Elsewhere, false)), true, Err(Refused::Bound)),
            ("too late", Some(named(true, Here, true)), true, Err(Refused::Unknown)),
            ("a guess", None, true, Err(Refused::Unknown)),
            ("astray", None, false, Err(Refused::NotUs)),
        ] {
            assert_eq!(admit(&uri(HANDED_OUT), ours, named.as_ref(), false, Matching::Strict), expected, "{name}");
        }
    }

    #[test]
    fn msrps_wants_tls_of_whoever_is_new() {
        let secure = "msrps://relay.example.com:2856/s3ss10n;tcp";
        use Bound::{Elsewhere, Here, Nowhere};
        for (name, from_owner, bound, tls, expected) in [
            ("its owner", true, Nowhere, true, Ok(Side::Owner)),
            ("its owner, whom it was given without TLS", true, Nowhere, false, Ok(Side::Owner)),
            ("a peer", false, Nowhere, true, Ok(Side::Peer)),
            ("a peer without TLS", false, Nowhere, false, Err(Refused::Insecure)),
            ("another without TLS", false, Elsewhere, false, Err(Refused::Insecure)),
            ("the peer without TLS that its owner has named", false, Here, false, Ok(Side::Peer)),
        ] {
            let named = Named { uri: uri(secure), from_owner, bound, expired: false };
            assert_eq!(admit(&uri(secure), true, Some(&named), tls, Matching::Strict), expected, "{name}");
        }
    }

    #[test]
    fn modes_of_matching() {
        for (text, strict, cema, session) in [
            ("MSRP://user@RELAY.example.com:2855/s3ss10n;TCP", true, true, true),
            ("msrp://192.0.2.9:2855/s3ss10n;tcp", false, true, true),
            ("msrp://relay.example.com:9/s3ss10n;tcp", false, true, true),
            ("msrps://relay.example.com:2855/s3ss10n;tcp", false, false, true),
            ("msrp://relay.example.com:2855/s3ss10n;ws", false, false, true),
            ("msrp://relay.example.com:2855/S3SS10N;tcp", false, false, false),
            ("msrp://relay.example.com:2855;tcp", false, false, false),
        ] {
            let modes = [Matching::Strict, Matching::Cema, Matching::Session];
            let same = modes.map(|mode| mode.same(&uri(text), &uri(HANDED_OUT)));
            assert_eq!(same, [strict, cema, session], "{text}");
        }
    }

    #[test]
    fn paths_are_shifted() {
        let text = "MSRP d93kswow SEND\r\nTo-Path: msrp://r1:1/a;tcp msrp://r2:1/b;tcp msrp://b:1/b;tcp\r\n\
                    From-Path: msrp://a:1/a;tcp\r\nMessage-ID: 12339sdqwer\r\nX-New: kept\r\nByte-Range: 1-2/2\r\n\
                    Content-Type: text/plain\r\n\r\nhi\r\n-------d93kswow$\r\n";
        let mut parser = crate::Parser::new(crate::Limits::default());
        let mut input = text.as_bytes();
        let Ok(Some(crate::Event::Head(head))) = parser.next(&mut input) else { panic!("no head") };
        for (shifts, expected) in [
            (1, Some(("msrp://r2:1/b;tcp msrp://b:1/b;tcp", "msrp://r1:1/a;tcp msrp://a:1/a;tcp"))),
            (2, Some(("msrp://b:1/b;tcp", "msrp://r2:1/b;tcp msrp://r1:1/a;tcp msrp://a:1/a;tcp"))),
            (3, None),
        ] {
            let paths = shifted(&head, shifts);
            assert_eq!(paths.as_ref().map(|(to, from)| (*to, from.as_str())), expected);
        }
        let chunk = chunk_head(&head, 1).unwrap();
        assert_eq!(chunk.report_paths(), Some(("msrp://a:1/a;tcp", "msrp://r1:1/a;tcp")));
        assert!(chunk.has_body() && chunk.range().is_some());
        let whole = forward(&head, 1, "n3w1d", b"hi", Flag::End).unwrap();
        let whole = String::from_utf8(whole).unwrap();
        assert!(whole.contains("\r\nX-New: kept\r\n"), "{whole}");
        assert!(whole.starts_with("MSRP n3w1d SEND\r\nTo-Path: msrp://r2:1/b;tcp "), "{whole}");
        assert!(whole.ends_with("Content-Type: text/plain\r\n\r\nhi\r\n-------n3w1d$\r\n"), "{whole}");
    }

    #[test]
    fn codes() {
        for (refused, code, ends) in [
            (Refused::NotUs, 481, true),
            (Refused::Unknown, 481, false),
            (Refused::Bound, 506, false),
            (Refused::Insecure, 403, false),
            (Refused::NoNextHop, 400, false),
            (Refused::Loop, 400, false),
            (Refused::Method, 501, false),
        ] {
            assert_eq!((refused.code(), refused.ends_connection()), (code, ends), "{refused}");
            assert!(!refused.comment().is_empty());
        }
    }
}
