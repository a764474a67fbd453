//! The Bearer scheme in SIP and HTTP headers (RFC 8898, RFC 6750).

use crate::credentials::scheme;
use crate::syntax::push_quoted;

/// Longest token that is read, in bytes.
pub const MAX_TOKEN_LEN: usize = 8192;

/// Why a header value carries no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("the scheme is not Bearer")]
    Scheme,
    #[error("{len} bytes, over the limit of {MAX_TOKEN_LEN}")]
    TooLong { len: usize },
    #[error("not a token")]
    Syntax,
}

/// The token in an `Authorization` or `Proxy-Authorization` value (RFC 6750 §2.1).
pub fn parse(value: &[u8]) -> Result<&str, ParseError> {
    let (scheme, token) = scheme(value);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(ParseError::Scheme);
    }
    if token.len() > MAX_TOKEN_LEN {
        return Err(ParseError::TooLong { len: token.len() });
    }
    let body = token.iter().rposition(|c| *c != b'=').ok_or(ParseError::Syntax)?;
    let allowed = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    if !token[..=body].iter().all(allowed) {
        return Err(ParseError::Syntax);
    }
    std::str::from_utf8(token).map_err(|_| ParseError::Syntax)
}

/// What was wrong with a token (RFC 6750 §3.1, RFC 8898 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    InvalidRequest,
    InvalidToken,
    /// The token does not cover what was asked: SIP's word for it.
    InvalidScope,
    /// HTTP's word for it, with status 403.
    InsufficientScope,
}

impl Error {
    /// The token in the `error` parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidScope => "invalid_scope",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// The authorization server is not named by an `https` URI (RFC 8898 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authz_server is not an https URI")]
pub struct NotHttps;

/// A Bearer challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    realm: &'a str,
    authz_server: Option<&'a str>,
    /// Space-separated, the least that is needed.
    pub scope: Option<&'a str>,
    /// Absent where no token was sent (RFC 6750 §3).
    pub error: Option<Error>,
}

impl<'a> Challenge<'a> {
    /// For SIP, where the authorization server has to be named.
    pub fn sip(realm: &'a str, authz_server: &'a str) -> Result<Self, NotHttps> {
        let scheme = authz_server.get(..8).ok_or(NotHttps)?;
        if !scheme.eq_ignore_ascii_case("https://") || authz_server.len() == 8 {
            return Err(NotHttps);
        }
        Ok(Self { realm, authz_server: Some(authz_server), scope: None, error: None })
    }

    /// For HTTP, where clients know their authorization server.
    pub fn http(realm: &'a str) -> Self {
        Self { realm, authz_server: None, scope: None, error: None }
    }

    /// With what is needed, and what was wrong with the token that was sent, if one was.
    pub fn about(mut self, scope: &'a str, error: Option<Error>) -> Self {
        (self.scope, self.error) = (Some(scope), error);
        self
    }

    /// The value of `WWW-Authenticate` or `Proxy-Authenticate`.
    pub fn value(&self) -> String {
        let mut out = String::from("Bearer ");
        push_quoted(&mut out, "realm", self.realm);
        let rest = [("scope", self.scope), ("authz_server", self.authz_server), ("error", self.error.map(Error::name))];
        for (name, value) in rest {
            if let Some(value) = value {
                out.push_str(", ");
                push_quoted(&mut out, name, value);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (name, value, expected) in [
            ("plain", "Bearer abc.DEF-_~+/12==", Ok("abc.DEF-_~+/12==")),
            ("case and padding", "  bearer \t abc ", Ok("abc")),
            ("nothing", "Bearer", Err(ParseError::Syntax)),
            ("only pads", "Bearer ===", Err(ParseError::Syntax)),
            ("pad inside", "Bearer a=b", Err(ParseError::Syntax)),
            ("two words", "Bearer a b", Err(ParseError::Syntax)),
            ("not ASCII", "Bearer ä", Err(ParseError::Syntax)),
            ("other", "Digest a=b", Err(ParseError::Scheme)),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{name}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_LEN + 1));
        assert_eq!(parse(long.as_bytes()), Err(ParseError::TooLong { len: MAX_TOKEN_LEN + 1 }));
    }

    #[test]
    fn challenges() {
        let mut challenge = Challenge::sip("example.com", "https://as.example.com").unwrap();
        challenge.scope = Some("sip");
        challenge.error = Some(Error::InvalidToken);
        assert_eq!(
            challenge.value(),
            r#"Bearer realm="example.com", scope="sip", authz_server="https://as.example.com", error="invalid_token""#
        );
        assert_eq!(Challenge::http("api").value(), r#"Bearer realm="api""#);
        for server in ["http://as.example.com", "https://", "", "äääää"] {
            assert_eq!(Challenge::sip("r", server), Err(NotHttps), "{server}");
        }
    }
}
