//! MSRP sessions through a relay: pairs of clients that have authenticated, one sending to the other.
//!
//! A message is done when all of it has arrived, or, with reports, when the receiver's success REPORT is back. A
//! session sends one message at a time; its chunks do not wait for their responses.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::agent::Outcome;
use super::{LoadError, LoadReport, Pace};
use crate::digest::{Challenge, Credentials};
use crate::msrp::{Decoder, Frame, Place, Reading, Via, Writing, connect, response, uris};
use crate::target::TargetError;
use crate::ws;

/// The largest chunk over WebSocket where none was asked for.
const WS_CHUNK: usize = 16_384;

/// An MSRP load to be made.
#[derive(Debug, Clone)]
pub struct MsrpOptions {
    /// `msrp:HOST[:PORT][;transport=tcp|tls|ws]`, `msrps:HOST[:PORT]`, or a URL of the WebSocket.
    pub target: String,
    /// The relay's domain, for AUTH to a target that is named by its address.
    pub domain: Option<String>,
    /// Account names, `{}` standing for the number.
    pub user: String,
    pub password: String,
    /// Number of the first account.
    pub first: usize,
    pub sessions: usize,
    /// Connections of senders, and as many of receivers; the sessions are spread over them. 0 for one each.
    pub connections: usize,
    /// Messages a second; 0 for as many as arrive.
    pub rate: f64,
    pub time: Duration,
    /// Octets of a message.
    pub size: usize,
    /// Octets of a chunk; 0 for one SEND a message, over WebSocket for 16384.
    pub chunk: usize,
    /// Ask for success REPORTs and for responses; without it for neither.
    pub reports: bool,
    /// How long a message may take before it has failed.
    pub timeout: Duration,
}

impl MsrpOptions {
    /// Ten sessions of users named as those of a test bed, for ten seconds, as fast as messages arrive.
    pub fn new(target: &str) -> MsrpOptions {
        MsrpOptions {
            target: target.to_owned(),
            domain: None,
            user: "user{}".into(),
            password: "pass{}".into(),
            first: 0,
            sessions: 10,
            connections: 0,
            rate: 0.0,
            time: Duration::from_secs(10),
            size: 1000,
            chunk: 0,
            reports: false,
            timeout: Duration::from_secs(30),
        }
    }
}

fn place_of(target: &str) -> Result<(Place, Via), TargetError> {
    if target.contains("://") {
        return Ok((Place::web(target)?, Via::Ws));
    }
    let (secure, rest) = match target.split_once(':') {
        Some(("msrps", rest)) => (true, rest),
        Some(("msrp", rest)) => (false, rest),
        _ => (false, target),
    };
    let (authority, parameter) = rest.split_once(';').unwrap_or((rest, ""));
    match parameter {
        "transport=ws" => Ok((Place::web(&format!("http://{authority}"))?, Via::Ws)),
        "transport=tls" => Ok((Place::parse(authority, 2856, true)?, Via::Tls)),
        "" if secure => Ok((Place::parse(authority, 2856, true)?, Via::Tls)),
        "" | "transport=tcp" => Ok((Place::parse(authority, 2855, false)?, Via::Tcp)),
        _ => Err(TargetError::Uri(target.to_owned())),
    }
}

/// What a session is told of its messages.
enum Note {
    /// All of the message with that number.
    Arrived {
        number: u64,
        octets: u64,
        at: Instant,
    },
    /// A REPORT, or a response that is not 200.
    Status {
        number: u64,
        status: u16,
        at: Instant,
    },
    Closed,
}

/// The way to each session, by number.
struct Sessions {
    notes: Vec<mpsc::UnboundedSender<Note>>,
    connections: usize,
}

impl Sessions {
    fn tell(&self, session: usize, note: Note) {
        if let Some(notes) = self.notes.get(session) {
            // A session that has ended wants to know nothing more.
            let _ = notes.send(note);
        }
    }

    /// Session n is on connection n modulo their number.
    fn closed(&self, connection: usize) {
        for notes in self.notes.iter().skip(connection).step_by(self.connections) {
            let _ = notes.send(Note::Closed);
        }
    }
}

/// One end of a session at a relay.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) uri: String,
    /// Use-Path.
    pub(super) path: Vec<String>,
}

/// A connection on which the clients of some sessions have authenticated.
pub(super) struct Line {
    pub(super) read: Source,
    pub(super) write: Writing,
    local: SocketAddr,
    via: Via,
    place: Place,
    ids: u64,
}

pub(super) enum Source {
    Stream(Reading, Vec<u8>, Box<Decoder>),
    /// `true`: bodies are kept.
    Ws(ws::Reader<Reading>, bool),
}

impl Source {
    /// The frames that came with one read; `None` at the end.
    pub(super) async fn frames(&mut self) -> Option<Vec<Frame>> {
        let mut frames = Vec::new();
        loop {
            match self {
                Source::Stream(read, buffer, decoder) => {
                    let len = read.read(buffer).await.ok().filter(|len| *len > 0)?;
                    decoder.feed(&buffer[..len]);
                    while let Some(frame) = decoder.next().ok()? {
                        frames.push(frame);
                    }
                }
                Source::Ws(reader, whole) => {
                    let mut decoder = decoder(*whole);
                    decoder.feed(&reader.message().await.ok()??);
                    frames.extend(decoder.next().ok()?);
                }
            }
            if !frames.is_empty() {
                return Some(frames);
            }
        }
    }
}

impl Line {
    /// `whole`: bodies are kept, not only counted.
    pub(super) async fn open(place: &Place, via: Via, whole: bool) -> io::Result<Line> {
        let (read, write, local, rest) = connect(place, via).await?;
        let read = match via {
            Via::Ws => Source::Ws(ws::Reader::new(read, rest), whole),
            _ => Source::Stream(read, vec![0; 65_536], Box::new(decoder(whole))),
        };
        Ok(Line { read, write, local, via, place: place.clone(), ids: 0 })
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("{:x}{:06x}", self.local.port(), self.ids)
    }

    /// AUTH until there is a Use-Path.
    pub(super) async fn authenticate(
        &mut self,
        user: &str,
        password: &str,
        domain: Option<&str>,
    ) -> Result<End, String> {
        let (scheme, id) = (self.place.scheme(), self.id());
        let (uri, transport) = match self.via {
            Via::Ws => (format!("{scheme}://l{}.invalid:2855/{id};ws", self.local.port()), "ws"),
            _ => (format!("{scheme}://{}/{id};tcp", self.local), "tcp"),
        };
        let relay = format!("{scheme}://{user}@{};{transport}", self.place.relay_name(domain));
        let mut authorization = String::new();
        for _ in 0..2 {
            let tid = self.id();
            let text =
                format!("MSRP {tid} AUTH\r\nTo-Path: {relay}\r\nFrom-Path: {uri}\r\n{authorization}-------{tid}$\r\n");
            self.write.write_all(&wire(self.via, text.into_bytes())).await.map_err(|error| error.to_string())?;
            self.write.flush().await.map_err(|error| error.to_string())?;
            let answer = timeout(Duration::from_secs(5), self.read.frames()).await;
            let Ok(Some(frames)) = answer else { return Err("no answer to AUTH".into()) };
            let Some(answer) = frames.into_iter().find(|frame| frame.tid == tid) else {
                return Err("no answer to AUTH".into());
            };
            match answer.status {
                Some(200) => {
                    let path = uris(answer.header("use-path").unwrap_or("")).into_iter().map(str::to_owned).collect();
                    return Ok(End { uri, path });
                }
                Some(401) if authorization.is_empty() => {
                    let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
                    let challenge =
                        lines.filter_map(|(_, value)| Challenge::parse(value)).find(|c| c.algorithm.is_some());
                    let Some(challenge) = challenge else { return Err("no challenge that can be answered".into()) };
                    let cnonce = self.id();
                    let credentials = Credentials {
                        user,
                        password,
                        method: "AUTH",
                        uri: &relay,
                        body: b"",
                        qop: "auth",
                        nc: 1,
                        cnonce: &cnonce,
                    };
                    authorization = format!("Authorization: {}\r\n", credentials.answer(&challenge));
                }
                _ => return Err(format!("answered {}", answer.start)),
            }
        }
        Err("challenged twice".into())
    }
}

fn decoder(whole: bool) -> Decoder {
    if whole { Decoder::default() } else { Decoder::counting() }
}

pub(super) fn wire(via: Via, frame: Vec<u8>) -> Vec<u8> {
    if via == Via::Ws { ws::frame(&frame) } else { frame }
}

/// Session and number of a message, as they stand in its Message-ID.
fn message_of(frame: &Frame) -> Option<(usize, u64)> {
    numbers(frame.id()?)
}

fn numbers(id: &str) -> Option<(usize, u64)> {
    let (session, number) = id.strip_prefix("load")?.split_once('.')?;
    let number = number.split('.').next()?;
    Some((usize::from_str_radix(session, 16).ok()?, u64::from_str_radix(number, 16).ok()?))
}

/// The sender's side of a connection: what comes back.
async fn answers(mut read: Source, connection: usize, sessions: Arc<Sessions>) {
    while let Some(frames) = read.frames().await {
        let at = Instant::now();
        for frame in frames {
            let told = match frame.status {
                Some(200) => None,
                Some(status) => numbers(&frame.tid).map(|found| (found, status)),
                None if frame.is("REPORT") => {
                    let code = frame.header("status").and_then(|status| status.split(' ').nth(1)?.parse().ok());
                    message_of(&frame).zip(code)
                }
                None => None,
            };
            if let Some(((session, number), status)) = told {
                sessions.tell(session, Note::Status { number, status, at });
            }
        }
    }
    sessions.closed(connection);
}

/// The receiver's side of a connection: answers, reports, and tells the sessions.
async fn receive(line: Line, connection: usize, sessions: Arc<Sessions>) {
    let Line { mut read, mut write, via, .. } = line;
    let mut open: HashMap<(usize, u64), u64> = HashMap::new();
    while let Some(frames) = read.frames().await {
        let at = Instant::now();
        let mut out = Vec::new();
        for frame in frames.iter().filter(|frame| frame.is("SEND")) {
            if matches!(frame.header("failure-report"), None | Some("yes")) {
                out.extend(wire(via, response(frame, "200 OK")));
            }
            let Some(key) = message_of(frame) else { continue };
            let octets = open.entry(key).or_default();
            *octets += frame.len;
            if frame.flag == b'+' {
                continue;
            }
            let octets = open.remove(&key).unwrap_or(0);
            if frame.flag == b'$' {
                if frame.header("success-report") == Some("yes") {
                    out.extend(wire(via, report(frame, octets)));
                }
                let (session, number) = key;
                sessions.tell(session, Note::Arrived { number, octets, at });
            }
        }
        if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
            break;
        }
    }
    sessions.closed(connection);
}

pub(super) fn report(on: &Frame, octets: u64) -> Vec<u8> {
    let (to, from) = (on.path_from().join(" "), on.path_to().join(" "));
    let (id, tid) = (on.id().unwrap_or(""), format!("r{}", &on.tid[..on.tid.len().min(31)]));
    format!(
        "MSRP {tid} REPORT\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {id}\r\n\
         Byte-Range: 1-{octets}/{octets}\r\nStatus: 000 200 OK\r\n-------{tid}$\r\n"
    )
    .into_bytes()
}

/// A session's sending end.
struct Session {
    number: usize,
    write: Arc<Mutex<Writing>>,
    via: Via,
    route: String,
    uri: String,
    notes: mpsc::UnboundedReceiver<Note>,
    sent: u64,
    /// Makes ids of this run differ from those of another.
    run: u64,
}

impl Session {
    async fn send(&mut self, options: &MsrpOptions, body: &[u8]) -> io::Result<()> {
        self.sent += 1;
        let size = match options.chunk {
            0 if self.via == Via::Ws => WS_CHUNK,
            0 => body.len().max(1),
            size => size,
        };
        let mut start = 0;
        loop {
            let end = body.len().min(start + size);
            let flag = if end == body.len() { '$' } else { '+' };
            let frame = self.chunk(options, &body[start..end], (start, body.len()), flag);
            let mut write = self.write.lock().await;
            write.write_all(&wire(self.via, frame)).await?;
            write.flush().await?;
            drop(write);
            start = end;
            if start == body.len() {
                return Ok(());
            }
        }
    }

    fn chunk(&self, options: &MsrpOptions, part: &[u8], (start, total): (usize, usize), flag: char) -> Vec<u8> {
        let (number, sent) = (self.number, self.sent);
        let tid = format!("load{number:x}.{sent:x}.{start:x}");
        let wants = if options.reports { "Success-Report: yes" } else { "Failure-Report: no" };
        // A chunk above 2048 octets has to say that it can be interrupted (RFC 4975 §7.1.1).
        let end = if part.len() > 2048 { "*".to_owned() } else { (start + part.len()).to_string() };
        let mut out = format!(
            "MSRP {tid} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: load{number:x}.{sent:x}.{:x}\r\n\
             Byte-Range: {}-{end}/{total}\r\n{wants}\r\nContent-Type: application/octet-stream\r\n\r\n",
            self.route,
            self.uri,
            self.run,
            start + 1,
        )
        .into_bytes();
        out.extend_from_slice(part);
        out.extend_from_slice(format!("\r\n-------{tid}{flag}\r\n").as_bytes());
        out
    }

    /// Sends a message and waits until it is done; adds what arrived.
    async fn exchange(&mut self, options: &MsrpOptions, body: &[u8], octets: &mut u64) -> (Outcome, bool) {
        let until = Instant::now() + options.timeout;
        let none = || Outcome { status: 0, at: Instant::now() };
        match timeout_at(until, self.send(options, body)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return (none(), false),
            // Half a chunk is on its way: the connection is of no more use.
            Err(_) => return (none(), false),
        }
        loop {
            match timeout_at(until, self.notes.recv()).await {
                Ok(Some(Note::Arrived { number, octets: came, at })) if number == self.sent => {
                    *octets += came;
                    if came != body.len() as u64 {
                        return (Outcome { status: 1, at }, true);
                    }
                    if !options.reports {
                        return (Outcome { status: 200, at }, true);
                    }
                }
                Ok(Some(Note::Status { number, status, at })) if number == self.sent => {
                    return (Outcome { status, at }, true);
                }
                Ok(Some(Note::Closed) | None) => return (none(), false),
                Ok(Some(_)) => {}
                Err(_) => return (none(), true),
            }
        }
    }
}

/// Opens connections and sessions, then makes the load for its time.
pub async fn run(options: MsrpOptions) -> Result<LoadReport, LoadError> {
    if options.sessions == 0 {
        return Err(LoadError::NoUsers);
    }
    let (place, via) = place_of(&options.target)?;
    let connections = match options.connections {
        0 => options.sessions,
        some => some.min(options.sessions),
    };
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        senders.push(Line::open(&place, via, false).await?);
        receivers.push(Line::open(&place, via, false).await?);
    }
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    for number in 0..options.sessions {
        let account = (options.first + number % connections).to_string();
        let (user, password) = (options.user.replace("{}", &account), options.password.replace("{}", &account));
        let failed = |why| LoadError::Session { user: user.clone(), why };
        let (at, domain) = (number % connections, options.domain.as_deref());
        let from = senders[at].authenticate(&user, &password, domain).await.map_err(failed)?;
        let to = receivers[at].authenticate(&user, &password, domain).await.map_err(failed)?;
        ends.push((from, to));
        all.push(mpsc::unbounded_channel());
    }
    let (notes, inboxes): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let notes = Arc::new(Sessions { notes, connections });
    let mut background = JoinSet::new();
    for (n, line) in receivers.into_iter().enumerate() {
        background.spawn(receive(line, n, notes.clone()));
    }
    let mut writers = Vec::new();
    for (n, line) in senders.into_iter().enumerate() {
        background.spawn(answers(line.read, n, notes.clone()));
        writers.push(Arc::new(Mutex::new(line.write)));
    }
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    let body = Arc::new(vec![b'x'; options.size]);
    let options = Arc::new(options);
    let pace = Pace::new(options.rate, options.time, options.timeout);
    let mut running = JoinSet::new();
    for (number, ((from, to), inbox)) in ends.into_iter().zip(inboxes).enumerate() {
        let mut path: Vec<&str> = from.path.iter().map(String::as_str).collect();
        path.extend(to.path.iter().rev().map(String::as_str));
        path.push(&to.uri);
        let session = Session {
            number,
            write: writers[number % connections].clone(),
            via,
            route: path.join(" "),
            uri: from.uri.clone(),
            notes: inbox,
            sent: 0,
            run: epoch,
        };
        running.spawn(act(session, options.clone(), body.clone(), pace.clone()));
    }
    let mut report =
        LoadReport { kind: "msrp".into(), target: format!("{}/{}", place.addr, via.name()), ..LoadReport::default() };
    while let Some(done) = running.join_next().await {
        if let Ok(part) = done {
            report.merge(&part);
        }
    }
    report.took = pace.start.elapsed();
    background.abort_all();
    Ok(report)
}

/// One session's share of the load.
async fn act(mut session: Session, options: Arc<MsrpOptions>, body: Arc<Vec<u8>>, pace: Arc<Pace>) -> LoadReport {
    let mut report = LoadReport::default();
    while let Some(due) = pace.next(&mut report).await {
        let (outcome, usable) = session.exchange(&options, &body, &mut report.octets).await;
        report.add(outcome.at.saturating_duration_since(due), outcome);
        if !usable {
            break;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, expected) in [
            ("msrp:127.0.0.1", Some(("127.0.0.1:2855", Via::Tcp, false))),
            ("127.0.0.1:5;transport=tcp", Some(("127.0.0.1:5", Via::Tcp, false))),
            ("msrps:127.0.0.1", Some(("127.0.0.1:2856", Via::Tls, true))),
            ("msrp:127.0.0.1:7;transport=tls", Some(("127.0.0.1:7", Via::Tls, true))),
            ("msrp:127.0.0.1:8080;transport=ws", Some(("127.0.0.1:8080", Via::Ws, false))),
            ("wss://127.0.0.1/x", Some(("127.0.0.1:443", Via::Ws, true))),
            ("msrp:127.0.0.1;transport=udp", None),
        ] {
            let got = place_of(text).ok().map(|(place, via)| (place.addr.to_string(), via, place.secure));
            assert_eq!(got, expected.map(|(addr, via, secure)| (addr.to_owned(), via, secure)), "{text}");
        }
    }

    #[test]
    fn ids_name_session_and_message() {
        assert_eq!(numbers("load1f.a.77"), Some((31, 10)));
        assert_eq!(numbers("a786hjs2"), None);
    }
}
