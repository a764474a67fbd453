//! A Web Push service of the run's own (RFC 8030), so that any server that speaks RFC 8599 can be watched as it pushes: a
//! subscription is a URL, and the user agent names it. HTTP/1.1 without TLS, which the target has to be told to trust.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

const MAX: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) method: String,
    head: String,
}

impl Push {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

struct Known {
    status: u16,
    pushes: UnboundedSender<Push>,
}

/// See the module. Ends with the run.
pub(crate) struct PushService {
    address: SocketAddr,
    subscriptions: Arc<Mutex<HashMap<String, Known>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for PushService {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a device subscribed to.
pub(crate) struct Subscription {
    pub(crate) url: String,
    path: String,
    service: Arc<Mutex<HashMap<String, Known>>>,
    pushes: UnboundedReceiver<Push>,
}

impl PushService {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<PushService> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let subscriptions: Arc<Mutex<HashMap<String, Known>>> = Arc::default();
        let known = Arc::clone(&subscriptions);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&known)));
            }
        });
        Ok(PushService { address, subscriptions, accepting })
    }

    /// A new subscription; `name` was not used before.
    pub(crate) fn subscribe(&self, name: &str) -> Subscription {
        let (sender, pushes) = unbounded_channel();
        let path = format!("/p/{name}");
        let known = Known { status: 201, pushes: sender };
        self.subscriptions.lock().expect("no holder panics").insert(path.clone(), known);
        let url = format!("http://{}{path}", self.address);
        Subscription { url, path, service: Arc::clone(&self.subscriptions), pushes }
    }
}

impl Subscription {
    /// The next push within `wait`.
    pub(crate) async fn next(&mut self, wait: Duration) -> Option<Push> {
        timeout(wait, self.pushes.recv()).await.ok().flatten()
    }

    /// What pushes are answered from now on.
    pub(crate) fn answer(&self, status: u16) {
        if let Some(known) = self.service.lock().expect("no holder panics").get_mut(&self.path) {
            known.status = status;
        }
    }

    /// The URL as a parameter of a SIP URI (RFC 3261 §19.1.2).
    pub(crate) fn prid(&self) -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        self.url.bytes().map(one).collect()
    }
}

async fn serve(mut stream: TcpStream, known: Arc<Mutex<HashMap<String, Known>>>) {
    let mut buffer = Vec::new();
    loop {
        let Ok(Some((push, path))) = timeout(PATIENCE, read(&mut stream, &mut buffer)).await else { return };
        let status = {
            let known = known.lock().expect("no holder panics");
            match known.get(&path) {
                Some(known) => {
                    // The case may have ended.
                    let _ = known.pushes.send(push);
                    known.status
                }
                None => 404,
            }
        };
        let answer = format!("HTTP/1.1 {status} Said\r\nLocation: /m/1\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A request and its path; nothing once the connection has ended.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Push, String)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let push = Push { method, head };
    let length: usize = push.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while buffer.len() < end + 4 + length {
        more(stream, buffer).await?;
    }
    buffer.drain(..end + 4 + length);
    Some((push, path))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    if buffer.len() > MAX {
        return None;
    }
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}
