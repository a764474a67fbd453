//! Bodies of PUTs to nodes (RFC 4825 §8.2.2): one element, or the value of an attribute.

use crate::conflict::Conflict;
use crate::encode::{is_xml_char, unescape, xml_escape};
use crate::xml::{self, Limits, XmlError};

/// An element as it will stand in the document: `body` without the space around it. `scope` declares the namespaces that
/// are in scope where it will stand, each with a space before it.
pub(crate) fn element<'a>(body: &'a [u8], scope: &str, limits: &Limits) -> Result<&'a str, Conflict> {
    let refused = |error: XmlError| match error {
        XmlError::NotUtf8 => Conflict::NotUtf8,
        error => Conflict::NotXmlFrag { phrase: error.to_string() },
    };
    let mut text = xml::text(body, limits).map_err(refused)?.trim_matches(is_space);
    // An external entity may begin with a text declaration, and some clients send one.
    if text.starts_with("<?xml") && text[5..].starts_with(is_space) {
        let end = text.find("?>").ok_or(Conflict::NotXmlFrag { phrase: "the XML declaration does not end".into() })?;
        text = text[end + 2..].trim_matches(is_space);
    }
    let wrapped = format!("<around{scope}>{text}</around>");
    let open = "<around>".len() + scope.len();
    let limits = Limits { size: limits.size + wrapped.len() - text.len(), depth: limits.depth + 1, ..*limits };
    let document = xml::parse(&wrapped, &limits).map_err(|error| match error {
        // Its place is that in the wrapped text.
        XmlError::Malformed { what, .. } => Conflict::NotXmlFrag { phrase: what },
        error => refused(error),
    })?;
    let mut children = document.root_element().children();
    match (children.next(), children.next()) {
        (Some(only), None) if only.is_element() && only.range() == (open..open + text.len()) => Ok(text),
        _ => Err(Conflict::NotXmlFrag { phrase: "the body must be exactly one element".into() }),
    }
}

/// An attribute's value with quotes around it. A body without quotes is taken for the bare value, as some clients send it.
pub(crate) fn attribute(body: &[u8]) -> Result<String, Conflict> {
    let text = std::str::from_utf8(body).map_err(|_| Conflict::NotUtf8)?.trim_matches(is_space);
    let refused = |phrase: &str| Conflict::NotXmlAttValue { phrase: phrase.into() };
    let (quote, value) = match text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => {
            let value = text[1..].strip_suffix(quote).ok_or(refused("the closing quote is missing"))?;
            (quote, value)
        }
        None => ('"', text),
    };
    if value.contains(quote) {
        return Err(refused("a quote inside the value must be written as a reference"));
    }
    if value.contains('<') {
        return Err(refused("`<` must be written as `&lt;`"));
    }
    if unescape(value).is_none() {
        return Err(refused("`&` must begin one of the references of XML"));
    }
    if !value.chars().all(is_xml_char) {
        return Err(refused("a character that XML has no place for"));
    }
    Ok(format!("{quote}{value}{quote}"))
}

/// The value that quotes and references stand for.
pub(crate) fn attribute_text(quoted: &str) -> String {
    unescape(&quoted[1..quoted.len() - 1]).unwrap_or_default()
}

/// Declares a prefix, with a space before it.
pub(crate) fn declaration(prefix: &str, uri: &str) -> String {
    format!(" xmlns:{prefix}=\"{}\"", xml_escape(uri))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_element() {
        let scope = declaration("p", "urn:p");
        for (name, body, expected) in [
            ("empty element", "<a/>", Some("<a/>")),
            ("with content", "<a x='1'>t<b/></a>", Some("<a x='1'>t<b/></a>")),
            ("space around", " \r\n<a/>\n", Some("<a/>")),
            ("prefix of the document", "<p:a/>", Some("<p:a/>")),
            ("prefix of its own", "<q:a xmlns:q='urn:q'/>", Some("<q:a xmlns:q='urn:q'/>")),
            ("text declaration", "<?xml version=\"1.0\"?>\n<a/>", Some("<a/>")),
            ("nothing", "", None),
            ("text", "a", None),
            ("text before", "a<b/>", None),
            ("text behind", "<b/>a", None),
            ("two", "<a/><b/>", None),
            ("comment before", "<!-- c --><a/>", None),
            ("comment behind", "<a/><!-- c -->", None),
            ("unbalanced", "<a>", None),
            ("prefix of nobody", "<q:a/>", None),
            ("out of its wrapping", "</around><around>", None),
            ("out of its wrapping, with an element", "<a/></around><around>", None),
            ("document type", "<!DOCTYPE a><a/>", None),
            ("entity", "<a>&e;</a>", None),
            ("CDATA end", "<a>]]></a>", None),
        ] {
            let found = element(body.as_bytes(), &scope, &Limits::default());
            assert_eq!(found.as_ref().ok().copied(), expected, "{name}");
            if let Err(conflict) = found {
                assert!(matches!(conflict, Conflict::NotXmlFrag { .. }), "{name}: {conflict:?}");
            }
        }
        assert_eq!(element(b"<a>\xff</a>", "", &Limits::default()), Err(Conflict::NotUtf8));
    }

    #[test]
    fn values_of_attributes() {
        for (name, body, expected) in [
            ("quoted", &b"\"a\""[..], Some("\"a\"")),
            ("apostrophes", b"'a\"b'", Some("'a\"b'")),
            ("bare", b"a'b", Some("\"a'b\"")),
            ("empty", b"\"\"", Some("\"\"")),
            ("nothing", b"", Some("\"\"")),
            ("reference", b"\"&amp;&#x41;\"", Some("\"&amp;&#x41;\"")),
            ("not closed", b"\"a", None),
            ("only a quote", b"\"", None),
            ("quote inside", b"\"a\"b\"", None),
            ("angle", b"\"a<b\"", None),
            ("ampersand", b"\"a&b\"", None),
            ("entity", b"\"&e;\"", None),
            ("control", b"\"\x01\"", None),
        ] {
            assert_eq!(attribute(body).ok().as_deref(), expected, "{name}");
        }
        assert_eq!(attribute(b"\"\xff\""), Err(Conflict::NotUtf8));
    }
}
