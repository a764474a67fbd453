//! Two ends: the transactions of each in its own layer, the wire between them in the hands of the test.

mod link;
mod offers;
mod session;

use std::collections::HashMap;

use super::*;
use crate::layer::testing::{flow, layer};
use crate::layer::{ClientKey, Input, Layer};
use crate::name::Method;
use crate::transaction::reread;
use crate::transaction::testing::{epoch, ms};
use crate::transport::Transport;

/// A user agent with at most one call.
struct Agent {
    name: &'static str,
    transport: Transport,
    policy: Policy,
    layer: Layer,
    usage: Option<Usage>,
    clients: HashMap<RequestId, ClientKey>,
    branches: u32,
    seed: u64,
    /// What the application was told, in short.
    log: Vec<String>,
    /// The INVITE's key and what else waits for an answer of the application.
    asked: Vec<(ServerKey, Arc<Message>)>,
}

impl Agent {
    fn new(name: &'static str, transport: Transport, now: Instant, seed: u64) -> Agent {
        Agent {
            name,
            transport,
            policy: Policy::default(),
            layer: layer(now),
            usage: None,
            clients: HashMap::new(),
            branches: 0,
            seed,
            log: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn call(&mut self, now: Instant, gives_up: Option<u64>) {
        let contact = format!("<sip:{}>", self.name);
        let new = NewInvite {
            request_uri: "sip:b",
            route: "",
            from: "sip:a@example.com",
            to: "sip:b@example.com",
            tag: "at",
            call_id: "c1",
            contact: &contact,
            headers: "X-Wish: this\r\n",
            body: body("offer"),
            gives_up: ms(gives_up.unwrap_or(180_000)),
            secure: false,
            random: self.seed,
        };
        self.usage = Some(Usage::outgoing(&self.policy, now, new));
    }

    /// A packet from the wire.
    fn take(&mut self, now: Instant, bytes: &Bytes) {
        let message = Arc::new(reread(bytes).unwrap());
        match self.layer.handle_message(now, flow(self.transport), &message) {
            Input::NewRequest(key) => match &mut self.usage {
                Some(usage) if !message.to_tag().is_empty() => usage.handle_request(now, key, &message),
                None if message.method() == Method::Invite => {
                    let (tag, contact) = (format!("{}t", self.name), format!("<sip:{}>", self.name));
                    let new = Incoming {
                        key,
                        request: &message,
                        local_tag: &tag,
                        contact: &contact,
                        secure: false,
                        random: self.seed,
                    };
                    match Usage::incoming(&self.policy, new) {
                        Ok(usage) => {
                            self.usage = Some(usage);
                            self.log.push("invite".to_owned());
                        }
                        Err(refused) => {
                            let bytes = refused.reply(&message, &tag);
                            self.layer.respond(now, key, refused.status(), bytes).unwrap();
                        }
                    }
                }
                _ => {
                    let bytes = Reply::new(&message, 481, "none").finish();
                    self.layer.respond(now, key, 481, bytes).unwrap();
                }
            },
            Input::Cancel { cancel, invite } => {
                let status = if invite.is_some() { 200 } else { 481 };
                let bytes = Reply::new(&message, status, &format!("{}t", self.name)).finish();
                self.layer.respond(now, cancel, status, bytes).unwrap();
                if let (Some(usage), Some(invite)) = (&mut self.usage, invite) {
                    usage.handle_cancel(invite, &message);
                }
            }
            Input::Ack(_) => self.usage.iter_mut().for_each(|usage| usage.handle_ack(&message)),
            Input::Response { user, .. } => {
                let id = RequestId(user as u8);
                self.usage.iter_mut().for_each(|usage| usage.handle_response(now, id, &message));
            }
            Input::Absorbed | Input::Stray | Input::Full => {}
        }
    }

    fn fire(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.usage.iter_mut().for_each(|usage| usage.handle_timeout(now));
    }

    fn next(&self) -> Option<Instant> {
        [self.layer.poll_timeout(), self.usage.as_ref().and_then(Usage::poll_timeout)].into_iter().flatten().min()
    }

    /// What goes out now.
    fn send(&mut self, now: Instant) -> Vec<Bytes> {
        let mut out = Vec::new();
        loop {
            while let Some(event) = self.layer.poll_event() {
                use crate::layer::Event as Fired;
                let Some(usage) = &mut self.usage else { continue };
                match event {
                    Fired::ClientTimeout { user, .. } => usage.handle_failure(now, RequestId(user as u8), 408),
                    Fired::ClientFailed { user, .. } => usage.handle_failure(now, RequestId(user as u8), 503),
                    Fired::ClientEnded { user, .. } => usage.handle_transaction_ended(RequestId(user as u8)),
                    Fired::ServerTimeout { .. } | Fired::ServerFailed { .. } | Fired::ServerEnded { .. } => {}
                }
            }
            let Some(output) = self.usage.as_mut().and_then(Usage::poll_output) else { break };
            self.branches += 1;
            let branch = format!("z9hG4bK{}{}", self.name, self.branches);
            let via = format!("SIP/2.0/{} {};branch={branch}", self.transport.via(), self.name);
            match output {
                Output::Respond { key, status, bytes } => {
                    let _ = self.layer.respond(now, key, status, bytes);
                }
                Output::Request(request) => {
                    let (bytes, user) = (request.with_via(&via), u64::from(request.id.0));
                    let (dest, method) = (flow(self.transport).into(), request.method.as_bytes());
                    let key = self.layer.request(now, dest, bytes, branch.as_bytes(), method, user).unwrap();
                    self.clients.insert(request.id, key);
                }
                Output::Ack(ack) => out.push(ack.with_via(&via)),
                Output::Cancel { id, reason } => {
                    self.layer.cancel(now, self.clients[&id], reason.as_deref());
                }
            }
        }
        out.extend(std::iter::from_fn(|| self.layer.poll_transmit()).map(|transmit| transmit.bytes));
        while let Some(event) = self.usage.as_mut().and_then(Usage::poll_event) {
            let line = match event {
                Event::Ringing(response) => format!("ringing {}", response.status()),
                Event::Answered(response) => format!("answered {}", text(response.body())),
                Event::Established(_) => "established".to_owned(),
                Event::Offer(request) => format!("offer {}", text(request.body())),
                Event::OfferAnswered(response) => format!("offer answered {}", text(response.body())),
                Event::OfferRefused { status } => format!("offer refused {status}"),
                Event::Request { key, request } => {
                    let line = format!("request {}", text(request.method_text()));
                    self.asked.push((key, request));
                    line
                }
                Event::Response { status, .. } => format!("response {status}"),
                Event::Ended { why, reason } => match (why, reason) {
                    (End::Failed { status, .. }, _) => format!("failed {status}"),
                    (End::Gone { status }, _) => format!("gone {status}"),
                    (why, None) => format!("ended {why:?}"),
                    (why, Some(reason)) => format!("ended {why:?} {reason}"),
                },
            };
            self.log.push(line);
        }
        out
    }

    fn usage(&mut self) -> &mut Usage {
        self.usage.as_mut().unwrap()
    }
}

fn body(text: &str) -> Body {
    Body { content_type: "application/sdp".into(), bytes: Bytes::from(text.to_owned()) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The start line, without the version.
fn line(bytes: &Bytes) -> String {
    let text = text(bytes);
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("SIP/2.0 ").trim_end_matches(" SIP/2.0").to_owned()
}

/// Two ends and a wire that loses nothing and takes no time, unless the test takes packets off it.
struct Wire {
    now: Instant,
    t0: Instant,
    a: Agent,
    b: Agent,
    /// Start lines in order, with the sender.
    seen: Vec<String>,
    /// Start lines whose packets are lost.
    lost: Vec<&'static str>,
}

impl Wire {
    fn new(transport: Transport) -> Wire {
        let now = epoch();
        let (a, b) = (Agent::new("a", transport, now, 11), Agent::new("b", transport, now, 22));
        Wire { now, t0: now, a, b, seen: Vec::new(), lost: Vec::new() }
    }

    /// A call that is up.
    fn up(transport: Transport) -> Wire {
        let mut wire = Wire::new(transport);
        wire.a.call(wire.now, None);
        wire.settle();
        let now = wire.now;
        wire.b.usage().accept(now, body("answer"), "");
        wire.settle();
        assert_eq!(wire.logs(), (vec!["answered answer"], vec!["invite", "established"]));
        wire.seen.clear();
        wire.a.log.clear();
        wire.b.log.clear();
        wire
    }

    /// Delivers until nothing is under way.
    fn settle(&mut self) {
        loop {
            let (now, lost) = (self.now, self.lost.clone());
            let (from_a, from_b) = (self.a.send(now), self.b.send(now));
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            for (sender, packets) in [("a", from_a), ("b", from_b)] {
                for packet in packets {
                    let line = line(&packet);
                    let is_lost = lost.iter().any(|l| line.starts_with(l));
                    self.seen.push(format!("{sender} {line}{}", if is_lost { " lost" } else { "" }));
                    if !is_lost {
                        let to = if sender == "a" { &mut self.b } else { &mut self.a };
                        to.take(now, &packet);
                    }
                }
            }
        }
    }

    /// Goes on until `ms` after the start.
    fn run(&mut self, until: u64) {
        let until = self.t0 + ms(until);
        self.settle();
        while let Some(at) = [self.a.next(), self.b.next()].into_iter().flatten().min().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let now = self.now;
            self.a.fire(now);
            self.b.fire(now);
            self.settle();
        }
        self.now = until;
    }

    fn logs(&self) -> (Vec<&str>, Vec<&str>) {
        (self.a.log.iter().map(|l| &**l).collect(), self.b.log.iter().map(|l| &**l).collect())
    }

    fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    fn count(&self, line: &str) -> usize {
        self.seen.iter().filter(|seen| seen.trim_end_matches(" lost") == line).count()
    }

    /// Both are rid of everything.
    fn assert_over(&mut self) {
        let until = (self.now - self.t0).as_millis() as u64 + 70_000;
        self.run(until);
        for end in [&self.a, &self.b] {
            assert!(end.usage.as_ref().is_none_or(Usage::is_over), "{}: {:?}", end.name, end.usage);
            assert!(end.layer.is_empty(), "{}", end.name);
        }
    }
}

#[test]
fn a_call_is_made_and_ended() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut wire = Wire::new(transport);
        wire.a.call(wire.now, None);
        wire.settle();
        let now = wire.now;
        wire.b.usage().ring(now, 180, "X-Tune: loud\r\n");
        wire.settle();
        wire.b.usage().accept(now, body("answer"), "");
        wire.settle();
        wire.a.usage().end(Some("SIP;cause=200"));
        wire.settle();
        let seen = ["a INVITE sip:b", "b 180 Ringing", "b 200 OK", "a ACK sip:b", "a BYE sip:b", "b 200 OK"];
        assert_eq!(wire.seen(), seen);
        let (a, b) = wire.logs();
        assert_eq!(a, ["ringing 180", "answered answer", "ended Ours SIP;cause=200"]);
        assert_eq!(b, ["invite", "established", "ended Peer SIP;cause=200"]);
        wire.assert_over();
    }
}

#[test]
fn a_2xx_is_repeated_until_its_ack_comes_whatever_the_transport() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut wire = Wire::new(transport);
        wire.a.call(wire.now, None);
        wire.settle();
        wire.lost = vec!["ACK"];
        let now = wire.now;
        wire.b.usage().accept(now, body("answer"), "");
        wire.run(8_000);
        // At 0, 500, 1500, 3500 and 7500 ms, each with an ACK of its own.
        assert_eq!((wire.count("b 200 OK"), wire.count("a ACK sip:b")), (5, 5));
        wire.lost.clear();
        wire.run(12_000);
        assert_eq!((wire.count("b 200 OK"), wire.count("a ACK sip:b")), (6, 6));
        assert_eq!(wire.logs(), (vec!["answered answer"], vec!["invite", "established"]));
    }
}

#[test]
fn a_2xx_without_an_ack_ends_in_bye() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.call(wire.now, None);
    wire.settle();
    wire.lost = vec!["ACK"];
    let now = wire.now;
    wire.b.usage().accept(now, body("answer"), "");
    wire.run(31_900);
    assert_eq!(wire.count("b BYE sip:a"), 0);
    wire.run(32_100);
    assert_eq!(wire.count("b BYE sip:a"), 1);
    assert_eq!(wire.logs(), (vec!["answered answer", "ended Peer"], vec!["invite", "ended NoAck"]));
    wire.assert_over();
}

#[test]
fn a_bye_of_the_callee_waits_for_the_ack() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.call(wire.now, None);
    wire.settle();
    wire.lost = vec!["ACK"];
    let now = wire.now;
    wire.b.usage().accept(now, body("answer"), "");
    wire.b.usage().end(Some("SIP;cause=500"));
    wire.run(1_000);
    assert_eq!(wire.count("b BYE sip:a"), 0);
    wire.lost.clear();
    wire.run(2_000);
    assert_eq!(wire.count("b BYE sip:a"), 1);
    let (a, b) = wire.logs();
    assert_eq!(a, ["answered answer", "ended Peer SIP;cause=500"]);
    assert_eq!(b, ["invite", "established", "ended Ours SIP;cause=500"]);
    wire.assert_over();
}

#[test]
fn a_call_that_is_refused_or_cancelled_ends_at_both() {
    for (name, act, a, b) in [
        ("refused", 0, "failed 486", "ended Ours"),
        ("declined by end()", 1, "failed 603", "ended Ours"),
        ("cancelled", 2, "ended Ours", "ended Cancelled SIP;cause=200"),
        ("given up", 3, "ended Ours", "ended Cancelled SIP;cause=408;text=\"Request Timeout\""),
    ] {
        let mut wire = Wire::new(Transport::Udp);
        wire.a.call(wire.now, (act == 3).then_some(20_000));
        wire.settle();
        let now = wire.now;
        wire.b.usage().ring(now, 180, "");
        wire.settle();
        match act {
            0 => wire.b.usage().reject(486, ""),
            1 => wire.b.usage().end(None),
            2 => wire.a.usage().end(Some("SIP;cause=200")),
            _ => {}
        }
        wire.run(21_000);
        assert_eq!(wire.logs(), (vec!["ringing 180", a], vec!["invite", b]), "{name}");
        wire.assert_over();
    }
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.call(wire.now, None);
    wire.settle();
    let now = wire.now;
    wire.b.usage().ring(now, 180, "");
    wire.settle();
    wire.b.usage().accept(now, body("answer"), "");
    wire.a.usage().end(None);
    wire.settle();
    assert_eq!(wire.logs(), (vec!["ringing 180", "ended Ours"], vec!["invite", "established", "ended Peer"]));
    wire.assert_over();
}

#[test]
fn a_caller_may_say_bye_before_the_answer() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.call(wire.now, None);
    wire.settle();
    let bye = "BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=at\r\n\
        To: <sip:b@h>;tag=bt\r\nCall-ID: c1\r\nCSeq: 2 BYE\r\n\r\n";
    let now = wire.now;
    wire.b.take(now, &Bytes::from(bye));
    assert_eq!(wire.b.send(now).iter().map(line).collect::<Vec<_>>(), ["200 OK", "487 Request Terminated"]);
    assert_eq!(wire.b.log, ["invite", "ended Peer"]);
}

#[test]
fn a_provisional_answer_is_repeated_each_minute() {
    let mut wire = Wire::new(Transport::Tcp);
    wire.a.call(wire.now, None);
    wire.settle();
    let now = wire.now;
    wire.b.usage().ring(now, 180, "");
    wire.run(190_000);
    assert_eq!(wire.count("b 180 Ringing"), 4);
}

#[test]
fn an_invite_without_a_contact_makes_no_call() {
    let invite = "INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=at\r\n\
        To: <sip:b@h>\r\nCall-ID: c1\r\nCSeq: 2 INVITE\r\n\r\n";
    let mut wire = Wire::new(Transport::Udp);
    let now = wire.now;
    wire.b.take(now, &Bytes::from(invite));
    assert_eq!(wire.b.send(now).iter().map(line).collect::<Vec<_>>(), ["400 Bad Request"]);
}

#[test]
fn the_first_branch_of_a_fork_wins_and_the_others_are_ended() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.call(wire.now, None);
    let now = wire.now;
    let invite = wire.a.send(now).remove(0);
    let mut answers = Vec::new();
    for name in ["b", "d", "e"] {
        let mut end = Agent::new(name, Transport::Udp, now, 1);
        end.take(now, &invite);
        end.usage().accept(now, body(name), "");
        answers.extend(end.send(now));
    }
    let mut sent = Vec::new();
    // The copy of a loser's 2xx gets its ACK once more, and no second BYE.
    for answer in [&answers[0], &answers[1], &answers[2], &answers[1]] {
        wire.a.take(now, answer);
        sent.extend(wire.a.send(now).iter().map(line));
    }
    let expected = ["ACK sip:b", "ACK sip:d", "BYE sip:d", "ACK sip:e", "BYE sip:e", "ACK sip:d"];
    assert_eq!(sent, expected);
    assert_eq!(wire.a.log, ["answered b"]);
    assert!(wire.a.usage().is_up());
}

#[test]
fn a_callee_that_is_not_there_is_a_408() {
    let mut wire = Wire::new(Transport::Udp);
    wire.lost = vec!["INVITE"];
    wire.a.call(wire.now, None);
    wire.run(40_000);
    assert_eq!(wire.logs(), (vec!["failed 408"], vec![]));
    wire.assert_over();
}
