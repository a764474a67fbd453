//! A call with a message session, and the usual steps in it.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::case::{ANSWER, Ctx, Lease, Verdict, check, fail, skip};
use crate::message::Message;
use crate::msrp::{Conn, Frame, Req, Session, Via, difference, home, id_of, place_of, same};
use crate::tls::Own;
use crate::ua::{self, Ua};

/// Who is called, in the target's domain.
const PARTNER: &str = "echo";

/// What we say of our end.
pub(super) struct Offer {
    /// `a=setup`; empty leaves it out.
    pub setup: &'static str,
    pub secure: bool,
    /// Our path, nearest to the target first.
    pub path: String,
    /// Of the m-line.
    pub port: u16,
    /// Of the c-line.
    pub host: &'static str,
    /// Further attributes, each with its line end.
    pub lines: String,
}

impl Offer {
    /// Of an end that connects.
    pub(super) fn active(ctx: &Ctx) -> Verdict<Offer> {
        let secure = home(ctx)? == Via::Tls;
        let path = format!("{}://127.0.0.1:9/{};tcp", scheme(secure), ctx.id());
        Ok(Offer { setup: "active", secure, path, port: 9, host: "127.0.0.1", lines: String::new() })
    }

    /// The same with further attributes.
    pub(super) fn with(mut self, line: impl AsRef<str>) -> Offer {
        self.lines += line.as_ref();
        self.lines += "\r\n";
        self
    }

    fn text(&self) -> String {
        let Offer { setup, path, port, host, lines, .. } = self;
        let protocol = if self.secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
        let setup = if setup.is_empty() { String::new() } else { format!("a=setup:{setup}\r\n") };
        format!(
            "v=0\r\no=- 3811155201 3811155201 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=message {port} {protocol} *\r\na=accept-types:message/cpim text/plain *\r\n{setup}a=path:{path}\r\n{lines}"
        )
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "msrps" } else { "msrp" }
}

/// What the target says of its end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    lines: Vec<String>,
}

impl Answer {
    fn read(message: &Message) -> Answer {
        let text = message.body_text();
        let lines = text.lines().skip_while(|line| !line.starts_with("m=message ")).map(str::to_owned);
        Answer { lines: lines.collect() }
    }

    /// The m-line.
    pub(super) fn media(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// An attribute; `Some("")` for one without a value.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let lines = self.lines.iter().filter_map(|line| line.strip_prefix("a="));
        lines
            .map(|line| line.split_once(':').unwrap_or((line, "")))
            .find(|(got, _)| *got == name)
            .map(|(_, value)| value)
    }

    pub(super) fn path(&self) -> &str {
        self.attribute("path").unwrap_or("")
    }
}

/// A call that is up; its session may not be.
pub(super) struct Call {
    pub ctx: Ctx,
    pub ua: Ua,
    pub invite: ua::Req,
    pub ok: Message,
    pub offer: Offer,
    pub answer: Answer,
    _lease: Lease,
}

impl Call {
    /// Calls the partner; the answer has to be a 200 with a session.
    pub(super) async fn new(ctx: &Ctx, offer: Offer) -> Verdict<Call> {
        match Call::attempt(ctx, &offer.text(), offer).await? {
            Ok(call) => {
                check!(!call.answer.path().is_empty(), "the answer has no path: {}", call.ok.body_text());
                Ok(call)
            }
            Err(answer) => fail(format!("the INVITE was answered {}", answer.start)),
        }
    }

    /// The same; gives the final answer where that is no 200.
    pub(super) async fn attempt(ctx: &Ctx, sdp: &str, offer: Offer) -> Verdict<Result<Call, Message>> {
        if !ctx.options().sip {
            return skip("the target speaks no SIP");
        }
        let lease = ctx.accounts(1).await?;
        let mut ua = ctx.ua(&lease[0]).await?;
        let uri = format!("sip:{PARTNER}@{}", ctx.domain());
        let invite = ua.req("INVITE", &uri).body("application/sdp", sdp);
        let (invite, ok) = ua.call_as(&invite).await?;
        match ok.status() {
            Some(200) => {}
            Some(403 | 404 | 405 | 480 | 501) => return skip(format!("there is no {uri} to call: {}", ok.start)),
            _ => return Ok(Err(ok)),
        }
        let ack = ua.in_dialog(&invite, &ok, "ACK");
        ua.send(&ack).await?;
        let answer = Answer::read(&ok);
        Ok(Ok(Call { ctx: ctx.clone(), ua, invite, ok, offer, answer, _lease: lease }))
    }

    /// Connects to where the answer says.
    pub(super) async fn dial(&mut self) -> Verdict<Conn> {
        self.dial_as(None).await
    }

    /// The same with a certificate of ours.
    pub(super) async fn dial_as(&mut self, own: Option<&Own>) -> Verdict<Conn> {
        let place = match place_of(&self.ctx, self.answer.path()) {
            Ok(place) => place,
            Err(why) => return fail(why),
        };
        match Conn::dial_as(&place, own, &self.ctx.log).await {
            Ok(conn) => Ok(conn),
            Err(error) => fail(format!("cannot connect to {}: {error}", self.answer.path())),
        }
    }

    /// Goes on with that connection.
    pub(super) fn over(self, conn: Conn) -> Talk {
        let (to, own) = (self.answer.path().to_owned(), self.offer.path.rsplit(' ').next().unwrap_or("").to_owned());
        Talk { call: self, conn, to, own }
    }

    /// Ends it; the answer has to be a 200.
    pub(super) async fn bye(&mut self) -> Verdict {
        let bye = self.ua.in_dialog(&self.invite, &self.ok, "BYE");
        let answer = self.ua.exchange(&bye).await?;
        check!(answer.status() == Some(200), "BYE was answered {}", answer.start);
        Ok(())
    }

    /// Waits until the target ends the call.
    pub(super) async fn ended(&mut self) -> Verdict {
        let bye = self.ua.incoming("BYE").await?;
        self.ua.reply(&bye, "200 OK", &[]).await
    }
}

/// A listener of ours, with where it is.
pub(super) async fn listen(secure: bool, ctx: &Ctx, setup: &'static str) -> Verdict<(TcpListener, Offer)> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let Ok((addr, listener)) = bound else { return fail("cannot listen for MSRP") };
    let path = format!("{}://{addr}/{};tcp", scheme(secure), ctx.id());
    let offer = Offer { setup, secure, path, port: addr.port(), host: "127.0.0.1", lines: String::new() };
    Ok((listener, offer))
}

/// A session and its connection.
pub(super) struct Talk {
    pub call: Call,
    pub conn: Conn,
    /// To-Path.
    pub to: String,
    /// Our URI.
    pub own: String,
}

impl Talk {
    /// A call whose session we open; nothing has been sent in it.
    pub(super) async fn connected(ctx: &Ctx) -> Verdict<Talk> {
        let mut call = Call::new(ctx, Offer::active(ctx)?).await?;
        let conn = call.dial().await?;
        Ok(call.over(conn))
    }

    /// The same, opened by an empty SEND.
    pub(super) async fn new(ctx: &Ctx) -> Verdict<Talk> {
        let mut talk = Talk::connected(ctx).await?;
        talk.hello().await?;
        Ok(talk)
    }

    /// A client behind the target's own relay.
    pub(super) async fn relayed(ctx: &Ctx, via: Via) -> Verdict<Talk> {
        let client = crate::msrp::Client::over(ctx, via, 0).await?;
        let session: Session = client.session.clone();
        let mut path: Vec<&str> = session.path.iter().rev().map(String::as_str).collect();
        path.push(&session.uri);
        let secure = session.relay().starts_with("msrps:");
        let port = session.uri.split([':', '/', ';']).filter_map(|part| part.parse().ok()).next().unwrap_or(2855);
        let offer =
            Offer { setup: "active", secure, path: path.join(" "), port, host: "127.0.0.1", lines: String::new() };
        let call = Call::new(ctx, offer).await?;
        let to = session.path.iter().map(String::as_str).chain([call.answer.path()]).collect::<Vec<_>>().join(" ");
        let mut talk = Talk { call, conn: client.conn, to, own: session.uri };
        talk.hello().await?;
        Ok(talk)
    }

    async fn hello(&mut self) -> Verdict {
        let answer = self.exchange(&self.req()).await?;
        check!(answer.status == Some(200), "the first SEND was answered {}", answer.start);
        Ok(())
    }

    pub(super) fn ctx(&self) -> &Ctx {
        &self.call.ctx
    }

    /// A SEND without a body.
    pub(super) fn req(&self) -> Req {
        let id = format!("Message-ID: {}", self.ctx().id());
        Req::new("SEND", self.ctx().id(), self.to.clone(), self.own.clone()).line(id)
    }

    /// A SEND with this case's word as text.
    pub(super) fn text(&self) -> Req {
        self.req().body(format!("text of {}", self.ctx().token))
    }

    /// One chunk of a message: `range` as in Byte-Range.
    pub(super) fn chunk(&self, id: &str, range: &str, body: impl Into<Vec<u8>>, flag: char) -> Req {
        Req::new("SEND", self.ctx().id(), self.to.clone(), self.own.clone())
            .line(format!("Message-ID: {id}"))
            .line(format!("Byte-Range: {range}"))
            .body(body)
            .flag(flag)
    }

    pub(super) async fn send(&mut self, req: &Req) -> Verdict {
        self.conn.send(&req.bytes()).await
    }

    /// Sends and waits for the response.
    pub(super) async fn exchange(&mut self, req: &Req) -> Verdict<Frame> {
        self.send(req).await?;
        self.response(req).await
    }

    pub(super) async fn response(&mut self, req: &Req) -> Verdict<Frame> {
        match self.conn.response(&req.tid, ANSWER).await {
            Some(answer) => Ok(answer),
            None if self.conn.closed => {
                fail(format!("the target closed the connection instead of answering {}", req.tid))
            }
            None => fail(format!("no response to {}", req.method)),
        }
    }

    /// Sends and checks the code of the response.
    pub(super) async fn expect(&mut self, req: &Req, status: u16) -> Verdict {
        let answer = self.exchange(req).await?;
        check!(answer.status == Some(status), "expected {status}, got {}", answer.start);
        Ok(())
    }

    /// The next SEND of the target, not answered.
    pub(super) async fn incoming(&mut self) -> Verdict<Frame> {
        loop {
            match self.conn.take(ANSWER, |frame| frame.is("SEND")).await {
                Some(frame) => return Ok(frame),
                None if self.conn.closed => return fail("the target closed the connection"),
                // A large one takes its time on a busy machine; the limit of the case holds.
                None if self.conn.is_within() => {}
                None => return fail("no SEND came"),
            }
        }
    }

    pub(super) async fn reply(&mut self, to: &Frame, status: &str) -> Verdict {
        self.conn.send(&crate::msrp::response(to, status)).await
    }

    /// The next whole message of the target, its chunks answered.
    pub(super) async fn message(&mut self) -> Verdict<(Vec<u8>, Vec<Frame>)> {
        let (mut body, mut chunks) = (Vec::new(), Vec::<Frame>::new());
        loop {
            let mut chunk = self.incoming().await?;
            let to = chunk.path_to().join(" ");
            check!(same(&to, &self.own), "To-Path of what came is {to:?}");
            if matches!(chunk.header("failure-report"), None | Some("yes")) {
                self.reply(&chunk, "200 OK").await?;
            }
            let Some(part) = chunk.body.take() else { continue };
            let start = chunk.range().map_or(1, |(start, ..)| start);
            check!(start == body.len() as u64 + 1, "a chunk begins at {start}, {} was due", body.len() + 1);
            body.extend(part);
            let flag = chunk.flag;
            chunks.push(chunk);
            match flag {
                b'$' => return Ok((body, chunks)),
                b'#' => return fail("the target gave its message up"),
                _ => {}
            }
        }
    }

    /// Checks that the next message is this one.
    pub(super) async fn comes_back(&mut self, sent: &[u8]) -> Verdict<Vec<Frame>> {
        let (body, chunks) = self.message().await?;
        check!(body == sent, "{}", difference(sent, Some(&body)));
        Ok(chunks)
    }

    /// Sends a whole message, and checks that it is taken and comes back.
    pub(super) async fn echo(&mut self, req: &Req) -> Verdict<Vec<Frame>> {
        self.expect(req, 200).await?;
        let sent = req.content.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        self.comes_back(&sent).await
    }

    /// Checks that the session is up.
    pub(super) async fn alive(&mut self) -> Verdict {
        let req = self.text();
        self.echo(&req).await.map(|_| ())
    }

    /// Fails if a SEND comes within `wait`.
    pub(super) async fn nothing(&mut self, wait: Duration, what: &str) -> Verdict {
        match self.conn.take(wait, |frame| frame.is("SEND")).await {
            Some(frame) => fail(format!("{what}, yet {} came", frame.start)),
            None => Ok(()),
        }
    }

    /// The REPORT on a message, within `wait`.
    pub(super) async fn report(&mut self, req: &Req, wait: Duration) -> Option<Frame> {
        let id = id_of(req).to_owned();
        self.conn.take(wait, |frame| frame.is("REPORT") && frame.id() == Some(id.as_str())).await
    }
}
