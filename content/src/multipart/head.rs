//! The head of a part, and the boundary of a form.

use super::MultipartError;
use crate::name;

/// What the head of a part says; other fields are of no interest (RFC 7578 §4.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// As it was sent, percent-encoding resolved; not made harmless.
    pub file_name: Option<String>,
    pub content_type: Option<String>,
}

impl Part {
    pub(super) fn parse(head: &[u8]) -> Result<Part, MultipartError> {
        // Browsers write names in UTF-8 (RFC 7578 §5.1); what is not is a name all the same.
        let head = String::from_utf8_lossy(head);
        let (mut disposition, mut content_type) = (None, None);
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').ok_or(MultipartError::Malformed)?;
            let value = value.trim();
            if field.trim_end().eq_ignore_ascii_case("content-disposition") {
                disposition = Some(value);
            } else if field.trim_end().eq_ignore_ascii_case("content-type") {
                content_type = Some(value.to_owned());
            }
        }
        let disposition = disposition.ok_or(MultipartError::Name)?;
        let (mut part_name, mut plain, mut extended) = (None, None, None);
        for (key, value) in Parameters(disposition.split_once(';').map_or("", |(_, rest)| rest)) {
            match key.to_ascii_lowercase().as_str() {
                "name" => part_name = Some(value),
                "filename" => plain = Some(name::decoded(&value)),
                "filename*" => extended = name::extended(&value),
                _ => {}
            }
        }
        let name = part_name.filter(|name| !name.is_empty()).ok_or(MultipartError::Name)?;
        Ok(Part { name, file_name: extended.or(plain), content_type })
    }
}

/// `key=value` pairs, values unquoted.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<(String, String)> {
        let rest = self.0.trim_start_matches(|c: char| c == ';' || c.is_ascii_whitespace());
        let (key, rest) = rest.split_once('=')?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (rest[..end].trim_end().to_owned(), &rest[end..])
            }
        };
        self.0 = rest;
        Some((key.trim().to_owned(), value))
    }
}

/// Up to the closing quote. A backslash escapes a quote or a backslash; before anything else it is itself, since some
/// programs send the path of the file as it is.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    (value, "")
}

/// The boundary that a Content-Type names, where it is that of a form.
pub fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let (media, parameters) = content_type.split_once(';').ok_or(MultipartError::Boundary)?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::Boundary);
    }
    let found = Parameters(parameters).find(|(key, _)| key.eq_ignore_ascii_case("boundary"));
    found.map(|(_, value)| value).filter(|value| is_boundary(value)).ok_or(MultipartError::Boundary)
}

/// RFC 2046 §5.1.1: up to 70 characters, none of them a blank at the end.
pub(super) fn is_boundary(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&c);
    (1..=70).contains(&text.len()) && text.bytes().all(allowed) && !text.ends_with(' ')
}
