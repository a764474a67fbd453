//! Node selectors (RFC 4825 §6.3): which element, attribute or set of namespaces of a document is meant.

use crate::bindings::Bindings;
use crate::encode::{percent_decode, unescape};

/// Why a request URI selects nothing anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("the URI is not percent-encoded UTF-8")]
    Encoding,
    #[error("the query is not a sequence of XPointer parts")]
    Query,
    /// To us an extension that we do not know (§8): 404.
    #[error("the node selector has a step that is not understood")]
    Unknown,
    #[error("the node selector uses a prefix that the query does not bind")]
    UnboundPrefix,
}

/// A name with its namespace; `None` is no namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub namespace: Option<Box<str>>,
    pub local: Box<str>,
}

/// Picks one element among the children of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `None` is the wildcard.
    pub name: Option<Name>,
    /// Counted from 1, among those of that name.
    pub position: Option<usize>,
    pub attribute: Option<(Name, Box<str>)>,
}

/// What follows the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terminal {
    Attribute {
        name: Name,
        /// As the selector writes it.
        prefix: Option<Box<str>>,
    },
    Namespaces,
}

/// A node selector whose names are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSelector {
    /// At least one.
    pub steps: Vec<Step>,
    pub terminal: Option<Terminal>,
    /// The decoded text of each step, to name a part of the selector in an answer.
    texts: Vec<Box<str>>,
}

/// Steps of one selector.
const MAX_STEPS: usize = 64;

impl NodeSelector {
    /// Reads what follows the separator, as it was sent. `default` is the default document namespace of the application
    /// usage, which names without a prefix are in (§6.3).
    pub fn parse(encoded: &str, bindings: &Bindings, default: &str) -> Result<NodeSelector, SelectorError> {
        let text = percent_decode(encoded).map_err(|_| SelectorError::Encoding)?;
        let mut selector = NodeSelector { steps: Vec::new(), terminal: None, texts: Vec::new() };
        let mut reader = Reader { text: &text, at: 0, bindings, default };
        loop {
            let start = reader.at;
            if let Some(terminal) = reader.terminal()? {
                selector.terminal = Some(terminal);
            } else {
                selector.steps.push(reader.step()?);
                selector.texts.push(text[start..reader.at].into());
            }
            // A slash at the very end is a habit of path builders.
            let more = reader.take('/') && !reader.is_at_end();
            if !more {
                break;
            }
            if selector.terminal.is_some() || selector.steps.len() == MAX_STEPS {
                return Err(SelectorError::Unknown);
            }
        }
        if !reader.is_at_end() || selector.steps.is_empty() {
            return Err(SelectorError::Unknown);
        }
        Ok(selector)
    }

    /// The text of the first `count` steps, decoded.
    pub fn prefix(&self, count: usize) -> String {
        self.texts[..count].join("/")
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    bindings: &'a Bindings,
    default: &'a str,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn take(&mut self, what: char) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn expect(&mut self, what: char) -> Result<(), SelectorError> {
        if self.take(what) { Ok(()) } else { Err(SelectorError::Unknown) }
    }

    fn terminal(&mut self) -> Result<Option<Terminal>, SelectorError> {
        if self.rest().starts_with("namespace::*") {
            self.at += "namespace::*".len();
            return Ok(Some(Terminal::Namespaces));
        }
        if !self.take('@') {
            return Ok(None);
        }
        let (prefix, local) = self.qname()?;
        let name = self.attribute_name(prefix, local)?;
        Ok(Some(Terminal::Attribute { name, prefix: prefix.map(Into::into) }))
    }

    fn step(&mut self) -> Result<Step, SelectorError> {
        let name = if self.take('*') {
            None
        } else {
            let (prefix, local) = self.qname()?;
            let namespace = match prefix {
                Some(prefix) => self.namespace(prefix)?,
                None => self.default,
            };
            Some(Name { namespace: (!namespace.is_empty()).then(|| namespace.into()), local: local.into() })
        };
        let mut step = Step { name, position: None, attribute: None };
        while self.take('[') {
            self.space();
            if self.take('@') {
                let (prefix, local) = self.qname()?;
                let name = self.attribute_name(prefix, local)?;
                self.space();
                self.expect('=')?;
                self.space();
                step.attribute = Some((name, self.value()?));
            } else {
                if step.position.is_some() {
                    return Err(SelectorError::Unknown);
                }
                step.position = Some(self.number()?);
            }
            self.space();
            self.expect(']')?;
            // The grammar has the attribute last.
            if step.attribute.is_some() {
                break;
            }
        }
        Ok(step)
    }

    fn namespace(&self, prefix: &str) -> Result<&'a str, SelectorError> {
        self.bindings.namespace(prefix).ok_or(SelectorError::UnboundPrefix)
    }

    /// An attribute without a prefix is in no namespace.
    fn attribute_name(&self, prefix: Option<&str>, local: &str) -> Result<Name, SelectorError> {
        let namespace = prefix.map(|prefix| self.namespace(prefix)).transpose()?;
        Ok(Name { namespace: namespace.map(Into::into), local: local.into() })
    }

    fn number(&mut self) -> Result<usize, SelectorError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest()[..digits].parse().map_err(|_| SelectorError::Unknown)?;
        self.at += digits;
        Ok(number)
    }

    fn qname(&mut self) -> Result<(Option<&'a str>, &'a str), SelectorError> {
        let first = self.ncname()?;
        // `namespace::*` and other axes have two colons.
        if self.rest().starts_with(':') && !self.rest().starts_with("::") {
            self.at += 1;
            return Ok((Some(first), self.ncname()?));
        }
        Ok((None, first))
    }

    fn ncname(&mut self) -> Result<&'a str, SelectorError> {
        let rest = self.rest();
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        if !name.chars().next().is_some_and(is_name_start) {
            return Err(SelectorError::Unknown);
        }
        self.at += end;
        Ok(name)
    }

    /// `AttValue`, with its references resolved.
    fn value(&mut self) -> Result<Box<str>, SelectorError> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(SelectorError::Unknown)?;
        let end = rest[1..].find(quote).ok_or(SelectorError::Unknown)?;
        let raw = &rest[1..1 + end];
        self.at += end + 2;
        if raw.contains('<') {
            return Err(SelectorError::Unknown);
        }
        // A bare ampersand is not XML, but common in URIs that are written as they are.
        Ok(unescape(raw).unwrap_or_else(|| raw.to_owned()).into())
    }
}

/// `NameStartChar` of XML 1.0 §2.3 without the colon.
pub(crate) fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'a'..='z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

pub(crate) fn is_name_char(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(selector: &str) -> Result<NodeSelector, SelectorError> {
        NodeSelector::parse(selector, &Bindings::parse("xmlns(p=urn:p)").unwrap(), "urn:default")
    }

    /// One line for a selector: names as `{namespace}local`.
    fn print(selector: &NodeSelector) -> String {
        let name = |name: &Name| format!("{{{}}}{}", name.namespace.as_deref().unwrap_or_default(), name.local);
        let mut parts: Vec<String> = Vec::new();
        for step in &selector.steps {
            let mut part = step.name.as_ref().map_or("*".to_owned(), name);
            if let Some(position) = step.position {
                part.push_str(&format!("[{position}]"));
            }
            if let Some((attribute, value)) = &step.attribute {
                part.push_str(&format!("[@{}={value:?}]", name(attribute)));
            }
            parts.push(part);
        }
        match &selector.terminal {
            Some(Terminal::Attribute { name: attribute, .. }) => parts.push(format!("@{}", name(attribute))),
            Some(Terminal::Namespaces) => parts.push("namespace::*".into()),
            None => {}
        }
        parts.join("/")
    }

    #[test]
    fn selectors_of_every_form() {
        let d = "{urn:default}";
        for (name, selector, expected) in [
            ("name", "a", format!("{d}a")),
            ("steps", "a/b/c", format!("{d}a/{d}b/{d}c")),
            ("wildcards", "*/*[2]", "*/*[2]".into()),
            ("position", "a/b%5b3%5D", format!("{d}a/{d}b[3]")),
            ("attribute", "a/b%5B@x=%22y%22%5D", format!("{d}a/{d}b[@{{}}x=\"y\"]")),
            ("not encoded", "a/b[@x=\"y\"]", format!("{d}a/{d}b[@{{}}x=\"y\"]")),
            ("apostrophes", "a/b[@x='y']", format!("{d}a/{d}b[@{{}}x=\"y\"]")),
            ("position and attribute", "a/*[2][@x=\"y\"]", format!("{d}a/*[2][@{{}}x=\"y\"]")),
            ("spaces", "a/b[ @x = \"y\" ]", format!("{d}a/{d}b[@{{}}x=\"y\"]")),
            ("slash in a value", "a/b[@x=\"http://h/~~/c\"]/d", format!("{d}a/{d}b[@{{}}x=\"http://h/~~/c\"]/{d}d")),
            ("slash in a value, encoded", "a/b[@x=\"c%2fd\"]", format!("{d}a/{d}b[@{{}}x=\"c/d\"]")),
            ("reference in a value", "a[@x=\"&amp;&#65;\"]", format!("{d}a[@{{}}x=\"&A\"]")),
            ("ampersand in a value", "a[@x=\"b&c\"]", format!("{d}a[@{{}}x=\"b&c\"]")),
            ("bracket in a value", "a[@x=\"]\"]/b", format!("{d}a[@{{}}x=\"]\"]/{d}b")),
            ("prefix", "p:a/b[@p:x=\"\"]", format!("{{urn:p}}a/{d}b[@{{urn:p}}x=\"\"]")),
            ("attribute at the end", "a/@x", format!("{d}a/@{{}}x")),
            ("attribute with prefix", "a/@p:x", format!("{d}a/@{{urn:p}}x")),
            ("namespaces", "a/namespace::*", format!("{d}a/namespace::*")),
            ("slash at the end", "a/b/", format!("{d}a/{d}b")),
            ("name beyond ASCII", "%C3%80", format!("{d}\u{c0}")),
        ] {
            assert_eq!(parse(selector).map(|s| print(&s)), Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_is_not_a_selector() {
        for (name, selector, expected) in [
            ("nothing", "", SelectorError::Unknown),
            ("only a slash", "/", SelectorError::Unknown),
            ("empty step", "a//b", SelectorError::Unknown),
            ("attribute alone", "@x", SelectorError::Unknown),
            ("attribute inside", "a/@x/b", SelectorError::Unknown),
            ("attribute before position", "a[@x=\"y\"][2]", SelectorError::Unknown),
            ("two positions", "a[1][2]", SelectorError::Unknown),
            ("no quotes", "a[@x=y]", SelectorError::Unknown),
            ("quote open", "a[@x=\"y]", SelectorError::Unknown),
            ("bracket open", "a[2", SelectorError::Unknown),
            ("function", "a[last()]", SelectorError::Unknown),
            ("axis", "child::a", SelectorError::Unknown),
            ("huge position", "a[99999999999999999999999]", SelectorError::Unknown),
            ("name begins with a digit", "1a", SelectorError::Unknown),
            ("prefix not bound", "q:a", SelectorError::UnboundPrefix),
            ("prefix of an attribute not bound", "a[@q:x=\"\"]", SelectorError::UnboundPrefix),
            ("bad encoding", "a%5", SelectorError::Encoding),
            ("too many steps", &"a/".repeat(65), SelectorError::Unknown),
        ] {
            assert_eq!(parse(selector), Err(expected), "{name}");
        }
    }
}
