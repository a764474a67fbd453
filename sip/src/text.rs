//! Small scanners shared by the header and URI parsers. They work on raw bytes, where a folded line still holds its
//! CRLF, which counts as white space (RFC 3261 §7.3.1).

/// White space inside a header value, the CRLF of a folded line included.
pub(crate) fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// A `token` character (RFC 3261 §25.1).
pub(crate) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

pub(crate) fn is_token_str(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().all(|b| is_token(*b))
}

pub(crate) fn trim(mut s: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = s
        && is_lws(*first)
    {
        s = rest;
    }
    while let [rest @ .., last] = s
        && is_lws(*last)
    {
        s = rest;
    }
    s
}

/// Decimal digits as a number; `None` for anything else or on overflow.
pub(crate) fn decimal(s: &[u8]) -> Option<u64> {
    if s.is_empty() || s.len() > 19 {
        return None;
    }
    s.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

/// Position of the first `wanted` byte that is outside quoted strings and angle brackets.
pub(crate) fn find_outside(s: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut bracketed, mut i) = (false, false, 0);
    while i < s.len() {
        match s[i] {
            b'\\' if quoted => i += 1,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted && !wanted(b'<') => bracketed = true,
            b'>' if !quoted => bracketed = false,
            b if !quoted && !bracketed && wanted(b) => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

/// The elements of a comma-separated header value, trimmed; commas in quotes and angle brackets do not count.
/// Empty elements are passed over (RFC 3261 §7.3.1 does not allow them, deployed peers send them).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let s = rest?;
            let element = match memchr::memchr(b',', s) {
                None => {
                    rest = None;
                    s
                }
                Some(_) => match find_outside(s, |b| b == b',') {
                    None => {
                        rest = None;
                        s
                    }
                    Some(at) => {
                        rest = Some(&s[at + 1..]);
                        &s[..at]
                    }
                },
            };
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

/// Parameters `;name=value;flag` in order: (name, value), both trimmed, a quoted value with its quotes; a flag has
/// `None`. `separator` is `;` for headers and URIs, `&` for URI headers.
pub fn params(s: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let mut rest = s;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = if memchr::memchr2(b'"', b'<', rest).is_none() {
                memchr::memchr(separator, rest)
            } else {
                find_outside(rest, |b| b == separator)
            }
            .unwrap_or(rest.len());
            let one = trim(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or(&[]);
            if one.is_empty() {
                continue;
            }
            return Some(match memchr::memchr(b'=', one) {
                Some(eq) => (trim(&one[..eq]), Some(trim(&one[eq + 1..]))),
                None => (one, None),
            });
        }
    })
}

/// The value of parameter `name` (any case): `None` where absent, empty for a flag.
pub fn param<'a>(s: &'a [u8], name: &str) -> Option<&'a [u8]> {
    params(s, b';').find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.unwrap_or(b""))
}

/// A quoted string without its quotes and escapes, or the value as it is.
pub fn unquote(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) else { return value.into() };
    if memchr::memchr(b'\\', inner).is_none() {
        return inner.into();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(b) = bytes.next() {
        out.extend(if *b == b'\\' { bytes.next() } else { Some(b) });
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_quotes_and_brackets() {
        for (value, expected) in [
            ("a, b ,c", vec!["a", "b", "c"]),
            ("\"x, y\" <sip:a,b@c>;d=\"e,f\", <sip:g>", vec!["\"x, y\" <sip:a,b@c>;d=\"e,f\"", "<sip:g>"]),
            (" , a,, ", vec!["a"]),
            ("\"q\\\",\", z", vec!["\"q\\\",\"", "z"]),
            ("a,\r\n b", vec!["a", "b"]),
        ] {
            let got: Vec<_> = list(value.as_bytes()).map(|e| std::str::from_utf8(e).unwrap()).collect();
            assert_eq!(got, expected, "{value}");
        }
    }

    #[test]
    fn parameters_are_found_in_any_case() {
        let s = b";Tag=abc; lr ;x=\"a;b\";y = 1";
        assert_eq!(param(s, "tag"), Some(&b"abc"[..]));
        assert_eq!(param(s, "LR"), Some(&b""[..]));
        assert_eq!(param(s, "x"), Some(&b"\"a;b\""[..]));
        assert_eq!(param(s, "y"), Some(&b"1"[..]));
        assert_eq!(param(s, "z"), None);
        assert_eq!(&*unquote(b"\"a\\\"b\""), b"a\"b");
    }
}
