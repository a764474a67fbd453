//! A handset's end of a message session (RFC 4975, 6135; 4976 and 7977 for browsers).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::sdp::Remote;
use super::seen::{Fate, State};
use super::{Cut, Reach, Step};
use crate::case::{Ctx, Verdict, fail};
use crate::msrp::{Client, Conn, Frame, Req, Via, place_of, response, same};
use crate::target::{Account, host_port};

/// How long the other end has to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Longer than any case.
const LONG: Duration = Duration::from_secs(3600);
/// The largest message that is put together.
const MAX: usize = 1 << 22;

enum Way {
    Listener(TcpListener),
    Nat,
    Relay(Box<Client>),
}

/// Where a session will be reached, made before its SDP is written.
pub(crate) struct Port {
    way: Way,
    /// The URI of the handset itself.
    uri: String,
    /// What its SENDs pass before they leave for the peer.
    own_relays: Vec<String>,
    /// For SDP.
    pub(crate) path: String,
    pub(crate) secure: bool,
}

impl Port {
    pub(crate) async fn open(ctx: &Ctx, reach: Reach, account: &Account) -> Verdict<Port> {
        match reach {
            Reach::Open => {
                let listener = TcpListener::bind("127.0.0.1:0").await;
                let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
                let Ok((addr, listener)) = bound else { return fail("cannot listen for MSRP") };
                let uri = format!("msrp://{addr}/{};tcp", ctx.id());
                Ok(Port { way: Way::Listener(listener), own_relays: Vec::new(), path: uri.clone(), uri, secure: false })
            }
            Reach::Nat => {
                let uri = format!("msrp://127.0.0.1:9/{};tcp", ctx.id());
                Ok(Port { way: Way::Nat, own_relays: Vec::new(), path: uri.clone(), uri, secure: false })
            }
            Reach::Relay => {
                let mut client = Client::open(ctx, Via::Ws, 0).await?;
                // AUTH names its user.
                let named = |user: &str| format!("://{user}@");
                client.relay = client.relay.replace(&named(&client.account.user), &named(&account.user));
                client.account = account.clone();
                let session = client.authenticate(&[]).await?;
                let mut path: Vec<&str> = session.path.iter().rev().map(String::as_str).collect();
                path.push(&session.uri);
                let (path, secure) = (path.join(" "), session.relay().starts_with("msrps:"));
                Ok(Port { way: Way::Relay(Box::new(client)), uri: session.uri, own_relays: session.path, path, secure })
            }
        }
    }

    /// `a=setup` of an offer.
    pub(crate) fn offer(&self) -> &'static str {
        if matches!(self.way, Way::Nat) { "active" } else { "actpass" }
    }

    /// For a session over TLS. A handset has no certificate, so it is the one that connects.
    pub(crate) fn secured(&mut self) {
        if !matches!(self.way, Way::Relay(_)) {
            self.secure = true;
            for uri in [&mut self.path, &mut self.uri] {
                *uri = uri.replacen("msrp://", "msrps://", 1);
            }
        }
    }

    /// `a=setup` of an answer.
    pub(crate) fn answer(&self, offered: &str) -> &'static str {
        match (offered, &self.way) {
            ("actpass", _) if self.secure => "active",
            ("passive", _) | ("actpass", Way::Nat | Way::Relay(_)) => "active",
            _ => "passive",
        }
    }

    pub(crate) fn number(&self, setup: &str) -> u16 {
        let port = self.path.split("://").nth(1).and_then(|rest| rest.split('/').next()).and_then(host_port);
        if setup == "active" { 9 } else { port.and_then(|(_, port)| port).unwrap_or(9) }
    }
}

/// Something to be sent; `key` comes back with its fate, where that matters.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) key: Option<usize>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

pub(crate) enum News {
    Open,
    /// `quiet`: it is cut before it can say more.
    Content {
        content_type: String,
        body: Vec<u8>,
        quiet: bool,
    },
    Fate(usize, Fate),
    Fault(String),
    Cut(Cut),
    Down,
}

/// How this kind of handset sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Octets in a chunk; `None` sends all in one that may be interrupted.
    pub(crate) chunk: Option<usize>,
    /// Header lines of each SEND.
    pub(crate) reports: &'static [&'static str],
}

/// A session under way; dropped, its connection closes.
pub(crate) struct Media {
    orders: mpsc::UnboundedSender<Out>,
    task: JoinHandle<()>,
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Media {
    /// `number` goes along with the news.
    pub(crate) fn start(
        ctx: &Ctx,
        state: &Arc<State>,
        port: Port,
        remote: &Remote,
        active: bool,
        manners: Manners,
        (number, news): (usize, mpsc::UnboundedSender<(usize, News)>),
    ) -> Media {
        let (orders, inbox) = mpsc::unbounded_channel();
        let mut route = port.own_relays.clone();
        route.extend(remote.path.iter().cloned());
        let (ctx, state, first) = (ctx.clone(), state.clone(), remote.path.first().cloned().unwrap_or_default());
        let task = tokio::spawn(async move {
            let tell = move |one: News| {
                let _ = news.send((number, one));
            };
            let (uri, conn) = (port.uri.clone(), open(&ctx, port.way, &first, active).await);
            let conn = match conn {
                Ok(conn) => conn,
                Err(why) => {
                    tell(News::Fault(why));
                    return tell(News::Down);
                }
            };
            let to = route.join(" ");
            let mut talk = Talk {
                ctx,
                state,
                conn,
                own: uri,
                to,
                manners,
                tell: Box::new(tell),
                open: false,
                hello: String::new(),
                partial: HashMap::new(),
                unanswered: HashMap::new(),
            };
            talk.run(active, inbox).await;
        });
        Media { orders, task }
    }

    /// False once the session is down.
    pub(crate) fn send(&self, out: Out) -> bool {
        self.orders.send(out).is_ok()
    }
}

async fn open(ctx: &Ctx, way: Way, first: &str, active: bool) -> Result<Conn, String> {
    match way {
        Way::Relay(client) => Ok(client.conn),
        Way::Listener(listener) if !active => match tokio::time::timeout(CONNECT, listener.accept()).await {
            Ok(Ok((stream, _))) => Conn::accepted(stream, &ctx.log).map_err(|error| error.to_string()),
            _ => Err(format!("nobody connected to the passive end within {} s", CONNECT.as_secs())),
        },
        Way::Nat if !active => Err("an end behind NAT was made the passive one".into()),
        _ => {
            let place = place_of(ctx, first)?;
            Conn::dial(&place, &ctx.log).await.map_err(|error| format!("cannot connect to {first}: {error}"))
        }
    }
}

struct Talk {
    ctx: Ctx,
    state: Arc<State>,
    conn: Conn,
    own: String,
    /// To-Path.
    to: String,
    manners: Manners,
    tell: Box<dyn Fn(News) + Send>,
    /// The peer has bound its session to the connection.
    open: bool,
    partial: HashMap<String, Vec<u8>>,
    /// The first SEND, which opens the session.
    hello: String,
    /// Transactions and whose they are.
    unanswered: HashMap<String, Option<usize>>,
}

/// Why a session ends.
enum End {
    Closed,
    Cut(Cut),
}

impl Talk {
    async fn run(&mut self, active: bool, mut orders: mpsc::UnboundedReceiver<Out>) {
        if let Err(End::Cut(cut)) = self.serve(active, &mut orders).await {
            (self.tell)(News::Cut(cut));
            if cut == Cut::Silent {
                return std::future::pending().await;
            }
        }
        orders.close();
        let mut lost: Vec<Option<usize>> = self.unanswered.values().copied().collect();
        while let Ok(out) = orders.try_recv() {
            lost.push(out.key);
        }
        lost.into_iter().flatten().for_each(|key| (self.tell)(News::Fate(key, Fate::Lost)));
        (self.tell)(News::Down);
    }

    async fn serve(&mut self, active: bool, orders: &mut mpsc::UnboundedReceiver<Out>) -> Result<(), End> {
        if active {
            let hello = self.send_req();
            self.put(&hello.bytes()).await?;
            self.hello = hello.tid;
        }
        let mut silent = self.state.silent.subscribe();
        loop {
            let _ = silent.wait_for(|silent| !*silent).await;
            tokio::select! {
                _ = silent.changed() => {}
                frame = self.conn.take(LONG, |_| true) => match frame {
                    Some(frame) => self.take(frame).await?,
                    None => return Err(End::Closed),
                },
                // Until the peer has shown itself on the connection nothing may be sent to it.
                out = orders.recv(), if self.open => match out {
                    Some(out) => self.send(out).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn trap(&self, step: Step) -> Result<(), End> {
        self.state.trap(step).map_or(Ok(()), |cut| Err(End::Cut(cut)))
    }

    fn opened(&mut self) -> Result<(), End> {
        if !std::mem::replace(&mut self.open, true) {
            self.trap(Step::Connected)?;
            (self.tell)(News::Open);
        }
        Ok(())
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.conn.send(bytes).await.map_err(|_| End::Closed)
    }

    fn send_req(&self) -> Req {
        let id = format!("Message-ID: {}", self.ctx.id());
        Req::new("SEND", self.ctx.id(), self.to.clone(), self.own.clone()).line(id)
    }

    async fn send(&mut self, out: Out) -> Result<(), End> {
        let (total, whole) = (out.body.len(), self.manners.chunk.is_none());
        let size = self.manners.chunk.unwrap_or(total).max(1);
        let base = self.send_req();
        let half = self.state.trap(Step::Sending);
        for (at, part) in out.body.chunks(size).enumerate() {
            let (start, last) = (at * size, at * size + part.len());
            let mut req = base.clone();
            req.tid = self.ctx.id();
            let end = if whole { "*".to_owned() } else { last.to_string() };
            req = req.line(format!("Byte-Range: {}-{end}/{total}", start + 1));
            req.lines.extend(self.manners.reports.iter().map(|line| (*line).to_owned()));
            req.content = Some((out.content_type.to_owned(), part.to_vec()));
            req.flag = if last == total { '$' } else { '+' };
            let bytes = req.bytes();
            self.unanswered.insert(req.tid, out.key);
            if let Some(cut) = half {
                self.put(&bytes[..bytes.len() / 2]).await?;
                return Err(End::Cut(cut));
            }
            self.put(&bytes).await?;
        }
        self.trap(Step::Sent)
    }

    async fn take(&mut self, frame: Frame) -> Result<(), End> {
        let bound = frame.path_to().first().is_some_and(|to| same(to, &self.own));
        if let Some(status) = frame.status {
            if frame.tid == self.hello && status != 200 {
                (self.tell)(News::Fault(format!("the first SEND is answered {}", frame.start)));
                return Err(End::Closed);
            }
            self.opened()?;
            let Some(key) = self.unanswered.remove(&frame.tid).flatten() else { return Ok(()) };
            if status != 200 {
                self.unanswered.retain(|_, other| *other != Some(key));
            }
            if !self.unanswered.values().any(|other| *other == Some(key)) {
                (self.tell)(News::Fate(key, Fate::Answered(status)));
            }
            return Ok(());
        }
        match frame.method.as_deref() {
            Some("SEND") if !bound => self.put(&response(&frame, "481 No session")).await,
            Some("SEND") => self.take_send(frame).await,
            Some("REPORT") => Ok(()),
            _ => self.put(&response(&frame, "501 Unknown method")).await,
        }
    }

    async fn take_send(&mut self, mut frame: Frame) -> Result<(), End> {
        self.opened()?;
        let answered = matches!(frame.header("failure-report"), None | Some("yes"));
        let Some(part) = frame.body.take() else {
            return if answered { self.put(&response(&frame, "200 OK")).await } else { Ok(()) };
        };
        let id = frame.id().unwrap_or("").to_owned();
        let body = self.partial.entry(id.clone()).or_default();
        let start = frame.range().map_or(1, |(start, ..)| start);
        if start != body.len() as u64 + 1 {
            let why = format!("a chunk begins at {start}, {} was due", body.len() + 1);
            (self.tell)(News::Fault(why));
        }
        body.extend(part);
        let (len, whole) = (body.len(), frame.flag == b'$');
        if len > MAX {
            self.partial.remove(&id);
            return self.put(&response(&frame, "413 Too large")).await;
        }
        self.trap(Step::Chunk)?;
        if whole {
            self.trap(Step::Received)?;
        }
        let mut cut = None;
        // It is kept before it is confirmed.
        if frame.flag != b'+' {
            let body = self.partial.remove(&id).unwrap_or_default();
            if whole {
                cut = self.state.trap(Step::Confirmed);
                let content_type = frame.header("content-type").unwrap_or("").to_owned();
                (self.tell)(News::Content { content_type, body, quiet: cut.is_some() });
            }
        }
        if answered {
            self.put(&response(&frame, "200 OK")).await?;
        }
        if whole && frame.header("success-report") == Some("yes") {
            let report = self.report(&frame, len);
            self.put(&report).await?;
        }
        cut.map_or(Ok(()), |cut| Err(End::Cut(cut)))
    }

    fn report(&self, on: &Frame, len: usize) -> Vec<u8> {
        Req::new("REPORT", self.ctx.id(), on.path_from().join(" "), self.own.clone())
            .line(format!("Message-ID: {}", on.id().unwrap_or("")))
            .line(format!("Byte-Range: 1-{len}/{len}"))
            .line("Status: 000 200 OK")
            .bytes()
    }
}
