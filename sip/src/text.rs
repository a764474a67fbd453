//! Small scanners shared by the header and URI parsers. They work on raw bytes, where a folded line still holds its
//! CRLF, which counts as white space (RFC 3261 §7.3.1).

const TOKEN: u8 = 1;
const LWS: u8 = 2;
const HOST: u8 = 4;
/// What may not stand in a URI: blanks, controls, what is not ASCII, quotes and angle brackets.
const NOT_URI: u8 = 8;
/// What parts of a sip URI are cut at, and `%`.
const URI_MARK: u8 = 16;
/// What ends the name of a parameter, or makes it an odd one.
const PARAM_MARK: u8 = 32;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            table[i] |= TOKEN | HOST;
        }
        if !b.is_ascii_graphic() {
            table[i] |= NOT_URI;
        }
        i += 1;
    }
    let classes: [(u8, &[u8]); 6] = [
        (TOKEN, b"-.!%*_+`'~"),
        (LWS, b" \t\r\n"),
        (HOST, b"-._"),
        (NOT_URI, b"<>\""),
        (URI_MARK, b"@:;?%"),
        (PARAM_MARK, b";&=\"<"),
    ];
    let mut c = 0;
    while c < classes.len() {
        let (class, bytes) = classes[c];
        let mut i = 0;
        while i < bytes.len() {
            table[bytes[i] as usize] |= class;
            i += 1;
        }
        c += 1;
    }
    table
};

/// White space inside a header value, the CRLF of a folded line included.
pub(crate) fn is_lws(b: u8) -> bool {
    CLASS[b as usize] & LWS != 0
}

/// A `token` character (RFC 3261 §25.1).
pub(crate) fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

/// A character of a host name; `_` is not in the grammar and is met all the same.
pub(crate) fn is_host(b: u8) -> bool {
    CLASS[b as usize] & HOST != 0
}

/// What may not stand in a URI.
pub(crate) fn is_not_uri(b: u8) -> bool {
    CLASS[b as usize] & NOT_URI != 0
}

/// What may not stand in a URI, and `@ : ; ? %`.
pub(crate) fn is_uri_mark(b: u8) -> bool {
    CLASS[b as usize] & (NOT_URI | URI_MARK) != 0
}

pub(crate) fn is_token_str(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().all(|b| is_token(*b))
}

#[inline]
pub(crate) fn trim(s: &[u8]) -> &[u8] {
    match s {
        [] => s,
        [first, .., last] if !is_lws(*first) && !is_lws(*last) => s,
        _ => trim_blanks(s),
    }
}

fn trim_blanks(mut s: &[u8]) -> &[u8] {
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

/// Position of the first byte that is one of `wanted`: `memchr` for what is expected within some dozen bytes, without
/// a call, eight bytes at a time.
#[inline(always)]
pub(crate) fn find_near<const N: usize>(s: &[u8], wanted: [u8; N]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let find_in = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // The lowest byte that is zero in the difference gets its high bit set; those above it may, too.
        let found = wanted.iter().fold(0, |found, b| {
            let difference = word ^ (ONES * u64::from(*b));
            found | (difference.wrapping_sub(ONES) & !difference)
        });
        let found = found & (ONES << 7);
        (found != 0).then(|| found.trailing_zeros() as usize / 8)
    };
    let (words, rest) = s.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        if let Some(at) = find_in(word) {
            return Some(i * 8 + at);
        }
    }
    match s.last_chunk::<8>() {
        // What this word has of the one before is known not to be wanted.
        Some(word) => find_in(word).map(|at| s.len() - 8 + at),
        None => rest.iter().position(|b| wanted.contains(b)),
    }
}

/// Position of the first `wanted` byte that is outside quoted strings and angle brackets.
pub(crate) fn find_outside(s: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let hit = at + find_near(&s[at..], [wanted, b'"', b'<'])?;
        at = match s[hit] {
            b if b == wanted => return Some(hit),
            b'"' => quoted_end(s, hit)?,
            _ => hit + find_near(&s[hit..], [b'>'])? + 1,
        };
    }
}

/// The position behind the quoted string that begins at `open`; `None` where it is not closed.
pub(crate) fn quoted_end(s: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let hit = at + memchr::memchr2(b'"', b'\\', s.get(at..)?)?;
        if s[hit] == b'"' {
            return Some(hit + 1);
        }
        at = hit + 2;
    }
}

/// The elements of a comma-separated header value, trimmed; commas in quotes and angle brackets do not count.
/// Empty elements are passed over (RFC 3261 §7.3.1 does not allow them, deployed peers send them).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let s = rest?;
            let end = find_outside(s, b',');
            rest = end.map(|at| &s[at + 1..]);
            let element = &s[..end.unwrap_or(s.len())];
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
        while !rest.is_empty() {
            let (name, value, tail) = cut_param(rest, separator);
            rest = tail.unwrap_or(&[]);
            if !name.is_empty() || value.is_some() {
                return Some((name, value));
            }
        }
        None
    })
}

/// The first parameter of `s`, and what follows its separator.
pub(crate) fn cut_param(s: &[u8], separator: u8) -> (&[u8], Option<&[u8]>, Option<&[u8]>) {
    let mark = s.iter().position(|b| CLASS[*b as usize] & PARAM_MARK != 0).unwrap_or(s.len());
    let (equals, end) = match s.get(mark) {
        Some(b'=') => (Some(mark), find_outside(&s[mark + 1..], separator).map(|n| mark + 1 + n)),
        Some(b) if *b == separator => (None, Some(mark)),
        None => (None, None),
        _ => {
            let end = find_outside(s, separator);
            (find_outside(&s[..end.unwrap_or(s.len())], b'='), end)
        }
    };
    let end = end.unwrap_or(s.len());
    let tail = s.get(end + 1..);
    match equals {
        Some(equals) => (trim(&s[..equals]), Some(trim(&s[equals + 1..end])), tail),
        None => (trim(&s[..end]), None, tail),
    }
}

/// Whether what is added behind header parameters will be a parameter: quotes are closed, and there are no angle
/// brackets outside of them.
pub(crate) fn can_be_extended(params: &[u8]) -> bool {
    let mut at = 0;
    while let Some(hit) = find_near(&params[at..], [b'"', b'<']) {
        match quoted_end(params, at + hit) {
            Some(end) if params[at + hit] == b'"' => at = end,
            _ => return false,
        }
    }
    true
}

/// The value of parameter `name` (any case): `None` where absent, empty for a flag.
pub fn param<'a>(s: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut left = Some(s.strip_prefix(b";").unwrap_or(s));
    while let Some(s) = left {
        let (parameter, tail) = match find_outside(s, b';') {
            Some(end) => (&s[..end], Some(&s[end + 1..])),
            None => (s, None),
        };
        left = tail;
        let Some((found, rest)) = trim(parameter).split_at_checked(name.len()) else { continue };
        if !found.eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        match trim(rest) {
            [] => return Some(b""),
            [b'=', value @ ..] => return Some(trim(value)),
            // A longer name.
            _ => {}
        }
    }
    None
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

/// Writes `text` as a quoted string (RFC 3261 §25.1); line breaks, which it cannot hold, become blanks.
pub fn write_quoted(text: &str, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            '\r' | '\n' => out.write_char(' ')?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
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
    fn a_near_byte_is_found() {
        let s = b"0123456789abcdefghi\xff\x80";
        for from in 0..s.len() {
            for (at, b) in s[from..].iter().enumerate() {
                assert_eq!(find_near(&s[from..], [*b]), Some(at));
                assert_eq!(find_near(&s[from..], [b'x', *b, 0x80]), Some(at));
            }
            assert_eq!(find_near(&s[from..], [b'x', 0]), None);
        }
        assert_eq!((find_near(b"", [b'x']), find_near(b"\x01\x00", [0])), (None, Some(1)));
        assert_eq!(find_near(b"\x01\x00abcdefgh", [0, 2]), Some(1));
    }

    #[test]
    fn parameters_are_found_in_any_case() {
        let s = b";Tag=abc; lr ;x=\"a;b\";y = 1";
        assert_eq!(param(s, "tag"), Some(&b"abc"[..]));
        assert_eq!(param(s, "LR"), Some(&b""[..]));
        assert_eq!(param(s, "x"), Some(&b"\"a;b\""[..]));
        assert_eq!(param(s, "y"), Some(&b"1"[..]));
        assert_eq!(param(s, "z"), None);
        assert_eq!(
            (param(s, "ta"), param(b";=v;a b=1;;c =\"", "a"), param(b";x;c =\"", "c")),
            (None, None, Some(&b"\""[..]))
        );
        assert_eq!(&*unquote(b"\"a\\\"b\""), b"a\"b");
    }
}
