//! What a body is to a message server: a message, a receipt, or a sign that somebody types.

use std::borrow::Cow;

use crate::cpim::{Cpim, ParseError};
use crate::media::{CPIM_TYPE, is_composing, is_imdn, is_multipart, is_type};
use crate::multipart::{Part, leaves};
use crate::notification::Notification;
use crate::xml::XmlError;

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// A message in an envelope.
    Message(Cpim<'a>),
    /// A message without one, so nobody can be told of its fate by IMDN.
    Bare,
    /// A receipt, with its envelope if it has one. One that cannot be read is passed on, but tells us nothing. Of an
    /// aggregate the notification is [`XmlError::Several`], and [`Cpim::notifications`] has them all.
    Receipt { envelope: Option<Cpim<'a>>, notification: Result<Notification, XmlError> },
    /// Somebody types: passed on to who is there, never stored (RFC 3994 §3).
    Composing,
}

/// Tells what a body is, by its `Content-Type` value and by what an envelope holds. `Err` for a broken envelope.
///
/// The envelope may be a part of a multipart, beside a list of recipients (RFC 5365), but not of one in an envelope.
pub fn classify<'a>(content_type: &str, body: &'a [u8]) -> Result<Content<'a>, ParseError> {
    if is_imdn(content_type) {
        return Ok(Content::Receipt { envelope: None, notification: Notification::parse(body) });
    }
    if is_composing(content_type) {
        return Ok(Content::Composing);
    }
    if is_type(content_type, CPIM_TYPE) {
        return Cpim::parse(body).map(enveloped);
    }
    // What is no multipart inside either is text to somebody.
    let parts = if is_multipart(content_type) { leaves(content_type, body).unwrap_or_default() } else { Vec::new() };
    let plain = |part: &Part<'a>| matches!(part.decoded_body(), Some(Cow::Borrowed(_)));
    match parts.iter().find(|part| is_type(part.content_type(), CPIM_TYPE) && plain(part)) {
        Some(part) => Cpim::parse(part.body()).map(enveloped),
        None => Ok(Content::Bare),
    }
}

fn enveloped(envelope: Cpim<'_>) -> Content<'_> {
    if envelope.is_receipt() {
        let mut notifications = envelope.notifications();
        let notification = match notifications.len() {
            0 => Err(XmlError::Missing("imdn")),
            1 => notifications.remove(0),
            _ => Err(XmlError::Several),
        };
        return Content::Receipt { envelope: Some(envelope), notification };
    }
    if envelope.content_type().is_some_and(is_composing) {
        return Content::Composing;
    }
    Content::Message(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Receipt, Status};
    use proptest::prelude::*;

    fn receipt() -> String {
        Receipt::failed("sip:r@b", "sip:s@b", "M", "d").notification().to_xml()
    }

    #[test]
    fn kinds_of_bodies() {
        let envelope = |content_type: &str, body: &str| format!("From: <sip:a@b>\r\n\r\n{content_type}\r\n\r\n{body}");
        let base64 = {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(receipt())
        };
        for (name, content_type, body, expected) in [
            ("text", "text/plain", "hi".to_owned(), "bare"),
            ("typing", "application/im-iscomposing+xml", "<isComposing/>".to_owned(), "typing"),
            ("bare receipt", "message/imdn+xml", receipt(), "receipt of M"),
            ("broken receipt", "Message/IMDN+xml; charset=utf-8", "<imdn/>".to_owned(), "unread receipt"),
            ("message", "message/cpim", envelope("Content-Type: text/plain", "hi"), "message"),
            ("wrapped receipt", "Message/CPIM", envelope("Content-type: message/imdn+xml", &receipt()), "receipt of M"),
            (
                "encoded receipt",
                "message/cpim",
                envelope("Content-Type: message/imdn+xml\r\nContent-Transfer-Encoding: base64", &base64),
                "receipt of M",
            ),
            (
                "wrapped typing",
                "message/cpim",
                envelope("Content-Type: application/im-iscomposing+xml", "<isComposing/>"),
                "typing",
            ),
            ("short name of a receipt", "message/imdn", receipt(), "receipt of M"),
            ("wrapped, short name", "message/cpim", envelope("Content-Type: message/imdn", &receipt()), "receipt of M"),
            (
                "beside a list",
                "multipart/mixed; boundary=b",
                format!(
                    "--b\r\nContent-Type: message/cpim\r\n\r\n{}\r\n--b\r\n\r\nlist\r\n--b--",
                    envelope("Content-Type: a/b", "hi")
                ),
                "message",
            ),
            ("multipart without envelope", "multipart/mixed; boundary=b", "--b\r\n\r\nhi\r\n--b--".into(), "bare"),
            ("broken multipart", "multipart/mixed", "--b\r\n\r\nhi\r\n--b--".into(), "bare"),
            ("broken envelope", "message/cpim", "hi".to_owned(), "refused"),
        ] {
            let seen = match classify(content_type, body.as_bytes()) {
                Ok(Content::Message(_)) => "message".to_owned(),
                Ok(Content::Bare) => "bare".to_owned(),
                Ok(Content::Composing) => "typing".to_owned(),
                Ok(Content::Receipt { notification: Ok(seen), .. }) => {
                    assert_eq!(seen.status, Status::Failed);
                    format!("receipt of {}", seen.message_id)
                }
                Ok(Content::Receipt { .. }) => "unread receipt".to_owned(),
                Err(_) => "refused".to_owned(),
            };
            assert_eq!(seen, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for content_type in ["message/cpim", "message/imdn+xml", "text/plain", ""] {
                let _ = classify(content_type, &bytes);
            }
        }
    }
}
