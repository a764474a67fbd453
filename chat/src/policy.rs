//! What may be sent in pager mode, and how long it is kept (RFC 3428 §5, §7, §10).

use crate::envelope::{Envelope, Kind};

/// Limits on one MESSAGE and on how long it may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePolicy {
    /// Body in bytes.
    pub max_size: usize,
    /// Patterns of content types, `*` standing for any run of characters; case does not count.
    pub types: Vec<String>,
    /// Seconds a message waits for its recipient where the sender gave no Expires, and at most.
    pub default_expires: u64,
    pub max_expires: u64,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 513: longer than `max`.
    TooLarge { max: usize },
    /// 415, with the accepted types in Accept.
    Type,
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Refusal::TooLarge { .. } => 513,
            Refusal::Type => 415,
        }
    }

    /// The same in MSRP (RFC 4975 §10).
    pub fn msrp_status(self) -> u16 {
        match self {
            Refusal::TooLarge { .. } => 413,
            Refusal::Type => 415,
        }
    }
}

/// What becomes of a message whose recipient is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Kept until this many seconds from now have passed.
    Keep(u64),
    /// Only of use now: composing indications (RFC 3994 §4), `Expires: 0`.
    NowOnly,
}

impl MessagePolicy {
    /// Whether a message with this body may pass. `content_type` is the header value, parameters included; a message
    /// without a body needs none.
    pub fn check(&self, content_type: Option<&str>, size: usize) -> Result<(), Refusal> {
        if size > self.max_size {
            return Err(Refusal::TooLarge { max: self.max_size });
        }
        match content_type {
            None if size == 0 => Ok(()),
            None => Err(Refusal::Type),
            Some(value) => {
                let media = media_type(value);
                if self.types.iter().any(|p| matches(p.as_bytes(), media.as_bytes())) {
                    Ok(())
                } else {
                    Err(Refusal::Type)
                }
            }
        }
    }

    /// Whether a message may pass, by its content: that of an envelope where it has one. Receipts and composing indications
    /// pass whatever types are taken.
    pub fn check_envelope(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let content_type = Some(&*envelope.content_type).filter(|_| envelope.kind == Kind::Content);
        match content_type {
            Some(content_type) => self.check(Some(content_type), envelope.body().len()),
            None if envelope.body().len() > self.max_size => Err(Refusal::TooLarge { max: self.max_size }),
            None => Ok(()),
        }
    }

    /// Whether a message that begins like this may be sent to us in a session: what can be said before it is there.
    pub fn check_start(&self, content_type: &str, total: Option<u64>) -> Result<(), Refusal> {
        let size = total.map_or(0, |total| usize::try_from(total).unwrap_or(usize::MAX));
        if chappe_imdn::is_type(content_type, chappe_imdn::CPIM_TYPE) || chappe_imdn::is_composing(content_type) {
            return if size > self.max_size { Err(Refusal::TooLarge { max: self.max_size }) } else { Ok(()) };
        }
        self.check(Some(content_type), size)
    }

    /// How long the message may wait: the sender's Expires within our maximum.
    pub fn lifetime(&self, content_type: Option<&str>, expires: Option<u64>) -> Lifetime {
        let composing =
            content_type.is_some_and(|t| media_type(t).eq_ignore_ascii_case("application/im-iscomposing+xml"));
        match expires {
            _ if composing => Lifetime::NowOnly,
            Some(0) => Lifetime::NowOnly,
            Some(seconds) => Lifetime::Keep(seconds.min(self.max_expires)),
            None => Lifetime::Keep(self.default_expires.min(self.max_expires)),
        }
    }
}

/// `type/subtype` of a Content-Type value.
pub fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|n| matches(rest, &text[n..])),
        Some((p, rest)) => text.split_first().is_some_and(|(t, more)| p.eq_ignore_ascii_case(t) && matches(rest, more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> MessagePolicy {
        MessagePolicy {
            max_size: 100,
            types: vec!["text/*".into(), "application/*+xml".into()],
            default_expires: 50,
            max_expires: 70,
        }
    }

    #[test]
    fn size_and_type() {
        for (name, content_type, size, expected) in [
            ("plain", Some("Text/Plain;charset=UTF-8"), 100, Ok(())),
            ("too long", Some("text/plain"), 101, Err(Refusal::TooLarge { max: 100 })),
            ("xml suffix", Some("application/im-iscomposing+xml"), 1, Ok(())),
            ("unknown", Some("application/x-y"), 1, Err(Refusal::Type)),
            ("no type", None, 1, Err(Refusal::Type)),
            ("no body", None, 0, Ok(())),
        ] {
            assert_eq!(policy().check(content_type, size), expected, "{name}");
        }
    }

    #[test]
    fn what_an_envelope_holds_counts() {
        let policy = MessagePolicy { max_size: 1000, ..policy() };
        let wrapped = |content_type: &str| format!("From: <sip:a@b>\r\n\r\nContent-Type: {content_type}\r\n\r\nx");
        let too_large = Err(Refusal::TooLarge { max: 1000 });
        for (name, content_type, body, expected) in [
            ("text", "message/cpim", wrapped("text/plain;charset=UTF-8"), Ok(())),
            ("what is not taken", "message/cpim", wrapped("application/x-y"), Err(Refusal::Type)),
            ("a receipt", "message/cpim", wrapped("message/imdn+xml"), Ok(())),
            ("a bare receipt", "message/imdn+xml", "x".to_owned(), Ok(())),
            ("bare text", "text/plain", "x".to_owned(), Ok(())),
            ("bare, not taken", "image/png", "x".to_owned(), Err(Refusal::Type)),
            ("too large", "message/cpim", wrapped("text/plain") + &"x".repeat(1000), too_large),
            ("a large receipt", "message/imdn+xml", "x".repeat(1001), too_large),
        ] {
            let envelope = Envelope::read(&Default::default(), content_type, body.into()).unwrap();
            assert_eq!(policy.check_envelope(&envelope), expected, "{name}");
        }
        for (content_type, total, expected) in [
            ("message/cpim", None, Ok(())),
            ("message/cpim", Some(1000), Ok(())),
            ("message/cpim", Some(u64::MAX), too_large),
            ("application/im-iscomposing+xml", Some(10), Ok(())),
            ("text/plain", Some(10), Ok(())),
            ("image/png", Some(10), Err(Refusal::Type)),
        ] {
            assert_eq!(policy.check_start(content_type, total), expected, "{content_type} {total:?}");
        }
        assert_eq!((Refusal::Type.msrp_status(), Refusal::TooLarge { max: 1 }.msrp_status()), (415, 413));
    }

    #[test]
    fn lifetimes() {
        for (name, content_type, expires, expected) in [
            ("default", "text/plain", None, Lifetime::Keep(50)),
            ("shorter", "text/plain", Some(5), Lifetime::Keep(5)),
            ("longer than we keep", "text/plain", Some(500), Lifetime::Keep(70)),
            ("now or never", "text/plain", Some(0), Lifetime::NowOnly),
            ("composing", "application/im-iscomposing+xml", Some(60), Lifetime::NowOnly),
        ] {
            assert_eq!(policy().lifetime(Some(content_type), expires), expected, "{name}");
        }
    }
}
