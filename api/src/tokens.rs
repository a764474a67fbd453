//! Signing in for tokens: `/oneapi/auth/v1`. With the user's password by digest, with a one-time password by SMS, or with the refresh
//! token of before; answers have the shape of RFC 6749 §5, revocation that of RFC 7009.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::body;
use crate::error::problem;
use crate::identity::{self, Identify};
use crate::serve::Peer;

pub const AUTH_PATH: &str = "/oneapi/auth/v1";
/// Longest body, in bytes: a refresh token and some words.
const MAX_BODY: usize = 16 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// As a person knows what signs in.
    pub name: String,
    /// Separated by blanks; empty for all.
    pub scope: String,
}

/// What is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenAnswer {
    pub access_token: String,
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: u64,
    pub refresh_token: String,
    pub scope: String,
}

/// Why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRefusal {
    /// The password, the session or the token is not good.
    Grant,
    Scope,
    /// Where anybody could read along.
    Insecure,
    /// Tried too often, or no way to send a password.
    Forbidden,
    /// Seconds after which to try again.
    Later(u64),
    Unavailable,
}

/// Gives tokens.
#[async_trait]
pub trait TokenService: Send + Sync + 'static {
    /// Sends a one-time password to a number, if it is served; which nothing tells. Gives the session that it is good in.
    fn send_password(&self, peer: Peer, number: &str) -> Result<String, TokenRefusal>;

    /// The user whose password was typed in a session, with tokens.
    async fn by_password(&self, session: &str, code: &str, asked: TokenRequest) -> Result<TokenAnswer, TokenRefusal>;

    /// For a user who is known.
    async fn of_user(&self, aor: &str, asked: TokenRequest) -> Result<TokenAnswer, TokenRefusal>;

    async fn renew(&self, refresh_token: &str) -> Result<TokenAnswer, TokenRefusal>;

    async fn revoke(&self, token: &str) -> Result<(), TokenRefusal>;
}

struct Shared {
    identify: Arc<dyn Identify>,
    tokens: Arc<dyn TokenService>,
}

/// The router of the service.
pub fn router(identify: Arc<dyn Identify>, tokens: Arc<dyn TokenService>) -> Router {
    Router::new()
        .route(&format!("{AUTH_PATH}/password"), post(password))
        .route(&format!("{AUTH_PATH}/token"), post(token))
        .route(&format!("{AUTH_PATH}/revoke"), post(revoke))
        .with_state(Arc::new(Shared { identify, tokens }))
}

#[derive(Deserialize)]
struct Number {
    number: String,
}

/// The body of `/token`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Grant {
    /// `refresh_token`, `otp`; absent or `password`: by digest.
    grant_type: String,
    refresh_token: String,
    session: String,
    code: String,
    name: String,
    scope: String,
}

#[derive(Deserialize)]
struct Revoked {
    token: String,
}

async fn password(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = match begin::<Number>(&parts, body).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    match shared.tokens.send_password(asked.peer, &asked.body.number) {
        Ok(session) => uncached((StatusCode::ACCEPTED, Json(json!({ "session": session }))).into_response()),
        Err(refusal) => refusal.into_response(),
    }
}

async fn token(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Begun { body: grant, .. } = match begin::<Grant>(&parts, body).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let asked = TokenRequest { name: grant.name, scope: grant.scope };
    let answer = match grant.grant_type.as_str() {
        "refresh_token" => shared.tokens.renew(&grant.refresh_token).await,
        "otp" => shared.tokens.by_password(&grant.session, &grant.code, asked).await,
        "" | "password" => match identity::who(shared.identify.as_ref(), &parts, None) {
            Ok(user) => shared.tokens.of_user(&user.aor, asked).await,
            Err(response) => return response,
        },
        _ => return oauth(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    match answer {
        Ok(answer) => uncached(Json(answer).into_response()),
        Err(refusal) => refusal.into_response(),
    }
}

async fn revoke(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = match begin::<Revoked>(&parts, body).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    match shared.tokens.revoke(&asked.body.token).await {
        Ok(()) => uncached(StatusCode::OK.into_response()),
        Err(refusal) => refusal.into_response(),
    }
}

struct Begun<T> {
    peer: Peer,
    body: T,
}

/// Reads a request whose body is JSON or a form, and which nobody else can read.
async fn begin<T: DeserializeOwned>(parts: &Parts, content: axum::body::Body) -> Result<Begun<T>, Response> {
    let Some(peer) = parts.extensions.get::<Peer>().copied() else {
        return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the listener did not say who the peer is"));
    };
    // What goes over loopback is seen by nobody else, unless a proxy says that it got the request without TLS.
    let came_plainly = parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"http");
    if !peer.secure && (!peer.remote.ip().is_loopback() || came_plainly) {
        return Err(TokenRefusal::Insecure.into_response());
    }
    let bytes = body::read(content, MAX_BODY).await?;
    let is_json =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = match is_json {
        true => serde_json::from_slice(&bytes).ok(),
        false => form(&bytes),
    };
    let body = body.ok_or_else(|| oauth(StatusCode::BAD_REQUEST, "invalid_request"))?;
    Ok(Begun { peer, body })
}

/// `application/x-www-form-urlencoded`, which is what a query is.
fn form<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let uri: Uri = format!("/?{}", std::str::from_utf8(bytes).ok()?).parse().ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(body)| body)
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// RFC 6749 §5.2.
fn oauth(status: StatusCode, error: &str) -> Response {
    uncached((status, Json(json!({ "error": error }))).into_response())
}

impl IntoResponse for TokenRefusal {
    fn into_response(self) -> Response {
        match self {
            TokenRefusal::Grant => oauth(StatusCode::BAD_REQUEST, "invalid_grant"),
            TokenRefusal::Scope => oauth(StatusCode::BAD_REQUEST, "invalid_scope"),
            TokenRefusal::Insecure => uncached(problem(StatusCode::FORBIDDEN, "only over HTTPS")),
            TokenRefusal::Forbidden => oauth(StatusCode::FORBIDDEN, "access_denied"),
            TokenRefusal::Later(seconds) => {
                let mut response = oauth(StatusCode::TOO_MANY_REQUESTS, "slow_down");
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            TokenRefusal::Unavailable => oauth(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_what_is_none() {
        let grant: Grant = form(b"grant_type=refresh_token&refresh_token=a.b-c&unknown=1").unwrap();
        assert_eq!((grant.grant_type.as_str(), grant.refresh_token.as_str()), ("refresh_token", "a.b-c"));
        let number: Number = form(b"number=%2B1555").unwrap();
        assert_eq!(number.number, "+1555");
        assert!(form::<Number>(b"").is_none() && form::<Number>(b"\xff").is_none());
        assert!(form::<Grant>(b"").is_some());
    }

    #[test]
    fn refusals() {
        for (refusal, status) in [
            (TokenRefusal::Grant, 400),
            (TokenRefusal::Scope, 400),
            (TokenRefusal::Insecure, 403),
            (TokenRefusal::Forbidden, 403),
            (TokenRefusal::Later(7), 429),
            (TokenRefusal::Unavailable, 503),
        ] {
            let response = refusal.clone().into_response();
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{refusal:?}");
        }
    }
}
