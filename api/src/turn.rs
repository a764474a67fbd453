//! Credentials for the relay that carries media of browsers (TURN), under `/oneapi/turn/v1`, in the form that WebRTC clients know
//! from other relays: `username`, `password`, `ttl` in seconds, `uris`. Whether there is one is decided behind [`Relays`].

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::any;

use crate::contacts::{RestReply, answer, below, domain_of};
use crate::identity::{self, Identify, User};

/// Where it is, on every listener for users.
pub const PATH: &str = "/oneapi/turn/v1";

/// Gives credentials.
pub trait Relays: Send + Sync + 'static {
    fn credentials(&self, call: &RelayCall) -> RestReply;
}

/// A request of a user.
#[derive(Debug, Clone)]
pub struct RelayCall {
    pub user: User,
    /// For whom, as it was sent.
    pub path: String,
    /// The host as the client calls this server, without a port; an IPv6 address in brackets.
    pub host: String,
}

struct Shared {
    identify: Arc<dyn Identify>,
    relays: Arc<dyn Relays>,
}

/// The router of the service.
pub fn router(identify: Arc<dyn Identify>, relays: Arc<dyn Relays>) -> Router {
    Router::new().route(&format!("{PATH}/{{user}}"), any(rest)).with_state(Arc::new(Shared { identify, relays }))
}

async fn rest(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return answer(RestReply::NotAllowed("GET, HEAD"));
    }
    let path = below(&parts, PATH).trim_start_matches('/').to_owned();
    let user = match identity::who(&*shared.identify, &parts, domain_of(&path).as_deref()) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let asked = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    // In HTTP/2 the host is part of the URI.
    let host = host_of(asked.or_else(|| parts.uri.authority().map(|a| a.as_str())).unwrap_or_default()).to_owned();
    let mut response = answer(shared.relays.credentials(&RelayCall { user, path, host }));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_its_port() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }
}
