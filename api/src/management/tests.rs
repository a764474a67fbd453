use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tower::ServiceExt;

use super::*;
use crate::*;

struct Fake {
    lines: broadcast::Sender<TraceLine>,
    ready: bool,
}

fn account(aor: &str) -> Account {
    Account {
        aor: aor.into(),
        tel: vec![],
        display_name: String::new(),
        created: 7,
        disabled: false,
        blocked: vec![],
        blocked_contacts: vec![],
        hides_displayed: false,
    }
}

#[async_trait::async_trait]
impl Accounts for Fake {
    async fn add(&self, new: NewAccount) -> Result<Account, NodeError> {
        match new.aor.as_str() {
            "alice@localhost" => Err(NodeError::Conflict { why: "the account exists".into() }),
            aor => Ok(account(aor)),
        }
    }

    async fn list(&self, page: Page) -> Result<List<Account>, NodeError> {
        let all = ["alice@localhost", "bob@localhost"].into_iter().map(account);
        let rest = all.filter(|account| page.after.as_ref().is_none_or(|after| account.aor > *after));
        let items = rest.take(page.size()).collect();
        Ok(List::page(items, page.size(), |account: &Account| account.aor.clone()))
    }

    async fn show(&self, aor: &str) -> Result<Account, NodeError> {
        (aor == "alice@localhost").then(|| account(aor)).ok_or(NodeError::NotFound { what: "account" })
    }

    async fn change(&self, aor: &str, change: AccountChange) -> Result<Account, NodeError> {
        Ok(Account { disabled: change.disabled.unwrap_or(false), ..self.show(aor).await? })
    }

    async fn remove(&self, aor: &str) -> Result<(), NodeError> {
        self.show(aor).await.map(drop)
    }

    async fn export(&self, aor: &str) -> Result<Export, NodeError> {
        let account = self.show(aor).await?;
        let (devices, registrations, documents, files) = (vec![], vec![], vec![], vec![]);
        Ok(Export { account, devices, registrations, documents, files, messages: vec![], groups: vec![] })
    }

    async fn import(&self, accounts: Vec<NewAccount>) -> Result<Imported, NodeError> {
        Ok(Imported { added: accounts.len() as u64, ..Imported::default() })
    }
}

#[async_trait::async_trait]
impl Node for Fake {
    async fn status(&self) -> Result<Status, NodeError> {
        Err(NodeError::Unavailable { why: "the store is gone".into() })
    }

    fn readiness(&self) -> Readiness {
        let reasons = if self.ready { vec![] } else { vec!["the store is full".into()] };
        Readiness { ready: self.ready, reasons }
    }

    fn metrics(&self) -> String {
        "# HELP up Up.\n# TYPE up gauge\nup 1\n".into()
    }

    async fn registrations(&self, _page: Page) -> Result<List<Registered>, NodeError> {
        Ok(List { items: vec![], next: None })
    }

    async fn registration(&self, aor: &str) -> Result<Registered, NodeError> {
        Ok(Registered { aor: aor.into(), bindings: vec![] })
    }

    async fn groups(&self, _page: Page) -> Result<List<Group>, NodeError> {
        Ok(List { items: vec![Group { id: "g1".into(), ..Group::default() }], next: None })
    }

    async fn group(&self, id: &str) -> Result<Group, NodeError> {
        if id == "g1" { Ok(Group::default()) } else { Err(NodeError::NotFound { what: "group" }) }
    }

    async fn queues(&self, _page: Page) -> Result<List<Queue>, NodeError> {
        Ok(List { items: vec![], next: None })
    }

    async fn queue(&self, _aor: &str, _page: Page) -> Result<List<Waiting>, NodeError> {
        Ok(List { items: vec![], next: None })
    }

    async fn media_calls(&self, _page: Page) -> Result<List<MediaCall>, NodeError> {
        Ok(List { items: Vec::new(), next: None })
    }

    async fn msrp_sessions(&self, _page: Page) -> Result<List<MsrpSession>, NodeError> {
        Ok(List { items: vec![], next: None })
    }

    async fn end_msrp_session(&self, id: &str) -> Result<(), NodeError> {
        if id == "7" { Ok(()) } else { Err(NodeError::NotFound { what: "MSRP session" }) }
    }

    async fn push(&self, aor: &str) -> Result<PushOf, NodeError> {
        Ok(PushOf { aor: aor.into(), devices: Vec::new() })
    }

    async fn push_test(&self, _aor: &str) -> Result<Vec<PushTested>, NodeError> {
        Err(NodeError::Unsupported { why: "no push service" })
    }

    async fn devices(&self, aor: &str) -> Result<Vec<UserDevice>, NodeError> {
        self.show(aor).await.map(|_| Vec::new())
    }

    async fn sign_out(&self, _aor: &str, id: &str) -> Result<SignedOut, NodeError> {
        if id == "d1" { Ok(SignedOut { ended: 1 }) } else { Err(NodeError::NotFound { what: "device" }) }
    }

    async fn erase(&self, aor: &str) -> Result<ErasureReceipt, NodeError> {
        let aor = self.show(aor).await?.aor;
        let gone = vec![Gone { what: "account".into(), count: 1 }];
        Ok(ErasureReceipt { aor, at: 1, gone, kept: vec![], scrubbed: true })
    }

    async fn presence(&self, aor: &str) -> Result<PresenceOf, NodeError> {
        let aor = self.show(aor).await?.aor;
        Ok(PresenceOf { aor, publications: vec![], watchers: vec![], document: String::new() })
    }

    async fn files(&self, owner: Option<&str>, page: Page) -> Result<List<File>, NodeError> {
        let file = |owner: &str| File {
            id: "f1".into(),
            owner: owner.into(),
            name: "beach.jpg".into(),
            content_type: "image/jpeg".into(),
            bytes: 482_113,
            thumbnail_bytes: None,
            sha256: "ab".repeat(32),
            created: 1,
            expires: 2,
        };
        Ok(List::page(owner.map(file).into_iter().collect(), page.size(), |file: &File| file.id.clone()))
    }

    async fn remove_file(&self, id: &str) -> Result<(), NodeError> {
        if id == "f1" { Ok(()) } else { Err(NodeError::NotFound { what: "file" }) }
    }

    async fn explain(&self, id: &str) -> Result<Explanation, NodeError> {
        Ok(Explanation { id: id.into(), ..Explanation::default() })
    }

    fn accounts(&self) -> &dyn Accounts {
        self
    }

    fn trace(&self, _user: &str) -> Result<broadcast::Receiver<TraceLine>, NodeError> {
        Ok(self.lines.subscribe())
    }

    fn packets(&self, _user: &str, clear: bool) -> Result<broadcast::Receiver<TracePacket>, NodeError> {
        let (sender, receiver) = broadcast::channel(4);
        let start = if clear { "REGISTER sip:localhost SIP/2.0" } else { "REGISTER sip:#1@localhost SIP/2.0" };
        let message = TraceMessage {
            at_ms: 7,
            direction: "in".into(),
            peer: "tcp:127.0.0.1:1".into(),
            start: start.into(),
            call_id: "c".into(),
            cseq: "1 REGISTER".into(),
            bytes: 300,
            text: String::new(),
            packet: "AAAA".into(),
        };
        let _ = sender.send(Arc::new(message));
        Ok(receiver)
    }

    async fn messages(&self, _aor: &str, _page: Page) -> Result<List<RecentMessage>, NodeError> {
        Ok(List { items: vec![], next: None })
    }

    async fn deregister(&self, _aor: &str, device: &str) -> Result<(), NodeError> {
        if device == "urn:uuid:1" { Ok(()) } else { Err(NodeError::NotFound { what: "device" }) }
    }

    async fn system(&self) -> Result<System, NodeError> {
        Ok(System::default())
    }

    async fn conformance(&self) -> Result<ConformanceReport, NodeError> {
        Err(NodeError::NotFound { what: "report" })
    }

    async fn backup(&self, _file: &std::path::Path) -> Result<(), NodeError> {
        Err(NodeError::Unsupported { why: "memory store" })
    }
}

/// Sends one request with the right token; gives the status and the body as JSON, or as a string.
async fn ask(method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let node = Arc::new(Fake { lines: broadcast::channel(4).0, ready: false });
    let request = Request::builder().method(method).uri(path).header("authorization", "Bearer right");
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let tokens = vec!["other".into(), "right".into()];
    let response = router(node, tokens).oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn answers() {
    let alice = json!({"aor": "alice@localhost", "tel": [], "created": 7, "disabled": false});
    let carol = json!({"aor": "carol@localhost", "tel": [], "created": 7, "disabled": false});
    let new = |aor: &str| Some(json!({"aor": aor, "password": "p"}));
    for (method, path, body, status, answer) in [
        ("GET", "/healthz", None, 200, json!("ok\n")),
        ("GET", "/readyz", None, 503, json!({"ready": false, "reasons": ["the store is full"]})),
        ("GET", "/metrics", None, 200, json!("# HELP up Up.\n# TYPE up gauge\nup 1\n")),
        ("GET", "/api/accounts/alice@localhost", None, 200, alice.clone()),
        ("GET", "/api/accounts/alice%40localhost", None, 200, alice.clone()),
        ("GET", "/api/accounts?limit=1", None, 200, json!({"items": [alice], "next": "alice@localhost"})),
        ("POST", "/api/accounts", new("carol@localhost"), 201, carol),
        ("DELETE", "/api/accounts/alice@localhost", None, 204, json!("")),
        ("GET", "/api/accounts/alice@localhost/devices", None, 200, json!([])),
        ("DELETE", "/api/accounts/alice@localhost/devices/d1", None, 200, json!({"ended": 1})),
        (
            "DELETE",
            "/api/accounts/alice@localhost?erase=true",
            None,
            200,
            json!({"aor": "alice@localhost", "at": 1, "gone": [{"what": "account", "count": 1}], "kept": [], "scrubbed": true}),
        ),
        ("POST", "/api/accounts/import", Some(json!([])), 200, json!({"added": 0, "unchanged": 0, "refused": []})),
        ("GET", "/api/files", None, 200, json!({"items": []})),
        ("DELETE", "/api/files/f1", None, 204, json!("")),
        ("GET", "/api/metrics", None, 200, json!("# HELP up Up.\n# TYPE up gauge\nup 1\n")),
        ("GET", "/api/messages/alice@localhost", None, 200, json!({"items": []})),
        ("DELETE", "/api/registrations/alice@localhost/urn%3Auuid%3A1", None, 204, json!("")),
        ("GET", "/api/system", None, 200, json!({"certificates": [], "push": []})),
        ("GET", "/api/explain/a%2Fb", None, 200, json!({"id": "a/b", "events": [], "hops": [], "waiting": []})),
    ] {
        assert_eq!(ask(method, path, body).await, (status, answer), "{method} {path}");
    }
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    for (method, path, body, status, detail) in [
        ("GET", "/api/status", None, 503, "unavailable: the store is gone"),
        ("GET", "/api/accounts/bob@localhost", None, 404, "no such account"),
        ("GET", "/api/nothing", None, 404, "no such path"),
        ("GET", "/api/conformance", None, 404, "no such report"),
        ("DELETE", "/api/registrations/alice@localhost/other", None, 404, "no such device"),
        ("GET", "/api/trace/alice?format=xml", None, 400, "unknown variant"),
        ("GET", "/assets/nothing.js", None, 404, "no such path"),
        ("GET", "/api/accounts/bob@localhost/export", None, 404, "no such account"),
        ("DELETE", "/api/accounts/alice@localhost?eras=true", None, 400, "unknown field `eras`"),
        ("DELETE", "/api/accounts/bob@localhost?erase=true", None, 404, "no such account"),
        ("DELETE", "/api/accounts/alice@localhost/devices/d2", None, 404, "no such device"),
        ("POST", "/api/accounts", Some(json!({"aor": "alice@localhost", "password": "p"})), 409, "the account exists"),
        ("POST", "/api/accounts", Some(json!({"aor": "x@localhost"})), 422, "missing field `password`"),
        ("PATCH", "/api/accounts/alice@localhost", Some(json!({"pasword": "p"})), 422, "unknown field `pasword`"),
        ("GET", "/api/accounts?limit=many", None, 400, "invalid digit"),
        ("POST", "/api/backup", Some(json!({"file": "relative"})), 422, "file: must be an absolute path"),
        ("POST", "/api/backup", Some(json!({"file": "/b"})), 501, "not supported: memory store"),
    ] {
        let (got, problem) = ask(method, path, body).await;
        assert_eq!(got, status, "{method} {path}");
        assert_eq!(problem["status"], status);
        let text = problem["detail"].as_str().unwrap_or_default();
        assert!(text.contains(detail), "{method} {path}: {text}");
    }
}

#[tokio::test]
async fn the_api_needs_one_of_the_tokens() {
    for (path, header, status) in [
        ("/api/accounts", Some("Bearer right"), 200),
        ("/api/accounts", Some("bearer other"), 200),
        ("/api/accounts", Some("Bearer wrong"), 401),
        ("/api/accounts", Some("Bearer "), 401),
        ("/api/accounts", Some("Basic right"), 401),
        ("/api/accounts", None, 401),
        ("/api/accounts/x", None, 401),
        ("/api/openapi.json", None, 200),
        ("/api/metrics", None, 401),
        ("/admin/", None, 200),
        ("/admin", None, 308),
        ("/metrics", None, 200),
        ("/healthz", None, 200),
    ] {
        let node = Arc::new(Fake { lines: broadcast::channel(4).0, ready: true });
        let mut request = Request::builder().uri(path);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let response = router(node, vec!["right".into(), "other".into()]).oneshot(request.body(Body::empty()).unwrap());
        assert_eq!(response.await.unwrap().status().as_u16(), status, "{path} {header:?}");
    }
    // No token at all opens nothing.
    let node = Arc::new(Fake { lines: broadcast::channel(4).0, ready: true });
    let request = Request::builder().uri("/api/accounts").header("authorization", "Bearer ");
    let response = router(node, vec![]).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_trace_is_a_stream_of_events() {
    let (lines, _) = broadcast::channel(2);
    let node = Arc::new(Fake { lines: lines.clone(), ready: true });
    let request = Request::builder().uri("/api/trace/alice").header("authorization", "Bearer right");
    let response = router(node, vec!["right".into()]).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    for line in ["REGISTER 200", "MESSAGE 200", "MESSAGE 202"] {
        lines.send(line.into()).unwrap();
    }
    drop(lines);
    let mut body = response.into_body();
    let mut text = String::new();
    for _ in 0..3 {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(text, "event: missed\ndata: 1 lines missed\n\ndata: MESSAGE 200\n\ndata: MESSAGE 202\n\n");
}

#[tokio::test]
async fn a_trace_in_json_says_what_a_tool_needs() {
    for (query, start) in [("", "sip:#1@localhost"), ("&clear=true", "sip:localhost")] {
        let node = Arc::new(Fake { lines: broadcast::channel(2).0, ready: true });
        let uri = format!("/api/trace/alice?format=json{query}");
        let request = Request::builder().uri(uri).header("authorization", "Bearer right");
        let response = router(node, vec!["right".into()]).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let frame = response.into_body().frame().await.unwrap().unwrap();
        let text = std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        let told: TraceMessage = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim()).unwrap();
        assert!(told.start.contains(start), "{text}");
    }
}
