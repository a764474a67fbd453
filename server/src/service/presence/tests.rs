//! Watchers of a real node under rules that change, devices that sleep; the phones are sockets that speak plain text.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use chappe_api::NewAccount;
use chappe_presence::rules::Handling;
use chappe_presence::winfo::Status;
use chappe_sip::registrar::Parts;

use super::*;
use crate::config::Config;
use crate::listeners::Listeners;
use crate::node::{Running, Setup};

const PATIENCE: Duration = Duration::from_secs(10);

struct Bed {
    running: Running,
    core: Arc<Core>,
    server: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "domains = [\"localhost\"]\ndata_dir = {:?}\n[store]\nurl = \"memory:\"\n[http]\nlisten = []\n\
             [msrp]\nlisten = [\"tcp://127.0.0.1:0\"]\n[sip]\nlisten = [\"udp://127.0.0.1:0\"]\n\
             [sip.authentication]\nrequire = \"register\"\n[capability]\nanswer_within = \"200ms\"\n",
            dir.path()
        );
        let config = Arc::new(Config::parse(None, &text, std::iter::empty()).unwrap_or_else(|e| panic!("{e}")));
        let setup = Setup { config, listeners: Listeners::default(), http: Vec::new(), echo: None };
        let running = Running::start(setup).await.unwrap();
        let core = Arc::clone(running.core());
        for user in ["alice", "bob", "carol"] {
            let (tel, display_name) = (Vec::new(), String::new());
            let new =
                NewAccount { aor: format!("{user}@localhost"), password: "p".into(), tel, display_name, ha1: None };
            running.node().accounts().add(new).await.unwrap();
        }
        let server = core.net().unwrap().listeners()[0].local;
        Bed { running, core, server, _dir: dir }
    }

    fn phone(&self, user: &'static str) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Phone { socket, server: self.server, user, cseq: 0 }
    }

    /// Bob's rules: what becomes of Alice.
    fn rule(&self, handling: &str) {
        let text = format!(
            r#"<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><conditions><identity>
            <one id="sip:alice@localhost"/></identity></conditions><actions><sub-handling
            xmlns="urn:ietf:params:xml:ns:pres-rules">{handling}</sub-handling></actions></rule></ruleset>"#
        );
        document_changed(&self.core, "bob@localhost", "pres-rules", "index", Some(&text));
    }

    /// A binding of Bob's, as if it had registered.
    fn bind(&self, flow: Option<Flow>, contact: &str, params: &str) {
        let now = epoch_seconds();
        let parts = Parts {
            contact,
            params,
            instance_id: Some("urn:x:1"),
            call_id: "c",
            cseq: 1,
            flow,
            registered: now - 100,
            expires: now + 600,
            ..Parts::default()
        };
        let mut binding = Binding::new(parts).unwrap();
        binding.dormant = flow.is_none();
        self.core.location.update("bob@localhost", |bindings| bindings.push(binding));
    }

    async fn stop(self) {
        self.running.stop(Duration::from_secs(1)).await;
    }
}

struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    user: &'static str,
    cseq: u32,
}

impl Phone {
    fn flow(&self) -> Flow {
        let remote = self.socket.local_addr().unwrap();
        Flow { transport: chappe_sip::Transport::Udp, listener: 0, connection: 0, remote }
    }

    /// Sends a request and gives its final response.
    fn request(&mut self, method: &str, to: &str, call_id: &str, more: &str, body: &str) -> String {
        self.cseq += 1;
        let (me, cseq, user) = (self.socket.local_addr().unwrap(), self.cseq, self.user);
        let uri = to.split(';').next().unwrap().trim_matches(['<', '>']);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{cseq}{call_id}{user};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@localhost>;tag=p\r\nTo: {to}\r\nCall-ID: {call_id}{user}\r\nCSeq: {cseq} {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(text.as_bytes(), self.server).unwrap();
        self.next("SIP/2.0 ", |_| true)
    }

    fn subscribe(&mut self, to: &str, call_id: &str, more: &str) -> String {
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.socket.local_addr().unwrap());
        self.request("SUBSCRIBE", to, call_id, &format!("{contact}Expires: 600\r\n{more}"), "")
    }

    fn publish(&mut self, note: &str) -> String {
        let body = format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@localhost\"><tuple id=\"t\"><status><basic>open</basic>\
             </status><note>{note}</note></tuple></presence>"
        );
        let head = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
        self.request("PUBLISH", "<sip:bob@localhost>", note, head, &body)
    }

    /// The next packet that begins so and holds what is wanted; others are passed over, and copies of NOTIFYs answered.
    fn next(&self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut buffer = [0; 65_535];
        loop {
            let n = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{}: no {line}: {e}", self.user));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("NOTIFY") {
                self.answer(&text, "200 OK", "");
            }
            if text.starts_with(line) && wanted(&text) {
                return text;
            }
        }
    }

    fn notified(&self, state: &str) -> String {
        self.next("NOTIFY", |text| text.contains(&format!("Subscription-State: {state}")))
    }

    fn answer(&self, request: &str, status: &str, more: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                text.push_str(&format!("{line}\r\n"));
            }
        }
        text.push_str(&format!("{more}Content-Length: 0\r\n\r\n"));
        self.socket.send_to(text.as_bytes(), self.server).unwrap();
    }
}

fn header(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(ToOwned::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_take_effect_at_once() {
    let bed = Bed::new().await;
    let (mut alice, mut bob) = (bed.phone("alice"), bed.phone("bob"));
    assert!(bob.publish("fishing").starts_with("SIP/2.0 200"));
    let ok = alice.subscribe("<sip:bob@localhost>", "s", "Event: presence\r\n");
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    let first = alice.notified("pending");
    assert!(!first.contains("<presence"), "nobody has decided: {first}");
    let watchers = bed.core.presence.watchers("bob@localhost", epoch_seconds());
    assert_eq!(
        watchers.iter().map(|w| (&*w.uri, w.status)).collect::<Vec<_>>(),
        [("sip:alice@localhost", Status::Pending)]
    );

    bed.rule("allow");
    let shown = alice.notified("active");
    assert!(shown.contains("fishing") && header(&shown, "SIP-ETag").is_some(), "{shown}");

    bed.rule("polite-block");
    let faked = alice.notified("active");
    assert!(faked.contains("<basic>closed</basic>") && !faked.contains("fishing"), "{faked}");
    assert!(bob.publish("elsewhere").starts_with("SIP/2.0 200"));
    // Whoever is politely blocked does not learn that something changed: the next NOTIFY is that of the next rule.
    bed.rule("allow");
    let again = alice.next("NOTIFY", |_| true);
    assert!(again.contains("elsewhere"), "{again}");

    bed.rule("block");
    let last = alice.notified("terminated;reason=rejected");
    assert!(!last.contains("<presence"), "{last}");
    let refused = alice.subscribe("<sip:bob@localhost>", "s2", "Event: presence\r\n");
    assert!(refused.starts_with("SIP/2.0 403"), "{refused}");
    assert!(bed.core.presence.watchers("bob@localhost", epoch_seconds()).is_empty());
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_went_before_a_decision_waits_for_it() {
    let bed = Bed::new().await;
    let mut alice = bed.phone("alice");
    let ok = alice.subscribe("<sip:bob@localhost>", "s", "Event: presence\r\n");
    alice.notified("pending");
    let to = header(&ok, "To").unwrap();
    let contact = format!("Contact: <sip:alice@{}>\r\n", alice.socket.local_addr().unwrap());
    alice.request("SUBSCRIBE", &to, "s", &format!("{contact}Expires: 0\r\nEvent: presence\r\n"), "");
    alice.notified("terminated;reason=timeout");
    let waiting = |bed: &Bed| -> Vec<Status> {
        bed.core.presence.watchers("bob@localhost", epoch_seconds()).iter().map(|w| w.status).collect()
    };
    // Datagrams of one phone are read in turn: when this is answered, so is the last NOTIFY.
    alice.request("OPTIONS", "<sip:localhost>", "o", "", "");
    assert_eq!(waiting(&bed), [Status::Waiting]);
    bed.rule("allow");
    assert_eq!(waiting(&bed), []);
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_state_that_the_rules_give_each_resource() {
    let bed = Bed::new().await;
    let (mut alice, mut bob) = (bed.phone("alice"), bed.phone("bob"));
    let blocked = r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="rcs_blockedcontacts">
        <entry uri="sip:alice@localhost"/></list></resource-lists>"#;
    document_changed(&bed.core, "carol@localhost", "resource-lists", "index", Some(blocked));
    let friends = r#"<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
        <service uri="sip:friends@localhost"><list><rl:entry uri="sip:bob@localhost"/><rl:entry uri="sip:carol@localhost"/></list>
        </service></rls-services>"#;
    document_changed(&bed.core, "alice@localhost", "rls-services", "index", Some(friends));
    assert!(bob.publish("fishing").starts_with("SIP/2.0 200"));
    let refused = alice.subscribe("<sip:friends@localhost>", "l", "Event: presence\r\n");
    assert!(refused.starts_with("SIP/2.0 421"), "{refused}");
    let ok = alice.subscribe("<sip:friends@localhost>", "l", "Event: presence\r\nSupported: eventlist\r\n");
    assert!(ok.starts_with("SIP/2.0 200") && ok.contains("Require: eventlist"), "{ok}");
    let full = alice.notified("active");
    for part in ["fullState=\"true\"", "state=\"pending\"", "state=\"terminated\" reason=\"rejected\""] {
        assert!(full.contains(part), "{part} in {full}");
    }
    assert!(!full.contains("fishing"));
    bed.rule("allow");
    let partial = alice.notified("active");
    assert!(partial.contains("fullState=\"false\"") && partial.contains("version=\"1\""), "{partial}");
    assert!(partial.contains("fishing") && !partial.contains("carol"), "{partial}");
    let other =
        bed.phone("carol").subscribe("<sip:friends@localhost>", "l", "Event: presence\r\nSupported: eventlist\r\n");
    assert!(other.starts_with("SIP/2.0 404"), "it is nobody else's list: {other}");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_unknown_sees_anything_without_a_rule() {
    let bed = Bed::new().await;
    let nobody = Identity { names: vec![], uri: "sip:x@y".into(), display_name: "".into(), anonymous: true };
    let alice = Identity::named(&bed.core, "alice@localhost");
    let decide = |who: &Identity| permit::permission(&bed.core, "bob@localhost", who, epoch_seconds()).handling;
    assert_eq!((decide(&nobody), decide(&alice)), (Handling::Block, Handling::Confirm));
    assert_eq!(decide(&Identity::named(&bed.core, "bob@localhost")), Handling::Allow, "oneself");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_device_is_not_woken_by_a_question() {
    let bed = Bed::new().await;
    let mut alice = bed.phone("alice");
    let chat = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im\"";
    let ask = format!("Contact: <sip:alice@{}>;{chat}\r\n", alice.socket.local_addr().unwrap());
    let away = alice.request("OPTIONS", "<sip:bob@localhost>", "o0", &ask, "");
    assert!(away.starts_with("SIP/2.0 480"), "{away}");

    bed.bind(None, "sip:bob@192.0.2.1", &format!(";{chat}"));
    let asleep = alice.request("OPTIONS", "<sip:bob@localhost>", "o1", &ask, "");
    assert!(asleep.starts_with("SIP/2.0 200"), "{asleep}");
    let contact = header(&asleep, "Contact").unwrap();
    assert!(contact.contains("rcse.im") && contact.contains(";automata"), "{contact}");
    let age: u64 = header(&asleep, "Age").unwrap().parse().unwrap();
    assert!((100..200).contains(&age), "{age}");
    assert_eq!(bed.core.capabilities.asked.load(Ordering::Relaxed), 0, "no device was asked");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_asked_once_in_a_while_and_its_silence_is_no_ones_fault() {
    let bed = Bed::new().await;
    let (mut alice, device) = (bed.phone("alice"), bed.phone("bob"));
    let files = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\"";
    let contact = format!("sip:bob@{}", device.socket.local_addr().unwrap());
    bed.bind(Some(device.flow()), &contact, &format!(";{files}"));
    let ask = format!("Contact: <sip:alice@{}>;{files}\r\n", alice.socket.local_addr().unwrap());
    let silent = alice.request("OPTIONS", "<sip:bob@localhost>", "o1", &ask, "");
    assert!(
        silent.starts_with("SIP/2.0 200") && header(&silent, "Contact").unwrap().contains("rcs.fthttp"),
        "{silent}"
    );
    assert_eq!(bed.core.capabilities.asked.load(Ordering::Relaxed), 1);

    let answers = std::thread::spawn(move || {
        let asked = device.next("OPTIONS", |text| text.contains("Call-ID: o2"));
        device.answer(&asked, "200 OK", "Contact: <sip:bob@h>;+g.gsma.rcs.isbot\r\n");
    });
    for (call_id, asked) in [("o2", 2), ("o3", 2), ("o4", 2)] {
        let told = alice.request("OPTIONS", "<sip:bob@localhost>", call_id, &ask, "");
        assert!(header(&told, "Contact").unwrap().contains("+g.gsma.rcs.isbot"), "{told}");
        assert_eq!(bed.core.capabilities.asked.load(Ordering::Relaxed), asked, "{call_id}");
    }
    answers.join().unwrap();
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_moves_with_its_device_and_ends_with_its_registration() {
    let bed = Bed::new().await;
    let (mut bob, elsewhere) = (bed.phone("bob"), bed.phone("bob"));
    assert!(bob.publish("here").starts_with("SIP/2.0 200"));
    bed.bind(Some(bob.flow()), "sip:bob@192.0.2.1", "");
    let before = bed.core.location.with("bob@localhost", <[Binding]>::to_vec);
    let mut moved = before.clone();
    moved[0].flow = Some(elsewhere.flow());
    let count = || bed.core.presence.with_publications("bob@localhost", |publications| publications.len());
    registration_changed(&bed.core, "bob@localhost", &before, &moved);
    assert_eq!(count(), 1);
    registration_changed(&bed.core, "bob@localhost", &moved, &[]);
    assert_eq!((count(), bed.core.presence.withdrawn.load(Ordering::Relaxed)), (0, 1));
    bed.stop().await;
}
