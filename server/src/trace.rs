//! Live trace of one user's messages, for operators. Costs one load where nobody watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chappe_sip::Flow;
use chappe_sip::layer::Dest;
use parking_lot::RwLock;
use tokio::sync::broadcast;

/// Messages a slow watcher may lag behind before it loses some.
const BACKLOG: usize = 256;

struct Watch {
    /// Compared with the text of each message.
    user: String,
    sender: broadcast::Sender<Arc<str>>,
}

/// Who is watched by whom.
#[derive(Default)]
pub struct Trace {
    watches: RwLock<Vec<Watch>>,
    active: AtomicUsize,
}

impl Trace {
    /// Everything about `user` (a user part or an AOR) from now on, until the receiver is dropped.
    pub fn watch(&self, user: &str) -> broadcast::Receiver<Arc<str>> {
        let mut watches = self.watches.write();
        watches.retain(|w| w.sender.receiver_count() > 0);
        let receiver = match watches.iter().find(|w| w.user == user) {
            Some(watch) => watch.sender.subscribe(),
            None => {
                let (sender, receiver) = broadcast::channel(BACKLOG);
                watches.push(Watch { user: user.to_owned(), sender });
                receiver
            }
        };
        self.active.store(watches.len(), Ordering::Relaxed);
        receiver
    }

    pub fn received(&self, flow: &Flow, bytes: &Bytes) {
        if self.active.load(Ordering::Relaxed) != 0 {
            self.show("<-", &flow.to_string(), bytes);
        }
    }

    pub fn sent(&self, dest: &Dest, bytes: &Bytes) {
        if self.active.load(Ordering::Relaxed) != 0 {
            let dest = match dest {
                Dest::Flow(flow) => flow.to_string(),
                Dest::Address { transport, address } => format!("{}:{address}", transport.param()),
            };
            self.show("->", &dest, bytes);
        }
    }

    fn show(&self, direction: &str, peer: &str, bytes: &Bytes) {
        let head = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(&bytes[..], |end| &bytes[..end]);
        let watches = self.watches.read();
        let mut dead = false;
        for watch in watches.iter() {
            dead |= watch.sender.receiver_count() == 0;
            if memchr::memmem::find(head, watch.user.as_bytes()).is_some() {
                let _ = watch.sender.send(line(direction, peer, head, bytes.len()).into());
            }
        }
        drop(watches);
        if dead {
            let mut watches = self.watches.write();
            watches.retain(|w| w.sender.receiver_count() > 0);
            self.active.store(watches.len(), Ordering::Relaxed);
        }
    }
}

/// One message as a line: the start line, who and which. Bodies are private and credentials secret: neither is shown.
fn line(direction: &str, peer: &str, head: &[u8], len: usize) -> String {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut out = format!("{direction} {peer} {}", lines.next().unwrap_or_default());
    for wanted in ["From", "To", "Call-ID", "CSeq", "Contact", "Expires", "Event", "Content-Type"] {
        let value = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then_some(value.trim())
        });
        if let Some(value) = value {
            out.push_str(&format!(" | {wanted}: {value}"));
        }
    }
    out.push_str(&format!(" | {len} bytes"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::Transport;

    #[test]
    fn a_watcher_sees_its_user_without_bodies_and_secrets() {
        let trace = Trace::default();
        let mut seen = trace.watch("alice@");
        let remote = "192.0.2.1:5060".parse().unwrap();
        let flow = Flow { transport: Transport::Udp, listener: 0, connection: 0, remote };
        let text = "MESSAGE sip:bob@d SIP/2.0\r\nFrom: <sip:alice@d>\r\nAuthorization: Digest x\r\n\r\nprivate";
        trace.received(&flow, &Bytes::from_static(text.as_bytes()));
        trace.received(&flow, &Bytes::from_static(b"MESSAGE sip:bob@d SIP/2.0\r\nFrom: <sip:carol@d>\r\n\r\n"));
        let shown = seen.try_recv().unwrap();
        assert!(shown.starts_with("<- udp:192.0.2.1:5060 MESSAGE sip:bob@d SIP/2.0 | From: <sip:alice@d>"), "{shown}");
        assert!(!shown.contains("private") && !shown.contains("Digest"), "{shown}");
        assert!(seen.try_recv().is_err());
        drop(seen);
        trace.received(&flow, &Bytes::from_static(text.as_bytes()));
        assert_eq!(trace.active.load(Ordering::Relaxed), 0);
    }
}
