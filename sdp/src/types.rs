//! `a=accept-types`, `a=accept-wrapped-types` (RFC 4975 §8.6) and the tokens of `a=chatroom` (RFC 7701 §8).

use std::fmt;

use crate::rules::Leniency;
use crate::text;

/// Media types that somebody takes: `text/plain`, `image/*`, `*`. Parameters are kept, and do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeList(Vec<String>);

impl TypeList {
    /// Takes what is well-formed of `types`.
    pub fn new<T: Into<String>>(types: impl IntoIterator<Item = T>) -> Self {
        Self(types.into_iter().map(Into::into).filter(|entry| is_entry(entry)).collect())
    }

    /// `*`.
    #[must_use]
    pub fn any() -> Self {
        Self(vec!["*".to_owned()])
    }

    pub(crate) fn parse(value: &str, leniency: Leniency, max: usize) -> Option<Self> {
        let mut entries = Vec::new();
        let mut quoted = false;
        let mut escaped = false;
        let parts = value.split(|letter: char| {
            quoted ^= letter == '"' && !escaped;
            escaped = letter == '\\' && quoted && !escaped;
            !quoted && (letter == ' ' || (letter == ',' && leniency.commas))
        });
        for entry in parts {
            match entry {
                "" if leniency.spaces => {}
                entry if is_entry(entry) && entries.len() < max => entries.push(entry.to_owned()),
                _ => return None,
            }
        }
        (!entries.is_empty()).then_some(Self(entries))
    }

    /// The entries as they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether nothing is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether content of that type is taken.
    #[must_use]
    pub fn allows(&self, media_type: &str) -> bool {
        let wanted = essence(media_type);
        self.iter().any(|entry| covers(essence(entry), wanted))
    }

    /// Whether there is a type that both take.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.iter().any(|entry| other.iter().any(|theirs| overlap(essence(entry), essence(theirs))))
    }
}

impl fmt::Display for TypeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// A type without its parameters.
fn essence(entry: &str) -> &str {
    entry.split(';').next().unwrap_or_default().trim_ascii()
}

fn covers(pattern: &str, media_type: &str) -> bool {
    match pattern.strip_suffix("/*") {
        _ if pattern == "*" => true,
        Some(kind) => media_type.split_once('/').is_some_and(|(found, _)| found.eq_ignore_ascii_case(kind)),
        None => pattern.eq_ignore_ascii_case(media_type),
    }
}

fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

fn is_entry(entry: &str) -> bool {
    let named = essence(entry);
    let well_formed = named == "*"
        || named
            .split_once('/')
            .is_some_and(|(kind, subtype)| kind != "*" && text::is_token(kind) && text::is_token(subtype));
    well_formed && entry.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// Which content may be sent to a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sendable {
    pub types: TypeList,
    /// Allowed inside of a container only.
    pub wrapped_types: TypeList,
    /// Bytes of a whole message, with its envelope and without the headers of chunks.
    pub max_size: Option<u64>,
    /// `max_size` binds (RFC 5547 §8.7); else it is advice (RFC 4975 §8.6).
    pub max_size_binds: bool,
}

impl Sendable {
    /// Whether a message of that type may be sent.
    #[must_use]
    pub fn allows(&self, media_type: &str) -> bool {
        self.types.allows(media_type)
    }

    /// Whether content of type `inner` may be sent inside of a `container`.
    #[must_use]
    pub fn allows_inside(&self, container: &str, inner: &str) -> bool {
        self.types.allows(container) && (self.types.allows(inner) || self.wrapped_types.allows(inner))
    }

    /// Whether a message of `size` bytes must not be sent.
    #[must_use]
    pub fn forbids_size(&self, size: u64) -> bool {
        self.max_size_binds && self.max_size.is_some_and(|max| size > max)
    }
}

/// What an endpoint can do in a chat room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chatroom {
    pub nickname: bool,
    pub private_messages: bool,
    /// Extensions.
    pub other: Vec<String>,
}

impl Chatroom {
    /// Reads the value of `a=chatroom`, which may be none.
    #[must_use]
    pub fn parse(value: &str, leniency: Leniency, max: usize) -> Option<Self> {
        let mut read = Self::default();
        if value.is_empty() {
            return Some(read);
        }
        if !leniency.spaces && !text::single_spaced(value) {
            return None;
        }
        for (count, token) in value.split_ascii_whitespace().enumerate() {
            if count >= max || !text::is_token(token) {
                return None;
            }
            match token {
                "nickname" => read.nickname = true,
                "private-messages" => read.private_messages = true,
                token => read.other.push(token.to_owned()),
            }
        }
        Some(read)
    }

    /// None where the attribute has no value.
    pub(crate) fn value(&self) -> Option<String> {
        let known = [(self.nickname, "nickname"), (self.private_messages, "private-messages")];
        let known = known.into_iter().filter_map(|(on, token)| on.then_some(token));
        let tokens: Vec<&str> = known.chain(self.other.iter().map(String::as_str)).collect();
        (!tokens.is_empty()).then(|| tokens.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &str) -> Option<TypeList> {
        TypeList::parse(value, Leniency::DEPLOYED, 8)
    }

    #[test]
    fn lists() {
        for (value, strict, lenient) in [
            ("message/cpim", true, true),
            ("message/cpim text/plain *", true, true),
            ("text/plain;charset=\"a b\" image/*", true, true),
            ("text/plain;x=\"\\\" \" a/b", true, true),
            ("message/cpim  text/plain ", false, true),
            (" message/cpim", false, true),
            ("message/cpim,text/plain", false, true),
            ("message/cpim, text/plain", false, true),
            ("", false, false),
            ("*/*", false, false),
            ("text", false, false),
            ("text/", false, false),
            ("a/b a/b a/b a/b a/b a/b a/b a/b a/b", false, false),
        ] {
            assert_eq!(TypeList::parse(value, Leniency::STRICT, 8).is_some(), strict, "{value}: strict");
            assert_eq!(list(value).is_some(), lenient, "{value}: lenient");
        }
        let quoted = list("text/plain;charset=\"a, b\",image/*").unwrap();
        assert_eq!(quoted.iter().collect::<Vec<_>>(), ["text/plain;charset=\"a, b\"", "image/*"]);
        assert_eq!(TypeList::new(["a/b", "a b", "x\r\n/y"]).to_string(), "a/b");
    }

    #[test]
    fn types_that_match() {
        for (entries, media_type, expected) in [
            ("text/plain", "text/plain", true),
            ("text/plain", "TEXT/Plain;charset=utf-8", true),
            ("text/plain;charset=utf-8", "text/plain", true),
            ("text/plain", "text/html", false),
            ("text/*", "text/html", true),
            ("text/*", "textual/html", false),
            ("image/* *", "video/mp4", true),
        ] {
            assert_eq!(list(entries).unwrap().allows(media_type), expected, "{entries}: {media_type}");
        }
        for (ours, theirs, expected) in [
            ("message/cpim", "text/plain message/CPIM", true),
            ("message/cpim", "text/plain", false),
            ("*", "x/y", true),
            ("image/*", "image/png", true),
            ("image/*", "image/*", true),
            ("image/*", "video/*", false),
        ] {
            let (ours, theirs) = (list(ours).unwrap(), list(theirs).unwrap());
            assert_eq!((ours.overlaps(&theirs), theirs.overlaps(&ours)), (expected, expected), "{ours}: {theirs}");
        }
    }

    #[test]
    fn what_may_be_sent() {
        let peer = Sendable {
            types: list("message/cpim application/im-iscomposing+xml").unwrap(),
            wrapped_types: list("text/plain image/*").unwrap(),
            max_size: Some(100),
            max_size_binds: true,
        };
        assert!(peer.allows("message/cpim") && !peer.allows("text/plain") && !peer.allows("multipart/mixed"));
        assert!(peer.allows_inside("message/cpim", "text/plain;charset=UTF-8"));
        assert!(peer.allows_inside("message/cpim", "application/im-iscomposing+xml"));
        assert!(!peer.allows_inside("message/cpim", "text/html"));
        assert!(!peer.allows_inside("multipart/mixed", "text/plain"));
        assert!(!peer.forbids_size(100) && peer.forbids_size(101));
        assert!(!Sendable { max_size_binds: false, ..peer }.forbids_size(101));
    }

    #[test]
    fn chatrooms() {
        for (value, expected) in [
            ("", Some("")),
            ("nickname private-messages", Some("nickname private-messages")),
            ("private-messages com.example.chat.foo", Some("private-messages com.example.chat.foo")),
            ("nicknames", Some("nicknames")),
            ("a b c d", None),
            ("a:b", None),
        ] {
            let read = Chatroom::parse(value, Leniency::STRICT, 3);
            assert_eq!(read.map(|read| read.value().unwrap_or_default()).as_deref(), expected, "{value}");
        }
        let known = Chatroom::parse("nickname", Leniency::STRICT, 3).unwrap();
        assert!(known.nickname && !known.private_messages && known.other.is_empty());
    }
}
