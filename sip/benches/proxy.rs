//! Cost of the proxy's own work for one request: `cargo bench -p chappe-sip --bench proxy`.

use bytes::Bytes;
use chappe_sip::proxy::{self, Forward, Hop, Local, ProxyPolicy, RecordRoute, Target};
use chappe_sip::{Limits, Message, Transport};
use divan::{AllocProfiler, black_box};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK776asdhds\r\nMax-Forwards: 70\r\n\
    Route: <sip:192.0.2.1:5060;lr>\r\nFrom: \"Bob\" <sip:bob@example.com>;tag=9fxced76sl\r\n\
    To: <sip:alice@example.com>\r\nCall-ID: 3848276298220188511@phone.example.com\r\n\
    Contact: <sip:bob@192.0.2.9:5060;transport=udp>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE, PRACK\r\n\
    Supported: replaces, outbound, path, gruu\r\nUser-Agent: Example Phone/1.2.3 (release)\r\n";

fn message(method: &str, tail: &str) -> Message {
    let text = format!("{method} sip:alice@example.com SIP/2.0\r\n{HEAD}CSeq: 1 {method}\r\n{tail}");
    let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
    message.from_source("192.0.2.9:5060".parse().expect("an address"))
}

fn invite() -> Message {
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n";
    message("INVITE", &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len()))
}

fn local() -> Local {
    let mut local = Local::new();
    local.add_listener(Transport::Udp, "192.0.2.1", 5060).add_listener(Transport::Tcp, "192.0.2.1", 5060);
    local.add_domain("example.com");
    local
}

fn plan(branch: &str) -> Forward<'_> {
    Forward {
        target: Target {
            request_uri: Some("sip:alice@198.51.100.7:5060;transport=udp"),
            remove_routes: 1,
            ..Target::default()
        },
        transport: Transport::Udp,
        sent_by: "192.0.2.1:5060",
        branch,
        record_route: None,
        max_breadth: 60,
        changes: &[],
    }
}

#[divan::bench]
fn validate(bencher: divan::Bencher<'_, '_>) {
    let (message, local, policy) = (invite(), local(), ProxyPolicy::default());
    bencher.bench(|| proxy::validate(black_box(&message), &policy, &local).is_ok());
}

#[divan::bench]
fn route(bencher: divan::Bencher<'_, '_>) {
    let (message, local) = (invite(), local());
    bencher.bench(|| proxy::route(black_box(&message), &local, 0).remove_routes);
}

#[divan::bench]
fn forward_message(bencher: divan::Bencher<'_, '_>) {
    let message = message("MESSAGE", "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    bencher.bench(|| proxy::forward(black_box(&message), &plan("z9hG4bKn1.abcdef~01234567")));
}

#[divan::bench]
fn forward_invite_double_record_route(bencher: divan::Bencher<'_, '_>) {
    let message = invite();
    let hop = |transport, sent_by, token| Hop { transport, sent_by, token };
    let record_route = Some(RecordRoute {
        upstream: hop(Transport::Udp, "192.0.2.1:5060", None),
        downstream: hop(Transport::Tls, "192.0.2.1:5061", Some("abcdefghijklmnopqrstuvwxyz0123456789")),
    });
    bencher
        .bench(|| proxy::forward(black_box(&message), &Forward { record_route, ..plan("z9hG4bKn1.abcdef~01234567") }));
}

#[divan::bench]
fn all_steps(bencher: divan::Bencher<'_, '_>) {
    let (message, local, policy) = (invite(), local(), ProxyPolicy::default());
    bencher.bench(|| {
        let message = black_box(&message);
        let fine = proxy::validate(message, &policy, &local).is_ok();
        let routed = proxy::route(message, &local, 0);
        let mut branch = String::with_capacity(48);
        proxy::branch(&mut branch, "n1.", 123_456_789, Some(proxy::loop_hash(message)));
        let plan =
            Forward { target: Target { remove_routes: routed.remove_routes, ..plan(&branch).target }, ..plan(&branch) };
        (fine, proxy::next_hop(message, &plan.target).sips, proxy::forward(message, &plan))
    });
}

#[divan::bench]
fn strip_via(bencher: divan::Bencher<'_, '_>) {
    let text =
        format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKn1.1\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n");
    let response = Message::parse(Bytes::from(text), &Limits::default()).expect("a response");
    bencher.bench(|| proxy::strip_via(black_box(&response)));
}
