//! The MSRP side of a user of the chat load: it connects, over WebSocket through the relay.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, timeout};

use super::{Note, Shared};
use crate::load::msrp::{End, Line, Source, report, wire};
use crate::msrp::{Frame, Place, Via, Writing, response};
use crate::target::{Proto, host_port};

/// How long a new session may take to be answered.
const OPENS: Duration = Duration::from_secs(10);

/// One's own end of a session, before the other is known.
pub(super) struct Port {
    end: End,
    via: Via,
    id: String,
    /// Whose it is.
    user: usize,
    /// Over WebSocket there is a connection already, which has authenticated.
    line: Option<Line>,
}

impl Port {
    pub(super) async fn open(shared: &Arc<Shared>, number: usize) -> Result<Port, String> {
        let load = &shared.options.load;
        let id = format!("{:x}{:06x}", shared.run, shared.next());
        let (via, scheme) = match load.target.proto {
            Proto::Tls => (Via::Tls, "msrps"),
            Proto::Ws => (Via::Ws, "msrp"),
            _ => (Via::Tcp, "msrp"),
        };
        if via != Via::Ws {
            let end = End { uri: format!("{scheme}://127.0.0.1:9/{id};tcp"), path: Vec::new() };
            return Ok(Port { end, via, id, user: number, line: None });
        }
        let place = Place::web(&format!("http://{}/ws", load.target.addr)).map_err(|error| error.to_string())?;
        let account = (load.first + number).to_string();
        let (user, password) = (load.user.replace("{}", &account), load.password.replace("{}", &account));
        let mut line = Line::open(&place, via, true).await.map_err(|error| error.to_string())?;
        let end = line.authenticate(&user, &password, Some(load.domain())).await?;
        Ok(Port { end, via, id, user: number, line: Some(line) })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// For the INVITE, or its answer.
    pub(super) fn description(&self) -> String {
        let mut path: Vec<&str> = self.end.path.iter().rev().map(String::as_str).collect();
        path.push(&self.end.uri);
        let proto = if self.via == Via::Tls { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 {proto} *\r\n\
             a=accept-types:message/cpim application/im-iscomposing+xml\r\na=accept-wrapped-types:*\r\na=setup:active\r\n\
             a=path:{}\r\na=sendrecv\r\n",
            path.join(" ")
        )
    }

    /// Connects to the end whose description is in a SIP message, and has the session bound.
    pub(super) async fn connect(
        self,
        shared: &Arc<Shared>,
        message: &str,
        writes: Option<usize>,
    ) -> Result<Session, String> {
        let user = self.user;
        let (session, read, rest) = self.bind(shared, message, writes).await?;
        let heard = Heard { shared: shared.clone(), session: session.clone(), writes, user, partial: HashMap::new() };
        tokio::spawn(heard.run(read, rest));
        Ok(session)
    }

    /// The same, and nothing of it is ever read.
    pub(super) async fn stall(self, shared: &Arc<Shared>, message: &str) -> Result<(), String> {
        let held = self.bind(shared, message, None).await?;
        let _held = held;
        std::future::pending().await
    }

    async fn bind(
        self,
        shared: &Arc<Shared>,
        message: &str,
        writes: Option<usize>,
    ) -> Result<(Session, Source, Vec<Frame>), String> {
        let there = path(message).ok_or("no path in the answer")?;
        let line = match self.line {
            Some(line) => line,
            None => {
                let opened = Line::open(&place(shared, there, self.via)?, self.via, true).await;
                opened.map_err(|error| error.to_string())?
            }
        };
        let mut route: Vec<&str> = self.end.path.iter().map(String::as_str).collect();
        route.push(there);
        let (mut read, write) = (line.read, Arc::new(Mutex::new(line.write)));
        let (route, uri) = (route.join(" "), self.end.uri);
        let session = Session { conversation: writes.unwrap_or_default(), via: self.via, route, uri, write };
        let hello = format!("h{:06x}", shared.next());
        let head = session.head(&hello);
        session.put(format!("{head}-------{hello}$\r\n").into_bytes()).await.map_err(|error| error.to_string())?;
        let answer = timeout(OPENS, async {
            loop {
                let frames = read.frames().await?;
                if let Some(answer) = frames.iter().find(|frame| frame.status.is_some() && frame.tid == hello) {
                    return Some((answer.status, frames));
                }
            }
        });
        let Ok(Some((Some(200), rest))) = answer.await else { return Err("the session is not bound".into()) };
        Ok((session, read, rest))
    }
}

/// The path in the session description of a SIP message.
pub(super) fn path(message: &str) -> Option<&str> {
    let line = message.lines().find_map(|line| line.trim_end().strip_prefix("a=path:"))?;
    line.split(' ').find(|uri| !uri.is_empty())
}

/// A message that came in an INVITE.
pub(super) fn first(shared: &Shared, invite: &str, user: usize) {
    let (_, body) = invite.split_once("\r\n\r\n").unwrap_or_default();
    let id = body.lines().find_map(|line| line.strip_prefix("imdn.Message-ID:"));
    if let Some(which) = id.and_then(|id| shared.which(id.trim())) {
        let text = body.split("\r\n\r\n").last().and_then(|rest| rest.split("\r\n--").next()).map_or(0, str::len);
        shared.arrived(which, text, Instant::now(), user);
    }
}

/// Where a session of the target is: its port, at the address of the target.
fn place(shared: &Shared, uri: &str, via: Via) -> Result<Place, String> {
    let authority = uri.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let port = host_port(authority).and_then(|(_, port)| port).ok_or_else(|| format!("no port in {uri}"))?;
    let addr = std::net::SocketAddr::new(shared.options.load.target.addr.ip(), port);
    Place::parse(&addr.to_string(), port, via == Via::Tls).map_err(|error| error.to_string())
}

/// A session that is bound.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) conversation: usize,
    via: Via,
    route: String,
    uri: String,
    write: Arc<Mutex<Writing>>,
}

impl Session {
    /// A SEND up to its Message-ID, which is that of the transaction.
    fn head(&self, tid: &str) -> String {
        format!("MSRP {tid} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: {tid}\r\n", self.route, self.uri)
    }

    async fn put(&self, frame: Vec<u8>) -> std::io::Result<()> {
        let mut write = self.write.lock().await;
        write.write_all(&wire(self.via, frame)).await?;
        write.flush().await
    }

    fn cpim(&self, tid: &str, envelope: &str) -> Vec<u8> {
        let (head, len) = (self.head(tid), envelope.len());
        let range = format!("Byte-Range: 1-*/{len}\r\nContent-Type: message/cpim\r\n");
        format!("{head}{range}\r\n{envelope}\r\n-------{tid}$\r\n").into_bytes()
    }

    /// Sends the message of that number.
    pub(super) async fn send(&self, shared: &Shared, number: u64, id: &str) -> std::io::Result<()> {
        let wants = if shared.options.receipts { "imdn.Disposition-Notification: positive-delivery\r\n" } else { "" };
        let text = "x".repeat(shared.options.load.size);
        let envelope = envelope(id, wants, "text/plain;charset=UTF-8", "", &text);
        self.put(self.cpim(&format!("m{:x}.{number:x}", self.conversation), &envelope)).await
    }
}

fn envelope(id: &str, wants: &str, content_type: &str, more: &str, body: &str) -> String {
    format!(
        "From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:anonymous@anonymous.invalid>\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nDateTime: 2026-01-01T00:00:00Z\r\n{wants}\r\n\
         Content-Type: {content_type}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What comes in a session.
struct Heard {
    shared: Arc<Shared>,
    session: Session,
    /// The conversation that this is the writer's session of.
    writes: Option<usize>,
    /// Who hears it.
    user: usize,
    /// Messages that are not whole.
    partial: HashMap<String, Vec<u8>>,
}

impl Heard {
    async fn run(mut self, mut read: Source, mut frames: Vec<Frame>) {
        loop {
            let (at, mut out) = (Instant::now(), Vec::new());
            for frame in frames {
                self.take(frame, at, &mut out);
            }
            if !out.is_empty() {
                let mut write = self.session.write.lock().await;
                if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
                    break;
                }
            }
            match read.frames().await {
                Some(more) => frames = more,
                None => break,
            }
        }
        if let Some(conversation) = self.writes {
            self.shared.tell(conversation, Note::Closed);
        }
    }

    fn take(&mut self, mut frame: Frame, at: Instant, out: &mut Vec<u8>) {
        if let Some(status) = frame.status {
            let number = |tid: &str| u64::from_str_radix(tid.strip_prefix('m')?.split_once('.')?.1, 16).ok();
            if let (Some(conversation), Some(number)) = (self.writes, number(&frame.tid)) {
                self.shared.tell(conversation, Note::Answered { number, status, at });
            }
            return;
        }
        if !frame.is("SEND") {
            return;
        }
        if matches!(frame.header("failure-report"), None | Some("yes")) {
            out.extend(wire(self.session.via, response(&frame, "200 OK")));
        }
        let id = frame.id().unwrap_or("").to_owned();
        let Some(part) = frame.body.take() else { return };
        let body = match self.partial.remove(&id) {
            None => part,
            Some(before) => [before, part].concat(),
        };
        if frame.flag == b'+' {
            self.partial.insert(id, body);
            return;
        }
        if frame.header("success-report") == Some("yes") {
            out.extend(wire(self.session.via, report(&frame, body.len() as u64)));
        }
        self.content(&String::from_utf8_lossy(&body), at, out);
    }

    fn content(&self, envelope: &str, at: Instant, out: &mut Vec<u8>) {
        let (head, rest) = envelope.split_once("\r\n\r\n").unwrap_or((envelope, ""));
        if let Some((_, about)) = rest.split_once("<message-id>") {
            let which = about.split_once('<').and_then(|(id, _)| self.shared.which(id.trim()));
            if let Some((conversation, number)) = which {
                self.shared.tell(conversation, Note::Notified { number, at });
            }
            return;
        }
        let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(id) = line("imdn.Message-ID:") else { return };
        let Some(which) = self.shared.which(id) else { return };
        self.shared.arrived(which, rest.split_once("\r\n\r\n").map_or(0, |(_, text)| text.len()), at, self.user);
        if line("imdn.Disposition-Notification:").is_some_and(|wants| wants.contains("positive-delivery")) {
            out.extend(wire(self.session.via, self.notification(id)));
        }
    }

    fn notification(&self, id: &str) -> Vec<u8> {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{id}</message-id>\
             <datetime>2026-01-01T00:00:00Z</datetime><delivery-notification><status><delivered/></status>\
             </delivery-notification></imdn>"
        );
        let (tid, own) = (format!("n{:06x}", self.shared.next()), format!("notify-{id}"));
        let disposition = "Content-Disposition: notification\r\n";
        self.session.cpim(&tid, &envelope(&own, "", "message/imdn+xml", disposition, &xml))
    }
}
