//! One user of the load: registers, sends, calls, or answers.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::LoadOptions;
use super::flow::{Flow, header, headers};
use crate::digest::{Challenge, Credentials};
use crate::message::{param, uri_of};
use crate::target::Proto;

/// The first wait before a request is sent again over UDP (timer E of RFC 3261).
const T1: Duration = Duration::from_millis(500);

/// How an operation ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// 0 without an answer.
    pub(super) status: u16,
    /// When what is measured was reached.
    pub(super) at: Instant,
}

struct Answer {
    status: u16,
    text: String,
}

/// A call that was answered with 200 and acknowledged.
pub(super) struct Dialog {
    /// The 200.
    pub(super) answer: String,
    target: String,
    to: String,
    call_id: String,
    /// Route lines.
    routes: String,
}

/// What takes calls: from the INVITE it makes the session description of the 200, or nothing of a refusal.
pub(super) type Taker = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

pub(super) struct Agent {
    options: Arc<LoadOptions>,
    flow: Flow,
    pub(super) user: String,
    password: String,
    name: String,
    call_id: String,
    cseq: u32,
    /// The challenge in use, the header that answers it and how often it was answered.
    credentials: Option<(&'static str, Challenge, u32)>,
    pub(super) resent: u64,
    /// Parameters of the Contact, each behind a semicolon.
    pub(super) tags: String,
    /// Takes calls; without it they get a 200 without a body.
    pub(super) taker: Option<Taker>,
}

fn id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_micros() as u64) << 20
    });
    start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Agent {
    pub(super) async fn open(options: &Arc<LoadOptions>, number: usize) -> io::Result<Agent> {
        let flow = Flow::open(&options.target).await?;
        let number = number.to_string();
        let mut agent = Agent {
            name: String::new(),
            user: options.user.replace("{}", &number),
            password: options.password.replace("{}", &number),
            call_id: format!("load-{:x}", id()),
            cseq: 0,
            credentials: None,
            resent: 0,
            tags: String::new(),
            taker: None,
            options: options.clone(),
            flow,
        };
        agent.name = agent.own_name();
        Ok(agent)
    }

    fn own_name(&self) -> String {
        match self.options.target.proto {
            Proto::Ws => format!("l{}.invalid", self.flow.local.port()),
            _ => self.flow.local.to_string(),
        }
    }

    /// A fresh flow after one that failed.
    pub(super) async fn reopen(&mut self) -> bool {
        if self.options.target.proto == Proto::Udp {
            return true;
        }
        match Flow::open(&self.options.target).await {
            Ok(flow) => {
                self.flow = flow;
                self.name = self.own_name();
                true
            }
            Err(_) => false,
        }
    }

    fn contact(&self) -> String {
        let transport = match self.options.target.proto {
            Proto::Udp => String::new(),
            proto => format!(";transport={}", proto.name()),
        };
        format!("<sip:{}@{}{transport}>{}", self.user, self.name, self.tags)
    }

    pub(super) async fn register(&mut self) -> Result<(), String> {
        match self.register_once().await.status {
            200 => Ok(()),
            0 => Err("no answer".into()),
            status => Err(format!("answered {status}")),
        }
    }

    pub(super) async fn register_once(&mut self) -> Outcome {
        let domain = self.options.domain().to_owned();
        let (uri, aor) = (format!("sip:{domain}"), format!("sip:{}@{domain}", self.user));
        let lines = format!("Contact: {}\r\nExpires: 3600\r\n", self.contact());
        let call_id = self.call_id.clone();
        self.transact("REGISTER", &uri, &aor, &call_id, &lines, "").await.0
    }

    pub(super) async fn message(&mut self, to: &str) -> Outcome {
        let uri = format!("sip:{to}@{}", self.options.domain());
        let body = "x".repeat(self.options.size);
        let call_id = format!("load-{:x}", id());
        self.transact("MESSAGE", &uri, &uri, &call_id, "Content-Type: text/plain\r\n", &body).await.0
    }

    pub(super) async fn publish(&mut self) -> Result<(), String> {
        let uri = format!("sip:{}@{}", self.user, self.options.domain());
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{uri}\">\
             <tuple id=\"t\"><status><basic>open</basic></status><contact>{uri}</contact></tuple></presence>"
        );
        let lines = "Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\n";
        let call_id = format!("load-{:x}", id());
        match self.transact("PUBLISH", &uri, &uri, &call_id, lines, &body).await.0.status {
            200 => Ok(()),
            0 => Err("no answer".into()),
            status => Err(format!("answered {status}")),
        }
    }

    /// Fetches the presence of a user; it is there when the NOTIFY is.
    pub(super) async fn fetch(&mut self, of: &str) -> Outcome {
        let uri = format!("sip:{of}@{}", self.options.domain());
        let call_id = format!("load-{:x}", id());
        let lines =
            format!("Contact: {}\r\nEvent: presence\r\nExpires: 0\r\nAccept: application/pidf+xml\r\n", self.contact());
        let (asked, _) = self.transact("SUBSCRIBE", &uri, &uri, &call_id, &lines, "").await;
        if !(200..300).contains(&asked.status) {
            return asked;
        }
        let until = Instant::now() + self.options.timeout;
        while let Ok(Ok(text)) = timeout_at(until, self.flow.recv()).await {
            if status(&text).is_some() {
                continue;
            }
            self.answer(&text).await;
            if text.starts_with("NOTIFY ") && header(&text, "Call-ID") == Some(&call_id) {
                return Outcome { status: 200, at: Instant::now() };
            }
        }
        Outcome { status: 0, at: Instant::now() }
    }

    pub(super) async fn call(&mut self, to: &str) -> Outcome {
        const SDP: &str =
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        let (set_up, dialog) = self.invite(to, "", SDP).await;
        let Some(Dialog { target, to, call_id, routes, .. }) = dialog else { return set_up };
        let (bye, _) = self.transact("BYE", &target, &to, &call_id, &routes, "").await;
        Outcome { status: bye.status, ..set_up }
    }

    /// INVITE until its final answer, and the ACK for a 200. `lines` are more headers.
    pub(super) async fn invite(&mut self, to: &str, lines: &str, sdp: &str) -> (Outcome, Option<Dialog>) {
        self.invite_with(to, &format!("{lines}Content-Type: application/sdp\r\n"), sdp).await
    }

    /// The same with any body, whose type is among the lines.
    pub(super) async fn invite_with(&mut self, to: &str, lines: &str, body: &str) -> (Outcome, Option<Dialog>) {
        let uri = format!("sip:{to}@{}", self.options.domain());
        let call_id = format!("load-{:x}", id());
        let lines = format!("Contact: {}\r\n{lines}", self.contact());
        let (set_up, answer) = self.transact("INVITE", &uri, &uri, &call_id, &lines, body).await;
        let Some(answer) = answer.filter(|a| a.status == 200) else { return (set_up, None) };
        let target = header(&answer.text, "Contact").map_or(uri.as_str(), uri_of).to_owned();
        let to = header(&answer.text, "To").unwrap_or("").to_owned();
        let mut all: Vec<&str> = headers(&answer.text, "Record-Route").collect();
        all.reverse();
        // One line may hold several values: their order turns round as well.
        let mut routes = String::new();
        for line in all {
            for route in crate::message::split_values(line).into_iter().rev() {
                let _ = write!(routes, "Route: {route}\r\n");
            }
        }
        let number = self.cseq;
        let ack = self.text("ACK", &target, &to, &call_id, &routes, "", number).0;
        if self.flow.send(ack.as_bytes()).await.is_err() {
            return (Outcome { status: 0, ..set_up }, None);
        }
        (set_up, Some(Dialog { answer: answer.text, target, to, call_id, routes }))
    }

    /// The request and its branch.
    #[expect(clippy::too_many_arguments, reason = "one place writes every request of the load")]
    fn text(
        &mut self,
        method: &str,
        uri: &str,
        to: &str,
        call_id: &str,
        lines: &str,
        body: &str,
        number: u32,
    ) -> (String, String) {
        let branch = format!("z9hG4bK{:x}", id());
        let domain = self.options.domain();
        let to = if to.starts_with('<') || to.contains(";tag=") { to.to_owned() } else { format!("<{to}>") };
        let mut out = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{domain}>;tag={user}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n{lines}",
            self.options.target.proto.via(),
            self.name,
            user = self.user,
        );
        if method != "ACK"
            && let Some((name, challenge, nc)) = &mut self.credentials
        {
            *nc += 1;
            let value = Credentials {
                user: &self.user,
                password: &self.password,
                method,
                uri,
                body: body.as_bytes(),
                qop: "auth",
                nc: *nc,
                cnonce: "0a4f113b",
            }
            .answer(challenge);
            let _ = write!(out, "{name}: {value}\r\n");
        }
        let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
        (out, branch)
    }

    /// Sends a request and waits for its final answer; answers a challenge, once.
    async fn transact(
        &mut self,
        method: &str,
        uri: &str,
        to: &str,
        call_id: &str,
        lines: &str,
        body: &str,
    ) -> (Outcome, Option<Answer>) {
        let until = Instant::now() + self.options.timeout;
        for attempt in 0..2 {
            self.cseq += 1;
            let number = self.cseq;
            let (text, branch) = self.text(method, uri, to, call_id, lines, body, number);
            let Some(answer) = self.exchange(&text, &branch, method, until).await else { break };
            if method == "INVITE" && answer.status >= 300 {
                let to = header(&answer.text, "To").unwrap_or("").to_owned();
                let (ack, own) = self.text("ACK", uri, &to, call_id, "", "", number);
                let _ = self.flow.send(ack.replace(&own, &branch).as_bytes()).await;
            }
            let (from, name) = match answer.status {
                401 => ("WWW-Authenticate", "Authorization"),
                407 => ("Proxy-Authenticate", "Proxy-Authorization"),
                _ => ("", ""),
            };
            let usable = |c: &Challenge| c.algorithm.is_some();
            let challenge = headers(&answer.text, from).filter_map(Challenge::parse).find(usable);
            match challenge {
                Some(challenge) if attempt == 0 => self.credentials = Some((name, challenge, 0)),
                _ => return (Outcome { status: answer.status, at: Instant::now() }, Some(answer)),
            }
        }
        (Outcome { status: 0, at: Instant::now() }, None)
    }

    async fn exchange(&mut self, text: &str, branch: &str, method: &str, until: Instant) -> Option<Answer> {
        self.flow.send(text.as_bytes()).await.ok()?;
        let mut wait = T1;
        let mut again = Instant::now() + wait;
        let mut proceeding = false;
        loop {
            let udp = self.options.target.proto == Proto::Udp && !(proceeding && method == "INVITE");
            let limit = if udp { until.min(again) } else { until };
            match timeout_at(limit, self.flow.recv()).await {
                Ok(Ok(text)) => {
                    let Some(status) = status(&text) else {
                        self.answer(&text).await;
                        continue;
                    };
                    let ours = header(&text, "Via").and_then(|via| param(via, "branch")).as_deref() == Some(branch);
                    match (ours, status) {
                        (true, 200..) => return Some(Answer { status, text }),
                        (true, _) => proceeding = true,
                        _ => {}
                    }
                }
                // An ICMP error on a UDP socket is not the end of it.
                Ok(Err(_)) if udp && Instant::now() < until => tokio::time::sleep(Duration::from_millis(10)).await,
                Ok(Err(_)) => return None,
                Err(_) if Instant::now() >= until => return None,
                Err(_) => {
                    self.resent += 1;
                    self.flow.send(text.as_bytes()).await.ok()?;
                    wait = (wait * 2).min(Duration::from_secs(4));
                    again = Instant::now() + wait;
                }
            }
        }
    }

    /// Answers whatever comes until the flow ends.
    pub(super) async fn serve(&mut self) {
        while let Ok(text) = self.flow.recv().await {
            if status(&text).is_none() {
                self.answer(&text).await;
            }
        }
    }

    async fn answer(&mut self, request: &str) {
        let method = request.split(' ').next().unwrap_or("");
        if method == "ACK" || method.is_empty() {
            return;
        }
        let mut sdp = None;
        if let (Some(taker), "INVITE") = (&self.taker, method) {
            sdp = taker.clone()(request.to_owned()).await;
        }
        let refused = self.taker.is_some() && method == "INVITE" && sdp.is_none();
        let mut out = format!("SIP/2.0 {}\r\n", if refused { "488 Not Acceptable Here" } else { "200 OK" });
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for value in headers(request, name) {
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        let to = header(request, "To").unwrap_or("");
        let tag = if param(to, "tag").is_some() { String::new() } else { format!(";tag={}", self.user) };
        let _ = write!(out, "To: {to}{tag}\r\n");
        if method == "INVITE" {
            let _ = write!(out, "Contact: {}\r\n", self.contact());
        }
        let sdp = sdp.unwrap_or_default();
        if !sdp.is_empty() {
            out += "Content-Type: application/sdp\r\n";
        }
        let _ = write!(out, "Content-Length: {}\r\n\r\n{sdp}", sdp.len());
        let _ = self.flow.send(out.as_bytes()).await;
    }
}

/// The status of a response; `None` for a request.
fn status(text: &str) -> Option<u16> {
    text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}
