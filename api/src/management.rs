//! The management listener: `/metrics`, `/healthz`, `/readyz` and the admin API.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::error::problem;
use crate::{Node, NodeError, Page, accounts, console, openapi, trace};

/// Body of an admin request; an import of accounts is the longest.
const MAX_BODY: usize = 64 * 1024 * 1024;

pub(crate) type Shared = State<Arc<dyn Node>>;

/// The router. `tokens` are the bearer tokens, each of which opens `/api`.
pub fn router(node: Arc<dyn Node>, tokens: Vec<String>) -> Router {
    let tokens: Arc<[String]> = tokens.into();
    let api = Router::new()
        .route("/api/status", get(status))
        .route("/api/registrations", get(registrations))
        .route("/api/system", get(system))
        .route("/api/metrics", get(metrics))
        .route("/api/registrations/{aor}", get(registration))
        .route("/api/registrations/{aor}/{device}", delete(deregister))
        .route("/api/messages/{aor}", get(messages))
        .route("/api/queue", get(queues))
        .route("/api/queue/{aor}", get(queue))
        .route("/api/presence/{aor}", get(presence))
        .route("/api/push/{aor}", get(push).post(push_test))
        .route("/api/groups", get(groups))
        .route("/api/groups/{id}", get(group))
        .route("/api/msrp", get(msrp_sessions))
        .route("/api/msrp/{id}", delete(end_msrp_session))
        .route("/api/media", get(media_calls))
        .route("/api/files", get(files))
        .route("/api/files/{id}", delete(remove_file))
        .route("/api/explain/{id}", get(explain))
        .route("/api/accounts", get(accounts::list).post(accounts::add))
        .route("/api/accounts/import", post(accounts::import))
        .route("/api/accounts/{aor}", get(accounts::show).patch(accounts::change).delete(accounts::remove))
        .route("/api/accounts/{aor}/export", get(accounts::export))
        .route("/api/accounts/{aor}/devices", get(accounts::devices))
        .route("/api/accounts/{aor}/devices/{id}", delete(accounts::sign_out))
        .route("/api/trace/{user}", get(trace::follow))
        .route("/api/conformance", get(conformance))
        .route("/api/backup", post(backup))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let tokens = tokens.clone();
            async move { authorize(&tokens, request, next).await }
        }));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/api/openapi.json", get(openapi::document))
        .merge(api)
        .merge(console::page())
        .merge(console::files())
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(node)
}

async fn authorize(tokens: &[String], request: Request, next: Next) -> Response {
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    // All are compared, so that the time says nothing of which came near.
    let known = tokens
        .iter()
        .fold(subtle::Choice::from(0), |known, token| known | token.as_bytes().ct_eq(sent.unwrap_or_default()));
    if sent.is_some_and(|sent| !sent.is_empty()) && known.into() {
        return next.run(request).await;
    }
    let mut response = problem(StatusCode::UNAUTHORIZED, "a bearer token is needed");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"chappe\""));
    response
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// A query that is refused with a problem document rather than plain text.
pub(crate) struct PageQuery(pub(crate) Page);

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::<Page>::from_request_parts(parts, state).await {
            Ok(Query(page)) => Ok(PageQuery(page)),
            Err(error) => Err(problem(StatusCode::BAD_REQUEST, &error.body_text())),
        }
    }
}

async fn metrics(State(node): Shared) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], node.metrics())
}

async fn readiness(State(node): Shared) -> impl IntoResponse {
    let readiness = node.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn status(State(node): Shared) -> Result<impl IntoResponse, NodeError> {
    node.status().await.map(Json)
}

async fn registrations(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.registrations(page).await.map(Json)
}

async fn registration(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.registration(&aor).await.map(Json)
}

async fn deregister(
    State(node): Shared,
    Path((aor, device)): Path<(String, String)>,
) -> Result<impl IntoResponse, NodeError> {
    node.deregister(&aor, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn messages(
    State(node): Shared,
    Path(aor): Path<String>,
    PageQuery(page): PageQuery,
) -> Result<impl IntoResponse, NodeError> {
    node.messages(&aor, page).await.map(Json)
}

async fn system(State(node): Shared) -> Result<impl IntoResponse, NodeError> {
    node.system().await.map(Json)
}

async fn conformance(State(node): Shared) -> Result<impl IntoResponse, NodeError> {
    node.conformance().await.map(Json)
}

async fn queues(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.queues(page).await.map(Json)
}

async fn queue(
    State(node): Shared,
    Path(aor): Path<String>,
    PageQuery(page): PageQuery,
) -> Result<impl IntoResponse, NodeError> {
    node.queue(&aor, page).await.map(Json)
}

async fn presence(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.presence(&aor).await.map(Json)
}

async fn push(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.push(&aor).await.map(Json)
}

async fn push_test(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.push_test(&aor).await.map(Json)
}

async fn groups(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.groups(page).await.map(Json)
}

async fn group(State(node): Shared, Path(id): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.group(&id).await.map(Json)
}

async fn media_calls(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.media_calls(page).await.map(Json)
}

async fn msrp_sessions(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.msrp_sessions(page).await.map(Json)
}

/// The query of `/api/files`, beside that of its page.
#[derive(Debug, Deserialize)]
struct Owner {
    owner: Option<String>,
}

async fn files(
    State(node): Shared,
    Query(Owner { owner }): Query<Owner>,
    PageQuery(page): PageQuery,
) -> Result<impl IntoResponse, NodeError> {
    node.files(owner.as_deref(), page).await.map(Json)
}

async fn remove_file(State(node): Shared, Path(id): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.remove_file(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_msrp_session(State(node): Shared, Path(id): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.end_msrp_session(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn explain(State(node): Shared, Path(id): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.explain(&id).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    /// Absolute, on the server's machine; must not exist.
    file: std::path::PathBuf,
}

async fn backup(State(node): Shared, Json(backup): Json<Backup>) -> Result<impl IntoResponse, NodeError> {
    if !backup.file.is_absolute() {
        return Err(NodeError::Invalid { field: "file", why: "must be an absolute path".into() });
    }
    node.backup(&backup.file).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
