//! A relay on loopback and clients that speak to it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_auth::{Algorithm, GateConfig, Ha1Forms, Ha1Set, Qop, Username};
use chappe_msrp::{Event, Flag, Head, Limits, Parser};
use chappe_net::{ClientAuth, Config, HttpIo, ListenerConfig, Net, Upgrade, UpgradedSocket};
use chappe_store::Secrets;
use tokio::runtime::Runtime;

use super::super::{Accounts, Front, Local, Relay, Settings};
use crate::directory::Entry;

/// Nothing takes so long unless it is broken.
pub(super) const WAIT: Duration = Duration::from_secs(20);

/// `user0`, `user1`, … with `pass0`, `pass1`, …; user9 is disabled.
struct Numbered;

impl Accounts for Numbered {
    fn secrets(&self, name: &Username<'_>, realm: &str) -> Option<(Arc<Entry>, Ha1Set)> {
        let number: u32 = name.user.strip_prefix("user")?.parse().ok()?;
        let forms = Ha1Forms::from_password(name.user, realm, format!("pass{number}").as_bytes());
        let entry = Arc::new(Entry {
            aor: format!("{}@{realm}", name.user).into(),
            secrets: Secrets(forms.to_bytes()),
            tel: Box::default(),
            display_name: "".into(),
            disabled: number == 9,
            lists: None,
        });
        Some((entry, forms.get(name.form).clone()))
    }
}

pub(super) struct Bed {
    pub relay: Arc<Relay>,
    pub net: Net,
    pub address: SocketAddr,
    /// Where WebSockets would come in.
    pub websocket: SocketAddr,
    http: TcpListener,
    runtime: Runtime,
}

impl Bed {
    pub(super) fn new(change: impl FnOnce(&mut Settings)) -> Bed {
        Bed::known_as(false, change)
    }

    /// `secure`: the relay hands out `msrps` URIs, though clients come to it without TLS.
    pub(super) fn known_as(secure: bool, change: impl FnOnce(&mut Settings)) -> Bed {
        Bed::on("tcp", secure, change)
    }

    /// With a certificate of its own, which it has signed itself.
    pub(super) fn over_tls() -> Bed {
        Bed::on("tls", true, |_| {})
    }

    fn on(scheme: &str, secure: bool, change: impl FnOnce(&mut Settings)) -> Bed {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let context = runtime.enter();
        let mut listener: ListenerConfig = format!("{scheme}://127.0.0.1:0").parse().unwrap();
        (listener.raw, listener.client_auth) = (true, Some(ClientAuth::Fingerprint));
        let mut web: ListenerConfig = "ws://127.0.0.1:0".parse().unwrap();
        (web.raw, web.subprotocol) = (true, "msrp");
        let mut config = Config { listeners: vec![listener, web], ..Config::default() };
        config.limits.high_mark = super::super::SOCKET_MARK;
        config.limits.low_mark = super::super::SOCKET_MARK / 4;
        config.limits.send_buffer = 64 * 1024;
        let net = Net::bind(config).unwrap();
        let address = net.listener(0).unwrap().local;
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let websocket = http.local_addr().unwrap();
        net.set_address(1, websocket);
        let mut local = Local::new(None);
        local.add_port(websocket);
        local.add_host("localhost");
        local.add_listener(secure, address, "127.0.0.1");
        let gate = GateConfig {
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            qop: vec![Qop::Auth],
            ..GateConfig::default()
        };
        let mut settings = Settings::default();
        change(&mut settings);
        let relay = Relay::new(settings, local, Arc::new(Numbered), gate, &[7; 32], 0, runtime.handle().clone());
        relay.set_net(net.clone());
        net.run(Arc::new(Front(Arc::clone(&relay)))).unwrap();
        drop(context);
        Bed { relay, net, address, websocket, http, runtime }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// A browser, after the HTTP part.
    pub(super) fn websocket(&self) -> Browser {
        let stream = TcpStream::connect(self.websocket).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let (accepted, remote) = self.http.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let _context = self.runtime.enter();
        let io = HttpIo::Plain(tokio::net::TcpStream::from_std(accepted).unwrap());
        let upgrade = Upgrade { protocol: "msrp".into(), path: "/ws".into(), ..Upgrade::default() };
        let socket = UpgradedSocket { io, leftover: Bytes::new(), remote, listener: 1, upgrade };
        self.net.adopt_websocket(socket).expect("admitted");
        Browser { stream }
    }

    /// A client that has a session.
    pub(super) fn session(&self, user: u32) -> (Client, String) {
        let mut client = self.client();
        let path = client.auth(user, "");
        (client, path)
    }

    /// Waits until something holds; it comes from another thread.
    pub(super) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < WAIT, "{what}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.runtime.block_on(self.net.close_all(Instant::now() + Duration::from_millis(100)));
    }
}

/// A frame as it came.
pub(super) struct Got {
    pub head: Head,
    pub body: Vec<u8>,
    pub flag: Flag,
}

impl Got {
    /// Method or code.
    pub(super) fn kind(&self) -> String {
        self.head.status().map_or_else(|| self.head.word().to_owned(), |code| code.to_string())
    }
}

pub(super) struct Client {
    pub stream: TcpStream,
    /// Our URI.
    pub uri: String,
    parser: Parser,
    got: VecDeque<Got>,
    reading: Option<(Head, Vec<u8>)>,
    serial: u32,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        let uri = format!("msrp://{}/cl1ent;tcp", stream.local_addr().unwrap());
        let parser = Parser::new(Limits::default());
        Client { stream, uri, parser, got: VecDeque::new(), reading: None, serial: 0 }
    }

    pub(super) fn write(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    pub(super) fn id(&mut self) -> String {
        self.serial += 1;
        format!("tr{:06}", self.serial)
    }

    /// The next frame; `None` when the relay has closed.
    pub(super) fn read(&mut self) -> Option<Got> {
        while self.got.is_empty() {
            self.fill()?;
        }
        self.got.pop_front()
    }

    /// The head of a frame that has begun and not ended.
    pub(super) fn begun(&mut self) -> Head {
        loop {
            if let Some((head, _)) = &self.reading {
                return head.clone();
            }
            self.fill().expect("a frame");
        }
    }

    /// Reads once; `None` when the relay has closed.
    fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        };
        let mut input = &buffer[..count];
        while let Some(event) = self.parser.next(&mut input).expect("well-formed") {
            match event {
                Event::Head(head) => self.reading = Some((head, Vec::new())),
                Event::Body(bytes) => self.reading.as_mut().unwrap().1.extend_from_slice(bytes),
                Event::End(flag) => {
                    let (head, body) = self.reading.take().unwrap();
                    self.got.push_back(Got { head, body, flag });
                }
            }
        }
        Some(())
    }

    pub(super) fn expect(&mut self, kind: &str) -> Got {
        let got = self.read().unwrap_or_else(|| panic!("closed, expected {kind}"));
        assert_eq!(got.kind(), kind, "{:?}", String::from_utf8_lossy(got.head.bytes()));
        got
    }

    /// Answers a request before it has ended.
    pub(super) fn reply_early(&mut self, code: u16) {
        let mut buffer = vec![0; 4096];
        let mut answer = Vec::new();
        while answer.is_empty() {
            let count = self.stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "closed");
            let mut input = &buffer[..count];
            while let Some(event) = self.parser.next(&mut input).expect("well-formed") {
                match event {
                    Event::Head(head) => {
                        assert!(chappe_msrp::write::response(&mut answer, &head, code, ""));
                        self.reading = Some((head, Vec::new()));
                    }
                    Event::Body(bytes) => self.reading.as_mut().unwrap().1.extend_from_slice(bytes),
                    Event::End(_) => panic!("it has ended"),
                }
            }
        }
        self.write(answer);
    }

    pub(super) fn auth_request(&mut self, to: &str, headers: &str) {
        let id = self.id();
        self.write(format!("MSRP {id} AUTH\r\nTo-Path: {to}\r\nFrom-Path: {}\r\n{headers}-------{id}$\r\n", self.uri));
    }

    /// The answer to a challenge, by MD5.
    pub(super) fn answer(challenge: &Head, user: &str, password: &str, uri: &str) -> String {
        use md5::{Digest as _, Md5};
        let md5 = |text: String| Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let offered = challenge.lines().filter(|line| line.name == "WWW-Authenticate");
        let value = offered.map(|line| line.value).find(|value| value.contains("algorithm=MD5")).expect("MD5 offered");
        let part = |name: &str| value.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        let (realm, nonce) = (part("realm"), part("nonce"));
        let ha1 = md5(format!("{user}:{realm}:{password}"));
        let ha2 = md5(format!("AUTH:{uri}"));
        let response = md5(format!("{ha1}:{nonce}:00000001:c0ffee:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", qop=auth, nc=00000001, \
             cnonce=\"c0ffee\", algorithm=MD5, response=\"{response}\"\r\n"
        )
    }

    /// The whole exchange; gives the URI.
    pub(super) fn auth(&mut self, user: u32, headers: &str) -> String {
        let granted = self.auth_as(&format!("user{user}"), &format!("pass{user}"), headers);
        assert_eq!(granted.kind(), "200");
        let info = granted.head.header("Authentication-Info").expect("mandatory");
        assert!(info.contains("rspauth=\"") && info.contains("qop=auth"), "{info}");
        granted.head.header("Use-Path").expect("mandatory").to_owned()
    }

    pub(super) fn auth_as(&mut self, user: &str, password: &str, headers: &str) -> Got {
        let to = format!("msrp://{}@{};tcp", user, self.stream.peer_addr().unwrap());
        self.auth_request(&to, "");
        let challenge = self.expect("401");
        let credentials = Client::answer(&challenge.head, user, password, &to);
        self.auth_request(&to, &format!("{credentials}{headers}"));
        self.read().expect("an answer")
    }

    /// A SEND in one chunk; gives its transaction id.
    pub(super) fn send(&mut self, to: &str, message: &str, headers: &str, body: &[u8]) -> String {
        let id = self.id();
        let mut frame = format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {}\r\nMessage-ID: {message}\r\nByte-Range: 1-{len}/{len}\r\n\
             {headers}Content-Type: text/plain\r\n\r\n",
            self.uri,
            len = body.len()
        )
        .into_bytes();
        frame.extend_from_slice(body);
        frame.extend_from_slice(format!("\r\n-------{id}$\r\n").as_bytes());
        self.write(frame);
        id
    }

    /// The head of a SEND of unknown length.
    pub(super) fn begin(&mut self, to: &str, message: &str, headers: &str) -> String {
        let id = self.id();
        let from = self.uri.clone();
        self.write(format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message}\r\nByte-Range: 1-*/*\r\n\
             {headers}Content-Type: text/plain\r\n\r\n"
        ));
        id
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, got: &Got, code: u16) {
        let mut frame = Vec::new();
        chappe_msrp::write::response(&mut frame, &got.head, code, "");
        self.write(frame);
    }
}

/// The client's side of a WebSocket.
pub(super) struct Browser {
    stream: TcpStream,
}

impl Browser {
    /// One binary message, in fragments of `size`.
    pub(super) fn send(&mut self, message: &[u8], size: usize) {
        let count = message.len().div_ceil(size);
        let mut bytes = Vec::new();
        for (index, part) in message.chunks(size).enumerate() {
            let (opcode, last) = (if index == 0 { 2 } else { 0 }, index + 1 == count);
            bytes.push(opcode | if last { 0x80 } else { 0 });
            assert!(part.len() < 65_536);
            if part.len() < 126 {
                bytes.push(0x80 | part.len() as u8);
            } else {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            }
            let mask = [1, 2, 3, 4];
            bytes.extend_from_slice(&mask);
            bytes.extend(part.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        self.stream.write_all(&bytes).unwrap();
    }

    pub(super) fn frame(&mut self) -> Got {
        self.try_frame().expect("a message")
    }

    /// The next message, which has to be one frame; `None` when the relay has closed.
    pub(super) fn try_frame(&mut self) -> Option<Got> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let mut length = usize::from(head[1]);
        let size = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if size > 0 {
            let mut bytes = vec![0; size];
            self.stream.read_exact(&mut bytes).ok()?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).ok()?;
        match head[0] {
            0x88 => return None,
            kind => assert!(kind == 0x82 || kind == 0x81, "{kind:x}"),
        }
        let (mut parser, mut input) = (Parser::new(Limits::default()), &message[..]);
        let Some(Event::Head(head)) = parser.next(&mut input).expect("well-formed") else { panic!("no head") };
        let mut body = Vec::new();
        loop {
            match parser.next(&mut input).expect("well-formed") {
                Some(Event::Body(bytes)) => body.extend_from_slice(bytes),
                Some(Event::End(flag)) => {
                    assert!(input.is_empty(), "one frame in a message");
                    return Some(Got { head, body, flag });
                }
                _ => panic!("a frame that does not end"),
            }
        }
    }
}

/// A next hop of another domain.
pub(super) struct Foreign {
    listener: TcpListener,
    pub uri: String,
}

impl Foreign {
    pub(super) fn new() -> Foreign {
        Foreign::at("127.0.0.1:0")
    }

    pub(super) fn at(address: &str) -> Foreign {
        let listener = TcpListener::bind(address).unwrap();
        let uri = format!("msrp://{}/f0re1gn;tcp", listener.local_addr().unwrap());
        Foreign { listener, uri }
    }

    pub(super) fn accept(&self) -> Client {
        let (stream, _) = self.listener.accept().unwrap();
        let mut client = Client::new(stream);
        client.uri = self.uri.clone();
        client
    }
}

/// Bytes that differ from place to place.
pub(super) fn pattern(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}
