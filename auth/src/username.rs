//! The spellings in which clients send the user they are (a design decision: the realm is the domain, the username
//! its user part, and two longer spellings are taken too).

/// Which spelling a username has. The spelling enters HA1, so each has secrets of its own (see `Ha1Forms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `alice`
    Plain,
    /// `alice@example.com`
    AtDomain,
    /// `sip:alice@example.com`; `sips:` counts as the same user but has no secrets stored.
    Uri,
}

/// A username taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Username<'a> {
    /// The user part; compare it case-sensitively.
    pub user: &'a str,
    /// Absent in the plain form.
    pub domain: Option<&'a str>,
    pub form: Form,
}

impl<'a> Username<'a> {
    /// Splits `user`, `user@domain`, `sip:user@domain` and `sips:user@domain`; `None` for an empty user or domain.
    /// A domain keeps its port or parameters off: they are cut at `:`, `;` and `?`, except inside `[…]`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (uri, rest) = match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") => {
                (true, rest)
            }
            _ => (false, text),
        };
        // The last `@`, since a user part may hold escaped or sloppy ones.
        let (user, domain) = match rest.rsplit_once('@') {
            Some((user, domain)) => (user, Some(host(domain))),
            None if uri => return None,
            None => (rest, None),
        };
        if user.is_empty() || domain == Some("") {
            return None;
        }
        let form = match (uri, domain) {
            (true, _) => Form::Uri,
            (false, Some(_)) => Form::AtDomain,
            (false, None) => Form::Plain,
        };
        Some(Self { user, domain, form })
    }

    /// Whether the domain, if any was sent, is `realm` (domains compare without case).
    pub fn belongs_to(&self, realm: &str) -> bool {
        self.domain.is_none_or(|domain| domain.eq_ignore_ascii_case(realm))
    }
}

fn host(text: &str) -> &str {
    let from = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let end = text[from..].find([':', ';', '?']).map_or(text.len(), |at| from + at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, expected) in [
            ("alice", Some(("alice", None, Form::Plain))),
            ("alice@example.com", Some(("alice", Some("example.com"), Form::AtDomain))),
            ("sip:alice@example.com", Some(("alice", Some("example.com"), Form::Uri))),
            ("SIPS:alice@example.com:5061;user=phone", Some(("alice", Some("example.com"), Form::Uri))),
            ("alice@[2001:db8::1]:5060", Some(("alice", Some("[2001:db8::1]"), Form::AtDomain))),
            ("a@b@example.com", Some(("a@b", Some("example.com"), Form::AtDomain))),
            ("+15550100001", Some(("+15550100001", None, Form::Plain))),
            ("sip:example.com", None),
            ("@example.com", None),
            ("alice@", None),
            ("", None),
        ] {
            let seen = Username::parse(text).map(|name| (name.user, name.domain, name.form));
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn domain_against_realm() {
        assert!(Username::parse("alice").unwrap().belongs_to("example.com"));
        assert!(Username::parse("alice@EXAMPLE.com").unwrap().belongs_to("example.com"));
        assert!(!Username::parse("alice@example.net").unwrap().belongs_to("example.com"));
    }
}
