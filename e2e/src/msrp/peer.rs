//! A client of the relay (RFC 4976): one connection and the sessions on it.

use std::time::Instant;

use super::frame::{Event, Frame, Frames};
use super::link::{Link, Via, patience};
use crate::{DOMAIN, Server, digest};

/// Bytes read at a time.
const READ: usize = 256 * 1024;

/// One end of a session: the URI of the client and that of the relay in front of it.
#[derive(Debug, Clone)]
pub struct Session {
    pub own: String,
    pub relay: String,
}

impl Session {
    /// To-Path and From-Path from here to there.
    #[must_use]
    pub fn paths(&self, there: &Session) -> String {
        format!("To-Path: {} {} {}\r\nFrom-Path: {}\r\n", self.relay, there.relay, there.own, self.own)
    }
}

/// A connection to the relay.
#[derive(Debug)]
pub struct Peer {
    pub link: Link,
    pub frames: Frames,
    user: usize,
    ids: u64,
    /// SENDs are answered with 200 at their end.
    pub answers: bool,
    /// What is answered at its end.
    current: Option<Frame>,
}

impl Peer {
    /// Connects; there is no session yet.
    #[must_use]
    pub fn open(server: &Server, via: Via, user: usize) -> Peer {
        let link = Link::open(server, via);
        Peer { link, frames: Frames::default(), user, ids: 0, answers: true, current: None }
    }

    /// With a session.
    #[must_use]
    pub fn with_session(server: &Server, via: Via, user: usize) -> (Peer, Session) {
        let mut peer = Peer::open(server, via, user);
        let session = peer.session();
        (peer, session)
    }

    /// A new transaction or message id.
    pub fn id(&mut self) -> String {
        self.ids += 1;
        format!("e2e{:08x}", self.ids)
    }

    /// A session, by AUTH.
    ///
    /// # Panics
    /// When the relay gives none.
    pub fn session(&mut self) -> Session {
        let scheme = if self.link.via == Via::Tls { "msrps" } else { "msrp" };
        let transport = if self.link.via == Via::Ws { "ws" } else { "tcp" };
        let own = format!("{scheme}://{}/s{}-{};{transport}", self.link.local(), self.user, self.ids);
        let relay = format!("{scheme}://user{}@{DOMAIN};{transport}", self.user);
        let challenge = self.request("AUTH", &format!("To-Path: {relay}\r\nFrom-Path: {own}\r\n"));
        assert_eq!(challenge.status, 401, "{challenge:?}");
        let all = challenge.headers.iter().filter(|(name, _)| name == "WWW-Authenticate");
        let all: Vec<_> = all.map(|(_, value)| value.as_str()).collect();
        let (name, password) = (format!("user{}", self.user), format!("pass{}", self.user));
        let answer = digest::answer(&all, &name, &password, "AUTH", &relay).expect("MD5 is offered");
        let granted =
            self.request("AUTH", &format!("To-Path: {relay}\r\nFrom-Path: {own}\r\nAuthorization: {answer}\r\n"));
        assert_eq!(granted.status, 200, "{granted:?}");
        Session { own, relay: granted.header("Use-Path").to_owned() }
    }

    /// Sends a request without a body, and waits for its response.
    pub fn request(&mut self, method: &str, headers: &str) -> Frame {
        let id = self.id();
        self.link.put(format!("MSRP {id} {method}\r\n{headers}-------{id}$\r\n").as_bytes());
        self.response(&id)
    }

    /// Puts a SEND on its way; returns its transaction id. `headers` come before Content-Type.
    pub fn send(&mut self, paths: &str, headers: &str, body: &[u8], flag: char) -> String {
        let id = self.id();
        let frame = send_frame(&id, paths, headers, body, flag);
        self.link.put(&frame);
        id
    }

    /// A whole text message; returns its Message-ID.
    pub fn text(&mut self, paths: &str, text: &str) -> String {
        let id = self.id();
        self.send(paths, &format!("Message-ID: {id}\r\nByte-Range: 1-{0}/{0}\r\n", text.len()), text.as_bytes(), '$');
        id
    }

    /// The response to a transaction; other frames are dropped, SENDs among them answered.
    ///
    /// # Panics
    /// When it does not come.
    pub fn response(&mut self, id: &str) -> Frame {
        loop {
            let frame = self.frame(patience()).unwrap_or_else(|| panic!("no response to {id}: {self:?}"));
            if frame.status > 0 && frame.id == id {
                return frame;
            }
        }
    }

    /// The next frame with its body; `None` if none is there at `deadline` or the connection has ended.
    pub fn frame(&mut self, deadline: Instant) -> Option<Frame> {
        let mut whole = Frame::default();
        loop {
            match self.event(deadline)? {
                Event::Head(frame) => whole = frame,
                Event::Body(data) => whole.body.extend(data),
                Event::End(flag) => {
                    whole.flag = flag;
                    return Some(whole);
                }
            }
        }
    }

    /// The next event of any frame, as it comes.
    pub fn event(&mut self, deadline: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.at_hand() {
                return Some(event);
            }
            if self.link.ended || Instant::now() > deadline {
                return None;
            }
            self.link.step(&mut self.frames.input, READ, deadline);
        }
    }

    /// The next event of what was read before.
    pub fn at_hand(&mut self) -> Option<Event> {
        let event = self.frames.event()?;
        match &event {
            Event::Head(frame) => self.current = Some(frame.clone()),
            Event::Body(_) => {}
            Event::End(_) => {
                if let Some(frame) = self.current.take().filter(|frame| self.answers && frame.method == "SEND") {
                    self.answer(&frame);
                }
            }
        }
        Some(event)
    }

    fn answer(&mut self, frame: &Frame) {
        let first = |name| frame.header(name).split(' ').next().unwrap_or_default();
        let (id, to, from) = (&frame.id, first("From-Path"), first("To-Path"));
        let ok = format!("MSRP {id} 200 OK\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{id}$\r\n");
        self.link.put(ok.as_bytes());
    }

    /// Reports a message as received.
    pub fn report(&mut self, frame: &Frame, length: u64) {
        let (id, to, from) = (self.id(), frame.header("From-Path"), frame.header("To-Path"));
        let message = frame.header("Message-ID");
        let report = format!(
            "MSRP {id} REPORT\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message}\r\n\
             Byte-Range: 1-{length}/{length}\r\nStatus: 000 200 OK\r\n-------{id}$\r\n"
        );
        self.link.put(report.as_bytes());
    }

    /// Gives all that is on its way out to the socket.
    ///
    /// # Panics
    /// When the server takes nothing for too long.
    pub fn flush(&mut self) {
        let deadline = patience();
        while self.link.is_writing() && !self.link.ended {
            self.step(deadline);
            assert!(Instant::now() < deadline, "the server reads nothing");
        }
    }

    /// Reads and writes what can be, and waits until `deadline` where nothing can.
    pub fn step(&mut self, deadline: Instant) {
        self.link.step(&mut self.frames.input, READ, deadline);
    }
}

/// A SEND on the wire.
#[must_use]
pub fn send_frame(id: &str, paths: &str, headers: &str, body: &[u8], flag: char) -> Vec<u8> {
    let mut frame = format!("MSRP {id} SEND\r\n{paths}{headers}Content-Type: text/plain\r\n\r\n").into_bytes();
    frame.extend_from_slice(body);
    frame.extend_from_slice(format!("\r\n-------{id}{flag}\r\n").as_bytes());
    frame
}
