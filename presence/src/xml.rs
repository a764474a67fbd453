//! The XML that presence needs: a small tree with its namespaces resolved, read within limits and written with the
//! prefixes of [`ns`], whatever those of the source were. No document types, no entities but XML's own.

use std::borrow::Cow;

use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use crate::ns::{self, Ns};

/// What is read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    /// Elements and attributes together.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 65_536, depth: 24, nodes: 8_192 }
    }
}

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("{len} bytes, over the limit of {max}")]
    TooLong { len: usize, max: usize },
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    #[error("more than {0} elements and attributes")]
    TooMany(usize),
    #[error("not UTF-8")]
    Encoding,
    #[error("not well-formed")]
    Malformed,
    /// Document types and the entities they declare serve nobody but attackers.
    #[error("a document type or an entity of its own")]
    DocumentType,
    #[error("no <{0}>")]
    Missing(&'static str),
    #[error("<{0}> without a usable value")]
    Invalid(&'static str),
    #[error("more than {max} {what}")]
    OverLimit { what: &'static str, max: usize },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub ns: Ns,
    pub name: Box<str>,
    pub value: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub ns: Ns,
    pub name: Box<str>,
    pub attributes: Vec<Attribute>,
    pub nodes: Vec<Node>,
}

impl Element {
    pub fn is(&self, ns: Ns, name: &str) -> bool {
        self.ns == ns && &*self.name == name
    }

    /// The value of an attribute without a namespace.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.ns == Ns::NONE && &*a.name == name).map(|a| &*a.value)
    }

    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    pub fn elements_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.nodes.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    pub fn child(&self, ns: Ns, name: &str) -> Option<&Element> {
        self.elements().find(|e| e.ns == ns && &*e.name == name)
    }

    /// The text directly in it, trimmed.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(&**text),
            Node::Element(_) => None,
        });
        let first = texts.next().unwrap_or_default();
        match texts.next() {
            None => Cow::Borrowed(first.trim()),
            Some(second) => {
                let mut all = format!("{first}{second}");
                texts.for_each(|text| all.push_str(text));
                Cow::Owned(all.trim().to_owned())
            }
        }
    }

    /// Appends it in canonical prefixes; `used` gathers the namespaces that the root has to declare.
    pub fn write(&self, out: &mut String, used: &mut u32) {
        self.write_within(None, out, used);
    }

    /// The same within an element of its own namespace, whatever the prefix of that is there.
    pub(crate) fn write_inside(&self, parent: &Ns, out: &mut String, used: &mut u32) {
        self.write_within(Some(parent), out, used);
    }

    fn write_within(&self, parent: Option<&Ns>, out: &mut String, used: &mut u32) {
        let prefix = self.ns.prefix();
        out.push('<');
        push_name(out, prefix, &self.name);
        match self.ns.known() {
            Some(index) => *used |= 1 << index,
            // Its own declaration, unless the parent has made it.
            None if parent != Some(&self.ns) => declare(out, prefix, self.ns.uri()),
            None => {}
        }
        for attribute in &self.attributes {
            let prefix = match (attribute.ns.known(), attribute.ns == Ns::NONE) {
                (_, true) => "",
                (Some(index), _) => {
                    *used |= 1 << index;
                    // An attribute cannot use the default namespace.
                    match attribute.ns.prefix() {
                        "" => {
                            declare(out, "pidf", attribute.ns.uri());
                            "pidf"
                        }
                        prefix => prefix,
                    }
                }
                (None, _) if attribute.ns == self.ns => prefix,
                // Another foreign namespace for each attribute is a rarity: the attribute is left out.
                (None, _) => continue,
            };
            out.push(' ');
            push_name(out, prefix, &attribute.name);
            out.push_str("=\"");
            push_attribute(out, &attribute.value);
            out.push('"');
        }
        if self.nodes.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.nodes {
            match node {
                Node::Element(element) => element.write_within(Some(&self.ns), out, used),
                Node::Text(text) => push_text(out, text),
            }
        }
        out.push_str("</");
        push_name(out, prefix, &self.name);
        out.push('>');
    }
}

/// Appends the declarations of the namespaces in `used`, for the start tag of a root in the default namespace.
pub fn declare_used(out: &mut String, used: u32) {
    for index in (1..ns::KNOWN.len()).filter(|index| used & (1 << index) != 0) {
        let (prefix, uri) = ns::KNOWN[index];
        if prefix != "xml" {
            declare(out, prefix, uri);
        }
    }
}

fn declare(out: &mut String, prefix: &str, uri: &str) {
    out.push_str(" xmlns");
    if !prefix.is_empty() {
        out.push(':');
        out.push_str(prefix);
    }
    out.push_str("=\"");
    push_attribute(out, uri);
    out.push('"');
}

fn push_name(out: &mut String, prefix: &str, name: &str) {
    if !prefix.is_empty() {
        out.push_str(prefix);
        out.push(':');
    }
    out.push_str(name);
}

pub(crate) fn push_text(out: &mut String, text: &str) {
    match text.bytes().any(|b| matches!(b, b'<' | b'>' | b'&' | b'\r' | b'"' | b'\'')) {
        false => out.push_str(text),
        true => out.push_str(&escape(text).replace('\r', "&#13;")),
    }
}

/// White space in an attribute is normalized by whoever reads it, unless it is written as references.
pub(crate) fn push_attribute(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// Reads a document into a tree. White space between elements is dropped.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Element, XmlError> {
    if bytes.len() > limits.bytes {
        return Err(XmlError::TooLong { len: bytes.len(), max: limits.bytes });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut nodes = 0;
    loop {
        match reader.read_event().map_err(|_| XmlError::Malformed)? {
            Event::Start(tag) => {
                if open.len() == limits.depth {
                    return Err(XmlError::TooDeep(limits.depth));
                }
                if root.is_some() {
                    return Err(XmlError::Malformed);
                }
                open.push(element(&reader, &tag, &mut nodes, limits)?);
            }
            Event::Empty(tag) => {
                if open.len() == limits.depth {
                    return Err(XmlError::TooDeep(limits.depth));
                }
                let element = element(&reader, &tag, &mut nodes, limits)?;
                close(&mut open, &mut root, element)?;
            }
            Event::End(_) => {
                let element = open.pop().ok_or(XmlError::Malformed)?;
                close(&mut open, &mut root, element)?;
            }
            Event::Text(part) => push(&mut open, &part.xml10_content())?,
            Event::CData(part) => push(&mut open, &part.xml10_content())?,
            Event::GeneralRef(reference) => {
                let c = resolve(&reference)?;
                push(&mut open, c.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return root.filter(|_| open.is_empty()).ok_or(XmlError::Malformed),
        }
    }
}

fn element(
    reader: &NsReader<&[u8]>,
    tag: &BytesStart<'_>,
    nodes: &mut usize,
    limits: &Limits,
) -> Result<Element, XmlError> {
    count(nodes, limits)?;
    let (namespace, local) = reader.resolver().resolve_element(tag.name());
    let mut attributes: Vec<Attribute> = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        let QName(key) = attribute.key;
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        count(nodes, limits)?;
        let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::Malformed)?;
        if !value.chars().all(is_allowed) {
            return Err(XmlError::Malformed);
        }
        let (ns, name) = (namespace_of(&namespace)?, local.as_ref());
        if attributes.iter().any(|a| a.ns == ns && &*a.name == name) || !is_name(name) {
            return Err(XmlError::Malformed);
        }
        attributes.push(Attribute { ns, name: name.into(), value: value.into() });
    }
    let name = local.as_ref();
    if !is_name(name) {
        return Err(XmlError::Malformed);
    }
    Ok(Element { ns: namespace_of(&namespace)?, name: name.into(), attributes, nodes: Vec::new() })
}

fn count(nodes: &mut usize, limits: &Limits) -> Result<(), XmlError> {
    *nodes += 1;
    if *nodes > limits.nodes { Err(XmlError::TooMany(limits.nodes)) } else { Ok(()) }
}

fn close(open: &mut [Element], root: &mut Option<Element>, element: Element) -> Result<(), XmlError> {
    match open.last_mut() {
        Some(parent) => parent.nodes.push(Node::Element(element)),
        None if root.is_some() => return Err(XmlError::Malformed),
        None => *root = Some(element),
    }
    Ok(())
}

fn push(open: &mut [Element], text: &str) -> Result<(), XmlError> {
    if !text.chars().all(is_allowed) {
        return Err(XmlError::Malformed);
    }
    let blank = text.trim().is_empty();
    let Some(parent) = open.last_mut() else { return if blank { Ok(()) } else { Err(XmlError::Malformed) } };
    match parent.nodes.last_mut() {
        Some(Node::Text(before)) => *before = format!("{before}{text}").into(),
        _ if blank => {}
        _ => parent.nodes.push(Node::Text(text.into())),
    }
    Ok(())
}

fn namespace_of(namespace: &ResolveResult<'_>) -> Result<Ns, XmlError> {
    match namespace {
        ResolveResult::Bound(uri) => Ok(Ns::of(uri.as_ref())),
        ResolveResult::Unbound => Ok(Ns::NONE),
        ResolveResult::Unknown(_) => Err(XmlError::Malformed),
    }
}

/// Names are written as they were read: nothing in them may end the tag. What else XML forbids in a name is let through.
fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "<>&\"'/=:;!?()[]{}+*,%$#@^`|~\\".contains(c);
    !name.is_empty() && !name.contains(bad) && !name.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.')
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reprint(text: &str) -> Result<String, XmlError> {
        let element = parse(text.as_bytes(), &Limits::default())?;
        let (mut out, mut used) = (String::new(), 0);
        element.write(&mut out, &mut used);
        Ok(out)
    }

    #[test]
    fn a_tree_is_written_with_our_prefixes() {
        for (name, text, expected) in [
            (
                "other prefix",
                r#"<x:a xmlns:x="urn:ietf:params:xml:ns:pidf:rpid"><x:b/></x:a>"#,
                "<rpid:a><rpid:b/></rpid:a>",
            ),
            ("default", r#"<a xmlns="urn:ietf:params:xml:ns:pidf" id="1">t</a>"#, r#"<a id="1">t</a>"#),
            (
                "references",
                "<a xmlns='urn:ietf:params:xml:ns:pidf' b='&#10;&lt;'>&amp;<![CDATA[<]]></a>",
                "<a b=\"&#10;&lt;\">&amp;&lt;</a>",
            ),
            ("foreign, declared once", r#"<y:a xmlns:y="urn:x"><y:b/></y:a>"#, r#"<o:a xmlns:o="urn:x"><o:b/></o:a>"#),
            (
                "foreign within foreign",
                r#"<y:a xmlns:y="urn:x"><b xmlns="urn:z"><y:c/></b></y:a>"#,
                r#"<o:a xmlns:o="urn:x"><o:b xmlns:o="urn:z"><o:c xmlns:o="urn:x"/></o:b></o:a>"#,
            ),
            ("none", "<a><b/></a>", "<a xmlns=\"\"><b/></a>"),
            ("language", r#"<a xmlns="urn:ietf:params:xml:ns:pidf" xml:lang="fr"/>"#, r#"<a xml:lang="fr"/>"#),
            ("blanks between elements", "<a>\n <b/>\n</a>", "<a xmlns=\"\"><b/></a>"),
        ] {
            assert_eq!(reprint(text).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        let wide = format!("<a>{}</a>", "<b/>".repeat(10_000));
        let attributes = format!("<a>{}</a>", "<b c='1' d='2'/>".repeat(4_000));
        let long = format!("<a>{}</a>", "x".repeat(70_000));
        let laughs = "<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;\">]><a>&m;</a>";
        for (name, text, error) in [
            ("deep", &*deep, XmlError::TooDeep(24)),
            ("wide", &wide, XmlError::TooMany(8_192)),
            ("attributes", &attributes, XmlError::TooMany(8_192)),
            ("long", &long, XmlError::TooLong { len: 70_007, max: 65_536 }),
            ("entities", laughs, XmlError::DocumentType),
            ("entity without a declaration", "<a>&x;</a>", XmlError::DocumentType),
            ("entity in an attribute", "<a b='&x;'/>", XmlError::Malformed),
            ("two roots", "<a/><b/>", XmlError::Malformed),
            ("open", "<a><b></a>", XmlError::Malformed),
            ("nothing", "", XmlError::Malformed),
            ("text", "hello", XmlError::Malformed),
            ("prefix", "<x:a/>", XmlError::Malformed),
            ("control character", "<a>&#1;</a>", XmlError::Malformed),
            ("attribute twice", "<a b='1' b='2'/>", XmlError::Malformed),
        ] {
            assert_eq!(reprint(text), Err(error), "{name}");
        }
        assert_eq!(parse(b"<a>\xff</a>", &Limits::default()).err(), Some(XmlError::Encoding));
    }
}
