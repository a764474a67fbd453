//! Parts of a file: what is asked for (RFC 9110 §14.2) and what is sent (§14.4).

/// What a request gets of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    Whole,
    /// Offsets of the first and the last byte.
    Part {
        first: u64,
        last: u64,
    },
    /// 416
    Unsatisfiable,
}

/// What of a file of `size` bytes a `Range` asks for. Several ranges, other units and what cannot be read are left
/// unheeded, as a server may do (§14.2).
pub fn asked(range: Option<&str>, size: u64) -> Ranged {
    let Some((unit, set)) = range.and_then(|range| range.split_once('=')) else { return Ranged::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranged::Whole;
    }
    let Some((first, last)) = set.split_once('-') else { return Ranged::Whole };
    match (number(first), number(last)) {
        (Some(first), _) if last.trim().is_empty() => part(first, size.saturating_sub(1), size),
        (Some(first), Some(last)) if first <= last => part(first, last.min(size.saturating_sub(1)), size),
        // The last so many bytes.
        (None, Some(0)) if first.trim().is_empty() => Ranged::Unsatisfiable,
        (None, Some(suffix)) if first.trim().is_empty() => {
            part(size.saturating_sub(suffix), size.saturating_sub(1), size)
        }
        _ => Ranged::Whole,
    }
}

fn part(first: u64, last: u64, size: u64) -> Ranged {
    if first < size { Ranged::Part { first, last } } else { Ranged::Unsatisfiable }
}

/// Digits only, and no more than fit.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether a list of entity tags (`If-None-Match`) has `etag`, by weak comparison (RFC 9110 §13.1.2).
pub fn lists(header: &str, etag: &str) -> bool {
    let weak = |tag: &str| tag.trim().strip_prefix("W/").unwrap_or(tag.trim()).to_owned();
    header.trim() == "*" || header.split(',').any(|tag| weak(tag) == etag)
}

/// Where the bytes that are sent belong: the `Content-Range` of a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    /// Size of the whole file.
    pub size: u64,
}

impl ContentRange {
    /// `bytes 200001-482112/482113`. Clients leave the unit out, or write `=` behind it.
    pub fn parse(text: &str) -> Option<ContentRange> {
        let text = text.trim();
        let rest = match text.get(..5) {
            Some(unit) if unit.eq_ignore_ascii_case("bytes") => text[5..].trim_start_matches([' ', '=', '\t']),
            _ => text,
        };
        let (range, size) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let digits = |text: &str| if text.trim().is_empty() { None } else { number(text) };
        let range = ContentRange { first: digits(first)?, last: digits(last)?, size: digits(size)? };
        (range.first <= range.last && range.last < range.size).then_some(range)
    }

    /// Bytes that it covers.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether the file is complete behind it.
    pub fn is_last(self) -> bool {
        self.last + 1 == self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_asked_for() {
        let part = |first, last| Ranged::Part { first, last };
        for (range, size, expected) in [
            (None, 10, Ranged::Whole),
            (Some("bytes=0-"), 10, part(0, 9)),
            (Some("bytes=3-5"), 10, part(3, 5)),
            (Some("Bytes = 3 - 5"), 10, part(3, 5)),
            (Some("bytes=3-99"), 10, part(3, 9)),
            (Some("bytes=9-"), 10, part(9, 9)),
            (Some("bytes=10-"), 10, Ranged::Unsatisfiable),
            (Some("bytes=-4"), 10, part(6, 9)),
            (Some("bytes=-40"), 10, part(0, 9)),
            (Some("bytes=-0"), 10, Ranged::Unsatisfiable),
            (Some("bytes=0-"), 0, Ranged::Unsatisfiable),
            (Some("bytes=5-3"), 10, Ranged::Whole),
            (Some("bytes=0-1,4-5"), 10, Ranged::Whole),
            (Some("bytes=-"), 10, Ranged::Whole),
            (Some("bytes=+1-2"), 10, Ranged::Whole),
            (Some("lines=1-2"), 10, Ranged::Whole),
            (Some("bytes=99999999999999999999-"), 10, Ranged::Whole),
        ] {
            assert_eq!(asked(range, size), expected, "{range:?} of {size}");
        }
    }

    #[test]
    fn ranges_that_are_sent() {
        for (text, expected) in [
            ("bytes 200001-482112/482113", Some((200_001, 482_112, 482_113))),
            ("200001-482112/482113", Some((200_001, 482_112, 482_113))),
            ("bytes=0-0/1", Some((0, 0, 1))),
            ("BYTES  0-9/10", Some((0, 9, 10))),
            ("bytes 0-9/*", None),
            ("bytes */10", None),
            ("bytes 0-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes -4/10", None),
            ("", None),
        ] {
            let found = ContentRange::parse(text).map(|range| (range.first, range.last, range.size));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn lists_of_entity_tags() {
        for (header, expected) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(lists(header, "\"a\""), expected, "{header}");
        }
    }
}
