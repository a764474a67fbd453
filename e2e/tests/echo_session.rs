//! A message session with the echo of a testbed: INVITE, MSRP to the server itself or through its relay, BYE.

use chappe_e2e::msrp::{Pattern, Peer, Via, patience};
use chappe_e2e::{Message, PATIENCE, Server, Transport, Wire};

const SIZE: usize = 1 << 20;
const CHUNK: usize = 2048;

/// A call of somebody of another domain, whom nobody asks for a password.
struct Call {
    wire: Wire,
    transport: Transport,
    call_id: String,
    to: String,
    target: String,
    cseq: u32,
}

impl Call {
    fn new(server: &Server, transport: Transport) -> Call {
        let wire = Wire::open(server, transport);
        let call_id = format!("echo{}", wire.local().port());
        let target = "sip:echo@localhost".to_owned();
        Call { wire, transport, call_id, to: format!("<{target}>"), target, cseq: 1 }
    }

    fn send(&mut self, method: &str, body: &str) {
        let (local, transport) = (self.wire.local(), self.transport.name());
        let Call { call_id, to, target, cseq, .. } = self;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{call_id}{cseq}{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:guest@example.org>;tag=g\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:guest@{local};transport={}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            transport.to_lowercase(),
            body.len()
        );
        self.wire.send(request.as_bytes()).expect("the server takes it");
    }

    fn next(&mut self) -> Message {
        let bytes = self.wire.receive(PATIENCE).expect("a connection that lives").expect("something from the server");
        Message::read(&bytes)
    }

    /// The final response.
    fn request(&mut self, method: &str, body: &str) -> Message {
        self.send(method, body);
        loop {
            let message = self.next();
            if message.code() >= 200 && message.method() == method {
                return message;
            }
        }
    }

    /// INVITE; with a 200 the call is up, and the URI of the echo comes back.
    fn invite(&mut self, offer: &str) -> Result<String, u16> {
        let answer = self.request("INVITE", offer);
        self.to = answer.header("To").expect("a To").to_owned();
        if answer.code() != 200 {
            self.send("ACK", "");
            return Err(answer.code());
        }
        let contact = answer.header("Contact").expect("a Contact");
        self.target = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        self.send("ACK", "");
        self.cseq += 1;
        let attribute = |name: &str| {
            let line = answer.body.lines().find_map(|line| line.strip_prefix(&format!("a={name}:")));
            line.unwrap_or_else(|| panic!("no a={name} in {}", answer.body)).to_owned()
        };
        assert_eq!(attribute("setup"), "passive");
        assert!(attribute("accept-types").contains("text/plain"));
        let size: usize = attribute("max-size").parse().expect("a number");
        assert!(size >= SIZE);
        Ok(attribute("path"))
    }

    fn bye(&mut self) -> u16 {
        self.request("BYE", "").code()
    }
}

fn offer(path: &str, secure: bool) -> String {
    let protocol = if secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 {protocol} *\r\n\
         a=setup:active\r\na=accept-types:*\r\na=path:{path}\r\n"
    )
}

fn paths(to: &str, from: &str) -> String {
    format!("To-Path: {to}\r\nFrom-Path: {from}\r\n")
}

/// A call and its MSRP connection.
fn session(server: &Server, transport: Transport, via: Via) -> (Call, Peer, String) {
    let secure = via == Via::Tls;
    let peer = Peer::open(server, via, 0);
    let own = format!("{}://{}/own{};tcp", if secure { "msrps" } else { "msrp" }, peer.link.local(), transport.name());
    let mut call = Call::new(server, transport);
    let echo = call.invite(&offer(&own, secure)).expect("a session");
    (call, peer, paths(&echo, &own))
}

/// The next message, of as many chunks as it comes in.
fn received(peer: &mut Peer) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let frame = peer.frame(patience()).expect("a chunk");
        if frame.method != "SEND" {
            assert_eq!(frame.status, 200, "{frame:?}");
            continue;
        }
        if frame.body.is_empty() && frame.header("Content-Type").is_empty() {
            continue;
        }
        let (start, _) = frame.range();
        assert_eq!(start as usize, data.len() + 1);
        data.extend(frame.body);
        if frame.flag == b'$' {
            peer.flush();
            return data;
        }
    }
}

fn text_comes_back(peer: &mut Peer, paths: &str, text: &str) {
    peer.text(paths, text);
    assert_eq!(String::from_utf8_lossy(&received(peer)), text);
}

#[test]
fn text_and_a_megabyte_come_back_and_bye_ends_the_session() {
    let server = Server::start();
    let pairs = [(Transport::Udp, Via::Tcp), (Transport::Tcp, Via::Tls), (Transport::Ws, Via::Tcp)];
    for (transport, via) in pairs {
        let (mut call, mut peer, paths) = session(&server, transport, via);
        text_comes_back(&mut peer, &paths, "Zürich 你好\r\n-------");
        let body = Pattern::new().bytes(0, SIZE);
        let id = peer.id();
        for (index, chunk) in body.chunks(CHUNK).enumerate() {
            let (start, end) = (index * CHUNK + 1, index * CHUNK + chunk.len());
            let flag = if end == SIZE { '$' } else { '+' };
            peer.send(&paths, &format!("Message-ID: {id}\r\nByte-Range: {start}-{end}/{SIZE}\r\n"), chunk, flag);
        }
        assert!(received(&mut peer) == body, "{transport:?} {via:?}: other bytes came back");
        assert_eq!(call.bye(), 200);
        let id = peer.send(&paths, "Message-ID: after-bye\r\nByte-Range: 1-1/1\r\n", b"x", '$');
        assert_eq!(peer.response(&id).status, 481);
    }
}

#[test]
fn a_client_behind_the_relay_has_its_session_too() {
    let server = Server::start();
    for via in [Via::Tcp, Via::Ws] {
        let (mut peer, here) = Peer::with_session(&server, via, 0);
        let mut call = Call::new(&server, Transport::Udp);
        let echo = call.invite(&offer(&format!("{} {}", here.relay, here.own), false)).unwrap();
        let paths = paths(&format!("{} {echo}", here.relay), &here.own);
        text_comes_back(&mut peer, &paths, "through the relay");
        assert_eq!(call.bye(), 200);
    }
}

#[test]
fn what_is_no_message_session_is_refused() {
    let server = Server::start();
    let audio = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let no_path = offer("x", false).replace("a=path:x\r\n", "");
    for body in [audio, no_path.as_str(), ""] {
        assert_eq!(Call::new(&server, Transport::Tcp).invite(body), Err(488), "{body}");
    }
}

#[test]
fn a_delivery_notification_comes_where_it_is_asked_for() {
    let server = Server::start();
    let (mut call, mut peer, paths) = session(&server, Transport::Tcp, Via::Tcp);
    let envelope = "From: <sip:guest@example.org>\r\nTo: <sip:echo@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
                    imdn.Message-ID: wish1\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
                    imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nhello";
    let length = envelope.len();
    let head = format!("Message-ID: cpim-1\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n");
    peer.link.put(format!("MSRP cpim1 SEND\r\n{paths}{head}{envelope}\r\n-------cpim1$\r\n").as_bytes());
    let receipt = String::from_utf8(received(&mut peer)).unwrap();
    assert!(receipt.contains("<message-id>wish1</message-id>") && receipt.contains("<delivered/>"), "{receipt}");
    assert_eq!(String::from_utf8_lossy(&received(&mut peer)), envelope);
    assert_eq!(call.bye(), 200);
}

#[test]
fn a_client_that_dies_gets_bye() {
    let server = Server::start();
    let (mut call, mut peer, paths) = session(&server, Transport::Udp, Via::Tcp);
    text_comes_back(&mut peer, &paths, "here");
    drop(peer);
    let bye = call.next();
    assert_eq!(bye.method(), "BYE", "{bye:?}");
    call.wire.send(bye.response("200 OK", "").as_bytes()).unwrap();
    assert_eq!(call.bye(), 481);
}

#[test]
fn after_a_crash_the_session_and_the_call_are_unknown() {
    let mut server = Server::start();
    let (mut call, mut peer, paths) = session(&server, Transport::Udp, Via::Tcp);
    text_comes_back(&mut peer, &paths, "before");
    server.kill();
    server.restart();
    let mut peer = Peer::open(&server, Via::Tcp, 0);
    let id = peer.send(&paths, "Message-ID: after-crash\r\nByte-Range: 1-1/1\r\n", b"x", '$');
    assert_eq!(peer.response(&id).status, 481);
    assert_eq!(call.bye(), 481);
    // And all begins anew.
    let (mut call, mut peer, paths) = session(&server, Transport::Udp, Via::Tcp);
    text_comes_back(&mut peer, &paths, "after");
    assert_eq!(call.bye(), 200);
}
