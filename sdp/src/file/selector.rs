//! `a=file-selector` (RFC 5547 §5, §6).

use std::fmt;

use super::name;
use crate::rules::Rules;
use crate::text;

/// What a file is known by; nothing of it in the answer to a question for capabilities (RFC 5547 §8.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSelector {
    /// Decoded, and as the peer wants it: see [`safe_name`](super::safe_name).
    pub name: Option<String>,
    /// Bytes of the file, without any envelope.
    pub size: Option<u64>,
    /// With its parameters.
    pub media_type: Option<String>,
    /// Of the whole file, also where a part of it is sent.
    pub hashes: Vec<FileHash>,
}

/// A hash of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash {
    /// `sha-1` is the only one that the RFC knows.
    pub algorithm: String,
    pub value: Vec<u8>,
}

impl FileHash {
    /// The SHA-1 of a file.
    #[must_use]
    pub fn sha1(value: [u8; 20]) -> Self {
        Self { algorithm: "sha-1".to_owned(), value: value.to_vec() }
    }
}

const KEYS: [&str; 4] = ["name:", "size:", "type:", "hash:"];

impl FileSelector {
    /// Reads the value of the attribute, which may be empty. Selectors that are not known are passed over.
    #[must_use]
    pub fn parse(value: &[u8], rules: &Rules) -> Option<Self> {
        let loose = rules.leniency.file_syntax;
        let mut selector = Self::default();
        let mut rest = value;
        loop {
            let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
            if spaces > usize::from(rest.len() != value.len()) && !rules.leniency.spaces {
                return None;
            }
            rest = &rest[spaces..];
            if rest.is_empty() {
                return Some(selector);
            }
            let Some(key) = KEYS.into_iter().find(|key| starts_with(rest, key)) else {
                let (_, after) = word(rest);
                rest = after;
                continue;
            };
            rest = &rest[key.len()..];
            let repeated = match key {
                "name:" => {
                    let (found, after) = quoted(rest, loose).or_else(|| loose.then(|| until_key(rest)))?;
                    rest = after;
                    selector.name.replace(name::decode(found, loose).filter(|name| !name.is_empty())?).is_some()
                }
                "size:" => {
                    let size = take_word(&mut rest)?;
                    selector.size.replace(text::number(size)?).is_some()
                }
                "type:" => {
                    let media_type = take_word(&mut rest)?;
                    let (kind, subtype) = media_type.split(';').next()?.split_once('/')?;
                    if !text::is_token(kind) || !text::is_token(subtype) {
                        return None;
                    }
                    selector.media_type.replace(media_type.to_owned()).is_some()
                }
                _ => {
                    if selector.hashes.len() >= rules.limits.entries {
                        return None;
                    }
                    selector.hashes.push(hash(take_word(&mut rest)?, loose)?);
                    false
                }
            };
            if repeated {
                return None;
            }
        }
    }

    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The hash of that function.
    #[must_use]
    pub fn hash(&self, algorithm: &str) -> Option<&[u8]> {
        let found = self.hashes.iter().find(|hash| hash.algorithm.eq_ignore_ascii_case(algorithm));
        found.map(|hash| hash.value.as_slice())
    }

    /// Whether a file that has all properties of `file` is selected; what `file` lacks cannot match.
    #[must_use]
    pub fn selects(&self, file: &Self) -> bool {
        let type_of = |selector: &Self| selector.media_type.as_deref().map(essence);
        self.name.as_ref().is_none_or(|name| file.name.as_ref() == Some(name))
            && self.size.is_none_or(|size| file.size == Some(size))
            && type_of(self).is_none_or(|media_type| type_of(file) == Some(media_type))
            && self.hashes.iter().all(|hash| file.hash(&hash.algorithm) == Some(&hash.value))
    }

    /// Whether both cannot be one file: something that both name differs.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        differ(self.name.as_ref(), other.name.as_ref())
            || differ(self.size, other.size)
            || differ(self.media_type.as_deref().map(essence), other.media_type.as_deref().map(essence))
            || self.hashes.iter().any(|hash| differ(Some(hash.value.as_slice()), other.hash(&hash.algorithm)))
    }
}

impl fmt::Display for FileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map(|name| format!("name:\"{}\"", name::encode(name)));
        let media_type = self.media_type.as_ref().map(|media_type| format!("type:{media_type}"));
        let size = self.size.map(|size| format!("size:{size}"));
        let hashes = self.hashes.iter().map(|hash| format!("hash:{}:{}", hash.algorithm, text::to_hex(&hash.value)));
        let parts: Vec<String> = name.into_iter().chain(media_type).chain(size).chain(hashes).collect();
        f.write_str(&parts.join(" "))
    }
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
}

fn starts_with(bytes: &[u8], key: &str) -> bool {
    bytes.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key.as_bytes()))
}

/// Up to a space that is not in quotes.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let end = bytes.iter().position(|&byte| {
        quoted ^= byte == b'"';
        byte == b' ' && !quoted
    });
    bytes.split_at(end.unwrap_or(bytes.len()))
}

fn take_word<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (found, after) = word(rest);
    *rest = after;
    std::str::from_utf8(found).ok().filter(|found| !found.is_empty())
}

/// Between quotes, and what follows. A quote that is part of the name is one that no selector follows.
fn quoted(bytes: &[u8], loose: bool) -> Option<(&[u8], &[u8])> {
    let inner = bytes.strip_prefix(b"\"")?;
    let quotes = inner.iter().enumerate().filter(|&(_, &byte)| byte == b'"');
    let mut quotes = quotes.map(|(at, _)| (&inner[..at], &inner[at + 1..]));
    let ends = |after: &[u8]| after.trim_ascii().is_empty() || key_follows(after);
    if loose {
        return quotes.find(|(_, after)| ends(after));
    }
    quotes.next().filter(|(_, after)| after.is_empty() || after.starts_with(b" "))
}

fn key_follows(bytes: &[u8]) -> bool {
    bytes.starts_with(b" ") && KEYS.into_iter().any(|key| starts_with(bytes.trim_ascii_start(), key))
}

/// A name without quotes: up to the next selector.
fn until_key(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = (0..bytes.len()).find(|&at| key_follows(&bytes[at..])).unwrap_or(bytes.len());
    let (name, after) = bytes.split_at(end);
    (name.trim_ascii(), after)
}

fn hash(value: &str, loose: bool) -> Option<FileHash> {
    let (algorithm, value) = value.split_once(':')?;
    let algorithm = match algorithm.to_ascii_lowercase().as_str() {
        "sha1" if loose => "sha-1".to_owned(),
        _ if !text::is_token(algorithm) => return None,
        _ => algorithm.to_owned(),
    };
    Some(FileHash { algorithm, value: text::hex(value, loose)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::Limits;

    #[test]
    fn selectors() {
        for (value, strict, lenient) in [
            ("", Some(""), Some("")),
            ("name:\"a.jpg\" type:image/jpeg size:1", Some("name:\"a.jpg\" type:image/jpeg size:1"), None),
            ("size:1 hash:sha-1:AA:0B name:\"a\"", Some("name:\"a\" size:1 hash:sha-1:AA:0B"), None),
            ("type:text/plain;charset=\"a b\" size:2", Some("type:text/plain;charset=\"a b\" size:2"), None),
            ("hash:sha-1:AA hash:sha-256:BB", Some("hash:sha-1:AA hash:sha-256:BB"), None),
            ("name:\"a size:1 b\"", Some("name:\"a size:1 b\""), None),
            ("name:\"50%25 \u{fc}\"", Some("name:\"50%25 \u{fc}\""), None),
            ("colour:red size:1", Some("size:1"), None),
            ("name:a b.jpg size:1", None, Some("name:\"a b.jpg\" size:1")),
            ("name:\"a\"b\".jpg\" size:1", None, Some("name:\"a%22b%22.jpg\" size:1")),
            ("name:\"50%\" size:1", None, Some("name:\"50%25\" size:1")),
            ("name:\"a\"size:1", None, Some("name:\"%22a%22size:1\"")),
            (" size:1", None, Some("size:1")),
            ("size:1  type:a/b ", None, Some("type:a/b size:1")),
            ("hash:SHA1:aabb", None, Some("hash:sha-1:AA:BB")),
            ("name:\"\"", None, None),
            ("size:-1", None, None),
            ("size:99999999999999999999", None, None),
            ("size:1 size:2", None, None),
            ("type:image", None, None),
            ("hash:sha-1:", None, None),
            ("hash:sha-1", None, None),
            ("hash:sha-1:A", None, None),
        ] {
            let read = |rules: &Rules| FileSelector::parse(value.as_bytes(), rules).map(|read| read.to_string());
            assert_eq!(read(&Rules::strict()).as_deref(), strict, "{value}: strict");
            assert_eq!(read(&Rules::default()).as_deref(), lenient.or(strict), "{value}: lenient");
        }
        let rules = Rules { limits: Limits { entries: 1, ..Limits::default() }, ..Rules::default() };
        assert_eq!(FileSelector::parse(b"hash:a:00 hash:b:00", &rules), None);
    }

    #[test]
    fn files_that_are_meant() {
        let read = |value: &str| FileSelector::parse(value.as_bytes(), &Rules::strict()).unwrap();
        let file = read("name:\"a\" type:image/jpeg size:5 hash:sha-1:AA");
        for (wanted, selected, contradicts) in [
            ("", true, false),
            ("hash:sha-1:AA", true, false),
            ("hash:SHA-1:AA size:5", true, false),
            ("type:IMAGE/jpeg;q=\"1\"", true, false),
            ("name:\"b\" hash:sha-1:AA", false, true),
            ("size:6", false, true),
            ("hash:sha-1:AB", false, true),
            ("hash:sha-256:AA", false, false),
        ] {
            let wanted_selector = read(wanted);
            assert_eq!(wanted_selector.selects(&file), selected, "{wanted}");
            assert_eq!(wanted_selector.contradicts(&file), contradicts, "{wanted}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in prop::option::of("[^\0]{1,40}"),
            size in prop::option::of(any::<u64>()),
            hashes in prop::collection::vec(("[a-z0-9-]{1,8}", prop::collection::vec(any::<u8>(), 1..30)), 0..3),
        ) {
            let hashes = hashes.into_iter().map(|(algorithm, value)| FileHash { algorithm, value }).collect();
            let selector = FileSelector { name, size, media_type: Some("a/b".to_owned()), hashes };
            let written = selector.to_string();
            prop_assert!(!written.contains(['\r', '\n']));
            prop_assert_eq!(FileSelector::parse(written.as_bytes(), &Rules::strict()), Some(selector.clone()));
        }
    }
}
