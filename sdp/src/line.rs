//! A line of a description: what was read, byte for byte, or what we write.

use std::borrow::Cow;

/// A line with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a>(Cow<'a, [u8]>);

impl<'a> Line<'a> {
    pub(crate) fn read(raw: &'a [u8]) -> Self {
        Self(Cow::Borrowed(raw))
    }

    /// A line of ours, ended by CR LF. NUL, CR and LF in `value` are left out, so that no value starts a new line.
    #[must_use]
    pub fn new(kind: char, value: impl AsRef<[u8]>) -> Line<'static> {
        let value = value.as_ref();
        let mut raw = Vec::with_capacity(value.len() + 4);
        raw.extend([kind as u8, b'=']);
        raw.extend(value.iter().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
        raw.extend(b"\r\n");
        Line(Cow::Owned(raw))
    }

    /// `a=name` or `a=name:value`.
    #[must_use]
    pub fn attribute(name: &str, value: Option<&[u8]>) -> Line<'static> {
        match value {
            None => Line::new('a', name),
            Some(value) => Line::new('a', [name.as_bytes(), b":", value].concat()),
        }
    }

    /// The letter; none in an empty line.
    #[must_use]
    pub fn kind(&self) -> Option<char> {
        let line = self.content();
        (line.get(1) == Some(&b'=')).then(|| char::from(line[0]))
    }

    /// What stands after the equals sign, without the line's end; spaces are part of it.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.content().get(2..).unwrap_or_default()
    }

    /// The value, where it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value()).ok()
    }

    /// Name and value of an `a=` line; a name that is not UTF-8 is none.
    #[must_use]
    pub fn as_attribute(&self) -> Option<(&str, Option<&[u8]>)> {
        if self.kind() != Some('a') {
            return None;
        }
        let value = self.value();
        let (name, value) = match value.iter().position(|&byte| byte == b':') {
            Some(colon) => (&value[..colon], Some(&value[colon + 1..])),
            None => (value, None),
        };
        Some((std::str::from_utf8(name).ok()?.trim_ascii(), value))
    }

    /// The bytes as they came, with the end of the line.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing but spaces stands in the line.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.content().is_empty()
    }

    /// From the first byte that is no space to the line's end.
    pub(crate) fn content(&self) -> &[u8] {
        let raw: &[u8] = &self.0;
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        &line[start..]
    }

    /// Gives a line that came without an end one, so that another may follow.
    pub(crate) fn terminate(&mut self) {
        let missing: &[u8] = match self.0.as_ref() {
            [.., b'\n'] => b"",
            [.., b'\r'] => b"\n",
            _ => b"\r\n",
        };
        if !missing.is_empty() {
            self.0.to_mut().extend(missing);
        }
    }

    /// Owns its bytes.
    #[must_use]
    pub fn into_owned(self) -> Line<'static> {
        Line(Cow::Owned(self.0.into_owned()))
    }
}

/// The first attribute of that name; without a value it is empty. Names are compared exactly (RFC 8866 §5).
pub(crate) fn find<'l>(lines: &'l [Line<'_>], name: &str) -> Option<&'l [u8]> {
    find_all(lines, name).next()
}

pub(crate) fn find_all<'l>(lines: &'l [Line<'_>], name: &str) -> impl Iterator<Item = &'l [u8]> {
    lines.iter().filter_map(move |line| {
        let (found, value) = line.as_attribute()?;
        (found == name).then(|| value.unwrap_or_default())
    })
}
