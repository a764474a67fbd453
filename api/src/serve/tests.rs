use std::sync::mpsc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::public::{Public, router};
use crate::websocket::{Protocol, Upgrade, WebSockets};

struct Taken(mpsc::SyncSender<(Upgrade, HttpIo, Bytes)>);

impl WebSockets for Taken {
    fn serves(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Sip
    }

    fn adopt(&self, upgrade: Upgrade, io: HttpIo, read: Bytes) {
        let _ = self.0.send((upgrade, io, read));
    }
}

struct Running {
    server: Server,
    address: SocketAddr,
    taken: mpsc::Receiver<(Upgrade, HttpIo, Bytes)>,
}

async fn run(limits: Limits) -> Running {
    let (sender, taken) = mpsc::sync_channel(4);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let public = Public {
        domains: vec!["a<b.example".into()],
        sip: vec!["tls://[::]:5061".into()],
        origins: vec![],
        websockets: Arc::new(Taken(sender)),
        services: vec![],
    };
    let server = Server::start(vec![listener], router(public), limits, Arc::new(OpenDoor));
    Running { server, address, taken }
}

/// Sends `request` and gives the head of the answer with what came behind it.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_websocket_is_handed_over_with_what_came_behind_its_request() {
    let running = run(Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let answer = ask(
        &mut stream,
        "GET /ws?x=1 HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: sip\r\n\r\nfirst frame",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("sec-websocket-protocol: sip\r\n"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    let Running { server, address, taken } = running;
    let (upgrade, mut io, read) = tokio::task::spawn_blocking(move || taken.recv().unwrap()).await.unwrap();
    assert_eq!((upgrade.path.as_str(), upgrade.host.as_deref()), ("/ws?x=1", Some("a.example")));
    assert_eq!((upgrade.peer.local, upgrade.peer.secure), (address, false));
    let mut first = read.to_vec();
    while first.len() < 11 {
        io.read_buf(&mut first).await.unwrap();
    }
    assert_eq!(first, b"first frame");
    io.write_all(b"back").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"back");
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_page_names_the_domains_and_allows_nothing_else() {
    let running = run(Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /setup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("default-src 'none'; style-src 'sha256-"), "{answer}");
    assert!(answer.contains("<code>USER@a&lt;b.example</code>"), "{answer}");
    assert!(answer.contains("SIP over TLS</td><td>port 5061"), "{answer}");
    running.server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_over_a_bound_is_cut_off() {
    let limits = Limits { head_timeout: Duration::from_millis(50), connections_per_peer: 1, ..Limits::default() };
    let running = run(limits).await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    while running.server.connections() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = TcpStream::connect(running.address).await.unwrap();
    let mut nothing = Vec::new();
    let _ = second.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    // The first is closed when its head takes too long.
    let _ = slow.read_to_end(&mut nothing).await;
    while running.server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    running.server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_head_above_the_limit_is_refused() {
    let running = run(Limits { head: 8192, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let answer = ask(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    running.server.stop(Duration::from_secs(5)).await;
}
