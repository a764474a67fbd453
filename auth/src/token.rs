//! Self-contained tokens of our own: JWT signed with HMAC-SHA-256 (RFC 7519, RFC 7515).

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::base64url;
use crate::bearer::{self, MAX_TOKEN_LEN};

/// A clock this many seconds ahead of ours is still believed.
const SKEW: u64 = 60;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user, `user@domain`.
    pub sub: String,
    /// Who the token is for.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// Space-separated (RFC 8693 §4.2).
    #[serde(default)]
    pub scope: String,
    /// Seconds since the epoch.
    pub iat: u64,
    /// Seconds since the epoch; the token is good before it.
    pub exp: u64,
    /// Seconds since the epoch; the token is good from it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Unique, so that one token can be revoked.
    #[serde(default)]
    pub jti: String,
}

impl Claims {
    /// Whether `scope` is among the token's.
    pub fn allows(&self, scope: &str) -> bool {
        !scope.is_empty() && self.scope.split(' ').any(|one| one == scope)
    }
}

/// Why a token is not accepted. All are answered 401 with [`TokenError::bearer`] (RFC 8898 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    #[error("not a token of this kind")]
    Malformed,
    #[error("signed in another way")]
    Algorithm,
    #[error("wrong signature")]
    Signature,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    Early,
    #[error("made for somebody else")]
    Audience,
}

impl TokenError {
    /// The `error` of the challenge.
    pub const fn bearer(self) -> bearer::Error {
        bearer::Error::InvalidToken
    }
}

/// Checks tokens, whoever made them.
pub trait TokenVerifier: Send + Sync {
    /// The claims of a token that is good at `now`, in seconds since the epoch. Scope and revocation are the
    /// caller's to check.
    fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError>;
}

/// Issues and checks tokens with a key of our own.
#[derive(Clone)]
pub struct Tokens {
    mac: Hmac<Sha256>,
    audience: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that have to be understood (RFC 7515 §4.1.11); we understand none.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

impl Tokens {
    /// With a secret `key`; tokens for another audience than `audience` are refused.
    pub fn new(key: &[u8; 32], audience: impl Into<String>) -> Self {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        Self { mac, audience: audience.into() }
    }

    /// The audience that tokens have to name.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// A token with these claims; `jti` is the caller's random value.
    pub fn issue(&self, claims: &Claims) -> String {
        let body = serde_json::to_vec(claims).expect("claims are strings and numbers");
        let mut token = format!("{}.{}", base64url::encode(HEADER.as_bytes()), base64url::encode(&body));
        let tag = self.mac.clone().chain_update(&token).finalize().into_bytes();
        token.push('.');
        token.push_str(&base64url::encode(&tag));
        token
    }
}

impl TokenVerifier for Tokens {
    fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let read = |part: &str| base64url::decode(part).ok_or(TokenError::Malformed);

        let header: Header = serde_json::from_slice(&read(header)?).map_err(|_| TokenError::Malformed)?;
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(TokenError::Algorithm);
        }
        // In constant time; nothing of the body is believed before.
        self.mac.clone().chain_update(signed).verify_slice(&read(signature)?).map_err(|_| TokenError::Signature)?;

        let claims: Claims = serde_json::from_slice(&read(body)?).map_err(|_| TokenError::Malformed)?;
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        if claims.nbf.unwrap_or(claims.iat) > now.saturating_add(SKEW) {
            return Err(TokenError::Early);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(TokenError::Audience);
        }
        Ok(claims)
    }
}

/// `aud` is a string or a list of them (RFC 7519 §4.1.3).
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims {
            sub: "alice@example.com".into(),
            aud: vec!["example.com".into()],
            scope: "sip chat".into(),
            iat: NOW,
            exp: NOW + 600,
            nbf: None,
            jti: "t1".into(),
        }
    }

    fn tokens() -> Tokens {
        Tokens::new(&[5; 32], "example.com")
    }

    #[test]
    fn issued_and_accepted() {
        let token = tokens().issue(&claims());
        assert_eq!(tokens().verify(&token, NOW), Ok(claims()));
        assert_eq!(bearer::parse(format!("Bearer {token}").as_bytes()), Ok(token.as_str()));
        assert!(claims().allows("chat") && !claims().allows("cha") && !claims().allows(""));
    }

    #[test]
    fn refused() {
        let good = tokens().issue(&claims());
        let other_audience = tokens().issue(&Claims { aud: vec!["example.net".into()], ..claims() });
        let early = tokens().issue(&Claims { nbf: Some(NOW + 61), ..claims() });
        let (head, rest) = good.split_once('.').unwrap();
        let (body, tag) = rest.split_once('.').unwrap();
        let none = format!("{}.{body}.", base64url::encode(br#"{"alg":"none"}"#));
        let crit = format!("{}.{body}.{tag}", base64url::encode(br#"{"alg":"HS256","crit":["x"]}"#));
        let swapped =
            base64url::encode(&serde_json::to_vec(&Claims { sub: "eve@example.com".into(), ..claims() }).unwrap());
        for (name, token, now, expected) in [
            ("at its end", good.clone(), NOW + 600, TokenError::Expired),
            ("too early", early, NOW, TokenError::Early),
            ("from the future", good.clone(), NOW - 61, TokenError::Early),
            ("other audience", other_audience, NOW, TokenError::Audience),
            ("unsigned", none, NOW, TokenError::Algorithm),
            ("critical extension", crit, NOW, TokenError::Algorithm),
            ("other body", format!("{head}.{swapped}.{tag}"), NOW, TokenError::Signature),
            ("cut", good[..good.len() - 3].to_owned(), NOW, TokenError::Signature),
            ("other key", Tokens::new(&[6; 32], "example.com").issue(&claims()), NOW, TokenError::Signature),
            ("two parts", format!("{head}.{body}"), NOW, TokenError::Malformed),
            ("padded", format!("{good}="), NOW, TokenError::Malformed),
            ("nothing", String::new(), NOW, TokenError::Malformed),
            ("huge", "a.".repeat(MAX_TOKEN_LEN), NOW, TokenError::Malformed),
        ] {
            assert_eq!(tokens().verify(&token, now), Err(expected), "{name}");
        }
    }

    #[test]
    fn audience_may_be_one_string() {
        let body = br#"{"sub":"a@example.com","aud":"example.com","iat":1,"exp":9999999999}"#;
        let signed = format!("{}.{}", base64url::encode(HEADER.as_bytes()), base64url::encode(body));
        let tag = tokens().mac.chain_update(&signed).finalize().into_bytes();
        let token = format!("{signed}.{}", base64url::encode(&tag));
        assert_eq!(tokens().verify(&token, NOW).map(|claims| claims.aud), Ok(vec!["example.com".to_owned()]));
    }
}
