//! Passing a response on (RFC 3261 §16.7 steps 3 and 7).

use bytes::{BufMut, Bytes, BytesMut};

use super::forward::Change;
use crate::edit::Edit;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text;

/// The response without its topmost Via value, everything else byte for byte; `None` where no Via would remain, for
/// then it was meant for us.
pub fn strip_via(response: &Message) -> Option<Bytes> {
    let mut lines = response.line_spans(HeaderName::Via);
    let line = lines.next()?;
    let value = response.header(HeaderName::Via)?;
    // One Via to a line is what most write; the next value of the same line is where the rest begins.
    let second = memchr::memchr(b',', value).and_then(|_| text::list(value).nth(1));
    let (from, to) = match second {
        Some(second) => (response.span_of(value)?.0, response.span_of(second)?.0),
        None => {
            lines.next()?;
            line
        }
    };
    let bytes = response.bytes();
    let start = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let end = response.body_span().1 as usize;
    let mut out = BytesMut::with_capacity(end - start);
    out.put_slice(&bytes[start..from as usize]);
    out.put_slice(&bytes[to as usize..end]);
    Some(out.freeze())
}

/// [`strip_via`] together with changes to the headers, identity among them.
pub fn forward_response(response: &Message, changes: &[Change<'_>]) -> Option<Bytes> {
    if changes.is_empty() {
        return strip_via(response);
    }
    response.values(HeaderName::Via).nth(1)?;
    let mut edit = Edit::new(response);
    edit.remove_first_values(HeaderName::Via, 1);
    for change in changes {
        change.apply(&mut edit);
    }
    Some(edit.finish())
}

/// A 401 or 407 with the challenges of the other branches' 401 and 407 responses behind its own, unmodified and in
/// the order within each response (RFC 3261 §16.7 step 7, RFC 8760 §2.5).
pub fn merge_challenges(best: &Message, others: &[Message]) -> Bytes {
    let mut edit = Edit::new(best);
    for other in others {
        for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
            for value in other.headers(name) {
                edit.append(name, &String::from_utf8_lossy(value));
            }
        }
    }
    edit.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn response(vias: &str, extra: &str) -> Message {
        let text = format!(
            "SIP/2.0 401 No\n{vias}From: <sip:b@h>;tag=1\nTo: <sip:a@h>;tag=2\nCall-ID: c\nCSeq: 1 INVITE\n{extra}\
             Content-Length: 2\n\nhi trailing"
        );
        Message::parse(text.replace('\n', "\r\n").into(), &Limits::default()).unwrap()
    }

    #[test]
    fn the_top_via_goes_and_nothing_else() {
        for (vias, rest) in [
            ("Via: SIP/2.0/UDP a\nVia: SIP/2.0/UDP b\n", Some("Via: SIP/2.0/UDP b\n")),
            ("v: SIP/2.0/UDP a;x=\"1,2\" , SIP/2.0/UDP b\n", Some("v: SIP/2.0/UDP b\n")),
            ("Via: SIP/2.0/UDP a,\n SIP/2.0/UDP b,SIP/2.0/UDP c\n", Some("Via: SIP/2.0/UDP b,SIP/2.0/UDP c\n")),
            ("X: y\nVia: SIP/2.0/UDP a\nv: SIP/2.0/UDP b\n", Some("X: y\nv: SIP/2.0/UDP b\n")),
            ("Via: SIP/2.0/UDP a\n", None),
            ("Via: SIP/2.0/UDP a,\n", None),
        ] {
            let expected = rest.map(|rest| {
                let whole = response(rest, "");
                whole.bytes().slice(..whole.bytes().len() - " trailing".len())
            });
            assert_eq!(strip_via(&response(vias, "")), expected, "{vias}");
            let changes = [Change::Remove(HeaderName::PAssertedIdentity)];
            let changed = forward_response(&response(vias, "P-Asserted-Identity: <sip:x@y>\n"), &changes);
            assert_eq!(changed, expected, "{vias}");
        }
    }

    #[test]
    fn challenges_are_collected() {
        let via = "Via: SIP/2.0/UDP a\n";
        let best = response(via, "WWW-Authenticate: Digest a\nWWW-Authenticate: Digest b\n");
        let others = [response(via, "Proxy-Authenticate: Digest c\nWWW-Authenticate: Digest d\n"), response(via, "")];
        let merged = String::from_utf8(merge_challenges(&best, &others).to_vec()).unwrap();
        let found: Vec<_> = merged.split("\r\n").filter(|l| l.contains("Authenticate")).collect();
        assert_eq!(
            found,
            [
                "WWW-Authenticate: Digest a",
                "WWW-Authenticate: Digest b",
                "WWW-Authenticate: Digest d",
                "Proxy-Authenticate: Digest c"
            ]
        );
        assert!(merged.ends_with("\r\n\r\nhi"), "{merged}");
    }
}
