//! `/xcap-root`: XCAP (RFC 4825) over HTTP. What becomes of a request is decided behind [`Xcap`].

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;

use crate::body;
use crate::error::problem;
use crate::identity::{self, Identify, User};

/// Where documents are, on every listener for users.
pub const XCAP_PATH: &str = "/xcap-root";

const ALLOW: &str = "GET, HEAD, PUT, DELETE";

/// Serves documents.
#[async_trait]
pub trait Xcap: Send + Sync + 'static {
    /// Longest body that is read.
    fn max_body(&self) -> usize;

    async fn handle(&self, request: XcapRequest) -> XcapReply;
}

/// A request of a user.
#[derive(Debug, Clone)]
pub struct XcapRequest {
    pub user: User,
    pub method: XcapMethod,
    /// What follows the root, as it was sent.
    pub path: String,
    /// As it was sent.
    pub query: String,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XcapMethod {
    /// HEAD as well.
    Get,
    Put,
    Delete,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XcapReply {
    pub status: u16,
    /// Without quotes.
    pub etag: Option<String>,
    /// Of the body.
    pub content_type: Option<&'static str>,
    pub body: String,
    /// For 405.
    pub allow: Option<&'static str>,
}

struct Shared {
    identify: Arc<dyn Identify>,
    xcap: Arc<dyn Xcap>,
}

/// The router of the service.
pub fn router(identify: Arc<dyn Identify>, xcap: Arc<dyn Xcap>) -> Router {
    let shared = Arc::new(Shared { identify, xcap });
    let all = format!("{XCAP_PATH}/{{*path}}");
    Router::new().route(&all, any(serve)).with_state(shared)
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let method = match parts.method {
        Method::GET | Method::HEAD => XcapMethod::Get,
        Method::PUT => XcapMethod::Put,
        Method::DELETE => XcapMethod::Delete,
        // §8.1, and all others.
        _ => {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "documents know GET, HEAD, PUT and DELETE");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
            return response;
        }
    };
    let path = parts.uri.path();
    let path = path.strip_prefix(XCAP_PATH).unwrap_or(path).trim_start_matches('/');
    let user = match identity::who(&*shared.identify, &parts, domain_of(path).as_deref()) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let body = match method {
        XcapMethod::Put => match body::read(content, shared.xcap.max_body()).await {
            Ok(body) => body,
            Err(response) => return response,
        },
        _ => Bytes::new(),
    };
    let request = XcapRequest {
        user,
        method,
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        if_match: list(&parts.headers, header::IF_MATCH),
        if_none_match: list(&parts.headers, header::IF_NONE_MATCH),
        content_type: list(&parts.headers, header::CONTENT_TYPE),
        body,
    };
    answer(shared.xcap.handle(request).await)
}

/// All lines of a header as one list.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The domain of the user in whose home directory a path lies.
fn domain_of(path: &str) -> Option<String> {
    let xui = path.split('/').filter(|segment| !segment.is_empty()).nth(2)?;
    let at = xui.rfind('@').map(|at| at + 1).or_else(|| xui.to_ascii_lowercase().rfind("%40").map(|at| at + 3))?;
    let domain = xui[at..].split([';', '?', '%']).next()?;
    Some(domain.to_ascii_lowercase())
}

fn answer(reply: XcapReply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.content_type {
        _ if status == StatusCode::NOT_MODIFIED => status.into_response(),
        Some(content_type) => {
            let mut response = (status, reply.body).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        None if status.is_success() => status.into_response(),
        None => problem(status, &reply.body),
    };
    let headers = response.headers_mut();
    // §9: what one request changes is part of what others name.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(etag) = reply.etag.and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok()) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(allow) = reply.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

#[cfg(test)]
mod tests;
