//! What waits, and devices that do not take it; the other end is a socket of the test.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;

use bytes::Bytes;
use chappe_sip::registrar::{Binding, Parts};
use chappe_sip::{Flow, Transport};
use chappe_store::NewMessage;

use super::registered;
use crate::config::Config;
use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::listeners::Listeners;
use crate::node::{Running, Setup};

struct Bed {
    _running: Running,
    core: Arc<Core>,
    phone: UdpSocket,
    /// The Via of each request to alice.
    tried: BTreeSet<String>,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "domains = [\"localhost\"]\ndata_dir = {:?}\n[store]\nurl = \"memory:\"\n[http]\nlisten = []\n\
             [msrp]\nlisten = [\"tcp://127.0.0.1:0\"]\n[sip]\nlisten = [\"udp://127.0.0.1:0\"]\n",
            dir.path()
        );
        let config = Arc::new(Config::parse(None, &text, std::iter::empty()).unwrap_or_else(|e| panic!("{e}")));
        let setup = Setup { config, listeners: Listeners::default(), http: Vec::new(), echo: None };
        let running = Running::start(setup).await.unwrap();
        let core = Arc::clone(running.core());
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        Bed { _running: running, core, phone, tried: BTreeSet::new(), _dir: dir }
    }

    /// A registration over the socket, that began at `since`.
    fn register(&self, aor: &str, since: u64) {
        let remote = self.phone.local_addr().unwrap();
        let flow = Some(Flow { transport: Transport::Udp, listener: 0, connection: 0, remote });
        let contact = format!("sip:phone@{remote}");
        let expires = epoch_seconds() + 600;
        let parts =
            Parts { contact: &contact, call_id: "c", cseq: 1, flow, registered: since, expires, ..Parts::default() };
        self.core.location.update(aor, |bindings| *bindings = vec![Binding::new(parts).unwrap()]);
        registered(&self.core, aor);
    }

    async fn leave(&self, aor: &str, count: usize) {
        let message = |n: usize| NewMessage {
            recipient: aor.into(),
            device: None,
            sender: "carol@localhost".into(),
            message_id: None,
            call_id: format!("{aor}-{n}").into(),
            headers: format!(
                "From: <sip:carol@localhost>;tag=1\r\nTo: <sip:{aor}>\r\nCall-ID: {aor}-{n}\r\nCSeq: 1 MESSAGE\r\n\
                 Content-Type: text/plain\r\n"
            )
            .into(),
            body: Bytes::from_static(b"x"),
            accepted_ms: epoch_ms(),
            expires_at: epoch_seconds() + 600,
            wants: Default::default(),
            once: None,
        };
        self.core.stores.queue.append((0..count).map(message).collect()).await.unwrap();
        self.core.waiting.add(aor, false, count as u64);
    }

    /// Answers MESSAGEs, those for alice with this code and others with 200, until one for `last` comes; gives for how many
    /// messages to alice there was a request, repetitions aside.
    fn answer(&mut self, status: u16, last: &str) -> usize {
        let mut requests = 0;
        loop {
            let mut buffer = [0; 65_536];
            let (len, from) = self.phone.recv_from(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let header = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
            let is_for_alice = header("To:").contains("alice");
            if is_for_alice && self.tried.insert(header("Via:")) {
                requests += 1;
            }
            let status = if is_for_alice { status } else { 200 };
            let lines = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].map(header).join("\r\n");
            let reply = format!("SIP/2.0 {status} So\r\n{lines}\r\nContent-Length: 0\r\n\r\n");
            self.phone.send_to(reply.as_bytes(), from).unwrap();
            if header("To:").contains(last) {
                return requests;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_takes_nothing_is_not_asked_again_at_each_refresh() {
    let mut bed = Bed::new().await;
    bed.leave("alice@localhost", 200).await;
    let mut requests = 0;
    for n in 0..40 {
        bed.register("alice@localhost", 7);
        // A user of whom it is known when the drain has come to him.
        let mark = format!("mark{n}@");
        bed.leave(&format!("{mark}localhost"), 1).await;
        bed.register(&format!("{mark}localhost"), 1);
        requests += tokio::task::block_in_place(|| bed.answer(480, &mark));
    }
    assert_eq!(requests, 2, "forty refreshes, of which the first is one more chance");
    for n in 0..10 {
        bed.register("alice@localhost", 100 + n);
        let requests = tokio::task::block_in_place(|| bed.answer(480, "alice@"));
        assert_eq!(requests, 1, "a new registration is another chance");
    }
    // And so it gets everything, in the end.
    bed.register("alice@localhost", 1000);
    let mut got = 0;
    while got < 200 {
        got += tokio::task::block_in_place(|| bed.answer(200, "alice@"));
    }
}
