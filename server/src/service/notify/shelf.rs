//! What devices and servers have published of a user in one event package, in memory.

use std::collections::{BTreeSet, HashMap};

use ahash::RandomState;
use chappe_presence::publish::{Policy, Publications, Published, Reject, State};
use chappe_sip::{Flow, Message};
use parking_lot::Mutex;
use smallvec::SmallVec;

/// The publications of all users in one package.
pub struct Shelf<S> {
    inner: Mutex<Inner<S>>,
    /// Publications of all users.
    most: usize,
}

struct Inner<S> {
    users: HashMap<Box<str>, Publications<S>, RandomState>,
    count: usize,
    /// When to look at a user again.
    alarms: BTreeSet<(u64, Box<str>)>,
    /// Who has published over each connection.
    connections: HashMap<u64, SmallVec<[Box<str>; 1]>, RandomState>,
}

impl<S: State> Shelf<S> {
    pub fn new(most: usize) -> Shelf<S> {
        let (users, connections) = (HashMap::default(), HashMap::default());
        Shelf { inner: Mutex::new(Inner { users, count: 0, alarms: BTreeSet::new(), connections }), most }
    }

    /// Takes a PUBLISH of a user or of one who speaks for it. `now` in seconds.
    pub fn publish(
        &self,
        aor: &str,
        request: &Message,
        policy: &Policy,
        etag: Box<str>,
        flow: Flow,
        now: u64,
    ) -> Result<Published, Reject> {
        let mut inner = self.inner.lock();
        let is_full = inner.count >= self.most;
        let publications = inner.users.entry(aor.into()).or_default();
        let before = publications.len();
        let mut policy = policy.clone();
        if is_full {
            // No room: the user's own older ones give way.
            policy.max_publications = before.clamp(1, policy.max_publications);
        }
        let result = publications.publish(request, &policy, etag, flow, now);
        let (after, next) = (publications.len(), publications.next_expiry());
        inner.settle(aor, before, after);
        if result.is_ok() {
            inner.alarms.extend(next.map(|at| (at, aor.into())));
            if flow.is_connection() && after > 0 {
                let aors = inner.connections.entry(flow.connection).or_default();
                if !aors.iter().any(|known| **known == *aor) {
                    aors.push(aor.into());
                }
            }
        }
        result
    }

    /// Whether something of a user is here.
    pub fn has(&self, aor: &str) -> bool {
        self.inner.lock().users.contains_key(aor)
    }

    /// Looks at what is published of a user.
    pub fn with<R>(&self, aor: &str, look: impl FnOnce(&Publications<S>) -> R) -> R {
        match self.inner.lock().users.get(aor) {
            Some(publications) => look(publications),
            None => look(&Publications::default()),
        }
    }

    /// Takes back what was published over a connection that is gone; of whom there was something.
    pub fn withdraw(&self, flow: &Flow) -> Vec<Box<str>> {
        let mut inner = self.inner.lock();
        let mut aors = inner.connections.remove(&flow.connection).unwrap_or_default().into_vec();
        aors.retain(|aor| inner.change(aor, |publications| publications.withdraw(flow)));
        aors
    }

    /// The users of whom something has run out.
    pub fn expire(&self, now: u64) -> Vec<Box<str>> {
        let mut inner = self.inner.lock();
        let mut changed = Vec::new();
        while inner.alarms.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, aor)) = inner.alarms.pop_first() else { break };
            if inner.change(&aor, |publications| publications.expire(now)) {
                changed.push(aor.clone());
            }
            let next = inner.users.get(&aor).and_then(Publications::next_expiry);
            inner.alarms.extend(next.map(|at| (at, aor)));
        }
        changed
    }

    /// The account is gone.
    pub fn forget(&self, aor: &str) {
        let mut inner = self.inner.lock();
        if let Some(gone) = inner.users.remove(aor) {
            inner.count -= gone.len();
        }
    }
}

impl<S: State> Inner<S> {
    fn change(&mut self, aor: &str, change: impl FnOnce(&mut Publications<S>) -> bool) -> bool {
        let Some(publications) = self.users.get_mut(aor) else { return false };
        let before = publications.len();
        let changed = change(publications);
        let after = publications.len();
        self.settle(aor, before, after);
        changed
    }

    fn settle(&mut self, aor: &str, before: usize, after: usize) {
        self.count = self.count + after - before;
        if after == 0 {
            self.users.remove(aor);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chappe_presence::summary::{Summary, document};
    use chappe_sip::Transport;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn publish(shelf: &Shelf<Summary>, aor: &str, connection: u64, expires: u32) -> Result<Published, Reject> {
        let body = "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n";
        let text = format!(
            "PUBLISH sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 PUBLISH\r\nEvent: message-summary\r\nContent-Type: application/simple-message-summary\r\n\
             Expires: {expires}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let request = Message::parse(Bytes::from(text), &chappe_sip::Limits::default()).unwrap();
        let flow = Flow { transport: Transport::Tcp, listener: 0, connection, remote: ([192, 0, 2, 1], 5060).into() };
        shelf.publish(aor, &request, &Policy::default(), format!("e{connection}").into(), flow, NOW)
    }

    fn shown(shelf: &Shelf<Summary>, aor: &str) -> String {
        shelf.with(aor, |publications| document(publications.seen().map(|seen| seen.document), "sip:b@h"))
    }

    #[test]
    fn what_runs_out_or_loses_its_connection_is_gone() {
        let shelf = Shelf::new(10);
        publish(&shelf, "a@h", 1, 100).unwrap();
        publish(&shelf, "a@h", 2, 600).unwrap();
        publish(&shelf, "b@h", 2, 600).unwrap();
        assert!(shown(&shelf, "a@h").contains("Voice-Message: 2/0"));
        assert_eq!(shelf.expire(NOW + 99), [] as [Box<str>; 0]);
        assert_eq!(shelf.expire(NOW + 100), ["a@h".into()] as [Box<str>; 1]);
        assert!(shown(&shelf, "a@h").contains("Voice-Message: 1/0"));
        let flow = Flow { transport: Transport::Tcp, listener: 0, connection: 2, remote: ([192, 0, 2, 1], 1).into() };
        assert_eq!(shelf.withdraw(&flow), ["a@h".into(), "b@h".into()] as [Box<str>; 2]);
        assert!(!shelf.has("a@h") && !shelf.has("b@h"));
        assert_eq!(shelf.expire(NOW + 1000), [] as [Box<str>; 0]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let shelf = Shelf::new(2);
        for connection in 1..=3 {
            publish(&shelf, "a@h", connection, 600).unwrap();
        }
        assert!(shown(&shelf, "a@h").contains("Voice-Message: 2/0"), "{}", shown(&shelf, "a@h"));
        shelf.forget("a@h");
        assert!(!shelf.has("a@h"));
    }
}
