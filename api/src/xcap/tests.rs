use axum::body::Body;
use std::net::{Ipv4Addr, SocketAddr};

use axum::http::Request as HttpRequest;
use parking_lot::Mutex;
use tower::ServiceExt;

use super::*;
use crate::identity::{Asked, Unidentified};
use crate::serve::Peer;

/// Everybody is alice who says so.
struct Alice;

impl Identify for Alice {
    fn identify(&self, asked: &Asked<'_>) -> Result<User, Unidentified> {
        if asked.headers.contains_key("authorization") {
            return Ok(User { aor: "alice@example.com".into(), tel: Box::new([]), display_name: "".into() });
        }
        Err(Unidentified::Challenge(vec![format!("Digest realm=\"{}\"", asked.domain.unwrap_or("first"))]))
    }
}

/// Keeps the last request and gives one answer.
struct Double {
    last: Mutex<Option<XcapRequest>>,
    reply: XcapReply,
}

#[async_trait]
impl Xcap for Double {
    fn max_body(&self) -> usize {
        10
    }

    async fn handle(&self, request: XcapRequest) -> XcapReply {
        *self.last.lock() = Some(request);
        self.reply.clone()
    }
}

async fn ask(reply: XcapReply, request: HttpRequest<Body>) -> (Response, Option<XcapRequest>) {
    let double = Arc::new(Double { last: Mutex::default(), reply });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut request = request;
    request.extensions_mut().insert(Peer { remote: address, local: address, secure: false, listener: 0 });
    let response = router(Arc::new(Alice), double.clone()).oneshot(request).await.unwrap();
    let last = double.last.lock().take();
    (response, last)
}

fn request(method: &str, path: &str) -> HttpRequest<Body> {
    let builder = HttpRequest::builder().method(method).uri(format!("/xcap-root{path}"));
    builder.header("authorization", "x").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_comes_as_it_was_sent() {
    let path = "//resource-lists/users/sip%3Aalice%40example.com/index/~~/resource-lists/list%5B@name=%22a%2522%22%5D/";
    let mut sent = request("PUT", &format!("{path}?xmlns(a=urn:a)%20xmlns(b=urn:b)"));
    *sent.body_mut() = Body::from("<a/>");
    let headers = sent.headers_mut();
    headers.append("if-match", HeaderValue::from_static("\"1\""));
    headers.append("If-Match", HeaderValue::from_static("\"2\""));
    headers.append("content-type", HeaderValue::from_static("application/xcap-el+xml"));
    let (response, last) = ask(XcapReply { status: 201, etag: Some("e".into()), ..XcapReply::default() }, sent).await;
    assert_eq!(
        (response.status(), &response.headers()["etag"]),
        (StatusCode::CREATED, &HeaderValue::from_static("\"e\""))
    );
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let last = last.unwrap();
    assert_eq!(&*last.user.aor, "alice@example.com");
    assert_eq!(last.method, XcapMethod::Put);
    assert_eq!(last.path, path.trim_start_matches('/'));
    assert_eq!(last.query, "xmlns(a=urn:a)%20xmlns(b=urn:b)");
    assert_eq!(last.if_match.as_deref(), Some("\"1\", \"2\""));
    assert_eq!(last.content_type.as_deref(), Some("application/xcap-el+xml"));
    assert_eq!(&last.body[..], b"<a/>");
}

#[tokio::test]
async fn other_methods_are_refused_before_anybody_is_asked() {
    for method in ["POST", "PATCH", "OPTIONS"] {
        let (response, last) = ask(XcapReply::default(), request(method, "/a/global/index")).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], ALLOW);
        assert!(last.is_none());
    }
}

#[tokio::test]
async fn the_challenge_is_for_the_domain_of_the_user() {
    for (path, realm) in [
        ("/a/users/sip:alice@Example.com/index", "example.com"),
        ("/a/users/sip%3Aalice%40example.com/index", "example.com"),
        ("/a/users/alice@example.com;x/index", "example.com"),
        ("/a/users/tel:+1/index", "first"),
        ("/a/global/index", "first"),
    ] {
        let mut sent = request("GET", path);
        sent.headers_mut().remove("authorization");
        let (response, last) = ask(XcapReply::default(), sent).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], format!("Digest realm=\"{realm}\""), "{path}");
        assert!(last.is_none());
    }
}

#[tokio::test]
async fn answers_are_those_of_the_service() {
    let body = |reply: XcapReply| async {
        let (response, _) = ask(reply, request("GET", "/a/global/index")).await;
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(body, 1000).await.unwrap();
        (parts.status.as_u16(), content_type, String::from_utf8(body.to_vec()).unwrap(), parts.headers)
    };
    let shown = XcapReply { status: 200, content_type: Some("a/b"), body: "<a/>".into(), ..XcapReply::default() };
    let (status, content_type, text, _) = body(shown).await;
    assert_eq!((status, content_type.as_deref(), &*text), (200, Some("a/b"), "<a/>"));
    let (status, content_type, text, _) = body(XcapReply { status: 200, ..XcapReply::default() }).await;
    assert_eq!((status, content_type, &*text), (200, None, ""));
    let (status, content_type, ..) = body(XcapReply { status: 404, body: "no".into(), ..XcapReply::default() }).await;
    assert_eq!((status, content_type.as_deref()), (404, Some("application/problem+json")));
    let unchanged = XcapReply { status: 304, etag: Some("e".into()), ..XcapReply::default() };
    let (status, content_type, text, headers) = body(unchanged).await;
    assert_eq!((status, content_type, &*text), (304, None, ""));
    assert_eq!(headers["etag"], "\"e\"");
    let (status, _, _, headers) = body(XcapReply { status: 405, allow: Some("GET"), ..XcapReply::default() }).await;
    assert_eq!((status, &headers["allow"]), (405, &HeaderValue::from_static("GET")));
}

#[tokio::test]
async fn a_long_body_is_not_read() {
    let mut sent = request("PUT", "/a/users/x/index");
    *sent.body_mut() = Body::from("x".repeat(11));
    let (response, last) = ask(XcapReply::default(), sent).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(last.is_none());
}
