//! The listeners for users: the web client, or a page that says what runs here where it was not built; the WebSocket entry;
//! services.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tower::ServiceBuilder;

use crate::error::problem;
use crate::pages;
use crate::provisioning::for_handsets;
use crate::websocket::{self, Entry, WebSockets};

/// What the listeners for users need to know.
pub struct Public {
    pub domains: Vec<String>,
    /// Where SIP is spoken, as `tcp://ADDRESS:PORT`.
    pub sip: Vec<String>,
    /// Web pages that may open a WebSocket, by their Origin; empty: any.
    pub origins: Vec<String>,
    pub websockets: Arc<dyn WebSockets>,
    /// Services with paths of their own.
    pub services: Vec<Router>,
}

/// The router of the listeners for users.
pub fn router(public: Public) -> Router {
    let page = Arc::new(Page::new(&public.domains, &public.sip));
    let entry = Arc::new(Entry { sockets: public.websockets, origins: public.origins });
    let websocket = Router::new().route("/ws", any(websocket::enter)).with_state(entry);
    let router = Router::new().route("/", get(landing)).route("/setup", get(setup)).with_state(page).merge(websocket);
    let router = public.services.into_iter().fold(router, Router::merge).fallback(elsewhere);
    // Before a route is chosen.
    Router::new().fallback_service(ServiceBuilder::new().map_request(for_handsets).service(router))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;color:#222}\
code{background:#eee;padding:.1em .3em;border-radius:3px}td{padding:.2em 1.5em .2em 0}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code{background:#333}}";

struct Page {
    html: String,
    policy: HeaderValue,
}

impl Page {
    fn new(domains: &[String], sip: &[String]) -> Self {
        let addresses: Vec<_> = domains.iter().map(|domain| format!("<code>USER@{}</code>", escaped(domain))).collect();
        let mut rows = format!("<tr><td>Address</td><td>{}</td></tr>\n", addresses.join(", "));
        for url in sip {
            let Some((transport, rest)) = url.split_once("://") else { continue };
            let port = rest.rsplit_once(':').map_or("", |(_, port)| port);
            let row = format!(
                "<tr><td>SIP over {}</td><td>port {}</td></tr>\n",
                escaped(transport).to_uppercase(),
                escaped(port)
            );
            rows.push_str(&row);
        }
        let client = match pages::are_there() {
            true => "Or use <a href=\"/\">the web client</a>.",
            false => "The web client is not part of this build: <code>make</code> makes one with it (Node is needed).",
        };
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Chappe</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
             <h1>Chappe</h1>\n<p>This host passes on messages and calls. Add an account to a SIP client:</p>\n\
             <table>\n{rows}<tr><td>SIP over WebSocket</td><td><code>/ws</code> on this port, sub-protocol \
             <code>sip</code></td></tr>\n</table>\n\
             <p>{client}</p>\n</body></html>\n"
        );
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Page { html, policy: HeaderValue::try_from(policy).expect("a policy of ASCII is a header value") }
    }

    fn response(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        (headers, self.html.clone()).into_response()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A file of the web client, or nothing.
async fn elsewhere(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    // The console is a file too, and for operators.
    let reads = matches!(method, Method::GET | Method::HEAD) && !uri.path().starts_with("/admin");
    let found = reads.then(|| pages::file(uri.path(), &headers)).flatten();
    found.unwrap_or_else(|| problem(StatusCode::NOT_FOUND, "no such path"))
}

/// The web client, or where it was not built what one needs to know for another.
async fn landing(State(page): State<Arc<Page>>, headers: HeaderMap) -> Response {
    pages::file("/", &headers).unwrap_or_else(|| page.response())
}

async fn setup(State(page): State<Arc<Page>>) -> Response {
    page.response()
}
