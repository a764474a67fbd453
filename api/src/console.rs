//! The operator's console at `/admin/`: the page and its files, for whoever asks. What it shows comes from `/api`, and wants
//! the token.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::error::problem;
use crate::pages;

/// The page where the console was not built.
const MISSING: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Chappe console</title>\
<meta name=\"viewport\" content=\"width=device-width\"></head><body><h1>Chappe console</h1>\n\
<p>The console is not part of this build: <code>make build</code> makes one with it (Node is needed).</p>\n\
<p>The same is told by <code>chappe status</code>, <code>registrations</code>, <code>queue</code>, <code>explain</code> and \
<code>trace</code>, and by the API at <a href=\"/api/openapi.json\">/api</a>.</p>\n</body></html>\n";

/// `/admin/`.
pub(crate) fn page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/admin", get(|| async { Redirect::permanent("/admin/") })).route("/admin/", get(index))
}

/// What the page names, for a listener that has no web client.
pub(crate) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{file}", get(asset)).route("/icon.svg", get(asset))
}

async fn index(headers: HeaderMap) -> Response {
    pages::file(pages::CONSOLE, &headers).unwrap_or_else(|| {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (headers, MISSING).into_response()
    })
}

async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    pages::file(uri.path(), &headers).unwrap_or_else(|| problem(StatusCode::NOT_FOUND, "no such path"))
}
