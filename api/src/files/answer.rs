//! Answers of the content server.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chappe_content::{FILE_TYPE, Refusal};
use serde_json::json;

use super::Shared;
use super::depot::FileError;

impl Shared {
    /// The answer to what was not done; it says which limit was met, and its value. Counted.
    pub(super) fn refusal(&self, error: &FileError) -> Response {
        if let Some(reason) = error.reason() {
            self.depot.refused(reason);
        }
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({
            "status": status.as_u16(),
            "title": status.canonical_reason(),
            "detail": error.to_string(),
        });
        if let FileError::Refused(refusal) = error {
            body["limit"] = refusal.limit().into();
            match refusal {
                Refusal::Size { max } | Refusal::ThumbnailSize { max } => body["value"] = (*max).into(),
                Refusal::Quota { quota, used } => {
                    body["value"] = (*quota).into();
                    body["used"] = (*used).into();
                }
                Refusal::Type { found, accept } => {
                    body["value"] = found.as_str().into();
                    body["accept"] = accept.clone().into();
                }
            }
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match error {
            FileError::Busy { retry_after } => drop(headers.insert(header::RETRY_AFTER, (*retry_after).into())),
            FileError::Unchecked | FileError::Unavailable => drop(headers.insert(header::RETRY_AFTER, 10.into())),
            FileError::Gap { received } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{received}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
        response
    }
}

/// A document for one reader.
pub(super) fn document(content_type: &'static str, xml: String) -> Response {
    let mut response = Body::from(xml).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The document of a file.
pub(super) fn file_document(xml: String) -> Response {
    document(FILE_TYPE, xml)
}
