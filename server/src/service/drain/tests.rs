//! What waits, and devices that do not take it; the other end is a socket of the test.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_sip::registrar::{Binding, Parts};
use chappe_sip::{Flow, Transport};
use chappe_store::{Account, NewMessage, Secrets, Wanted, Wishes};

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

    /// A registration of a device that says that it can do this, over a socket of its own.
    fn register_device(&self, aor: &str, device: &str, socket: &UdpSocket, params: &str, since: u64) {
        let remote = socket.local_addr().unwrap();
        let flow = Some(Flow { transport: Transport::Udp, listener: 0, connection: 0, remote });
        let parts = Parts {
            contact: &format!("sip:{device}@{remote}"),
            instance_id: Some(&format!("urn:uuid:{device}")),
            params,
            call_id: device,
            cseq: 1,
            flow,
            registered: since,
            expires: epoch_seconds() + 600,
            ..Parts::default()
        };
        let binding = Binding::new(parts).unwrap();
        self.core.location.update(aor, |bindings| {
            bindings.retain(|other| other.device() != binding.device());
            bindings.push(binding);
        });
        registered(&self.core, aor);
    }

    fn account(&self, aor: &str) {
        self.core.directory.put(Account {
            aor: aor.into(),
            secrets: Secrets([0; Secrets::LEN]),
            tel: Vec::new(),
            display_name: Box::default(),
            created: 0,
            disabled: false,
            wishes: Wishes::default(),
        });
    }

    /// What waits for a device, by Call-ID, as soon as `done`.
    async fn waiting_for(&self, aor: &str, device: &str, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let wanted = Wanted { recipient: aor.into(), device: Some(format!("urn:uuid:{device}").into()), after: 0 };
            let waiting = self.core.stores.queue.pending(&[wanted], 100).await.unwrap().remove(0);
            let waiting: Vec<String> = waiting.iter().map(|message| message.call_id.to_string()).collect();
            if done(&waiting) || Instant::now() > deadline {
                return waiting;
            }
            tokio::task::yield_now().await;
        }
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
        self.leave_some(aor, 0..count).await;
    }

    /// Messages with Call-IDs by number.
    async fn leave_some(&self, aor: &str, numbers: std::ops::Range<usize>) {
        let count = numbers.len();
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
        self.core.stores.queue.append(numbers.map(message).collect()).await.unwrap();
        self.core.waiting.add(aor, None, count as u64);
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

/// A device on a socket of its own.
struct Phone {
    socket: UdpSocket,
    seen: BTreeSet<String>,
}

/// A request that came to a [`Phone`].
struct Came {
    text: String,
    from: SocketAddr,
}

impl Came {
    fn header(&self, name: &str) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
    }

    fn method(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

impl Phone {
    fn new() -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Phone { socket, seen: BTreeSet::new() }
    }

    /// The next request with that method, but for repetitions.
    fn next(&mut self, method: &str) -> Came {
        tokio::task::block_in_place(|| {
            loop {
                let mut buffer = [0; 65_536];
                let (len, from) = self.socket.recv_from(&mut buffer).expect("a request comes");
                let came = Came { text: String::from_utf8_lossy(&buffer[..len]).into_owned(), from };
                if self.seen.insert(format!("{} {}", came.method(), came.header("Via"))) && came.method() == method {
                    return came;
                }
            }
        })
    }

    fn answer(&self, came: &Came, status: u16) {
        let lines = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", came.header(name)));
        let reply = format!("SIP/2.0 {status} So\r\n{}Content-Length: 0\r\n\r\n", lines.concat());
        self.socket.send_to(reply.as_bytes(), came.from).unwrap();
    }

    /// Takes MESSAGEs, in their order.
    fn take(&mut self, count: usize) -> Vec<String> {
        let one = |_| {
            let came = self.next("MESSAGE");
            self.answer(&came, 200);
            came.header("Call-ID").to_owned()
        };
        (0..count).map(one).collect()
    }
}

/// Call-IDs of messages to alice.
fn names(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|n| format!("alice@localhost-{n}")).collect()
}

const ALICE: &str = "alice@localhost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_device_has_taken_is_on_disk_for_the_one_that_has_it_in_hand() {
    let bed = Bed::new().await;
    let (mut fast, mut slow) = (Phone::new(), Phone::new());
    bed.leave_some(ALICE, 0..2).await;
    bed.register_device(ALICE, "fast", &fast.socket, "", 1);
    bed.register_device(ALICE, "slow", &slow.socket, "", 1);
    let in_hand = slow.next("MESSAGE");
    assert_eq!(fast.take(2), names(&[0, 1]));
    assert_eq!(bed.waiting_for(ALICE, "fast", <[_]>::is_empty).await, names(&[]));
    // A server that is killed now has them for the slow one.
    assert_eq!(bed.waiting_for(ALICE, "slow", |_| true).await, names(&[0, 1]));
    // It has each once, and nothing is left.
    slow.answer(&in_hand, 200);
    assert_eq!(slow.take(1), names(&[1]));
    assert_eq!(bed.waiting_for(ALICE, "slow", <[_]>::is_empty).await, names(&[]));
    assert_eq!(bed.core.ledger.imbalance(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_lost_its_link_gets_what_it_missed_in_the_order_of_the_others() {
    let bed = Bed::new().await;
    let (mut fast, mut slow) = (Phone::new(), Phone::new());
    bed.leave_some(ALICE, 0..1).await;
    bed.register_device(ALICE, "fast", &fast.socket, "", 1);
    bed.register_device(ALICE, "slow", &slow.socket, "", 1);
    let in_hand = slow.next("MESSAGE");
    assert_eq!(fast.take(1), names(&[0]));
    for n in 1..4 {
        bed.leave_some(ALICE, n..n + 1).await;
        super::kick(&bed.core, ALICE);
        assert_eq!(fast.take(1), names(&[n]));
        bed.waiting_for(ALICE, "fast", <[_]>::is_empty).await;
    }
    slow.answer(&in_hand, 480);
    let (all, old) = (names(&[0, 1, 2, 3]), slow.socket);
    assert_eq!(bed.waiting_for(ALICE, "slow", |waiting| waiting == all).await, all);
    let mut slow = Phone::new();
    bed.register_device(ALICE, "slow", &slow.socket, "", 2);
    assert_eq!(slow.take(4), all);
    assert_eq!(bed.waiting_for(ALICE, "slow", <[_]>::is_empty).await, names(&[]));
    drop(old);
    assert_eq!(bed.core.ledger.imbalance(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_from_an_old_link_goes_over_the_new_one() {
    let bed = Bed::new().await;
    bed.account(ALICE);
    bed.account("carol@localhost");
    let mut before = Phone::new();
    bed.leave_some(ALICE, 0..1).await;
    bed.register_device(ALICE, "one", &before.socket, ";+g.oma.sip-im", 1);
    // It is in no mood for sessions, so that it gets a MESSAGE.
    let invite = before.next("INVITE");
    before.answer(&invite, 488);
    let in_hand = before.next("MESSAGE");
    let mut after = Phone::new();
    bed.register_device(ALICE, "one", &after.socket, ";+g.oma.sip-im", 2);
    // That link has broken; the registration is known by now.
    before.answer(&in_hand, 480);
    let invite = after.next("INVITE");
    after.answer(&invite, 488);
    assert_eq!(after.take(1), names(&[0]));
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
