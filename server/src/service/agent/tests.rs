//! Calls of a node with real sockets: the other end is a socket of the test, which speaks plain text.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use chappe_sip::layer::Input;
use chappe_sip::{Flow, Limits, Transport};
use tokio::sync::mpsc;

use super::*;
use crate::config::Config;
use crate::listeners::Listeners;
use crate::node::{Running, Setup};
use crate::pipeline::Sender;

const PATIENCE: Duration = Duration::from_secs(10);

/// A user of calls that writes down what it hears.
struct Notes(mpsc::UnboundedSender<String>);

impl CallUser for Notes {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent) {
        let line = match event {
            CallEvent::Ringing(response) => format!("ringing {}", response.status()),
            CallEvent::Answered(response) => format!("answered {}", String::from_utf8_lossy(response.body())),
            CallEvent::Established(_) => "established".to_owned(),
            CallEvent::Request { key, request } => {
                respond(turn, call, key, &request, 405, "X-Tried: yes\r\n");
                format!("request {}", String::from_utf8_lossy(request.method_text()))
            }
            CallEvent::Ended { why: CallEnd::Failed { status, .. }, .. } => format!("failed {status}"),
            CallEvent::Ended { why, .. } => format!("ended {why:?}"),
            other => format!("{other:?}"),
        };
        self.0.send(line).unwrap();
    }
}

struct Bed {
    running: Option<Running>,
    core: Arc<Core>,
    server: SocketAddr,
    phone: UdpSocket,
    notes: mpsc::UnboundedReceiver<String>,
    user: Arc<Notes>,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn new(settings: &str) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "domains = [\"localhost\"]\ndata_dir = {:?}\n[store]\nurl = \"memory:\"\n[http]\nlisten = []\n\
             [msrp]\nlisten = [\"tcp://127.0.0.1:0\"]\n[sip]\nlisten = [\"udp://127.0.0.1:0\"]\n\
             [sip.timers]\nt1 = \"50ms\"\nt2 = \"400ms\"\n{settings}",
            dir.path()
        );
        let config = Arc::new(Config::parse(None, &text, std::iter::empty()).unwrap_or_else(|e| panic!("{e}")));
        let setup = Setup { config, listeners: Listeners::default(), http: Vec::new(), echo: None };
        let running = Running::start(setup).await.unwrap();
        let core = Arc::clone(running.core());
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        let server = core.net().unwrap().listeners()[0].local;
        let (sender, notes) = mpsc::unbounded_channel();
        let user = Arc::new(Notes(sender));
        Bed { running: Some(running), core, server, phone, notes, user, _dir: dir }
    }

    fn call(&self, gives_up: Duration) -> CallRef {
        let new = NewCall {
            target: CallTarget::Uri(format!("sip:bob@{}", self.phone.local_addr().unwrap()).into()),
            from: "sip:alice@localhost".into(),
            to: "sip:bob@localhost".into(),
            headers: "X-Wish: this\r\n".to_owned(),
            contact_params: ";+g.test".into(),
            body: body("offer"),
            gives_up,
        };
        invite(&self.core, new, self.user.clone())
    }

    /// An INVITE as if the phone had sent it.
    fn called(&self, call_id: &str) -> Option<CallRef> {
        self.called_by(call_id, "")
    }

    /// The same by another way: `way` tells the branches apart.
    fn called_by(&self, call_id: &str, way: &str) -> Option<CallRef> {
        let invite = self.request("INVITE", call_id, 1, "", "offer").replace("z9hG4bK", &format!("z9hG4bK{way}"));
        let message = Message::parse(invite.into(), &Limits::default()).unwrap();
        let remote = self.phone.local_addr().unwrap();
        let flow = Flow { transport: Transport::Udp, listener: 0, connection: 0, remote };
        let message = Arc::new(message.from_source(remote));
        self.core.visit(call_id.as_bytes(), |turn| {
            let Input::NewRequest(key) = turn.shard.layer.handle_message(turn.now, flow, &message) else {
                panic!("no new request");
            };
            let request = Request { key, message, flow, sender: Sender::Outside { in_dialog: false } };
            take(turn, request, |_| self.user.clone(), "")
        })
    }

    fn request(&self, method: &str, call_id: &str, cseq: u32, to_tag: &str, body: &str) -> String {
        let (server, phone) = (self.server, self.phone.local_addr().unwrap());
        format!(
            "{method} sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{cseq}{method}{call_id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:carol@example.com>;tag=p\r\nTo: <sip:alice@localhost>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:carol@{phone}>\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn send(&self, text: &str) {
        self.phone.send_to(text.as_bytes(), self.server).unwrap();
    }

    /// The next packet whose first line begins so; copies of others are passed over.
    fn next(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let n = self.phone.recv(&mut buffer).unwrap_or_else(|e| panic!("no {line}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with(line) {
                return text;
            }
        }
    }

    /// Answers a request of the server.
    fn answer(&self, request: &str, status: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                text.push_str(&format!("{line}\r\n"));
            } else if line.starts_with("To:") {
                let tag = if line.contains("tag=") { "" } else { ";tag=p" };
                text.push_str(&format!("{line}{tag}\r\n"));
            }
        }
        let phone = self.phone.local_addr().unwrap();
        self.send(&format!("{text}Contact: <sip:bob@{phone}>\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    async fn note(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.notes.recv()).await.expect("news in time").unwrap()
    }

    async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Duration::from_secs(5)).await;
        }
    }
}

fn body(text: &str) -> Body {
    Body { content_type: "application/sdp".into(), bytes: text.to_owned().into() }
}

/// The tag of a To.
fn to_tag(message: &str) -> String {
    let to = message.lines().find(|line| line.starts_with("To:")).unwrap();
    format!(";tag={}", to.split(";tag=").nth(1).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_we_make_is_answered_and_ended_by_us() {
    let mut bed = Bed::new("").await;
    let call = bed.call(PATIENCE);
    let request = bed.next("INVITE sip:bob@");
    for line in ["X-Wish: this", "From: <sip:alice@localhost>;tag=", "Supported: timer", "Session-Expires: 1800"] {
        assert!(request.contains(&format!("\r\n{line}")), "{line} in {request}");
    }
    assert!(request.contains(&format!("\r\nContact: <sip:{}>;+g.test\r\n", bed.server)), "{request}");
    assert!(request.ends_with("\r\n\r\noffer"), "{request}");
    bed.answer(&request, "180 Ringing", "");
    assert_eq!(bed.note().await, "ringing 180");
    bed.answer(&request, "200 OK", "answer");
    assert_eq!(bed.note().await, "answered answer");
    bed.next("ACK sip:bob@");
    // A copy of the 2xx gets another.
    bed.answer(&request, "200 OK", "answer");
    bed.next("ACK sip:bob@");
    assert_eq!((bed.core.calls.count(), bed.core.calls.busy()), (1, 1));
    end(&bed.core, &call, Some("SIP;cause=200"));
    let bye = bed.next("BYE sip:bob@");
    assert!(bye.contains("\r\nReason: SIP;cause=200\r\n"), "{bye}");
    assert_eq!(bed.note().await, "ended Ours");
    bed.answer(&bye, "200 OK", "");
    bed.stop().await;
    assert_eq!(bed.core.calls.busy(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_comes_in_is_taken_and_ended_by_the_peer() {
    let mut bed = Bed::new("").await;
    let call = bed.called("c1").unwrap();
    bed.core.visit(b"c1", |turn| {
        ring(turn, &call, 180, "");
        accept(turn, &call, body("answer"), "X-How: fine\r\n");
    });
    let ok = bed.next("SIP/2.0 200");
    assert!(ok.contains("\r\nX-How: fine\r\n") && ok.ends_with("\r\n\r\nanswer"), "{ok}");
    let tag = to_tag(&ok);
    // No ACK yet: once more.
    assert_eq!(bed.next("SIP/2.0 200"), ok);
    bed.send(&bed.request("ACK", "c1", 1, &tag, ""));
    assert_eq!(bed.note().await, "established");
    bed.send(&bed.request("OPTIONS", "c1", 2, &tag, ""));
    assert!(bed.next("SIP/2.0 200").contains("\r\nCSeq: 2 OPTIONS\r\n"));
    bed.send(&bed.request("REFER", "c1", 3, &tag, ""));
    assert_eq!(bed.note().await, "request REFER");
    assert!(bed.next("SIP/2.0 405").contains("\r\nX-Tried: yes\r\n"));
    bed.send(&bed.request("BYE", "c1", 4, &tag, ""));
    bed.next("SIP/2.0 200");
    assert_eq!(bed.note().await, "ended Peer");
    assert_eq!((bed.core.calls.count(), bed.core.calls.busy()), (0, 0));
    // The dialog is gone.
    bed.send(&bed.request("BYE", "c1", 5, &tag, ""));
    bed.next("SIP/2.0 481");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_call_that_rings() {
    let mut bed = Bed::new("").await;
    let call = bed.called("c1").unwrap();
    bed.core.visit(b"c1", |turn| ring(turn, &call, 180, ""));
    let tag = to_tag(&bed.next("SIP/2.0 180"));
    let cancel = bed.request("CANCEL", "c1", 1, "", "").replace("1CANCEL", "1INVITE");
    bed.send(&cancel);
    let ok = bed.next("SIP/2.0 200");
    assert_eq!(to_tag(&ok), tag);
    bed.next("SIP/2.0 487");
    assert_eq!(bed.note().await, "ended Cancelled");
    assert_eq!(bed.core.calls.count(), 0);
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_answers_is_cancelled() {
    let mut bed = Bed::new("").await;
    bed.call(Duration::from_millis(200));
    let request = bed.next("INVITE");
    bed.answer(&request, "180 Ringing", "");
    assert_eq!(bed.note().await, "ringing 180");
    let cancel = bed.next("CANCEL");
    bed.answer(&cancel, "200 OK", "");
    bed.answer(&request, "487 Request Terminated", "");
    bed.next("ACK");
    assert_eq!(bed.note().await, "ended Ours");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_be_ended_before_it_begins() {
    let mut bed = Bed::new("").await;
    let call = bed.call(PATIENCE);
    end(&bed.core, &call, None);
    let first = bed.note().await;
    // Its INVITE is out or not; either way it comes to nothing.
    if bed.core.calls.count() > 0 {
        let request = bed.next("INVITE");
        bed.answer(&request, "487 Request Terminated", "");
    }
    assert_eq!(first, "ended Ours");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_limit_are_refused() {
    let mut bed = Bed::new("[sip.limits]\nmax_calls = 3\nmax_calls_per_peer = 2\n").await;
    assert!(bed.called("c1").is_some() && bed.called("c2").is_some());
    assert!(bed.called("c3").is_none(), "the peer has two");
    assert!(bed.next("SIP/2.0 503").contains("\r\nRetry-After: "));
    bed.call(PATIENCE);
    bed.next("INVITE");
    bed.call(PATIENCE);
    assert_eq!(bed.note().await, "failed 503");
    assert!(bed.called_by("c1", "detour").is_none());
    bed.next("SIP/2.0 482");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_bye() {
    let mut bed = Bed::new("").await;
    bed.call(PATIENCE);
    let request = bed.next("INVITE");
    bed.answer(&request, "200 OK", "answer");
    bed.next("ACK");
    assert_eq!(bed.note().await, "answered answer");
    let running = bed.running.take().unwrap();
    let stopping = tokio::spawn(running.stop(PATIENCE));
    let bye = bed.next("BYE");
    assert!(bye.contains("\r\nReason: SIP;cause=503;text=\"Server Stopping\"\r\n"), "{bye}");
    assert!(!stopping.is_finished(), "the answer is waited for");
    bed.answer(&bye, "200 OK", "");
    stopping.await.unwrap();
    assert_eq!(bed.note().await, "ended Ours");
}
