//! What a user and others have written to each other, in JSON under `/oneapi/history/v1`. What becomes of a request is decided
//! behind [`History`].

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::any;

use crate::contacts::{RestMethod, RestReply, answer, below, domain_of};
use crate::identity::{self, Identify, User};

/// Where it is, on every listener for users.
pub const PATH: &str = "/oneapi/history/v1";

/// Keeps histories.
#[async_trait]
pub trait History: Send + Sync + 'static {
    async fn rest(&self, call: HistoryCall) -> RestReply;
}

/// A request of a user.
#[derive(Debug, Clone)]
pub struct HistoryCall {
    pub user: User,
    pub method: RestMethod,
    /// What follows the root, as it was sent.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
}

struct Shared {
    identify: Arc<dyn Identify>,
    history: Arc<dyn History>,
}

/// The router of the service.
pub fn router(identify: Arc<dyn Identify>, history: Arc<dyn History>) -> Router {
    Router::new().route(&format!("{PATH}/{{*path}}"), any(rest)).with_state(Arc::new(Shared { identify, history }))
}

async fn rest(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let method = match parts.method {
        Method::GET | Method::HEAD => RestMethod::Get,
        Method::DELETE => RestMethod::Delete,
        _ => return answer(RestReply::NotAllowed("GET, HEAD, DELETE")),
    };
    let path = below(&parts, PATH).to_owned();
    let user = match identity::who(&*shared.identify, &parts, domain_of(&path).as_deref()) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut response = answer(shared.history.rest(HistoryCall { user, method, path, query }).await);
    // Nobody between is to keep what people wrote.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
