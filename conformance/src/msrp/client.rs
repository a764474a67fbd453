//! A client of a relay: AUTH, its sessions, and the usual steps between two of them.

use std::time::Duration;

use super::frame::{Frame, Req};
use super::link::Conn;
use super::{Place, Via};
use crate::case::{ANSWER, Ctx, SILENCE, Verdict, check, fail, skip};
use crate::digest::{Challenge, Credentials};
use crate::target::Account;

/// An end of a session, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The client's own URI.
    pub(crate) uri: String,
    /// Use-Path, nearest relay first; empty for a client without a relay.
    pub(crate) path: Vec<String>,
    /// Seconds the relay gave it.
    pub(crate) expires: Option<u64>,
}

impl Session {
    /// The To-Path of what this end sends to the other (RFC 4976 §5.1).
    pub(crate) fn route(&self, to: &Session) -> String {
        let mut path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        path.extend(to.path.iter().rev().map(String::as_str));
        path.push(&to.uri);
        path.join(" ")
    }

    /// The relay's URI of this session.
    pub(crate) fn relay(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }
}

/// A connection with one session on it; more can be had.
pub(crate) struct Client {
    pub(crate) ctx: Ctx,
    pub(crate) conn: Conn,
    pub(crate) account: Account,
    pub(crate) session: Session,
    /// The URI of the relay that AUTH is sent to.
    pub(crate) relay: String,
    nc: u32,
}

/// The answers to a nonce made up or stale.
pub(crate) struct Asked {
    pub(crate) answer: Frame,
    /// What `rspauth` has to be if the answer is 200.
    pub(crate) rspauth: String,
}

impl Client {
    /// Connects; nothing is sent. `number` picks the account.
    pub(crate) async fn open(ctx: &Ctx, via: Via, number: usize) -> Verdict<Client> {
        let accounts = &ctx.options().accounts;
        let conn = Conn::open(ctx, via).await?;
        let account = match accounts.len() {
            0 => Account { user: "nobody".into(), password: String::new() },
            len => accounts[number % len].clone(),
        };
        let Some(place) = ctx.shared.msrp.get(via) else { return skip("no address") };
        let transport = if via == Via::Ws { "ws" } else { "tcp" };
        let name = place.relay_name(ctx.options().domain.as_deref());
        let relay = format!("{}://{}@{name};{transport}", place.scheme(), account.user);
        let session = Session { uri: own_uri(ctx, &conn, place), path: Vec::new(), expires: None };
        Ok(Client { ctx: ctx.clone(), conn, account, session, relay, nc: 0 })
    }

    /// A client that has authenticated.
    pub(crate) async fn over(ctx: &Ctx, via: Via, number: usize) -> Verdict<Client> {
        let mut client = Client::open(ctx, via, number).await?;
        client.session = client.authenticate(&[]).await?;
        Ok(client)
    }

    /// An authenticated client on the transport that clients use.
    pub(crate) async fn home(ctx: &Ctx, number: usize) -> Verdict<Client> {
        Client::over(ctx, home(ctx)?, number).await
    }

    /// A client without a relay, connected to where the relay URI of `to` says.
    pub(crate) async fn peer(ctx: &Ctx, to: &Session) -> Verdict<Client> {
        let secure = to.relay().to_ascii_lowercase().starts_with("msrps:");
        let places = &ctx.shared.msrp;
        let via = match (secure, &places.tcp, &places.tls) {
            (true, _, Some(_)) | (_, None, Some(_)) => Via::Tls,
            _ => Via::Tcp,
        };
        Client::open(ctx, via, 1).await
    }

    /// A fresh URI of this end, for one more session.
    pub(crate) fn new_uri(&self) -> String {
        let place = self.ctx.shared.msrp.get(self.conn.via);
        place.map_or(String::new(), |place| own_uri(&self.ctx, &self.conn, place))
    }

    /// An AUTH without credentials.
    pub(crate) fn auth(&self) -> Req {
        Req::new("AUTH", self.ctx.id(), self.relay.clone(), self.session.uri.clone())
    }

    pub(crate) async fn send(&mut self, req: &Req) -> Verdict {
        self.conn.send(&req.bytes()).await
    }

    /// Sends and waits for the response.
    pub(crate) async fn exchange(&mut self, req: &Req) -> Verdict<Frame> {
        self.send(req).await?;
        match self.conn.response(&req.tid, ANSWER).await {
            Some(answer) => Ok(answer),
            None if self.conn.closed => fail(format!("{} made the target close the connection", req.method)),
            None => fail(format!("no response to {}", req.method)),
        }
    }

    /// Sends an AUTH without credentials; gives the 401 and its challenge.
    pub(crate) async fn challenged(&mut self) -> Verdict<(Frame, Challenge)> {
        if self.ctx.options().accounts.is_empty() {
            return skip("needs an account");
        }
        let req = self.auth();
        let answer = self.exchange(&req).await?;
        match answer.status {
            Some(401) => {}
            Some(501 | 481 | 404) => return skip(format!("the target is no relay: AUTH gets {}", answer.start)),
            _ => return fail(format!("expected 401, got {}", answer.start)),
        }
        match challenges(&answer).into_iter().find(|challenge| challenge.algorithm.is_some()) {
            Some(challenge) => Ok((answer, challenge)),
            None => fail("401 without a digest challenge that can be answered"),
        }
    }

    /// The Authorization that answers `challenge` for this AUTH, and the `rspauth` to expect.
    pub(crate) fn credentials(&mut self, challenge: &Challenge, req: &Req) -> (String, String) {
        self.nc += 1;
        let nc = self.nc;
        self.credentials_at(challenge, req, nc)
    }

    pub(crate) fn credentials_at(&self, challenge: &Challenge, req: &Req, nc: u32) -> (String, String) {
        let cnonce = self.ctx.id();
        let credentials = Credentials {
            user: &self.account.user,
            password: &self.account.password,
            method: "AUTH",
            uri: req.to.rsplit(' ').next().unwrap_or(""),
            body: b"",
            qop: "auth",
            nc,
            cnonce: &cnonce,
        };
        (format!("Authorization: {}", credentials.answer(challenge)), credentials.rspauth(challenge))
    }

    /// An AUTH that answers `challenge`, and the `rspauth` to expect; not sent.
    pub(crate) fn auth_with(&mut self, challenge: &Challenge) -> (Req, String) {
        let mut req = self.auth();
        let (line, rspauth) = self.credentials(challenge, &req);
        req.lines.push(line);
        (req, rspauth)
    }

    /// An AUTH that answers `challenge`.
    pub(crate) async fn ask(&mut self, challenge: &Challenge, lines: &[&str]) -> Verdict<Asked> {
        let (mut req, rspauth) = self.auth_with(challenge);
        req.lines.extend(lines.iter().map(|line| (*line).to_owned()));
        Ok(Asked { answer: self.exchange(&req).await?, rspauth })
    }

    /// AUTH, 401, AUTH, and whatever that is answered.
    pub(crate) async fn answered(&mut self, lines: &[&str]) -> Verdict<Asked> {
        let (_, challenge) = self.challenged().await?;
        self.nc = 0;
        self.ask(&challenge, lines).await
    }

    /// AUTH, 401, AUTH, 200: one more session.
    pub(crate) async fn authenticate(&mut self, lines: &[&str]) -> Verdict<Session> {
        let asked = self.answered(lines).await?;
        self.granted(&asked.answer)
    }

    /// One more session on this connection, with a URI of its own at both ends.
    pub(crate) async fn one_more(&mut self) -> Verdict<Session> {
        let uri = self.new_uri();
        let first = std::mem::replace(&mut self.session.uri, uri);
        let session = self.authenticate(&[]).await;
        self.session.uri = first;
        session
    }

    /// The session that a 200 to AUTH gives.
    pub(crate) fn granted(&self, answer: &Frame) -> Verdict<Session> {
        check!(answer.status == Some(200), "expected 200 to AUTH, got {}", answer.start);
        let path: Vec<String> =
            super::uris(answer.header("use-path").unwrap_or("")).into_iter().map(str::to_owned).collect();
        check!(!path.is_empty(), "200 to AUTH without Use-Path");
        let expires = answer.header("expires").and_then(|value| value.parse().ok());
        Ok(Session { uri: self.session.uri.clone(), path, expires })
    }

    /// A SEND without a body to the other end.
    pub(crate) fn send_to(&self, to: &Session) -> Req {
        self.send_in(&self.session, to)
    }

    /// The same in another session of this connection.
    pub(crate) fn send_in(&self, from: &Session, to: &Session) -> Req {
        let id = format!("Message-ID: {}", self.ctx.id());
        Req::new("SEND", self.ctx.id(), from.route(to), from.uri.clone()).line(id)
    }

    /// Answers a request.
    pub(crate) async fn reply(&mut self, to: &Frame, status: &str) -> Verdict {
        self.conn.send(&response(to, status)).await
    }

    /// The REPORT on a SEND that came in.
    pub(crate) fn report(&self, on: &Frame, status: &str, range: &str) -> Req {
        let (to, from) = (on.path_from().join(" "), on.path_to().join(" "));
        Req::new("REPORT", self.ctx.id(), to, from)
            .line(format!("Message-ID: {}", on.id().unwrap_or("")))
            .line(format!("Byte-Range: {range}"))
            .line(format!("Status: 000 {status}"))
    }

    /// The next SEND with that Message-ID; not answered.
    pub(crate) async fn chunk(&mut self, id: &str) -> Verdict<Frame> {
        loop {
            match self.conn.take(ANSWER, |frame| frame.is("SEND") && frame.id() == Some(id)).await {
                Some(frame) => return Ok(frame),
                None if self.conn.closed => return fail("the target closed the receiver's connection"),
                // A large one takes its time on a busy machine; the limit of the case holds.
                None if self.conn.is_within() => {}
                None => return fail("the SEND did not arrive"),
            }
        }
    }

    /// The next request of that method.
    pub(crate) async fn request(&mut self, method: &str, wait: Duration) -> Option<Frame> {
        self.conn.take(wait, |frame| frame.is(method)).await
    }

    /// A whole message, its chunks answered as they ask for it.
    pub(crate) async fn message(&mut self, id: &str) -> Verdict<Message> {
        let mut message = Message { body: None, chunks: Vec::new(), flag: 0 };
        loop {
            let mut chunk = self.chunk(id).await?;
            if matches!(chunk.header("failure-report"), None | Some("yes")) {
                self.reply(&chunk, "200 OK").await?;
            }
            let next = message.body.as_ref().map_or(0, Vec::len) as u64 + 1;
            let start = chunk.range().map_or(1, |(start, ..)| start);
            check!(start == next, "a chunk begins at {start}, {next} was due");
            if let Some(body) = chunk.body.take() {
                message.body.get_or_insert_default().extend(body);
            }
            message.flag = chunk.flag;
            message.chunks.push(chunk);
            if message.flag != b'+' {
                return Ok(message);
            }
        }
    }

    /// Fails if a request other than a REPORT, which may be on what was before, arrives within a moment.
    pub(crate) async fn nothing(&mut self, what: &str) -> Verdict {
        match self.conn.take(SILENCE, |frame| frame.method.is_some() && !frame.is("REPORT")).await {
            Some(frame) => fail(format!("{what}, yet {} arrived", frame.start)),
            None => Ok(()),
        }
    }

    /// Fails if the target answers that transaction or reports on that message within a moment.
    pub(crate) async fn silent(&mut self, req: &Req) -> Verdict {
        match self.conn.take(SILENCE, |frame| concerns(frame, req)).await {
            Some(frame) => fail(format!("{} came for a {} that wants no answer", frame.start, req.method)),
            None => Ok(()),
        }
    }

    /// The response or REPORT that tells of a failure.
    pub(crate) async fn failure(&mut self, req: &Req, wait: Duration) -> Option<Frame> {
        let failed = |frame: &Frame| concerns(frame, req) && frame.status != Some(200);
        self.conn.take(wait, failed).await
    }

    /// Checks that the target still serves this connection.
    pub(crate) async fn alive(&mut self) -> Verdict {
        let req = self.auth();
        self.exchange(&req).await.map(|_| ())
    }
}

fn concerns(frame: &Frame, req: &Req) -> bool {
    let id = req.lines.iter().find_map(|line| line.strip_prefix("Message-ID: "));
    (frame.status.is_some() && frame.tid == req.tid) || (frame.is("REPORT") && id.is_some() && frame.id() == id)
}

/// A message put together again.
pub(crate) struct Message {
    pub(crate) body: Option<Vec<u8>>,
    /// Without their bodies.
    pub(crate) chunks: Vec<Frame>,
    /// Of the last chunk.
    pub(crate) flag: u8,
}

/// Two clients of the relay.
pub(crate) struct Pair {
    pub(crate) a: Client,
    pub(crate) b: Client,
}

impl Pair {
    pub(crate) async fn new(ctx: &Ctx) -> Verdict<Pair> {
        let via = home(ctx)?;
        Pair::over(ctx, via, via).await
    }

    pub(crate) async fn over(ctx: &Ctx, a: Via, b: Via) -> Verdict<Pair> {
        Ok(Pair { a: Client::over(ctx, a, 0).await?, b: Client::over(ctx, b, 1).await? })
    }

    /// A SEND from a to b with this case's word as text.
    pub(crate) fn text(&self) -> Req {
        self.send().body(format!("text of {}", self.a.ctx.token))
    }

    pub(crate) fn send(&self) -> Req {
        self.a.send_to(&self.b.session)
    }

    /// Sends from a; the chunk as it arrives at b, not answered.
    pub(crate) async fn chunk(&mut self, req: &Req) -> Verdict<Frame> {
        self.a.send(req).await?;
        self.b.chunk(id_of(req)).await
    }

    /// Sends from a, takes the whole message at b, and the 200 at a where one is due.
    pub(crate) async fn deliver(&mut self, req: &Req) -> Verdict<Message> {
        self.a.send(req).await?;
        self.arrived(req).await
    }

    /// The rest of `deliver` for what was sent by hand.
    pub(crate) async fn arrived(&mut self, req: &Req) -> Verdict<Message> {
        let message = self.b.message(id_of(req)).await?;
        if !req.lines.iter().any(|line| line.starts_with("Failure-Report: ") && !line.ends_with("yes")) {
            match self.a.conn.response(&req.tid, ANSWER).await {
                Some(answer) => check!(answer.status == Some(200), "expected 200, got {}", answer.start),
                None => return fail("the SEND was forwarded and not answered"),
            }
        }
        if let (Some((_, sent)), b'$') = (&req.content, message.flag) {
            check!(message.body.as_ref() == Some(sent), "{}", difference(sent, message.body.as_deref()));
        }
        Ok(message)
    }
}

/// Where two bodies part.
pub(crate) fn difference(sent: &[u8], got: Option<&[u8]>) -> String {
    let Some(got) = got else { return "the body is gone".into() };
    let at = sent.iter().zip(got).take_while(|(a, b)| a == b).count();
    format!("{} octets were sent, {} arrived, the same up to {at}", sent.len(), got.len())
}

/// The Message-ID of a request.
pub(crate) fn id_of(req: &Req) -> &str {
    req.lines.iter().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or("")
}

/// Every digest challenge of a 401.
pub(crate) fn challenges(answer: &Frame) -> Vec<Challenge> {
    let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    lines.filter_map(|(_, value)| Challenge::parse(value)).collect()
}

/// Where clients of the relay authenticate: over TLS where that is there.
pub(crate) fn home(ctx: &Ctx) -> Verdict<Via> {
    match &ctx.shared.msrp {
        places if places.tls.is_some() => Ok(Via::Tls),
        places if places.tcp.is_some() => Ok(Via::Tcp),
        _ => skip("no --msrp given"),
    }
}

fn own_uri(ctx: &Ctx, conn: &Conn, place: &Place) -> String {
    let (scheme, id) = (place.scheme(), ctx.id());
    match conn.via {
        Via::Ws => format!("{scheme}://w{}.invalid:2855/{id};ws", conn.local.port()),
        _ => format!("{scheme}://{}/{id};tcp", conn.local),
    }
}

/// The response to a request (RFC 4975 §7.2).
pub(crate) fn response(to: &Frame, status: &str) -> Vec<u8> {
    let mut path = to.path_from();
    if to.is("SEND") {
        path.truncate(1);
    }
    let (path, own) = (path.join(" "), to.path_to().join(" "));
    format!("MSRP {tid} {status}\r\nTo-Path: {path}\r\nFrom-Path: {own}\r\n-------{tid}$\r\n", tid = to.tid)
        .into_bytes()
}

/// Whether two URIs are equal by RFC 4975 §6.1, percent-encoding aside.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let parts = |uri: &str| -> Option<(String, String, String, String)> {
        let (scheme, rest) = uri.split_once("://")?;
        let (rest, params) = rest.split_once(';')?;
        let (authority, id) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next()?;
        let transport = params.split(';').next()?;
        let lower = str::to_ascii_lowercase;
        Some((lower(scheme), lower(host), id.to_owned(), lower(transport)))
    };
    parts(a).is_some() && parts(a) == parts(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for (a, b, equal) in [
            ("msrp://a.example:1/x;tcp", "MSRP://u@A.example:1/x;TCP", true),
            ("msrp://a.example:1/x;tcp", "msrp://a.example:1/X;tcp", false),
            ("msrp://a.example:1/x;tcp", "msrp://a.example/x;tcp", false),
            ("msrp://a.example:1/x;tcp", "msrp://a.example:1/x;ws", false),
            ("nothing", "nothing", false),
        ] {
            assert_eq!(same(a, b), equal, "{a} {b}");
        }
    }

    #[test]
    fn paths() {
        let end = |name: &str, path: &[&str]| Session {
            uri: name.into(),
            path: path.iter().map(|uri| (*uri).to_owned()).collect(),
            expires: None,
        };
        // RFC 4976 §5.1: A behind B and C, F behind E and D.
        assert_eq!(end("A", &["B", "C"]).route(&end("F", &["E", "D"])), "B C D E F");
    }
}
