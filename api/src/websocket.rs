//! The opening handshake of a WebSocket (RFC 6455 §4.2), up to the point where the connection is nobody's but the
//! transport layer's.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chappe_net::HttpIo;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};

use crate::error::problem;
use crate::serve::Peer;

/// Who takes over the connection once it is a WebSocket.
pub trait WebSockets: Send + Sync + 'static {
    /// Whether connections of this kind are served.
    fn serves(&self, protocol: Protocol) -> bool;

    /// Takes `io`; the 101 is already on its way. `read` are bytes that came behind the request. Must not block.
    fn adopt(&self, upgrade: Upgrade, io: HttpIo, read: Bytes);
}

/// Sub-protocols that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 7118
    Sip,
    /// RFC 7977
    Msrp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Sip => "sip",
            Protocol::Msrp => "msrp",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        // Sub-protocol names are compared exactly in RFC 6455, yet some stacks write theirs in capitals.
        [Protocol::Sip, Protocol::Msrp].into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// The request that became a WebSocket.
#[derive(Debug, Clone)]
pub struct Upgrade {
    pub protocol: Protocol,
    pub peer: Peer,
    pub host: Option<String>,
    pub origin: Option<String>,
    /// Path and query.
    pub path: String,
}

pub(crate) struct Entry {
    pub(crate) sockets: Arc<dyn WebSockets>,
    /// Allowed values of Origin; empty: any.
    pub(crate) origins: Vec<String>,
}

const UPGRADE_REQUIRED: &str = "this is a WebSocket: sub-protocol sip (RFC 7118)";

/// `/ws`
pub(crate) async fn enter(State(entry): State<Arc<Entry>>, mut request: Request) -> Response {
    let Agreed { protocol, accept, spelt, origin } = match check(&entry, &request) {
        Ok(agreed) => agreed,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the connection is not known");
    };
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let upgrade = Upgrade {
        protocol,
        peer,
        host: text(header::HOST),
        origin: text(header::ORIGIN),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    };
    let ready = hyper::upgrade::on(&mut request);
    let sockets = entry.sockets.clone();
    // Ends with the connection: hyper resolves or fails the upgrade when the 101 is written or the peer goes.
    tokio::spawn(async move {
        match ready.await.map(|upgraded| upgraded.downcast::<TokioIo<HttpIo>>()) {
            Ok(Ok(parts)) => sockets.adopt(upgrade, parts.io.into_inner(), parts.read_buf),
            Ok(Err(_)) => tracing::error!("a connection of an unknown kind became a WebSocket"),
            Err(error) => tracing::debug!(%error, "a WebSocket went before it was one"),
        }
    });
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, spelt),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// What the 101 says.
struct Agreed {
    protocol: Protocol,
    /// Value of Sec-WebSocket-Accept.
    accept: HeaderValue,
    /// The sub-protocol as the client spelt it.
    spelt: HeaderValue,
    /// Value of Access-Control-Allow-Origin, which MSRP wants for a request of a web page (RFC 7977 §7).
    origin: Option<HeaderValue>,
}

/// Why there is no WebSocket.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = problem(self.0, self.1);
        if self.0 == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

fn check(entry: &Entry, request: &Request) -> Result<Agreed, Refusal> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET"));
    }
    let upgrade = listed(headers, header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    let connection = listed(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if !upgrade || !connection || request.version() != Version::HTTP_11 {
        return Err(Refusal(StatusCode::UPGRADE_REQUIRED, UPGRADE_REQUIRED));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal(StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key"))?;
    if STANDARD.decode(key.as_bytes()).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(Refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !entry.origins.is_empty()
        && !entry.origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
    {
        return Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect"));
    }
    // RFC 7118 §4.1: a server that does not find its sub-protocol must not upgrade.
    let (protocol, spelt) = listed(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|name| Protocol::parse(name).filter(|p| entry.sockets.serves(*p)).map(|p| (p, name)))
        .ok_or(Refusal(StatusCode::BAD_REQUEST, "the sub-protocol has to be sip (Sec-WebSocket-Protocol, RFC 7118)"))?;
    let spelt = HeaderValue::from_str(spelt).map_err(|_| Refusal(StatusCode::BAD_REQUEST, "bad sub-protocol"))?;
    let any = || HeaderValue::from_static("*");
    let origin = headers.get(header::ORIGIN).filter(|_| protocol == Protocol::Msrp);
    let origin = origin.map(|origin| if entry.origins.is_empty() { any() } else { origin.clone() });
    Ok(Agreed { protocol, accept: accept_value(key.as_bytes()), spelt, origin })
}

/// Tokens of a header that may be repeated and holds a comma-separated list.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// RFC 6455 §4.2.2
fn accept_value(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    HeaderValue::from_str(&STANDARD.encode(digest)).expect("base64 is a header value")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const UPGRADE: (&str, &str) = ("upgrade", "websocket");
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    struct SipOnly;

    impl WebSockets for SipOnly {
        fn serves(&self, protocol: Protocol) -> bool {
            protocol == Protocol::Sip
        }

        fn adopt(&self, _upgrade: Upgrade, _io: HttpIo, _read: Bytes) {}
    }

    struct All;

    impl WebSockets for All {
        fn serves(&self, _protocol: Protocol) -> bool {
            true
        }

        fn adopt(&self, _upgrade: Upgrade, _io: HttpIo, _read: Bytes) {}
    }

    #[test]
    fn a_page_that_speaks_msrp_is_told_that_it_may() {
        const PAGE: &str = "https://A.example";
        for (name, allowed, protocol, origin, expected) in [
            ("any page", &[][..], "msrp", Some(PAGE), Some("*")),
            ("one of a list", &["https://a.example", "https://b.example"], "msrp", Some(PAGE), Some(PAGE)),
            ("no page", &["https://a.example"], "msrp", None, None),
            ("sip", &[], "sip", Some(PAGE), None),
        ] {
            let origins = allowed.iter().map(|origin| (*origin).to_owned()).collect();
            let mut request = Request::builder().uri("/ws").header("sec-websocket-protocol", protocol);
            for (name, value) in [KEY, UPGRADE, CONNECTION, VERSION] {
                request = request.header(name, value);
            }
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.body(Body::empty()).unwrap();
            let Ok(agreed) = check(&Entry { sockets: Arc::new(All), origins }, &request) else { panic!("{name}") };
            assert_eq!(agreed.origin, expected.map(HeaderValue::from_static), "{name}");
        }
    }

    #[test]
    fn accept_value_of_the_rfc() {
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn handshakes() {
        const SIP: (&str, &str) = ("sec-websocket-protocol", "sip");
        for (name, headers, outcome) in [
            ("plain", &[KEY, UPGRADE, CONNECTION, VERSION, SIP][..], Ok("sip")),
            ("of several", &[KEY, UPGRADE, CONNECTION, VERSION, ("sec-websocket-protocol", "msrp, SIP")], Ok("SIP")),
            ("no upgrade", &[KEY, CONNECTION, VERSION, SIP], Err(426)),
            ("no connection", &[KEY, UPGRADE, VERSION, SIP], Err(426)),
            ("old version", &[KEY, UPGRADE, CONNECTION, ("sec-websocket-version", "8"), SIP], Err(426)),
            ("no key", &[UPGRADE, CONNECTION, VERSION, SIP], Err(400)),
            ("short key", &[("sec-websocket-key", "c2hvcnQ="), UPGRADE, CONNECTION, VERSION, SIP], Err(400)),
            ("no sub-protocol", &[KEY, UPGRADE, CONNECTION, VERSION], Err(400)),
            ("other", &[KEY, UPGRADE, CONNECTION, VERSION, ("sec-websocket-protocol", "msrp, chat")], Err(400)),
            ("good origin", &[KEY, UPGRADE, CONNECTION, VERSION, SIP, ("origin", "https://A.example")], Ok("sip")),
            ("bad origin", &[KEY, UPGRADE, CONNECTION, VERSION, SIP, ("origin", "https://b.example")], Err(403)),
        ] {
            let entry = Entry { sockets: Arc::new(SipOnly), origins: vec!["https://a.example".into()] };
            let mut request = Request::builder().uri("/ws");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let result = check(&entry, &request.body(Body::empty()).unwrap());
            let result = result.map(|agreed| agreed.spelt).map_err(|refusal| refusal.0.as_u16());
            assert_eq!(result, outcome.map(HeaderValue::from_static), "{name}");
        }
    }
}
