//! Why the node did not do what was asked, and the answer for it (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    #[error("no such {what}")]
    NotFound { what: &'static str },
    #[error("{why}")]
    Conflict { why: String },
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
    /// The machine failed or the node is stopping: try again later.
    #[error("unavailable: {why}")]
    Unavailable { why: String },
    #[error("not supported: {why}")]
    Unsupported { why: &'static str },
}

impl NodeError {
    pub fn status(&self) -> StatusCode {
        match self {
            NodeError::NotFound { .. } => StatusCode::NOT_FOUND,
            NodeError::Conflict { .. } => StatusCode::CONFLICT,
            NodeError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            NodeError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            NodeError::Unsupported { .. } => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

impl IntoResponse for NodeError {
    fn into_response(self) -> Response {
        problem(self.status(), &self.to_string())
    }
}

/// A problem document.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "status": status.as_u16(), "title": status.canonical_reason(), "detail": detail }).to_string();
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
