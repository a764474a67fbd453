//! Reads a document within limits, cheaply refusing what is made to hurt.

use roxmltree::{Document, ParsingOptions};

/// Bounds on a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In bytes.
    pub size: usize,
    /// Elements inside each other.
    pub depth: usize,
    /// Elements, attributes, texts, comments and instructions.
    pub nodes: usize,
    /// Of one element.
    pub attributes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { size: 512 * 1024, depth: 32, nodes: 50_000, attributes: 64 }
    }
}

/// Why bytes are not a document that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("{size} bytes, over the limit of {max}")]
    TooLarge { size: usize, max: usize },
    #[error("not UTF-8")]
    NotUtf8,
    /// Entities and external subsets come in no other way.
    #[error("document type declarations are not taken")]
    DocumentType,
    #[error("elements are nested deeper than {max}")]
    TooDeep { max: usize },
    #[error("more than {max} nodes")]
    TooMany { max: usize },
    #[error("an element has more than {max} attributes")]
    TooManyAttributes { max: usize },
    #[error("{what} in line {line}, column {column}")]
    Malformed { what: String, line: u32, column: u32 },
}

/// The text of a document: UTF-8 by octets and by its declaration, without a byte order mark.
pub fn text<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, XmlError> {
    if bytes.len() > limits.size {
        return Err(XmlError::TooLarge { size: bytes.len(), max: limits.size });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match encoding(text) {
        Some(name) if !matches!(&*name.to_ascii_lowercase(), "utf-8" | "utf8" | "us-ascii") => Err(XmlError::NotUtf8),
        _ => Ok(text),
    }
}

/// What the XML declaration says of the encoding.
fn encoding(text: &str) -> Option<&str> {
    let declaration = text.strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

/// Parses `text`, after a look at what would make that dear.
pub fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Document<'a>, XmlError> {
    if text.len() > limits.size {
        return Err(XmlError::TooLarge { size: text.len(), max: limits.size });
    }
    survey(text.as_bytes(), limits)?;
    let nodes = u32::try_from(limits.nodes).unwrap_or(u32::MAX);
    let options = ParsingOptions { allow_dtd: false, nodes_limit: nodes, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => XmlError::DocumentType,
        roxmltree::Error::NodesLimitReached => XmlError::TooMany { max: limits.nodes },
        error => {
            let at = error.pos();
            let what = error.to_string();
            // The position is a field of ours.
            let what = what.rsplit_once(" at ").map_or(&*what, |(what, _)| what).to_owned();
            XmlError::Malformed { what, line: at.row, column: at.col }
        }
    })
}

/// One pass that counts depth, nodes and attributes. What is not well-formed is left for the parser to name.
fn survey(bytes: &[u8], limits: &Limits) -> Result<(), XmlError> {
    let (mut at, mut depth, mut nodes) = (0, 0_usize, 1_usize);
    while let Some(next) = find(bytes, at, b"<") {
        nodes += 1;
        let rest = &bytes[next..];
        let skip = |end: &[u8], from: usize| find(bytes, next + from, end).map(|found| found + end.len());
        let end = if rest.starts_with(b"<!--") {
            skip(b"-->", 4)
        } else if rest.starts_with(b"<![CDATA[") {
            skip(b"]]>", 9)
        } else if rest.starts_with(b"<?") {
            skip(b"?>", 2)
        } else if rest.starts_with(b"<!") {
            return Err(XmlError::DocumentType);
        } else {
            let tag = Tag::read(bytes, next);
            if tag.attributes > limits.attributes {
                return Err(XmlError::TooManyAttributes { max: limits.attributes });
            }
            nodes += tag.attributes;
            match tag.kind {
                Kind::Start => depth += 1,
                Kind::Empty if depth >= limits.depth => return Err(XmlError::TooDeep { max: limits.depth }),
                Kind::Empty => {}
                Kind::End => depth = depth.saturating_sub(1),
            }
            tag.end
        };
        if depth > limits.depth {
            return Err(XmlError::TooDeep { max: limits.depth });
        }
        // With the text that may stand before each.
        if nodes > limits.nodes {
            return Err(XmlError::TooMany { max: limits.nodes });
        }
        let Some(end) = end else { break };
        at = end;
    }
    Ok(())
}

enum Kind {
    Start,
    Empty,
    End,
}

struct Tag {
    kind: Kind,
    attributes: usize,
    end: Option<usize>,
}

impl Tag {
    fn read(bytes: &[u8], start: usize) -> Tag {
        let mut tag = Tag { kind: Kind::Start, attributes: 0, end: None };
        if bytes.get(start + 1) == Some(&b'/') {
            tag.kind = Kind::End;
        }
        let mut quote = None;
        for (at, byte) in bytes.iter().enumerate().skip(start + 1) {
            match (quote, byte) {
                (Some(open), _) if open == *byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(*byte),
                (None, b'=') => tag.attributes += 1,
                (None, b'>') => {
                    if bytes[at - 1] == b'/' && at > start + 1 {
                        tag.kind = Kind::Empty;
                    }
                    tag.end = Some(at + 1);
                    break;
                }
                (None, _) => {}
            }
        }
        tag
    }
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    match what {
        [one] => rest.iter().position(|byte| byte == one),
        _ => rest.windows(what.len()).position(|window| window == what),
    }
    .map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Limits {
        Limits { size: 10_000, depth: 3, nodes: 40, attributes: 2 }
    }

    #[test]
    fn hostile_documents_are_refused_before_they_are_parsed() {
        let deep = format!("{}{}", "<a>".repeat(5000), "</a>".repeat(400));
        let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><l>&b;</l>";
        for (name, text, expected) in [
            ("as deep as may be", "<a><b><c/></b></a>", None),
            ("one deeper", "<a><b><c><d/></c></b></a>", Some(XmlError::TooDeep { max: 3 })),
            ("one deeper, not empty", "<a><b><c><d></d></c></b></a>", Some(XmlError::TooDeep { max: 3 })),
            ("very deep", &deep, Some(XmlError::TooLarge { size: deep.len(), max: 10_000 })),
            ("entities", laughs, Some(XmlError::DocumentType)),
            ("late document type", "<!-- c --><!DOCTYPE a><a/>", Some(XmlError::DocumentType)),
            ("document type in a comment", "<a><!-- <!DOCTYPE a> --></a>", None),
            ("document type as text", "<a><![CDATA[<!DOCTYPE a>]]></a>", None),
            ("wide", &format!("<a>{}</a>", "<b/>".repeat(50)), Some(XmlError::TooMany { max: 40 })),
            ("attributes", "<a x='=' y='==='/>", None),
            ("one attribute more", "<a x='' y='' z=''/>", Some(XmlError::TooManyAttributes { max: 2 })),
            ("brackets in values", "<a x='>' y=\"/>\"><b/></a>", None),
        ] {
            assert_eq!(parse(text, &small()).err(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_named_with_its_place() {
        let Err(XmlError::Malformed { line, .. }) = parse("<a>\n<b></c></a>", &small()) else { panic!() };
        assert_eq!(line, 2);
        for text in ["", "text", "<a>", "<a", "<a/><b/>", "<a x=1/>", "<p:a/>", "<a>&other;</a>", "</a>", "<"] {
            assert!(matches!(parse(text, &small()), Err(XmlError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn only_utf_8_is_taken() {
        for (name, bytes, expected) in [
            ("plain", &b"<a/>"[..], Ok("<a/>")),
            ("mark", b"\xef\xbb\xbf<a/>", Ok("<a/>")),
            ("said", b"<?xml version='1.0' encoding='utf-8'?><a/>", Ok("<?xml version='1.0' encoding='utf-8'?><a/>")),
            ("Latin 1 by octets", b"<a>\xe9</a>", Err(XmlError::NotUtf8)),
            ("UTF-16", b"\xff\xfe<\0a\0/\0>\0", Err(XmlError::NotUtf8)),
            ("Latin 1 by name", b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", Err(XmlError::NotUtf8)),
        ] {
            assert_eq!(text(bytes, &small()), expected, "{name}");
        }
    }
}
