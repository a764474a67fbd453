//! Resolution through real DNS packets, against a name server of a few lines.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chappe_net::{Query, ResolveConfig, ResolveError, Resolver, Target};
use chappe_sip::Transport;

const A: u16 = 1;
const SRV: u16 = 33;
const NAPTR: u16 = 35;

fn name(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn records(asked: &str, kind: u16) -> Vec<Vec<u8>> {
    match (asked, kind) {
        ("example.com", NAPTR) => {
            vec![[&[0, 1, 0, 1][..], &text("s"), &text("SIP+D2T"), &text(""), &name("_sip._tcp.example.com")].concat()]
        }
        ("_sip._tcp.example.com", SRV) => vec![
            [&[0, 2, 0, 0, 0x13, 0xc4][..], &name("b.example.com")].concat(),
            [&[0, 1, 0, 0, 0x13, 0xc5][..], &name("a.example.com")].concat(),
        ],
        ("a.example.com", A) => vec![vec![192, 0, 2, 1]],
        ("b.example.com", A) => vec![vec![192, 0, 2, 2]],
        _ => vec![],
    }
}

/// Answers from `records` with a start of authority for what is not there; `lost.example` gets no answer.
fn serve(socket: &UdpSocket, asked: &AtomicUsize) {
    let mut buffer = [0; 512];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if length == 0 {
            return;
        }
        let mut at = 12;
        let mut labels = Vec::new();
        while buffer[at] != 0 {
            let end = at + 1 + usize::from(buffer[at]);
            labels.push(String::from_utf8_lossy(&buffer[at + 1..end]).to_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([buffer[at + 1], buffer[at + 2]]);
        let question = buffer[12..at + 5].to_vec();
        let host = labels.join(".");
        asked.fetch_add(1, Ordering::SeqCst);
        if host == "lost.example" {
            continue;
        }
        let found = records(&host, kind);
        let mut answer =
            [&buffer[..2], &[0x85, 0x80, 0, 1, 0, found.len() as u8, 0, u8::from(found.is_empty()), 0, 0]].concat();
        answer.extend(question);
        for data in &found {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            answer.extend(data);
        }
        if found.is_empty() {
            let soa =
                [&name("ns.example")[..], &name("host.example"), &[0, 0, 0, 1].repeat(4), &[0, 0, 0, 60]].concat();
            answer.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, soa.len() as u8]);
            answer.extend(soa);
        }
        socket.send_to(&answer, peer).unwrap();
    }
}

#[test]
fn naptr_srv_and_addresses_are_followed_and_kept() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let server = std::thread::spawn({
        let asked = asked.clone();
        move || serve(&socket, &asked)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = ResolveConfig {
            servers: vec![address],
            ipv6: false,
            timeout: Duration::from_millis(1500),
            ..ResolveConfig::default()
        };
        let resolver = Resolver::new(config);
        let expected = [
            Target::new(Transport::Tcp, "192.0.2.1:5061".parse().unwrap()),
            Target::new(Transport::Tcp, "192.0.2.2:5060".parse().unwrap()),
        ];
        let query = Query::host("example.com");
        assert_eq!(resolver.immediate(&query), None);
        assert_eq!(resolver.resolve(&query).await.unwrap(), expected);
        let before = asked.load(Ordering::SeqCst);
        assert_eq!(before, 4);
        assert_eq!(resolver.resolve(&query).await.unwrap(), expected);
        // What is not there is remembered too.
        for _ in 0..2 {
            let nothing = Query { port: Some(5060), ..Query::host("nothing.example") };
            assert_eq!(resolver.resolve(&nothing).await, Err(ResolveError::NotFound));
        }
        assert_eq!(asked.load(Ordering::SeqCst), before + 1);
        let lost = Query { port: Some(5060), ..Query::host("lost.example") };
        assert_eq!(resolver.resolve(&lost).await, Err(ResolveError::Timeout));
    });
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", address).unwrap();
    server.join().unwrap();
}
