//! A message to a list: one MESSAGE, and whoever is on the list gets it as if it had been sent to him alone (RFC 5365; OMA CPM
//! knows it as a standalone message to a group).

use bytes::Bytes;
use chappe_sip::header::ContentType;
use chappe_sip::multipart::{self, MultipartError, Part};
use chappe_sip::{Aor, HeaderName, Message, Uri};

use crate::group::list::{self, LIST_TYPE, ListError, RECIPIENTS};

/// What the MESSAGE is to require and we know.
pub const EXTENSION: &str = "recipient-list-message";

/// A message and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// Each once, in the order of their addresses.
    pub recipients: Vec<Aor>,
    /// Of what they get.
    pub content_type: Box<str>,
    pub body: Bytes,
}

/// Why a MESSAGE is no broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    #[error("no list of recipients")]
    NoList,
    #[error("nothing but a list of recipients")]
    NoContent,
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Multipart(#[from] MultipartError),
}

impl BroadcastError {
    pub fn status(self) -> u16 {
        match self {
            BroadcastError::List(error) => error.status(),
            BroadcastError::NoList | BroadcastError::NoContent | BroadcastError::Multipart(_) => 400,
        }
    }

    /// Code and text, as [`crate::group::Refused::warning`].
    pub fn warning(self) -> Option<(u16, &'static str)> {
        match self {
            BroadcastError::List(error) => error.warning(),
            _ => None,
        }
    }
}

impl Broadcast {
    /// Reads one with up to `max` recipients; `user` says whose address a URI is. What is not the list is what they get: one
    /// part by itself (RFC 5365 §7.3), of several a multipart.
    ///
    /// # Errors
    /// A body without a list or with nothing else, or one that cannot be read.
    pub fn read(
        message: &Message,
        max: usize,
        user: impl Fn(&Uri<'_>) -> Option<Aor>,
    ) -> Result<Broadcast, BroadcastError> {
        let value = message.header(HeaderName::ContentType).unwrap_or_default();
        let content_type = ContentType::parse(value).map_err(|_| BroadcastError::NoList)?;
        if !content_type.is_multipart() {
            return Err(BroadcastError::NoList);
        }
        let parts = multipart::parts(&content_type, message.body())?;
        let (lists, content): (Vec<Part<'_>>, Vec<Part<'_>>) = parts.into_iter().partition(is_list);
        let [list] = lists[..] else { return Err(BroadcastError::NoList) };
        let entries = list::read(list.body, max, user)?;
        let recipients = entries.into_iter().map(|entry| entry.invitee.user).collect();
        let (content_type, body) = match content[..] {
            [] => return Err(BroadcastError::NoContent),
            [only] => (type_of(&only), message.bytes().slice_ref(only.body)),
            _ => {
                let boundary = content_type.param("boundary").unwrap_or_default();
                (String::from_utf8_lossy(value).into(), together(&content, &boundary))
            }
        };
        Ok(Broadcast { recipients, content_type, body })
    }
}

/// Without a Content-Disposition a list can be nothing else here.
fn is_list(part: &Part<'_>) -> bool {
    let disposition = part.header("Content-Disposition").unwrap_or(RECIPIENTS.as_bytes());
    let disposition = disposition.split(|c| *c == b';').next().unwrap_or_default().trim_ascii();
    part.content_type().is(LIST_TYPE) && disposition.eq_ignore_ascii_case(RECIPIENTS.as_bytes())
}

fn type_of(part: &Part<'_>) -> Box<str> {
    part.header("Content-Type").map_or("text/plain".into(), |value| String::from_utf8_lossy(value).into())
}

fn together(parts: &[Part<'_>], boundary: &[u8]) -> Bytes {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(b"--");
        out.extend_from_slice(boundary);
        out.extend_from_slice(b"\r\n");
        for (name, value) in part.headers() {
            out.extend([name, b": ", value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part.body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend([b"--", boundary, b"--\r\n"].concat());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Content-Type: text/plain;charset=UTF-8\r\n\r\nhello";
    const CARD: &str = "Content-Type: text/vcard\r\nContent-ID: <1@x>\r\n\r\nBEGIN:VCARD";

    fn list(entries: &[&str]) -> String {
        let entries: String = entries.iter().map(|uri| format!("<entry uri=\"{uri}\"/>")).collect();
        format!(
            "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list; handling=required\r\n\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>"
        )
    }

    fn message(content_type: &str, parts: &[&str]) -> Message {
        let body: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
        let body = if parts.is_empty() { "hello".to_owned() } else { format!("{body}--b--\r\n") };
        let text = format!(
            "MESSAGE sip:list@x SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:list@x>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.into(), &chappe_sip::Limits::default()).expect("a message")
    }

    fn read(content_type: &str, parts: &[&str]) -> Result<Broadcast, BroadcastError> {
        Broadcast::read(&message(content_type, parts), 3, Aor::of)
    }

    const MIXED: &str = "multipart/mixed;boundary=\"b\"";

    #[test]
    fn who_gets_what() {
        let two = list(&["sip:bob@x", "sip:alice@X", "sip:bob@x"]);
        let found = read(MIXED, &[TEXT, &two]).expect("a broadcast");
        assert_eq!(found.recipients.iter().map(Aor::as_str).collect::<Vec<_>>(), ["alice@x", "bob@x"]);
        assert_eq!((&*found.content_type, &found.body[..]), ("text/plain;charset=UTF-8", &b"hello"[..]));
        // Several parts stay together, without the list.
        let found = read(MIXED, &[TEXT, &two, CARD]).expect("a broadcast");
        assert_eq!(&*found.content_type, MIXED);
        let expected = format!("--b\r\n{TEXT}\r\n--b\r\n{CARD}\r\n--b--\r\n");
        assert_eq!(String::from_utf8_lossy(&found.body), expected);
    }

    #[test]
    fn what_is_no_broadcast() {
        let (one, none) = (list(&["sip:bob@x"]), list(&[]));
        let many = list(&["sip:a@x", "sip:b@x", "sip:c@x", "sip:d@x"]);
        let wrong = list(&["mailto:bob@x"]);
        let history = one.replace("recipient-list;", "recipient-list-history;");
        for (name, content_type, parts, expected) in [
            ("text", "text/plain", &[][..], 400),
            ("no list", MIXED, &[TEXT], 400),
            ("two lists", MIXED, &[TEXT, &one, &one], 400),
            ("a list of who else had it", MIXED, &[TEXT, &history], 400),
            ("nothing but a list", MIXED, &[&one], 400),
            ("a list of nobody", MIXED, &[TEXT, &none], 400),
            ("somebody without an address", MIXED, &[TEXT, &wrong], 400),
            ("too many", MIXED, &[TEXT, &many], 403),
            ("no boundary", "multipart/mixed", &[TEXT, &one], 400),
            ("cut short", "multipart/mixed;boundary=other", &[TEXT, &one], 400),
        ] {
            let status = read(content_type, parts).map_err(BroadcastError::status);
            assert_eq!(status.err(), Some(expected), "{name}");
        }
    }
}
