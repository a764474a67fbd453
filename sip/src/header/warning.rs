//! `Warning` (RFC 3261 §20.43).

use std::borrow::Cow;
use std::fmt;

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, is_lws, trim};

/// One warning: what stood in the way, for a log or a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning<'a> {
    /// 300 to 399.
    pub code: u16,
    /// Who warns: host[:port] or a pseudonym.
    pub agent: Cow<'a, str>,
    /// Without quotes.
    pub text: Cow<'a, str>,
}

impl<'a> Warning<'a> {
    pub fn new(code: u16, agent: &'a str, text: &'a str) -> Warning<'a> {
        Warning { code, agent: agent.into(), text: text.into() }
    }

    /// One value of the header.
    pub fn parse(value: &'a [u8]) -> Result<Warning<'a>, ParseError> {
        let wrong = ParseError::Malformed { header: HeaderName::Warning, expected: "code agent \"text\"" };
        let (code, rest) = cut(trim(value)).ok_or(wrong.clone())?;
        let code = decimal(code).filter(|_| code.len() == 3).ok_or(wrong.clone())?;
        let (agent, quoted) = cut(rest).ok_or(wrong.clone())?;
        if quoted.len() < 2 || text::quoted_end(quoted, 0) != Some(quoted.len()) || quoted[0] != b'"' {
            return Err(wrong);
        }
        let text = match text::unquote(quoted) {
            Cow::Borrowed(text) => String::from_utf8_lossy(text),
            Cow::Owned(text) => String::from_utf8_lossy(&text).into_owned().into(),
        };
        Ok(Warning { code: code as u16, agent: String::from_utf8_lossy(agent), text })
    }
}

fn cut(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = s.iter().position(|b| is_lws(*b))?;
    Some((&s[..end], trim(&s[end..])))
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {} ", self.code, self.agent)?;
        text::write_quoted(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings() {
        for (value, expected) in [
            ("307 isi.edu \"Session parameter 'foo' not understood\"", true),
            ("399 [2001:db8::1]:5060 \"a \\\"b\\\"\"", true),
            ("1812 overture \"In Progress\"", false),
            ("399 host text", false),
            ("399 \"text\"", false),
            ("399 host \"open", false),
        ] {
            let got = Warning::parse(value.as_bytes()).ok().map(|w| w.to_string());
            assert_eq!(got.as_deref(), expected.then_some(value), "{value}");
        }
    }
}
