//! File names: percent-encoded on the wire, and never to be trusted.

/// Longest name that [`safe_name`] gives, in bytes: what common file systems take.
const MAX_LEN: usize = 255;

/// The name with what the selector's grammar or a file system would misread percent-encoded (RFC 5547 §6).
pub(super) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '"' | '%' | '/' | '\\' | '\0' | '\r' | '\n' => encoded += &format!("%{:02X}", u32::from(letter)),
            letter => encoded.push(letter),
        }
    }
    encoded
}

/// The reverse of [`encode`]. A percent sign that encodes nothing stays where `loose`, as do bytes that are no UTF-8,
/// as replacement characters.
pub(super) fn decode(encoded: &[u8], loose: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
                continue;
            }
            None if byte == b'%' && !loose => return None,
            _ => bytes.push(byte),
        }
        rest = after;
    }
    match String::from_utf8(bytes) {
        Ok(name) => Some(name),
        Err(error) if loose => Some(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        Err(_) => None,
    }
}

/// A name that a file may have here: no folders, nothing that controls a terminal or turns text around, nothing that
/// is special to a file system. None where nothing is left.
#[must_use]
pub fn safe_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe = String::new();
    for letter in last.chars() {
        let letter = match letter {
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => continue,
            letter if letter.is_control() => continue,
            ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            letter => letter,
        };
        if safe.len() + letter.len_utf8() > MAX_LEN {
            break;
        }
        safe.push(letter);
    }
    let safe = safe.trim().trim_end_matches(['.', ' ']).trim_start_matches('.');
    (!safe.is_empty()).then(|| safe.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (name, expected) in [
            ("My cool picture.jpg", "My cool picture.jpg"),
            ("100%.txt", "100%25.txt"),
            ("a\"b", "a%22b"),
            ("../a\\b", "..%2Fa%5Cb"),
            ("line\r\nend", "line%0D%0Aend"),
            ("übung.txt", "übung.txt"),
        ] {
            assert_eq!(encode(name), expected, "{name}");
            assert_eq!(decode(expected.as_bytes(), false).as_deref(), Some(name), "{name}");
        }
        for (encoded, loose) in [(&b"50% off"[..], "50% off"), (b"%zz", "%zz"), (b"a%2", "a%2"), (b"\xff", "\u{fffd}")]
        {
            assert_eq!(decode(encoded, false), None);
            assert_eq!(decode(encoded, true).as_deref(), Some(loose));
        }
        assert_eq!(decode(b"%c3%BC", false).as_deref(), Some("ü"));
    }

    #[test]
    fn unsafe_names_are_made_safe() {
        for (name, expected) in [
            ("beach.jpg", Some("beach.jpg")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\a.exe", Some("a.exe")),
            ("c:a", Some("c_a")),
            ("photo\u{202e}gpj.exe", Some("photogpj.exe")),
            ("a\r\nb\0c\u{7}", Some("abc")),
            (".bashrc", Some("bashrc")),
            ("trailing. . ", Some("trailing")),
            ("..", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(safe_name(name).as_deref(), expected, "{name:?}");
        }
        assert_eq!(safe_name(&"ü".repeat(300)).map(|name| name.len()), Some(254));
    }
}
