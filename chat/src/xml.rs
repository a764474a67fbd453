//! The XML of group documents: small trees, UTF-8, without document types.

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;
/// Attributes of one element, namespaces included.
const MAX_ATTRIBUTES: usize = 32;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("{len} bytes, over the limit of {max}")]
    TooLong { len: usize, max: usize },
    #[error("more than {max} elements")]
    TooMany { max: usize },
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("not UTF-8")]
    Encoding,
    #[error("not well-formed")]
    Malformed,
    /// Document types and the entities they declare serve nobody but attackers.
    #[error("a document type or an entity of its own")]
    DocumentType,
    #[error("no <{0}>")]
    Missing(&'static str),
}

/// An element with all that is in it. Attributes go by their local name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    namespace: Option<Box<str>>,
    name: Box<str>,
    attributes: Vec<(Box<str>, Box<str>)>,
    /// The text directly in it, in one.
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    pub(crate) fn parse(bytes: &[u8], max_bytes: usize, max_elements: usize) -> Result<Element, XmlError> {
        if bytes.len() > max_bytes {
            return Err(XmlError::TooLong { len: bytes.len(), max: max_bytes });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
        let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}').trim_start());
        let (mut open, mut root, mut count): (Vec<Element>, Option<Element>, usize) = (Vec::new(), None, 0);
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|_| XmlError::Malformed)?;
            let namespace: Option<Box<str>> = match namespace {
                ResolveResult::Bound(uri) => Some(uri.as_ref().into()),
                ResolveResult::Unbound => None,
                ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
            };
            let add = |open: &mut Vec<Element>, text: &str| match open.last_mut() {
                _ if !text.chars().all(is_allowed) => Err(XmlError::Malformed),
                Some(element) => {
                    element.text.push_str(text);
                    Ok(())
                }
                None if text.trim().is_empty() => Ok(()),
                None => Err(XmlError::Malformed),
            };
            match event {
                Event::Start(ref tag) | Event::Empty(ref tag) => {
                    count += 1;
                    if count > max_elements {
                        return Err(XmlError::TooMany { max: max_elements });
                    }
                    if open.len() == MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    if open.is_empty() && root.is_some() {
                        return Err(XmlError::Malformed);
                    }
                    open.push(Element::start(namespace, tag)?);
                    if matches!(event, Event::Empty(_)) {
                        close(&mut open, &mut root)?;
                    }
                }
                Event::End(_) => close(&mut open, &mut root)?,
                Event::Text(part) => add(&mut open, &part.xml10_content())?,
                Event::CData(part) => add(&mut open, &part.xml10_content())?,
                Event::GeneralRef(reference) => add(&mut open, resolve(&reference)?.encode_utf8(&mut [0; 4]))?,
                Event::DocType(_) => return Err(XmlError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if !open.is_empty() => return Err(XmlError::Malformed),
                Event::Eof => return root.ok_or(XmlError::Malformed),
            }
        }
    }

    fn start(namespace: Option<Box<str>>, tag: &BytesStart<'_>) -> Result<Element, XmlError> {
        let mut attributes = Vec::new();
        for (at, attribute) in tag.attributes().enumerate() {
            let attribute = attribute.map_err(|_| XmlError::Malformed)?;
            if at == MAX_ATTRIBUTES {
                return Err(XmlError::TooMany { max: MAX_ATTRIBUTES });
            }
            let key = attribute.key;
            if key.as_namespace_binding().is_some() {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::Malformed)?;
            if !value.chars().all(is_allowed) {
                return Err(XmlError::Malformed);
            }
            attributes.push((key.local_name().as_ref().into(), value.into()));
        }
        let name = tag.local_name().as_ref().into();
        Ok(Element { namespace, name, attributes, ..Element::default() })
    }

    /// Whether it is called this, in this namespace or in none.
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        *self.name == *name && self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Whether it is called this, in any namespace.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        *self.name == *name
    }

    /// The first attribute of this name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    pub(crate) fn children(&self) -> &[Element] {
        &self.children
    }

    /// The first child of this name, in any namespace.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is_named(name))
    }

    /// The text directly in it, without blanks around it.
    pub(crate) fn text(&self) -> &str {
        self.text.trim()
    }

    /// Written once more, each namespace as the default one. Text comes before the children.
    pub(crate) fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    fn write(&self, out: &mut String, outer: Option<&str>) {
        out.push('<');
        out.push_str(&self.name);
        let namespace = self.namespace.as_deref();
        if namespace != outer {
            push_attribute(out, "xmlns", namespace.unwrap_or_default());
        }
        for (at, (name, value)) in self.attributes.iter().enumerate() {
            // Two of one name were in different namespaces.
            if !self.attributes[..at].iter().any(|(other, _)| other == name) {
                push_attribute(out, name, value);
            }
        }
        if self.children.is_empty() && self.text().is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        push_text(out, self.text());
        self.children.iter().for_each(|child| child.write(out, namespace));
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

fn close(open: &mut Vec<Element>, root: &mut Option<Element>) -> Result<(), XmlError> {
    let element = open.pop().ok_or(XmlError::Malformed)?;
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
    Ok(())
}

/// Appends text with its markup escaped; what XML cannot say is left out.
pub(crate) fn push_text(out: &mut String, text: &str) {
    let text: String = text.chars().filter(|c| is_allowed(*c)).collect();
    // Written plainly, a carriage return would be read back as a line feed.
    out.push_str(&escape(text.as_str()).replace('\r', "&#13;"));
}

/// Appends ` name="value"`.
pub(crate) fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    let value: String = value.chars().filter(|c| is_allowed(*c)).collect();
    // Blanks of other kinds would be read back as spaces.
    out.push_str(&escape(value.as_str()).replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;"));
    out.push('"');
}

/// Appends an element with text.
pub(crate) fn push_element(out: &mut String, name: &str, text: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    push_text(out, text);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
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
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Element, XmlError> {
        Element::parse(text.as_bytes(), 4096, 8)
    }

    #[test]
    fn what_is_not_read() {
        let deep = "<a>".repeat(17);
        for (name, text, expected) in [
            ("nothing", "", XmlError::Malformed),
            ("open", "<a><b></b>", XmlError::Malformed),
            ("crossed", "<a><b></a></b>", XmlError::Malformed),
            ("two roots", "<a/><b/>", XmlError::Malformed),
            ("text around it", "x<a/>", XmlError::Malformed),
            ("one attribute twice", "<a b=\"1\" b=\"2\"/>", XmlError::Malformed),
            ("an unknown prefix", "<x:a/>", XmlError::Malformed),
            ("a document type", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", XmlError::DocumentType),
            ("an entity", "<a>&b;</a>", XmlError::DocumentType),
            ("an entity in an attribute", "<a b=\"&c;\"/>", XmlError::Malformed),
            ("a control character", "<a>&#1;</a>", XmlError::Malformed),
            ("many elements", "<a><b/><b/><b/><b/><b/><b/><b/><b/></a>", XmlError::TooMany { max: 8 }),
            ("long", &" ".repeat(4097), XmlError::TooLong { len: 4097, max: 4096 }),
        ] {
            assert_eq!(parse(text), Err(expected), "{name}");
        }
        assert_eq!(Element::parse(deep.as_bytes(), 4096, 100), Err(XmlError::TooDeep));
        assert_eq!(Element::parse(b"\xff", 9, 9), Err(XmlError::Encoding));
    }

    #[test]
    fn a_tree() {
        let root = parse(
            "\u{feff} <?xml version=\"1.0\"?><!-- x --><r xmlns=\"urn:r\" xmlns:c=\"urn:c\">\
             <e c:k=\"&lt;to&gt;\"> a&amp;<![CDATA[b]]> </e><c:e/></r>",
        )
        .unwrap();
        assert!(root.is("urn:r", "r") && !root.is("urn:c", "r"));
        let e = root.child("e").unwrap();
        assert_eq!((e.attribute("k"), e.text()), (Some("<to>"), "a&b"));
        assert!(root.children()[1].is("urn:c", "e"));
        let again = parse(&root.to_xml()).unwrap();
        assert_eq!(again.to_xml(), root.to_xml());
    }

    proptest! {
        #[test]
        fn text_and_attributes_come_back(text: String) {
            let mut out = String::from("<a");
            push_attribute(&mut out, "b", &text);
            out.push('>');
            push_element(&mut out, "c", &text);
            out.push_str("</a>");
            let clean: String = text.chars().filter(|c| is_allowed(*c)).collect();
            let read = Element::parse(out.as_bytes(), 1 << 20, 8).unwrap();
            prop_assert_eq!(read.attribute("b"), Some(clean.as_str()));
            prop_assert_eq!(&read.child("c").unwrap().text, &clean);
        }
    }
}
