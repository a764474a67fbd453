//! The address book of a user over HTTP: CardDAV (RFC 6352) under `/dav`, and contacts in the shape of the OMA and GSMA API
//! under `/oneapi/addressbook/v1`. What becomes of a request is decided behind [`Contacts`].

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use chappe_contacts::{DavMethod, Reply};
use serde_json::{Value, json};

use crate::body;
use crate::error::problem;
use crate::identity::{self, Identify, User};

/// Where CardDAV is, on every listener for users.
pub const DAV_PATH: &str = "/dav";
/// Where the contacts are in JSON.
pub const REST_PATH: &str = "/oneapi/addressbook/v1";
/// What is offered of WebDAV (RFC 4918 §18): no locks.
const CLASSES: HeaderValue = HeaderValue::from_static("1, 3, addressbook");

/// Keeps address books.
#[async_trait]
pub trait Contacts: Send + Sync + 'static {
    /// Longest body that is read.
    fn max_body(&self) -> usize;

    async fn dav(&self, call: DavCall) -> Reply;

    async fn rest(&self, call: RestCall) -> RestReply;
}

/// A CardDAV request of a user.
#[derive(Debug, Clone)]
pub struct DavCall {
    pub user: User,
    pub method: DavMethod,
    /// What follows the root, as it was sent.
    pub path: String,
    pub depth: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub body: Bytes,
}

/// A request of a user for contacts in JSON.
#[derive(Debug, Clone)]
pub struct RestCall {
    pub user: User,
    pub method: RestMethod,
    pub content_type: Option<String>,
    /// What follows the root, as it was sent.
    pub path: String,
    /// `http://host`, as the client calls this server.
    pub origin: String,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestMethod {
    /// HEAD as well.
    Get,
    Put,
    /// Contacts in a file.
    Post,
    Delete,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq)]
pub enum RestReply {
    /// With a body that is JSON.
    Shown(u16, Value),
    Done(u16),
    /// Status, the identifier of the exception, and the part of the message that is wrong.
    Refused(u16, &'static str, String),
    /// With what is allowed.
    NotAllowed(&'static str),
}

struct Shared {
    identify: Arc<dyn Identify>,
    contacts: Arc<dyn Contacts>,
}

/// The router of the service.
pub fn router(identify: Arc<dyn Identify>, contacts: Arc<dyn Contacts>) -> Router {
    let shared = Arc::new(Shared { identify, contacts });
    Router::new()
        .route(DAV_PATH, any(dav))
        .route(&format!("{DAV_PATH}/"), any(dav))
        .route(&format!("{DAV_PATH}/{{*path}}"), any(dav))
        .route(&format!("{REST_PATH}/{{*path}}"), any(rest))
        // RFC 6764 §5.
        .route("/.well-known/carddav", any(|| async { (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, "/dav/")]) }))
        .with_state(shared)
}

async fn dav(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let method = match parts.method.as_str() {
        "OPTIONS" => DavMethod::Options,
        "GET" | "HEAD" => DavMethod::Get,
        "PUT" => DavMethod::Put,
        "DELETE" => DavMethod::Delete,
        "PROPFIND" => DavMethod::Propfind,
        "REPORT" => DavMethod::Report,
        "PROPPATCH" => DavMethod::Proppatch,
        "MKCOL" | "COPY" | "MOVE" | "POST" | "MKADDRESSBOOK" => {
            return with_classes(problem(StatusCode::FORBIDDEN, "there is one address book for each user"));
        }
        _ => return with_classes(problem(StatusCode::METHOD_NOT_ALLOWED, "not a method of CardDAV")),
    };
    let (user, content) = match begin(&shared, &parts, content, DAV_PATH).await {
        Ok(both) => both,
        Err(response) => return with_classes(response),
    };
    let call = DavCall {
        user,
        method,
        path: below(&parts, DAV_PATH).to_owned(),
        depth: one(&parts.headers, "depth"),
        if_match: one(&parts.headers, header::IF_MATCH.as_str()),
        if_none_match: one(&parts.headers, header::IF_NONE_MATCH.as_str()),
        body: content,
    };
    let reply = shared.contacts.dav(call).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.content_type {
        Some(kind) => ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], reply.body).into_response(),
        None if status.is_client_error() || status.is_server_error() => problem(status, ""),
        None => ().into_response(),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(etag) = reply.etag.and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok()) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(allow) = reply.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    with_classes(response)
}

fn with_classes(mut response: Response) -> Response {
    response.headers_mut().insert("dav", CLASSES);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn rest(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let method = match parts.method {
        Method::GET | Method::HEAD => RestMethod::Get,
        Method::PUT => RestMethod::Put,
        Method::POST => RestMethod::Post,
        Method::DELETE => RestMethod::Delete,
        _ => return answer(RestReply::NotAllowed("GET, HEAD, PUT, POST, DELETE")),
    };
    let (user, content) = match begin(&shared, &parts, content, REST_PATH).await {
        Ok(both) => both,
        Err(response) => return response,
    };
    let host = one(&parts.headers, header::HOST.as_str()).unwrap_or_default();
    let secure = parts.extensions.get::<crate::serve::Peer>().is_some_and(|peer| peer.secure);
    let origin = format!("{}://{host}", if secure { "https" } else { "http" });
    let path = below(&parts, REST_PATH).to_owned();
    let content_type = one(&parts.headers, header::CONTENT_TYPE.as_str());
    answer(shared.contacts.rest(RestCall { user, method, content_type, path, origin, body: content }).await)
}

pub(crate) fn answer(reply: RestReply) -> Response {
    let json = |status: u16, body: &Value| {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (status, kind, body.to_string()).into_response()
    };
    match reply {
        RestReply::Shown(status, value) => json(status, &value),
        RestReply::Done(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::NO_CONTENT).into_response(),
        RestReply::Refused(status, id, part) => {
            let text = match id {
                "SVC0002" => "Invalid input value for message part %1",
                "POL0002" => "Privacy verification failed for address %1, request is refused",
                _ => "A service error occurred. Error code is %1",
            };
            let kind = if id.starts_with("POL") { "policyException" } else { "serviceException" };
            json(status, &json!({ "requestError": { kind: { "messageId": id, "text": text, "variables": [part] } } }))
        }
        RestReply::NotAllowed(allow) => {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "not a method of this resource");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            response
        }
    }
}

/// Who asks, and the body.
// The answer is made once and sent at once.
#[allow(clippy::result_large_err)]
async fn begin(
    shared: &Shared,
    parts: &Parts,
    content: axum::body::Body,
    root: &str,
) -> Result<(User, Bytes), Response> {
    let domain = domain_of(below(parts, root));
    let user = identity::who(&*shared.identify, parts, domain.as_deref())?;
    Ok((user, body::read(content, shared.contacts.max_body()).await?))
}

pub(crate) fn below<'p>(parts: &'p Parts, root: &str) -> &'p str {
    let path = parts.uri.path();
    path.strip_prefix(root).unwrap_or(path)
}

/// The domain of the user in a path.
pub(crate) fn domain_of(path: &str) -> Option<String> {
    let segment =
        path.split('/').find(|segment| segment.contains('@') || segment.to_ascii_lowercase().contains("%40"))?;
    let at =
        segment.rfind('@').map(|at| at + 1).or_else(|| segment.to_ascii_lowercase().rfind("%40").map(|at| at + 3))?;
    Some(segment[at..].split([';', '?', '%']).next()?.to_ascii_lowercase())
}

/// All lines of a header as one list.
fn one(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_realm_a_path_asks_for() {
        for (path, expected) in [
            ("/addressbooks/alice@Example.com/contacts/", Some("example.com")),
            ("/principals/alice%40example.com/", Some("example.com")),
            ("/sip%3Aalice%40example.com/contacts/tel%3A%2B1", Some("example.com")),
            ("/tel%3A%2B1555/contacts", None),
            ("/", None),
        ] {
            assert_eq!(domain_of(path).as_deref(), expected, "{path}");
        }
    }
}
