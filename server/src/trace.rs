//! Live trace of one user's messages, for operators. Costs one load where nobody watches.

mod packet;
mod redact;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chappe_api::{TraceMessage, TracePacket};
use chappe_sip::layer::Dest;
use chappe_sip::{Flow, Transport};
use parking_lot::RwLock;
use tokio::sync::broadcast;

/// Messages a slow watcher may lag behind before it loses some.
const BACKLOG: usize = 256;

/// What a watcher is told.
enum Told {
    /// A line for people.
    Lines(broadcast::Sender<Arc<str>>),
    /// The message for tools; `clear`: with users and numbers as they are.
    Packets { sender: broadcast::Sender<TracePacket>, clear: bool },
}

impl Told {
    fn watchers(&self) -> usize {
        match self {
            Told::Lines(sender) => sender.receiver_count(),
            Told::Packets { sender, .. } => sender.receiver_count(),
        }
    }
}

struct Watch {
    /// Compared with the text of each message.
    user: String,
    told: Told,
}

/// Who is watched by whom.
#[derive(Default)]
pub struct Trace {
    watches: RwLock<Vec<Watch>>,
    active: AtomicUsize,
    /// The addresses of our listeners, by their index.
    locals: OnceLock<Vec<(u16, Transport, SocketAddr)>>,
}

impl Trace {
    /// Where our listeners are, for captures. Once.
    pub fn set_locals(&self, locals: Vec<(u16, Transport, SocketAddr)>) {
        let _ = self.locals.set(locals);
    }

    /// Everything about `user` (a user part or an AOR) from now on, until the receiver is dropped.
    pub fn watch(&self, user: &str) -> broadcast::Receiver<Arc<str>> {
        let mut watches = self.watches.write();
        let known = watches.iter().filter(|watch| watch.user == user).find_map(|watch| match &watch.told {
            Told::Lines(sender) => Some(sender.subscribe()),
            Told::Packets { .. } => None,
        });
        known.unwrap_or_else(|| {
            let (sender, receiver) = broadcast::channel(BACKLOG);
            self.add(&mut watches, user, Told::Lines(sender));
            receiver
        })
    }

    /// The same, message by message.
    pub fn packets(&self, user: &str, clear: bool) -> broadcast::Receiver<TracePacket> {
        let mut watches = self.watches.write();
        let known = watches.iter().filter(|watch| watch.user == user).find_map(|watch| match &watch.told {
            Told::Packets { sender, clear: is_clear } if *is_clear == clear => Some(sender.subscribe()),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let (sender, receiver) = broadcast::channel(BACKLOG);
            self.add(&mut watches, user, Told::Packets { sender, clear });
            receiver
        })
    }

    fn add(&self, watches: &mut Vec<Watch>, user: &str, told: Told) {
        watches.push(Watch { user: user.to_owned(), told });
        watches.retain(|watch| watch.told.watchers() > 0);
        self.active.store(watches.len(), Ordering::Relaxed);
    }

    pub fn received(&self, flow: &Flow, bytes: &Bytes) {
        if self.active.load(Ordering::Relaxed) != 0 {
            self.show(&Seen { is_in: true, dest: (*flow).into(), bytes });
        }
    }

    pub fn sent(&self, dest: &Dest, bytes: &Bytes) {
        if self.active.load(Ordering::Relaxed) != 0 {
            self.show(&Seen { is_in: false, dest: *dest, bytes });
        }
    }

    fn show(&self, seen: &Seen<'_>) {
        let head = seen.head();
        let watches = self.watches.read();
        let mut dead = false;
        for watch in watches.iter() {
            dead |= watch.told.watchers() == 0;
            if memchr::memmem::find(head, watch.user.as_bytes()).is_none() {
                continue;
            }
            match &watch.told {
                Told::Lines(sender) => drop(sender.send(seen.line().into())),
                Told::Packets { sender, clear } => {
                    drop(sender.send(Arc::new(seen.message(*clear, self.local(&seen.dest)))));
                }
            }
        }
        drop(watches);
        if dead {
            let mut watches = self.watches.write();
            watches.retain(|watch| watch.told.watchers() > 0);
            self.active.store(watches.len(), Ordering::Relaxed);
        }
    }

    /// Our side of a way.
    fn local(&self, dest: &Dest) -> SocketAddr {
        let locals = self.locals.get().map_or(&[][..], Vec::as_slice);
        let found = match dest {
            Dest::Flow(flow) => locals.iter().find(|(index, ..)| *index == flow.listener),
            Dest::Address { transport, .. } => locals.iter().find(|(_, own, _)| own == transport),
        };
        found.map_or((Ipv4Addr::UNSPECIFIED, 0).into(), |(_, _, address)| *address)
    }
}

/// A message on the wire.
struct Seen<'a> {
    is_in: bool,
    dest: Dest,
    bytes: &'a [u8],
}

impl Seen<'_> {
    fn head(&self) -> &[u8] {
        memchr::memmem::find(self.bytes, b"\r\n\r\n").map_or(self.bytes, |end| &self.bytes[..end])
    }

    fn peer(&self) -> String {
        match &self.dest {
            Dest::Flow(flow) => flow.to_string(),
            Dest::Address { transport, address } => format!("{}:{address}", transport.param()),
        }
    }

    /// One line: the start line, who and which. Bodies are private and credentials secret: neither is shown.
    fn line(&self) -> String {
        let head = String::from_utf8_lossy(self.head());
        let direction = if self.is_in { "<-" } else { "->" };
        let mut out = format!("{direction} {} {}", self.peer(), head.lines().next().unwrap_or_default());
        for wanted in ["From", "To", "Call-ID", "CSeq", "Contact", "Expires", "Event", "Content-Type"] {
            if let Some(value) = header(&head, wanted) {
                out.push_str(&format!(" | {wanted}: {value}"));
            }
        }
        out.push_str(&format!(" | {} bytes", self.bytes.len()));
        out
    }

    fn message(&self, clear: bool, local: SocketAddr) -> TraceMessage {
        let head = String::from_utf8_lossy(self.head());
        let text = redact::head(&head, clear);
        let remote = match &self.dest {
            Dest::Flow(flow) => flow.remote,
            Dest::Address { address, .. } => *address,
        };
        let (from, to) = if self.is_in { (remote, local) } else { (local, remote) };
        let is_udp = self.dest.transport() == Transport::Udp;
        TraceMessage {
            at_ms: crate::core::epoch_ms(),
            direction: if self.is_in { "in" } else { "out" }.to_owned(),
            peer: self.peer(),
            start: text.lines().next().unwrap_or_default().to_owned(),
            call_id: header(&text, "Call-ID").unwrap_or_default().to_owned(),
            cseq: header(&text, "CSeq").unwrap_or_default().to_owned(),
            bytes: self.bytes.len(),
            packet: packet::record(from, to, is_udp, &text),
            text,
        }
    }
}

/// The value of the first header of a name, long or short.
fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let short = match wanted {
        "From" => "f",
        "To" => "t",
        "Call-ID" => "i",
        "Contact" => "m",
        "Event" => "o",
        "Content-Type" => "c",
        _ => "",
    };
    head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let is_it = name.eq_ignore_ascii_case(wanted) || (!short.is_empty() && name.eq_ignore_ascii_case(short));
        is_it.then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "192.0.2.1:5060";

    fn flow() -> Flow {
        Flow { transport: Transport::Udp, listener: 0, connection: 0, remote: FLOW.parse().unwrap() }
    }

    const TEXT: &str =
        "MESSAGE sip:bob@d SIP/2.0\r\nFrom: <sip:alice@d>\r\nAuthorization: Digest x\r\ni: call\r\n\r\nprivate";

    #[test]
    fn a_watcher_sees_its_user_without_bodies_and_secrets() {
        let trace = Trace::default();
        let mut seen = trace.watch("alice@");
        trace.received(&flow(), &Bytes::from_static(TEXT.as_bytes()));
        trace.received(&flow(), &Bytes::from_static(b"MESSAGE sip:bob@d SIP/2.0\r\nFrom: <sip:carol@d>\r\n\r\n"));
        let shown = seen.try_recv().unwrap();
        assert!(shown.starts_with("<- udp:192.0.2.1:5060 MESSAGE sip:bob@d SIP/2.0 | From: <sip:alice@d>"), "{shown}");
        assert!(shown.contains("| Call-ID: call |"), "{shown}");
        assert!(!shown.contains("private") && !shown.contains("Digest"), "{shown}");
        assert!(seen.try_recv().is_err());
        drop(seen);
        trace.received(&flow(), &Bytes::from_static(TEXT.as_bytes()));
        assert_eq!(trace.active.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_tool_is_told_of_users_in_marks_unless_it_asks() {
        let trace = Trace::default();
        trace.set_locals(vec![(0, Transport::Udp, "192.0.2.9:5060".parse().unwrap())]);
        let (mut marked, mut clear) = (trace.packets("alice@", false), trace.packets("alice@", true));
        trace.received(&flow(), &Bytes::from_static(TEXT.as_bytes()));
        let (marked, clear) = (marked.try_recv().unwrap(), clear.try_recv().unwrap());
        assert_eq!((&*marked.direction, &*marked.call_id, marked.bytes), ("in", "call", TEXT.len()));
        assert!(!marked.text.contains("alice") && !marked.start.contains("bob"), "{}", marked.text);
        assert!(clear.text.contains("<sip:alice@d>"), "{}", clear.text);
        for told in [&marked, &clear] {
            assert!(!told.text.contains("private") && !told.text.contains("Digest x"), "{}", told.text);
        }
    }
}
