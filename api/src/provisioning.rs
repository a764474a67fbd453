//! RCS auto-configuration over HTTP (GSMA RCC.14): `/config`, and `/` of hosts `config.rcs.*`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::error::problem;
use crate::serve::Peer;

/// Longest form, in bytes.
const MAX_FORM: usize = 4096;
/// (u) Media type of the document.
const DOCUMENT: HeaderValue = HeaderValue::from_static("text/vnd.wap.connectivity-xml");

/// A request of a handset.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub peer: Peer,
    /// Parameters of the URI, and those of a form behind them.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The value of Set-Cookie.
    pub cookie: Option<String>,
    /// Seconds.
    pub retry_after: Option<u64>,
    pub document: Option<String>,
    /// For whoever tries it by hand; handsets do not look at it.
    pub hint: &'static str,
}

/// Answers handsets.
pub trait AutoConfiguration: Send + Sync + 'static {
    fn answer(&self, asked: &Asked<'_>) -> Answer;
}

/// The router of `/config`.
pub fn router(service: Arc<dyn AutoConfiguration>) -> Router {
    Router::new().route("/config", any(ask)).with_state(service)
}

async fn ask(State(service): State<Arc<dyn AutoConfiguration>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>().copied() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the listener did not say who the peer is");
    };
    let mut query = parts.uri.query().unwrap_or_default().to_owned();
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::POST => {
            let Some(form) = form(body).await else {
                return problem(StatusCode::PAYLOAD_TOO_LARGE, "a form has at most 4096 bytes");
            };
            query.push('&');
            query.push_str(&form);
        }
        _ => {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "ask by GET or POST");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            return response;
        }
    }
    let answer = service.answer(&Asked { peer, query: &query, headers: &parts.headers });
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match answer.document {
        Some(document) => (status, [(header::CONTENT_TYPE, DOCUMENT)], document).into_response(),
        // An empty 200 says that a password is under way.
        None if status == StatusCode::OK => status.into_response(),
        None => problem(status, answer.hint),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = answer.cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn form(body: Body) -> Option<String> {
    let bytes = to_bytes(body, MAX_FORM).await.ok()?;
    String::from_utf8(bytes.into()).ok()
}

/// Handsets ask a host of its own for `/` (RCC.14 §2).
pub(crate) fn for_handsets(mut request: Request) -> Request {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if request.uri().path() == "/" && host.to_ascii_lowercase().starts_with("config.rcs.") {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        if let Ok(uri) = Uri::try_from(format!("/config{query}")) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_handsets_leads_to_their_path() {
        for (host, uri, expected) in [
            ("config.rcs.mnc001.mcc001.pub.3gppnetwork.org", "/?vers=0", "/config?vers=0"),
            ("Config.RCS.example.com:8080", "/", "/config"),
            ("config.rcs.example.com", "/other", "/other"),
            ("example.com", "/?vers=0", "/?vers=0"),
        ] {
            let request = Request::builder().uri(uri).header(header::HOST, host).body(Body::empty()).unwrap();
            assert_eq!(for_handsets(request).uri(), expected, "{host}{uri}");
        }
    }
}
