//! A user of raw connections that notes what it is told.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_net::{CloseReason, Config, ConnectionInfo, Events, ListenerConfig, Net, Outbox, Reading, SendError};
use chappe_sip::Flow;
use tokio::runtime::Runtime;

use super::WAIT;

#[derive(Debug)]
pub enum Seen {
    Opened(Flow, Box<ConnectionInfo>),
    Data(Vec<u8>),
    MessageEnd,
    Writable(Flow),
    Unconnected(Flow, SendError),
    Failed(u64, SendError),
    Closed(Flow, CloseReason),
}

type Answer = Box<dyn Fn(&Net, &Flow, &[u8], &mut Outbox) -> Reading + Send + Sync>;

/// Notes what it is told.
struct Recorder {
    net: OnceLock<Net>,
    seen: Mutex<Sender<Seen>>,
    answer: Answer,
}

impl Recorder {
    fn note(&self, seen: Seen) {
        let _ = self.seen.lock().unwrap().send(seen);
    }
}

impl Events for Recorder {
    fn data(&self, flow: &Flow, bytes: &Bytes, out: &mut Outbox) -> Reading {
        let reading = (self.answer)(self.net.get().unwrap(), flow, bytes, out);
        self.note(Seen::Data(bytes.to_vec()));
        reading
    }

    fn message_end(&self, _flow: &Flow, _out: &mut Outbox) -> Reading {
        self.note(Seen::MessageEnd);
        Reading::More
    }

    fn connect_failed(&self, flow: &Flow, error: SendError) {
        self.note(Seen::Unconnected(*flow, error));
    }

    fn send_failed(&self, tag: u64, error: SendError) {
        self.note(Seen::Failed(tag, error));
    }

    fn writable(&self, flow: &Flow, _out: &mut Outbox) {
        self.note(Seen::Writable(*flow));
    }

    fn opened(&self, flow: &Flow, info: &ConnectionInfo) {
        self.note(Seen::Opened(*flow, Box::new(info.clone())));
    }

    fn closed(&self, flow: &Flow, why: CloseReason) {
        self.note(Seen::Closed(*flow, why));
    }
}

pub struct Server {
    pub net: Net,
    pub seen: Receiver<Seen>,
    pub runtime: Runtime,
}

pub fn start(config: Config, events: impl FnOnce(&Net) -> Arc<dyn Events>) -> (Net, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let context = runtime.enter();
    let net = Net::bind(config).unwrap();
    let events = events(&net);
    net.run(events).unwrap();
    drop(context);
    (net, runtime)
}

pub fn raw_listeners(texts: &[&str]) -> Config {
    let listeners = texts.iter().map(|text| {
        let mut listener = text.parse::<ListenerConfig>().unwrap();
        listener.raw = true;
        listener
    });
    Config { listeners: listeners.collect(), ..Config::default() }
}

impl Server {
    pub fn new(
        listeners: &[&str],
        change: impl FnOnce(&mut Config),
        answer: impl Fn(&Net, &Flow, &[u8], &mut Outbox) -> Reading + Send + Sync + 'static,
    ) -> Server {
        let mut config = raw_listeners(listeners);
        change(&mut config);
        let (sender, seen) = channel();
        let (net, runtime) = start(config, |net| {
            let recorder = Recorder { net: OnceLock::new(), seen: Mutex::new(sender), answer: Box::new(answer) };
            let _ = recorder.net.set(net.clone());
            Arc::new(recorder)
        });
        Server { net, seen, runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.net.listener(0).unwrap().local
    }

    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(WAIT).expect("an event")
    }

    pub fn opened(&self) -> (Flow, ConnectionInfo) {
        match self.next() {
            Seen::Opened(flow, info) => (flow, *info),
            other => panic!("expected an opened connection, saw {other:?}"),
        }
    }

    pub fn data(&self) -> Vec<u8> {
        match self.next() {
            Seen::Data(bytes) => bytes,
            other => panic!("expected data, saw {other:?}"),
        }
    }

    pub fn closed(&self) -> (Flow, CloseReason) {
        match self.next() {
            Seen::Closed(flow, why) => (flow, why),
            other => panic!("expected a closed connection, saw {other:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.block_on(self.net.close_all(Instant::now() + Duration::from_millis(200)));
    }
}

/// A server that does nothing with what comes.
pub fn sink(listeners: &[&str], change: impl FnOnce(&mut Config)) -> Server {
    Server::new(listeners, change, |_, _, _, _| Reading::More)
}

/// A server that sends back what comes.
pub fn echo(listeners: &[&str], change: impl FnOnce(&mut Config)) -> Server {
    Server::new(listeners, change, |_, flow, bytes, out| {
        out.send(*flow, Bytes::copy_from_slice(bytes), 0);
        Reading::More
    })
}

/// Bytes that differ from place to place.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}
