//! Lists of `name=value` parameters as in credentials and challenges (RFC 9110 §11.2), read leniently.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// One parameter. `raw` is the value without its quotes, escapes kept: digests hash that form (RFC 7616 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) raw: &'a [u8],
    pub(crate) escaped: bool,
}

impl<'a> Parameter<'a> {
    /// The value with its escapes resolved, as UTF-8.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        let raw = std::str::from_utf8(self.raw).ok()?;
        if !self.escaped {
            return Some(Cow::Borrowed(raw));
        }
        let mut out = String::with_capacity(raw.len());
        let mut chars = raw.chars();
        while let Some(c) = chars.next() {
            out.push(if c == '\\' { chars.next()? } else { c });
        }
        Some(Cow::Owned(out))
    }
}

/// Walks a comma-separated list; `Err` ends it.
pub(crate) struct Parameters<'a> {
    rest: &'a [u8],
}

/// The list broke off: a name without `=`, or a quote that never closes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl<'a> Parameters<'a> {
    pub(crate) fn new(list: &'a [u8]) -> Self {
        Self { rest: list }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty elements are legal in lists: `a=1,,b=2`.
        let start = self.rest.iter().position(|c| !is_space(*c) && *c != b',')?;
        let rest = &self.rest[start..];
        self.rest = b"";
        Some(match parameter(rest) {
            Some((parameter, rest)) => {
                self.rest = rest;
                Ok(parameter)
            }
            None => Err(Broken),
        })
    }
}

fn parameter(text: &[u8]) -> Option<(Parameter<'_>, &[u8])> {
    let equal = text.iter().position(|c| matches!(c, b'=' | b',' | b'"'))?;
    if text[equal] != b'=' {
        return None;
    }
    let name = trim(&text[..equal]);
    if name.is_empty() || name.iter().any(|c| is_space(*c)) {
        return None;
    }
    let value = &text[equal + 1..];
    let value = &value[value.iter().position(|c| !is_space(*c)).unwrap_or(value.len())..];
    if value.first() == Some(&b'"') {
        let (raw, escaped, rest) = quoted(&value[1..])?;
        let rest = &rest[rest.iter().position(|c| !is_space(*c)).unwrap_or(rest.len())..];
        // What follows a closing quote is a comma or the end; anything else is an unescaped quote inside.
        if !rest.is_empty() && rest[0] != b',' {
            return None;
        }
        return Some((Parameter { name, raw, escaped }, rest));
    }
    let end = memchr(b',', value).unwrap_or(value.len());
    Some((Parameter { name, raw: trim(&value[..end]), escaped: false }, &value[end..]))
}

/// Splits after the closing quote; the opening one has been taken.
fn quoted(text: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let mut escaped = false;
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((&text[..at], escaped, &text[at + 1..]));
        }
        escaped = true;
        at += 2;
    }
}

/// Spaces, tabs and the line ends of a folded header.
pub(crate) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// Appends `name="value"` with quote and backslash escaped, and control characters left out (they cannot be sent).
pub(crate) fn push_quoted(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    if value.bytes().all(|c| matches!(c, b' '..=b'~') && !matches!(c, b'"' | b'\\')) {
        out.push_str(value);
    } else {
        for c in value.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out.push('"');
}
