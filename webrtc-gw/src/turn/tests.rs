//! Clients and peers in virtual time.

use std::time::Duration;

use super::*;

const REALM: &str = "localhost";
const WALL: u64 = 1_700_000_000;

#[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// A relay on 127.0.0.1 that can send to 192.0.2.0/24, and what came out of it.
struct Bed {
    server: Server,
    start: Instant,
    now: Instant,
    next_port: u16,
    next: u8,
}

/// An answer: its class and method, and its attributes.
#[derive(Debug, PartialEq)]
struct Answer {
    kind: u16,
    attributes: Vec<(u16, Vec<u8>)>,
    bytes: Vec<u8>,
}

impl Answer {
    fn read(bytes: Vec<u8>) -> Answer {
        let mut attributes = Vec::new();
        let mut at = 20;
        while at < bytes.len() {
            let (name, value, next) = crate::stun::attribute(&bytes, at).unwrap();
            attributes.push((name, value.to_vec()));
            at = next;
        }
        Answer { kind: u16::from_be_bytes([bytes[0], bytes[1]]), attributes, bytes }
    }

    fn get(&self, name: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| &value[..])
    }

    /// 0 is a success.
    fn code(&self) -> u16 {
        self.get(0x0009).map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    fn address(&self, name: u16) -> SocketAddr {
        message::address(self.get(name).unwrap(), &self.bytes[4..20]).unwrap()
    }

    fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.get(0x000d).unwrap().try_into().unwrap())
    }
}

struct Login {
    grant: Grant,
    nonce: Vec<u8>,
}

fn client(port: u16) -> Client {
    Client { listener: 0, stream: false, remote: SocketAddr::from(([198, 51, 100, 9], port)) }
}

fn peer(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

impl Bed {
    fn with(limits: Limits) -> Bed {
        let peers = Peers { allowed: vec![("192.0.2.0".parse().unwrap(), 24)], media: Vec::new() };
        let start = epoch();
        let server = Server::new(Authority::new(REALM, b"secret"), peers, limits, 10_000);
        Bed { server, start, now: start, next_port: 50_000, next: 0 }
    }

    fn new() -> Bed {
        Bed::with(Limits { allocations: 10, per_user: 2, rate: 100_000, stun: false })
    }

    fn time(&self) -> Time {
        Time { now: self.now, wall: WALL + (self.now - self.start).as_secs() }
    }

    /// Everything that is to be done, with ports opened on the way.
    fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.server.poll_action() {
            if let Action::Open { client, family } = action {
                let outcome = match family {
                    Family::V6 => Err(NotOpened::Family),
                    Family::V4 => Ok(SocketAddr::from(([127, 0, 0, 1], self.next_port))),
                };
                self.next_port += 1;
                self.server.opened(client, outcome, self.now);
            } else {
                actions.push(action);
            }
        }
        actions
    }

    fn packet(&mut self, from: Client, bytes: &[u8]) -> Vec<Action> {
        self.server.handle_packet(from, bytes, self.time());
        self.actions()
    }

    /// Sends a request and gives its answer.
    fn ask(&mut self, from: Client, bytes: &[u8]) -> Answer {
        match &mut self.packet(from, bytes)[..] {
            [.., Action::Answer { client, bytes }] if *client == from => Answer::read(std::mem::take(bytes)),
            other => panic!("no answer but {other:?}"),
        }
    }

    fn draft(&mut self, method: Method) -> Draft {
        self.next += 1;
        Draft::ask(method, [self.next; 12])
    }

    fn log_in(&mut self, from: Client, user: &str) -> Login {
        let bytes = self.draft(Method::Allocate).finish(None);
        let nonce = self.ask(from, &bytes).get(0x0015).unwrap().to_vec();
        Login { grant: self.server.authority().grant(user, self.time().wall + 60), nonce }
    }

    fn signed(&self, draft: Draft, login: &Login) -> Vec<u8> {
        let key = self.server.authority().signer(&login.grant.username).unwrap().key;
        let draft = draft.with(0x0006, login.grant.username.as_bytes()).with(0x0014, REALM.as_bytes());
        draft.with(0x0015, &login.nonce).finish(Some(&key))
    }

    /// Asks with credentials.
    fn ask_signed(&mut self, from: Client, login: &Login, draft: Draft) -> Answer {
        let bytes = self.signed(draft, login);
        self.ask(from, &bytes)
    }

    fn allocate(&mut self, from: Client, user: &str) -> (Login, SocketAddr) {
        let login = self.log_in(from, user);
        let draft = self.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]);
        let answer = self.ask_signed(from, &login, draft);
        assert_eq!(answer.code(), 0, "{answer:?}");
        assert_eq!(answer.address(0x0020), from.remote);
        (login, answer.address(0x0016))
    }

    fn permit(&mut self, from: Client, login: &Login, peers: &[SocketAddr]) -> u16 {
        let draft = self.draft(Method::CreatePermission);
        let draft = peers.iter().fold(draft, |draft, peer| draft.peer(*peer));
        self.ask_signed(from, login, draft).code()
    }

    fn bind(&mut self, from: Client, login: &Login, channel: u16, peer: SocketAddr) -> u16 {
        let value = [channel.to_be_bytes(), [0; 2]].concat();
        let draft = self.draft(Method::ChannelBind).with(0x000c, &value).peer(peer);
        self.ask_signed(from, login, draft).code()
    }

    fn send(&mut self, from: Client, to: SocketAddr, data: &[u8]) -> Vec<Action> {
        let bytes = self.draft(Method::Send).peer(to).with(0x0013, data).finish(None);
        self.packet(from, &bytes)
    }

    fn pass(&mut self, seconds: u64) -> Vec<Action> {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
        self.actions()
    }
}

#[test]
fn who_has_no_credentials_is_challenged_in_a_few_bytes() {
    let mut bed = Bed::new();
    let bytes = bed.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]).finish(None);
    let answer = bed.ask(client(1), &bytes);
    assert_eq!((answer.kind, answer.code()), (0x0113, 401));
    assert_eq!(answer.get(0x0014), Some(REALM.as_bytes()));
    assert!(answer.bytes.len() < 160, "{}", answer.bytes.len());
    assert!(bed.server.is_empty());
}

#[test]
fn credentials_count_for_their_time_their_client_and_with_their_password() {
    let mut bed = Bed::new();
    let login = bed.log_in(client(1), "user0");
    let allocate = |bed: &mut Bed| bed.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]);
    let draft = allocate(&mut bed);
    let bytes = bed.signed(draft, &login);
    // The password of another name.
    let mut forged = bytes.clone();
    let at = forged.windows(5).position(|window| window == b"user0").unwrap();
    forged[at + 4] = b'1';
    let length = forged.len() - 8;
    let sum = crate::stun::checksum(&forged[..length]).to_be_bytes();
    forged[length + 4..].copy_from_slice(&sum);
    assert_eq!(bed.ask(client(1), &forged).code(), 401);
    // The nonce of another client.
    assert_eq!(bed.ask(client(2), &bytes).code(), 438);
    bed.pass(60);
    assert_eq!(bed.ask(client(1), &bytes).code(), 401, "too late");
    let login = Login { nonce: Vec::new(), ..login };
    let draft = allocate(&mut bed);
    assert_eq!(bed.ask_signed(client(1), &login, draft).code(), 438);
    let key = bed.server.authority().signer(&login.grant.username).unwrap().key;
    let bytes = allocate(&mut bed).finish(Some(&key));
    assert_eq!(bed.ask(client(1), &bytes).code(), 400, "without a name");
    assert_eq!(bed.server.counters().challenged, 6);
}

#[test]
fn data_passes_both_ways_by_indications_once_it_is_permitted() {
    let mut bed = Bed::new();
    let (login, relayed) = bed.allocate(client(1), "user0");
    assert_eq!(relayed, SocketAddr::from(([127, 0, 0, 1], 50_000)));
    assert_eq!(bed.send(client(1), peer(1, 7), b"early"), []);
    assert_eq!(bed.permit(client(1), &login, &[peer(1, 0)]), 0);
    let sent = bed.send(client(1), peer(1, 7), b"hello");
    assert_eq!(sent, [Action::Relay { client: client(1), to: peer(1, 7), bytes: b"hello".to_vec() }]);

    let (client_1, now) = (client(1), bed.now);
    bed.server.handle_peer(client_1, peer(1, 7), b"answer", now);
    let [Action::Answer { bytes, .. }] = &bed.actions()[..] else { panic!("no indication") };
    let came = Answer::read(bytes.clone());
    assert_eq!((came.kind, came.address(0x0012), came.get(0x0013)), (0x0017, peer(1, 7), Some(&b"answer"[..])));
    bed.server.handle_peer(client_1, peer(2, 7), b"stranger", now);
    assert_eq!(bed.actions(), []);
    assert_eq!(bed.server.counters().dropped, 2);

    bed.pass(300);
    assert_eq!(bed.send(client(1), peer(1, 7), b"late"), []);
}

#[test]
fn data_passes_both_ways_by_a_channel() {
    let mut bed = Bed::new();
    let stream = Client { stream: true, ..client(1) };
    let (login, _) = bed.allocate(stream, "user0");
    assert_eq!(bed.bind(stream, &login, 0x4001, peer(1, 7)), 0);
    let sent = bed.packet(stream, &to_channel(0x4001, b"hello", true));
    assert_eq!(sent, [Action::Relay { client: stream, to: peer(1, 7), bytes: b"hello".to_vec() }]);
    let now = bed.now;
    bed.server.handle_peer(stream, peer(1, 7), b"answer", now);
    let answer = Action::Answer { client: stream, bytes: b"\x40\x01\x00\x06answer\0\0".to_vec() };
    assert_eq!(bed.actions(), [answer]);
    // Another port of the same address is permitted, and has no channel.
    bed.server.handle_peer(stream, peer(1, 8), b"other", now);
    assert!(matches!(&bed.actions()[..], [Action::Answer { bytes, .. }] if bytes[..2] == [0x00, 0x17]));
    for (channel, peer, code) in
        [(0x4001, peer(1, 8), 400), (0x4002, peer(1, 7), 400), (0x3fff, peer(1, 9), 400), (0x5000, peer(1, 9), 400)]
    {
        assert_eq!(bed.bind(stream, &login, channel, peer), code, "{channel:x} {peer}");
    }
    assert_eq!(bed.packet(stream, &to_channel(0x4009, b"nobody", false)), []);
}

#[test]
fn a_relay_leads_to_its_own_relayed_addresses_and_media_port_and_to_nothing_else_there() {
    let mut bed = Bed::new();
    let (login, one) = bed.allocate(client(1), "user0");
    let (_, two) = bed.allocate(client(2), "user1");
    let own = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(bed.permit(client(1), &login, &[own(1)]), 0);
    for (to, passes) in [(two, true), (own(10_000), true), (one, true), (own(5060), false), (own(9090), false)] {
        assert_eq!(bed.send(client(1), to, b"x").len(), usize::from(passes), "{to}");
    }
    assert_eq!(bed.bind(client(1), &login, 0x4000, own(9090)), 403);
    assert_eq!(bed.bind(client(1), &login, 0x4000, two), 0);
    // Who has ended is not there any more.
    bed.server.gone(client(2));
    assert_eq!(bed.actions(), [Action::Close { client: client(2) }]);
    assert_eq!(bed.packet(client(1), &to_channel(0x4000, b"x", false)), []);
    for (address, code) in [("10.0.0.1:1", 403), ("8.8.8.8:1", 0), ("[2606:4700::1]:1", 443)] {
        assert_eq!(bed.permit(client(1), &login, &[address.parse().unwrap()]), code, "{address}");
    }
    assert_eq!(bed.permit(client(1), &login, &[peer(1, 1), "10.0.0.1:1".parse().unwrap()]), 403);
    assert_eq!(bed.send(client(1), peer(1, 1), b"x"), [], "none of a list that has a forbidden one");
    assert_eq!(bed.permit(client(1), &login, &[]), 400);
}

#[test]
fn an_allocation_lasts_as_long_as_it_is_refreshed() {
    let mut bed = Bed::new();
    let (login, _) = bed.allocate(client(1), "user0");
    assert_eq!(bed.pass(599), []);
    let refresh = |bed: &mut Bed, seconds: u32| {
        let draft = bed.draft(Method::Refresh).with(0x000d, &seconds.to_be_bytes());
        bed.ask_signed(client(1), &login, draft)
    };
    // The credentials have lapsed, the call goes on.
    for (asked, given) in [(1, 600), (900, 900), (9999, 3600)] {
        assert_eq!(refresh(&mut bed, asked).lifetime(), given, "{asked}");
    }
    assert_eq!(bed.pass(1300), []);
    let stale = refresh(&mut bed, 600);
    assert_eq!(stale.code(), 438, "the nonce was for half an hour");
    let nonce = stale.get(0x0015).unwrap().to_vec();
    let login = Login { nonce, ..login };
    let draft = bed.draft(Method::Refresh).with(0x000d, &0u32.to_be_bytes());
    let bytes = bed.signed(draft, &login);
    let actions = bed.packet(client(1), &bytes);
    assert_eq!(actions[0], Action::Close { client: client(1) });
    assert_eq!(bed.ask(client(1), &bytes).code(), 437);

    let (_, _) = bed.allocate(client(2), "user0");
    assert_eq!(bed.pass(600), [Action::Close { client: client(2) }]);
    assert!(bed.server.is_empty() && bed.server.poll_timeout().is_none() && bed.server.users.is_empty());
}

#[test]
fn a_repeated_request_has_the_same_answer_and_another_one_none() {
    let mut bed = Bed::new();
    let login = bed.log_in(client(1), "user0");
    let draft = bed.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]);
    let bytes = bed.signed(draft, &login);
    let first = bed.ask(client(1), &bytes);
    bed.now += Duration::from_millis(500);
    let second = bed.ask(client(1), &bytes);
    assert_eq!(first.address(0x0016), second.address(0x0016));
    assert_eq!(bed.server.len(), 1);
    let draft = bed.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]);
    assert_eq!(bed.ask_signed(client(1), &login, draft).code(), 437);
    let other = Login { grant: bed.server.authority().grant("user1", WALL + 60), nonce: login.nonce };
    let draft = bed.draft(Method::Refresh);
    assert_eq!(bed.ask_signed(client(1), &other, draft).code(), 441);
}

#[test]
fn what_is_asked_for_and_not_to_be_had() {
    let mut bed = Bed::new();
    let login = bed.log_in(client(1), "user0");
    for (name, attributes, code) in [
        ("no transport", vec![], 400),
        ("TCP", vec![(0x0019, vec![6, 0, 0, 0])], 442),
        ("IPv6", vec![(0x0019, vec![17, 0, 0, 0]), (0x0017, vec![2, 0, 0, 0])], 440),
        ("a family of its own", vec![(0x0019, vec![17, 0, 0, 0]), (0x0017, vec![3, 0, 0, 0])], 440),
        ("an even port", vec![(0x0019, vec![17, 0, 0, 0]), (0x0018, vec![0])], 420),
        ("DF", vec![(0x0019, vec![17, 0, 0, 0]), (0x001a, vec![])], 420),
    ] {
        let draft = bed.draft(Method::Allocate);
        let draft = attributes.iter().fold(draft, |draft, (name, value)| draft.with(*name, value));
        let answer = bed.ask_signed(client(1), &login, draft);
        assert_eq!(answer.code(), code, "{name}");
        assert!(bed.server.is_empty() && bed.server.users.is_empty(), "{name}");
    }
    let draft = bed.draft(Method::CreatePermission).peer(peer(1, 1));
    assert_eq!(bed.ask_signed(client(1), &login, draft).code(), 437);
}

#[test]
fn a_user_has_so_many_allocations_and_all_have_so_many() {
    let mut bed = Bed::with(Limits { allocations: 3, per_user: 2, rate: 1000, stun: false });
    let ask = |bed: &mut Bed, port, user: &str| {
        let login = bed.log_in(client(port), user);
        let draft = bed.draft(Method::Allocate).with(0x0019, &[17, 0, 0, 0]);
        bed.ask_signed(client(port), &login, draft).code()
    };
    for (port, user, code) in [(1, "a", 0), (2, "a", 0), (3, "a", 486), (4, "b", 0), (5, "b", 508)] {
        assert_eq!(ask(&mut bed, port, user), code, "{user} at {port}");
    }
    bed.server.gone(client(1));
    bed.actions();
    assert_eq!(ask(&mut bed, 6, "a"), 0);
    assert_eq!(bed.server.counters().full, 2);
}

#[test]
fn above_the_rate_data_is_dropped() {
    let mut bed = Bed::with(Limits { allocations: 3, per_user: 2, rate: 1000, stun: false });
    let (login, _) = bed.allocate(client(1), "user0");
    assert_eq!(bed.permit(client(1), &login, &[peer(1, 1)]), 0);
    let sent = |bed: &mut Bed| (0..20).filter(|_| bed.send(client(1), peer(1, 1), &[0; 100]).len() == 1).count();
    assert_eq!(sent(&mut bed), 10);
    bed.pass(1);
    assert_eq!(sent(&mut bed), 10);
    assert_eq!((bed.server.counters().packets_to_peers, bed.server.counters().bytes_to_peers), (20, 2000));
}

#[test]
fn the_address_that_is_seen_is_told_on_a_stream_or_where_it_is_allowed() {
    for (stun, stream, told) in [(false, false, false), (true, false, true), (false, true, true)] {
        let mut bed = Bed::with(Limits { allocations: 1, per_user: 1, rate: 1, stun });
        let bytes = bed.draft(Method::Binding).finish(None);
        let asks = Client { stream, ..client(1) };
        let actions = bed.packet(asks, &bytes);
        assert_eq!(actions.len(), usize::from(told), "stun {stun}, stream {stream}");
        if let [Action::Answer { bytes, .. }] = &actions[..] {
            assert_eq!(Answer::read(bytes.clone()).address(0x0020), client(1).remote);
        }
    }
}

#[test]
fn the_sample_of_rfc_5769_with_long_term_credentials() {
    // §2.4: its name is no time, so nobody of ours; its parts and its signature are read.
    let text = "00010060 2112a442 78ad3433c6ad72c029da412e\
        00060012 e3839e e38388 e383aa e38383 e382af e382b9 0000\
        0015001c 662f2f3439396b39 353464364f4c3334 6f4c394653547679 36347341\
        0014000b 6578616d706c652e6f7267 00\
        00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.method, message.realm), (Method::Binding, Some(&b"example.org"[..])));
    let key: [u8; 16] = {
        use md5::Digest as _;
        md5::Md5::digest(format!("{}:example.org:TheMatrIX", message.username.unwrap())).into()
    };
    assert!(message.is_signed_with(&key) && !message.is_signed_with(b"another"));
}

#[test]
fn frames_of_a_stream() {
    for (name, bytes, length) in [
        ("a request", &[0, 1, 0, 8, 0x21][..], Ok(Some(28))),
        ("channel data is padded", &[0x40, 0, 0, 5], Ok(Some(12))),
        ("not yet", &[0x40, 0, 0], Ok(None)),
        ("nothing", &[], Ok(None)),
        ("TLS", &[0x16, 3, 1, 0], Err(crate::stun::StunError::Malformed)),
    ] {
        assert_eq!(message::framed(bytes), length, "{name}");
    }
}

#[test]
fn any_bytes_are_read_without_a_fault() {
    let mut bed = Bed::new();
    let (login, _) = bed.allocate(client(1), "user0");
    let draft = bed.draft(Method::ChannelBind).with(0x000c, &[0x40, 0, 0, 0]).peer(peer(1, 7));
    let whole = bed.signed(draft, &login);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x21;
        bed.packet(client(1), &damaged);
        bed.packet(client(1), &whole[..at]);
    }
    assert_eq!(bed.server.len(), 1);
    assert!(bed.server.counters().malformed >= whole.len() as u64);
}
