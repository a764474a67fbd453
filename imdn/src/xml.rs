//! The XML of this crate's documents: small, shallow, UTF-8, without document types.

use quick_xml::NsReader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::ResolveResult;

use crate::multipart::MultipartError;

/// Deepest nesting that is read; our own documents have four levels.
const MAX_DEPTH: usize = 16;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("{len} bytes, over the limit of {max}")]
    TooLong { len: usize, max: usize },
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("not UTF-8, or not in its transfer encoding")]
    Encoding,
    #[error("not well-formed")]
    Malformed,
    /// Document types and the entities they declare serve nobody but attackers.
    #[error("a document type or an entity of its own")]
    DocumentType,
    #[error("no <{0}>")]
    Missing(&'static str),
    #[error("a status that does not go with its notification")]
    Status,
    #[error("several documents in one")]
    Several,
    #[error("in a broken multipart: {0}")]
    Multipart(#[from] MultipartError),
}

/// What comes next in a document. The root is at depth 0, and neither it nor what stands around it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// `ours`: in one of our namespaces, or in none. `start`: the offset of its tag.
    Open { name: &'a str, ours: bool, depth: usize, start: usize },
    /// Text in the element at this depth, its references resolved.
    Text { text: &'a str, depth: usize },
    /// `end`: the offset behind its tag.
    Close { depth: usize, end: usize },
}

/// Which documents are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) root: &'static str,
    pub(crate) namespaces: &'static [&'static str],
    pub(crate) max: usize,
}

impl Shape {
    /// Shows a document step by step.
    pub(crate) fn walk(
        self,
        bytes: &[u8],
        mut each: impl FnMut(Step<'_>) -> Result<(), XmlError>,
    ) -> Result<(), XmlError> {
        if bytes.len() > self.max {
            return Err(XmlError::TooLong { len: bytes.len(), max: self.max });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let offset = |position: u64| bytes.len() - text.len() + usize::try_from(position).unwrap_or(text.len());
        let mut reader = NsReader::from_str(text);
        // How many elements are open, the root included.
        let (mut open, mut seen_root) = (0_usize, false);
        loop {
            let start = offset(reader.buffer_position());
            let (namespace, event) = reader.read_resolved_event().map_err(|_| XmlError::Malformed)?;
            let ours = match namespace {
                ResolveResult::Bound(uri) => self.namespaces.contains(&uri.as_ref()),
                ResolveResult::Unbound => true,
                ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
            };
            let end = offset(reader.buffer_position());
            let mut text = |text: &str| match open.checked_sub(1) {
                _ if !text.chars().all(is_allowed) => Err(XmlError::Malformed),
                Some(depth) => each(Step::Text { text, depth }),
                None if text.trim().is_empty() => Ok(()),
                None => Err(XmlError::Malformed),
            };
            match event {
                Event::Start(ref tag) | Event::Empty(ref tag) => {
                    let name = tag.local_name();
                    let name = name.as_ref();
                    if open == MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    match open {
                        0 if seen_root => return Err(XmlError::Malformed),
                        0 if ours && name == self.root => seen_root = true,
                        0 => return Err(XmlError::Missing(self.root)),
                        depth => each(Step::Open { name, ours, depth, start })?,
                    }
                    if matches!(event, Event::Start(_)) {
                        open += 1;
                    } else if open > 0 {
                        each(Step::Close { depth: open, end })?;
                    }
                }
                Event::End(_) => {
                    open = open.checked_sub(1).ok_or(XmlError::Malformed)?;
                    if open > 0 {
                        each(Step::Close { depth: open, end })?;
                    }
                }
                Event::Text(part) => text(&part.xml10_content())?,
                Event::CData(part) => text(&part.xml10_content())?,
                Event::GeneralRef(reference) => text(resolve(&reference)?.encode_utf8(&mut [0; 4]))?,
                Event::DocType(_) => return Err(XmlError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if !seen_root => return Err(XmlError::Missing(self.root)),
                Event::Eof if open > 0 => return Err(XmlError::Malformed),
                Event::Eof => return Ok(()),
            }
        }
    }
}

/// Writes an element with text on a line of its own.
pub(crate) fn element(out: &mut String, name: &str, text: &str) {
    let text: String = text.chars().filter(|c| is_allowed(*c)).collect();
    // Written plainly, a carriage return would be read back as a line feed.
    out.push_str(&format!("  <{name}>{}</{name}>\r\n", escape(text.as_str()).replace('\r', "&#13;")));
}

/// XML 1.0 §2.2: what a document can say at all.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Character references and the five entities of XML itself.
fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => return Ok(c),
        Ok(None) => {}
        Err(_) => return Err(XmlError::Malformed),
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(XmlError::DocumentType),
    }
}
