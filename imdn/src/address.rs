//! The address in `From`, `To`, `cc`, `Original-To` and the IMDN routes (RFC 3862 §3.6).

use std::borrow::Cow;

use crate::escape::{push_escaped, unescape};

/// `[Formal-name] <URI>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    /// Absent or never empty.
    pub name: Option<Cow<'a, str>>,
    /// As written between the brackets.
    pub uri: &'a str,
}

impl<'a> Address<'a> {
    /// Parses a header value; a bare URI without brackets is taken too. `None` without a URI.
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let Some((name, rest)) = split_name(value) else {
            let bare = !value.is_empty() && !value.contains([' ', '"', '>']);
            return bare.then_some(Self { name: None, uri: value });
        };
        let (uri, _) = rest.split_once('>')?;
        let uri = uri.trim();
        if uri.is_empty() {
            return None;
        }
        let name = name.trim();
        let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let name = unescape(quoted.unwrap_or(name));
        Some(Self { name: Some(name).filter(|name| !name.is_empty()), uri })
    }
}

/// Splits at the bracket that opens the URI, which is not one inside a quoted name.
fn split_name(value: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => return Some((&value[..at], &value[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Appends an address. What would end the URI early is percent-encoded.
pub(crate) fn push_address(out: &mut String, name: Option<&str>, uri: &str) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        out.push('"');
        let mut escaped = String::with_capacity(name.len());
        push_escaped(&mut escaped, name);
        out.push_str(&escaped.replace('"', "\\\""));
        out.push_str("\" ");
    }
    out.push('<');
    for c in uri.chars() {
        if c.is_ascii_control() || matches!(c, '<' | '>' | ' ' | '"' | '\\') {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out.push('>');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings() {
        for (value, expected) in [
            ("<sip:bob@example.com>", Some((None, "sip:bob@example.com"))),
            ("Winnie the Pooh <im:pooh@100akerwood.com>", Some((Some("Winnie the Pooh"), "im:pooh@100akerwood.com"))),
            (r#""A \"B\" <x>" <tel:+15550100001>"#, Some((Some("A \"B\" <x>"), "tel:+15550100001"))),
            (r#""" <sip:a@b>"#, Some((None, "sip:a@b"))),
            ("sip:a@b", Some((None, "sip:a@b"))),
            (" < sip:a@b > ", Some((None, "sip:a@b"))),
            ("<>", None),
            ("<sip:a@b", None),
            ("two words", None),
            ("", None),
        ] {
            let seen = Address::parse(value);
            let seen = seen.as_ref().map(|address| (address.name.as_deref(), address.uri));
            assert_eq!(seen, expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(name in "\\PC{0,20}", uri in "[a-z]{1,5}:[!-~&&[^<>\"\\\\]]{1,30}") {
            let mut text = String::new();
            push_address(&mut text, Some(&name), &uri);
            let seen = Address::parse(&text).unwrap();
            prop_assert_eq!(seen.uri, uri);
            prop_assert_eq!(seen.name.as_deref().unwrap_or(""), name);
        }

        #[test]
        fn never_panics(value: String) {
            let _ = Address::parse(&value);
        }
    }
}
