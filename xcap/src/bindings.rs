//! Prefixes in the query component of a request URI (RFC 4825 §6.4): xmlns() pointers of XPointer.

use crate::encode::percent_decode;
use crate::selector::SelectorError;

/// Prefixes that a selector may use, and their namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings(Vec<(Box<str>, Box<str>)>);

/// Pointers read from one query.
const MAX: usize = 32;
const XML: &str = "http://www.w3.org/XML/1998/namespace";

impl Bindings {
    /// Reads a query as it was sent. Pointers of other schemes are ignored; of two for one prefix the later counts.
    pub fn parse(query: &str) -> Result<Bindings, SelectorError> {
        let query = percent_decode(query).map_err(|_| SelectorError::Encoding)?;
        let mut bindings = Vec::new();
        // Some clients write `&` or `+` between pointers, where a space is meant.
        let separators = |c: char| c.is_ascii_whitespace() || matches!(c, '&' | '+');
        let mut rest = query.trim_start_matches(separators);
        while !rest.is_empty() {
            let (scheme, data) = rest.split_once('(').ok_or(SelectorError::Query)?;
            let (data, after) = data_of(data).ok_or(SelectorError::Query)?;
            if scheme.trim() == "xmlns" {
                let (prefix, uri) = data.split_once('=').ok_or(SelectorError::Query)?;
                let (prefix, uri) = (prefix.trim(), uri.trim());
                if prefix.is_empty() || bindings.len() == MAX {
                    return Err(SelectorError::Query);
                }
                bindings.push((prefix.into(), uri.into()));
            }
            rest = after.trim_start_matches(separators);
        }
        Ok(Bindings(bindings))
    }

    pub fn namespace(&self, prefix: &str) -> Option<&str> {
        if prefix == "xml" {
            return Some(XML);
        }
        self.0.iter().rev().find(|(known, _)| **known == *prefix).map(|(_, uri)| &**uri)
    }
}

/// Up to the parenthesis that closes; `^` escapes parentheses and itself.
fn data_of(text: &str) -> Option<(String, &str)> {
    let (mut data, mut open) = (String::new(), 0);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '^' => {
                data.push(chars.next().map(|(_, c)| c).filter(|c| matches!(c, '(' | ')' | '^'))?);
                continue;
            }
            '(' => open += 1,
            ')' if open == 0 => return Some((data, &text[at + 1..])),
            ')' => open -= 1,
            _ => {}
        }
        data.push(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_bind_prefixes() {
        for (name, query, prefix, expected) in [
            ("one", "xmlns(a=urn:test:x)", "a", Ok(Some("urn:test:x"))),
            ("two", "xmlns(a=urn:a)xmlns(b=urn:b)", "b", Ok(Some("urn:b"))),
            ("space between, encoded", "xmlns(a=urn:a)%20xmlns(b=urn:b)", "b", Ok(Some("urn:b"))),
            ("ampersand between", "xmlns(a=urn:a)&xmlns(b=urn:b)", "b", Ok(Some("urn:b"))),
            ("space inside", "xmlns( a = urn:a )", "a", Ok(Some("urn:a"))),
            ("parentheses", "xmlns(a=urn:(x))", "a", Ok(Some("urn:(x)"))),
            ("escaped parenthesis", "xmlns(a=urn:^)x^^)", "a", Ok(Some("urn:)x^"))),
            ("encoded equals sign", "xmlns(a%3Durn:a)", "a", Ok(Some("urn:a"))),
            ("other scheme", "element(/1/2)xmlns(a=urn:a)", "a", Ok(Some("urn:a"))),
            ("unknown prefix", "xmlns(a=urn:a)", "b", Ok(None)),
            ("repeated", "xmlns(a=urn:a)xmlns(a=urn:b)", "a", Ok(Some("urn:b"))),
            ("nothing", "", "a", Ok(None)),
            ("the prefix of XML itself", "", "xml", Ok(Some(XML))),
            ("not closed", "xmlns(a=urn:a", "a", Err(SelectorError::Query)),
            ("no pointer", "a=b", "a", Err(SelectorError::Query)),
            ("no prefix", "xmlns(=urn:a)", "a", Err(SelectorError::Query)),
            ("bad encoding", "xmlns(a=%zz)", "a", Err(SelectorError::Encoding)),
        ] {
            let bindings = Bindings::parse(query);
            assert_eq!(bindings.as_ref().map(|b| b.namespace(prefix)).map_err(|e| *e), expected, "{name}");
        }
    }
}
