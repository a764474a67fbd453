//! Bearer tokens of users (RFC 8898, RFC 6750): signed and short-lived, good as long as their sign-in is there
//! (docs/decisions/0093).

use std::sync::Arc;

use chappe_auth::token::{Claims, TokenVerifier, Tokens};
use chappe_auth::{Credentials, Username, bearer};
use chappe_sip::{HeaderName, Message};
use chappe_store::{SignIn, SignInKind, StoreError};

use crate::sign_ins::SignInTable;

/// Whom access tokens are for, and refresh tokens.
const ACCESS: &str = "chappe";
const REFRESH: &str = "chappe-refresh";
/// What tokens may be used for.
pub const SCOPES: [&str; 5] = ["sip", "xcap", "files", "contacts", "api"];
/// Longest name of a sign-in, in bytes.
const MAX_NAME: usize = 128;

/// What an operator decides; seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    pub access: u64,
    pub refresh: u64,
}

/// Makes and knows them.
pub struct Bearers {
    access: Tokens,
    refresh: Tokens,
    lifetimes: Lifetimes,
    table: Arc<SignInTable>,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub access: String,
    pub refresh: String,
    /// Seconds that the first is good for.
    pub expires_in: u64,
    pub scope: Box<str>,
    /// Of the sign-in.
    pub id: Box<str>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NotGranted {
    #[error("the scope is none of ours")]
    Scope,
    #[error("the token is not good")]
    Token,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Bearers {
    /// `key` signs; the same on every node.
    pub fn new(key: &[u8; 32], lifetimes: Lifetimes, table: Arc<SignInTable>) -> Bearers {
        Bearers { access: Tokens::new(key, ACCESS), refresh: Tokens::new(key, REFRESH), lifetimes, table }
    }

    pub fn table(&self) -> &Arc<SignInTable> {
        &self.table
    }

    /// Signs something in for a user. `scope`: separated by blanks; empty for all.
    ///
    /// # Errors
    /// A scope that we do not know, or the store.
    pub async fn grant(&self, aor: &str, name: &str, scope: &str, now: u64) -> Result<Granted, NotGranted> {
        let scope = known_scope(scope).ok_or(NotGranted::Scope)?;
        let end = name.floor_char_boundary(MAX_NAME);
        let id: String = crate::random::bytes::<12>().iter().map(|byte| format!("{byte:02x}")).collect();
        let sign_in = SignIn {
            aor: aor.into(),
            id: id.into(),
            kind: SignInKind::Token,
            name: name[..end].chars().filter(|c| !c.is_control()).collect::<String>().into(),
            created: now,
            last_seen: now,
            expires: now + self.lifetimes.refresh,
            turn: 1,
            scope,
        };
        self.table.put(sign_in.clone()).await?;
        Ok(self.issue(&sign_in, now))
    }

    /// New tokens for those that run out. The answer before may have been lost, so the token before the last is good too; one that
    /// is older was copied, and ends the sign-in (RFC 9700 §4.14.2).
    ///
    /// # Errors
    /// Not a token of ours, or one that is not good any more; or the store.
    pub async fn renew(&self, token: &str, now: u64) -> Result<Granted, NotGranted> {
        let claims = self.refresh.verify(token, now).map_err(|_| NotGranted::Token)?;
        let (id, turn) = claims.jti.split_once('.').ok_or(NotGranted::Token)?;
        let turn: u64 = turn.parse().map_err(|_| NotGranted::Token)?;
        let found = self.table.find(&claims.sub, id, now).ok_or(NotGranted::Token)?;
        if turn + 1 < found.turn {
            self.table.sign_out(&claims.sub, Some(id)).await?;
            return Err(NotGranted::Token);
        }
        let next = SignIn { last_seen: now, expires: now + self.lifetimes.refresh, turn: turn + 1, ..found };
        self.table.put(next.clone()).await?;
        Ok(self.issue(&next, now))
    }

    /// Signs out what has this token, of either kind. Nothing says whether it was good (RFC 7009 §2.2).
    ///
    /// # Errors
    /// The store.
    pub async fn revoke(&self, token: &str, now: u64) -> Result<Option<SignIn>, StoreError> {
        let claims = self.access.verify(token, now).or_else(|_| self.refresh.verify(token, now));
        let Ok(claims) = claims else { return Ok(None) };
        let id = claims.jti.split('.').next().unwrap_or_default();
        Ok(self.table.sign_out(&claims.sub, Some(id)).await?.pop())
    }

    /// Whose an access token is, if it is good and covers `scope`.
    ///
    /// # Errors
    /// The `error` of the challenge.
    pub fn check(&self, token: &str, scope: &str, now: u64) -> Result<Box<str>, bearer::Error> {
        let claims = self.access.verify(token, now).map_err(|error| error.bearer())?;
        if !self.table.is_good(&claims.sub, &claims.jti, now) {
            return Err(bearer::Error::InvalidToken);
        }
        if !claims.allows(scope) {
            return Err(bearer::Error::InsufficientScope);
        }
        Ok(claims.sub.into())
    }

    /// The sign-in whose log-in or token a REGISTER has that was let in.
    pub fn used_by(&self, request: &Message, now: u64) -> Option<Box<str>> {
        request.headers(HeaderName::Authorization).find_map(|value| {
            if let Ok(token) = bearer::parse(value) {
                return self.access.verify(token, now).ok().map(|claims| claims.jti.into());
            }
            let credentials = Credentials::parse(value).ok()?;
            let user = Username::parse(&credentials.username)?.user;
            user.rsplit_once(crate::provisioning::SEPARATOR).map(|(_, mark)| mark.into())
        })
    }

    fn issue(&self, sign_in: &SignIn, now: u64) -> Granted {
        let claims = |audience: &str, scope: &str, exp: u64, jti: String| Claims {
            sub: sign_in.aor.to_string(),
            aud: vec![audience.to_owned()],
            scope: scope.to_owned(),
            iat: now,
            exp,
            nbf: None,
            jti,
        };
        let (id, expires_in) = (&sign_in.id, self.lifetimes.access);
        let access = claims(ACCESS, &sign_in.scope, now + expires_in, id.to_string());
        let refresh = claims(REFRESH, "", sign_in.expires, format!("{id}.{}", sign_in.turn));
        Granted {
            access: self.access.issue(&access),
            refresh: self.refresh.issue(&refresh),
            expires_in,
            scope: sign_in.scope.clone(),
            id: id.clone(),
        }
    }
}

/// The scopes that are asked for, each once; all where none is.
fn known_scope(asked: &str) -> Option<Box<str>> {
    let mut found: Vec<&str> = Vec::new();
    for scope in asked.split_ascii_whitespace() {
        if !SCOPES.contains(&scope) {
            return None;
        }
        if !found.contains(&scope) {
            found.push(scope);
        }
    }
    if found.is_empty() {
        found.extend(SCOPES);
    }
    Some(found.join(" ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn bearers() -> Bearers {
        let table = Arc::new(SignInTable::new(chappe_store::Stores::memory().sign_ins));
        Bearers::new(&[3; 32], Lifetimes { access: 3600, refresh: 86_400 }, table)
    }

    #[tokio::test]
    async fn a_token_is_good_for_its_scope_until_it_runs_out_or_is_revoked() {
        let bearers = bearers();
        let granted = bearers.grant("alice@d", "Laptop", "xcap sip xcap", NOW).await.unwrap();
        assert_eq!(&*granted.scope, "xcap sip");
        let check = |token: &str, scope: &str, now| bearers.check(token, scope, now);
        assert_eq!(check(&granted.access, "sip", NOW), Ok("alice@d".into()));
        assert_eq!(check(&granted.access, "files", NOW), Err(bearer::Error::InsufficientScope));
        assert_eq!(check(&granted.access, "sip", NOW + 3600), Err(bearer::Error::InvalidToken));
        assert_eq!(check(&granted.refresh, "sip", NOW), Err(bearer::Error::InvalidToken), "that is for something else");
        let other = bearers.grant("alice@d", "Phone", "", NOW).await.unwrap();
        assert!(bearers.revoke(&granted.access, NOW).await.unwrap().is_some());
        assert_eq!(check(&granted.access, "sip", NOW), Err(bearer::Error::InvalidToken));
        assert_eq!(check(&other.access, "api", NOW), Ok("alice@d".into()));
        assert!(bearers.revoke("nonsense", NOW).await.unwrap().is_none());
        assert!(matches!(bearers.grant("alice@d", "", "root", NOW).await, Err(NotGranted::Scope)));
    }

    #[tokio::test]
    async fn a_copy_of_an_old_refresh_token_ends_the_sign_in() {
        let bearers = bearers();
        let first = bearers.grant("alice@d", "Laptop", "", NOW).await.unwrap();
        let second = bearers.renew(&first.refresh, NOW + 10).await.unwrap();
        // The answer may have been lost.
        let again = bearers.renew(&first.refresh, NOW + 11).await.unwrap();
        assert_eq!(bearers.check(&again.access, "sip", NOW + 11), Ok("alice@d".into()));
        let third = bearers.renew(&second.refresh, NOW + 12).await.unwrap();
        bearers.renew(&third.refresh, NOW + 13).await.unwrap();
        assert!(matches!(bearers.renew(&first.refresh, NOW + 14).await, Err(NotGranted::Token)));
        assert!(matches!(bearers.renew(&third.refresh, NOW + 14).await, Err(NotGranted::Token)));
        assert_eq!(bearers.check(&third.access, "sip", NOW + 14), Err(bearer::Error::InvalidToken));
        assert!(matches!(bearers.renew(&third.access, NOW + 14).await, Err(NotGranted::Token)));
    }
}
