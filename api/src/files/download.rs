//! Downloads, in whole or in part (RFC 9110 §13, §14), and the removal of a file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chappe_content::range::{self, Ranged};
use chappe_content::{media, name};

use super::Shared;
use super::depot::{FileError, Found, Which};
use crate::identity;

/// Longest time that a cache may keep a file: after that it hears that the file is gone.
const MAX_AGE: u64 = 24 * 3600;

/// `GET /ft/d/ID`
pub(super) async fn file(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    send(&shared, &id, Which::File, request).await
}

/// `GET /ft/t/ID`
pub(super) async fn thumbnail(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    send(&shared, &id, Which::Thumbnail, request).await
}

async fn send(shared: &Shared, id: &str, which: Which, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let done = match shared.depot.find(id, which).await {
        Ok(found) => answer(found, &parts).await,
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| shared.refusal(&error))
}

async fn answer(found: Found, parts: &Parts) -> Result<Response, FileError> {
    let etag = format!("\"{}\"", found.etag);
    let mut headers = describe(&found, &etag);
    if text(&parts.headers, header::IF_NONE_MATCH).is_some_and(|tags| range::lists(tags, &etag)) {
        headers.remove(header::CONTENT_TYPE);
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    // A part only of what the client has already (§13.1.5); dates are not compared, for we give none.
    let whole = text(&parts.headers, header::IF_RANGE).is_some_and(|validator| validator.trim() != etag);
    let wanted = text(&parts.headers, header::RANGE).filter(|_| !whole);
    let (status, first, length) = match range::asked(wanted, found.size) {
        Ranged::Whole => (StatusCode::OK, 0, found.size),
        Ranged::Part { first, last } => {
            insert(&mut headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{}", found.size));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Ranged::Unsatisfiable => {
            insert(&mut headers, header::CONTENT_RANGE, &format!("bytes */{}", found.size));
            headers.remove(header::CONTENT_TYPE);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
    };
    headers.insert(header::CONTENT_LENGTH, length.into());
    let body = if parts.method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(found.content.read(first, length).await?)
    };
    Ok((status, headers, body).into_response())
}

/// What is said of a file, however much of it is sent. A browser is to save it, never to run or show it.
fn describe(found: &Found, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, header::CONTENT_TYPE, &found.content_type);
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(media::UNKNOWN));
    insert(&mut headers, header::CONTENT_DISPOSITION, &name::attachment(&found.name));
    insert(&mut headers, header::ETAG, etag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let age = found.remaining.min(MAX_AGE);
    insert(&mut headers, header::CACHE_CONTROL, &format!("public, max-age={age}, immutable, no-transform"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// `DELETE /ft/d/ID`, for its owner.
pub(super) async fn remove(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let user = match identity::who(&*shared.identify, &parts, None) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    match shared.depot.remove(&user.aor, &id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => shared.refusal(&error),
    }
}
