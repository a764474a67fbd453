//! Names of files: read from headers, made harmless, and written to headers.

/// Longest name that is kept, in bytes: what file systems take.
pub const MAX_NAME: usize = 255;

/// `name` with which no program that saves a file can be led astray: no path, no control or direction-changing
/// character, nothing that a file system gives a meaning to. Never empty.
pub fn harmless(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| !c.is_control() && !turns_direction(*c))
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();
    let kept = kept.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if kept.is_empty() { "file".to_owned() } else { shortened(kept) }
}

/// Cut to [`MAX_NAME`], the extension kept.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let extension = name.rfind('.').map(|at| &name[at..]).filter(|extension| extension.len() <= 16).unwrap_or("");
    let mut end = MAX_NAME - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

/// Marks and overrides by which a name can be made to read as another (Unicode UAX 9).
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// Percent-encoding resolved, where what comes out is text; otherwise as it was.
pub fn decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    percent_decoded(text).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}

/// `UTF-8''na%C3%AFve.txt` (RFC 8187).
pub(crate) fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    String::from_utf8(percent_decoded(text)?).ok()
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// A `Content-Disposition` that has the browser save the file and not show it (RFC 6266).
pub fn attachment(name: &str) -> String {
    let name = harmless(name);
    let plain: String =
        name.chars().map(|c| if c.is_ascii() && !matches!(c, '"' | '\\' | '%') { c } else { '_' }).collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_made_harmless() {
        for (name, expected) in [
            ("beach.jpg", "beach.jpg"),
            ("Ma photo d'été.jpg", "Ma photo d'été.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\eve\\x.exe", "x.exe"),
            ("..", "file"),
            ("", "file"),
            (" .hidden. ", "hidden"),
            ("a\r\nSet-Cookie: b", "aSet-Cookie_ b"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\0b<c>|d?.txt", "ab_c__d_.txt"),
        ] {
            assert_eq!(harmless(name), expected, "{name:?}");
        }
        let long = format!("{}.jpeg", "ä".repeat(400));
        assert!(harmless(&long).len() <= MAX_NAME && harmless(&long).ends_with("ä.jpeg"));
    }

    #[test]
    fn dispositions() {
        for (name, expected) in [
            ("beach.jpg", "attachment; filename=\"beach.jpg\""),
            ("été 1.jpg", "attachment; filename=\"_t_ 1.jpg\"; filename*=UTF-8''%C3%A9t%C3%A9%201.jpg"),
            ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
            ("a\"; x=\"b.txt", "attachment; filename=\"a_; x=_b.txt\""),
        ] {
            assert_eq!(attachment(name), expected);
        }
    }

    #[test]
    fn percent_encoding() {
        for (text, expected) in [("a%20b", "a b"), ("a%2", "a%2"), ("100%", "100%"), ("%ff", "%ff"), ("%C3%A4+", "ä+")]
        {
            assert_eq!(decoded(text), expected);
        }
        assert_eq!(extended("utf-8'en'%c3%a4").as_deref(), Some("ä"));
        assert_eq!(extended("iso-8859-1''%e4"), None);
    }

    proptest! {
        #[test]
        fn any_name_becomes_one_path_component(name: String) {
            let harmless = harmless(&name);
            prop_assert!(!harmless.is_empty() && harmless.len() <= MAX_NAME);
            prop_assert!(harmless != "." && harmless != "..");
            prop_assert!(!harmless.contains(['/', '\\', '\0', '\r', '\n']));
            prop_assert!(attachment(&name).bytes().all(|c| (b' '..0x7f).contains(&c)));
        }
    }
}
