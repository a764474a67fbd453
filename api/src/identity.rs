//! Whose request it is, on the paths for users: digest (RFC 7616), and the identity that a gateway of the trust domain
//! asserts (3GPP TS 24.109 §5.2, TS 24.623 §5.2.3).

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::problem;
use crate::serve::Peer;

/// A user of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `user@domain`
    pub aor: Box<str>,
    /// Numbers with their `+`.
    pub tel: Box<[Box<str>]>,
    pub display_name: Box<str>,
}

/// A request as far as identity goes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub peer: Peer,
    pub method: &'a str,
    /// As it stands in the request line: path and query, or an absolute URI.
    pub target: &'a str,
    pub headers: &'a HeaderMap,
    /// Whose realm to ask for, where the request says; else that of the Host, else the first of ours.
    pub domain: Option<&'a str>,
}

/// Why nobody is known to have sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unidentified {
    /// 401 with these values of WWW-Authenticate, in their order.
    Challenge(Vec<String>),
    /// The token does not cover what was asked: 403 with this value of WWW-Authenticate.
    Scope(String),
    /// The account may not be used.
    Forbidden,
    /// The peer has been wrong too often.
    Banned,
}

/// Knows users by what their requests bring.
pub trait Identify: Send + Sync + 'static {
    fn identify(&self, asked: &Asked<'_>) -> Result<User, Unidentified>;
}

/// Who sends the request whose head is `parts`, or the answer that asks for it. `domain`: see [`Asked::domain`].
// The answer is made once and sent at once.
#[allow(clippy::result_large_err)]
pub fn who(identify: &dyn Identify, parts: &Parts, domain: Option<&str>) -> Result<User, Response> {
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the listener did not say who the peer is"));
    };
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let asked = Asked { peer: *peer, method: parts.method.as_str(), target, headers: &parts.headers, domain };
    identify.identify(&asked).map_err(IntoResponse::into_response)
}

impl IntoResponse for Unidentified {
    fn into_response(self) -> Response {
        match self {
            Unidentified::Challenge(values) => {
                let mut response = problem(StatusCode::UNAUTHORIZED, "who are you?");
                for value in values {
                    if let Ok(value) = HeaderValue::try_from(value) {
                        response.headers_mut().append(header::WWW_AUTHENTICATE, value);
                    }
                }
                response
            }
            Unidentified::Scope(value) => {
                let mut response = problem(StatusCode::FORBIDDEN, "the token does not cover this");
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
                }
                response
            }
            Unidentified::Forbidden => problem(StatusCode::FORBIDDEN, "this account is disabled"),
            Unidentified::Banned => {
                problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong credentials from this address")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_one_line_for_each_value() {
        let response = Unidentified::Challenge(vec!["Digest a".into(), "Digest b".into()]).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let values: Vec<_> = response.headers().get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(values, ["Digest a", "Digest b"]);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
