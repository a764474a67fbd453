//! SENDs that wait for their response (RFC 4975 §7.1.1), and what is made of what becomes of them (RFC 4976 §6.4).

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::{Duration, Instant};

use crate::head::FailureReport;
use crate::ids::{OwnHasher, TransactionId};

/// How long a response may take, from the last byte of the request on.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a chunk that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Response(u16),
    /// No response within [`TIMEOUT`].
    Timeout,
    /// Sent, but the connection went before the response came.
    Unanswered,
    /// Not sent, or not wholly.
    Unsent,
}

impl Outcome {
    /// The code of the failure that the originator has to be told of, if any: a relay puts it into a REPORT, an
    /// endpoint tells its user. A response other than 200 counts unless Failure-Report is `no`; silence only if it is
    /// `yes`, and is a 408 (RFC 4975 §10.4).
    pub fn failure(self, wanted: FailureReport) -> Option<u16> {
        match (self, wanted) {
            (_, FailureReport::No) | (Outcome::Response(200..=299), _) => None,
            (Outcome::Response(code), _) => Some(code),
            (Outcome::Unsent, _) | (Outcome::Timeout | Outcome::Unanswered, FailureReport::Yes) => Some(408),
            (Outcome::Timeout | Outcome::Unanswered, FailureReport::Partial) => None,
        }
    }
}

/// The requests of ours on one connection that may still be answered, each with what the caller keeps of it.
///
/// One that silence is no failure for is to be entered as well, for an error may come.
pub struct Transactions<T> {
    open: HashMap<TransactionId, T, BuildHasherDefault<OwnHasher>>,
    /// In the order of their ends; answered ones are still among them.
    order: VecDeque<(Instant, TransactionId)>,
    timeout: Duration,
    limit: usize,
}

impl<T> Transactions<T> {
    /// At most `limit` at a time.
    pub fn new(limit: usize) -> Transactions<T> {
        Transactions::with_timeout(limit, TIMEOUT)
    }

    pub fn with_timeout(limit: usize, timeout: Duration) -> Transactions<T> {
        Transactions { open: HashMap::default(), order: VecDeque::new(), timeout, limit: limit.max(1) }
    }

    /// The last byte of a request has been handed over at `now`, which never goes back. If there are too many the
    /// oldest is given up and returned: to be treated as timed out.
    pub fn begin(&mut self, id: TransactionId, what: T, now: Instant) -> Option<(TransactionId, T)> {
        let oldest = if self.open.len() >= self.limit { self.pop(|_| true) } else { None };
        self.open.insert(id, what);
        self.order.push_back((now + self.timeout, id));
        if self.order.len() > 2 * self.open.len() + 64 {
            let open = &self.open;
            self.order.retain(|(_, id)| open.contains_key(id));
        }
        oldest
    }

    /// A response has come. `None` if it answers nothing of ours, or too late, or again.
    pub fn answered(&mut self, id: &str) -> Option<T> {
        let what = self.open.remove(&TransactionId::from_text(id)?)?;
        self.trim();
        if self.open.is_empty() && self.order.capacity() > 1024 {
            self.order = VecDeque::new();
            self.open.shrink_to_fit();
        }
        Some(what)
    }

    /// When [`Transactions::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    /// One that has waited long enough at `now`; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<(TransactionId, T)> {
        self.pop(|at| at <= now)
    }

    /// All of them, the oldest first: the connection is gone.
    pub fn drain(&mut self) -> impl Iterator<Item = (TransactionId, T)> {
        let mut open = std::mem::take(&mut self.open);
        std::mem::take(&mut self.order).into_iter().filter_map(move |(_, id)| open.remove(&id).map(|what| (id, what)))
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn pop(&mut self, due: impl Fn(Instant) -> bool) -> Option<(TransactionId, T)> {
        self.trim();
        let (_, id) = self.order.pop_front_if(|(at, _)| due(*at))?;
        let what = self.open.remove(&id);
        self.trim();
        what.map(|what| (id, what))
    }

    /// The front of the order is always one that is open.
    fn trim(&mut self) {
        while self.order.front().is_some_and(|(_, id)| !self.open.contains_key(id)) {
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TransactionIds;

    #[test]
    fn what_the_originator_hears() {
        use FailureReport::{No, Partial, Yes};
        for (outcome, expected) in [
            (Outcome::Response(200), [None, None, None]),
            (Outcome::Response(413), [Some(413), Some(413), None]),
            (Outcome::Response(481), [Some(481), Some(481), None]),
            (Outcome::Timeout, [Some(408), None, None]),
            (Outcome::Unanswered, [Some(408), None, None]),
            (Outcome::Unsent, [Some(408), Some(408), None]),
        ] {
            assert_eq!([Yes, Partial, No].map(|wanted| outcome.failure(wanted)), expected, "{outcome:?}");
        }
    }

    /// Any instant will do: only differences count.
    #[expect(clippy::disallowed_methods, reason = "there is no other way to come by one")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn answered_in_any_order_or_timed_out_after_30_seconds() {
        let (start, secs) = (epoch(), Duration::from_secs);
        let (mut ids, mut open) = (TransactionIds::new([1, 1]), Transactions::new(100));
        let ids: Vec<_> = (0..4).map(|_| ids.next()).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(open.begin(*id, at, start + secs(at as u64)).is_none());
        }
        assert_eq!(open.poll_timeout(), Some(start + secs(30)));
        assert_eq!(open.answered(ids[2].as_str()), Some(2));
        assert_eq!(open.answered(ids[2].as_str()), None);
        assert_eq!(open.answered("nothing-of-ours"), None);
        assert_eq!(open.answered(ids[0].as_str()), Some(0));
        assert_eq!(open.poll_timeout(), Some(start + secs(31)));
        assert!(open.handle_timeout(start + secs(30)).is_none());
        assert_eq!(open.handle_timeout(start + secs(40)), Some((ids[1], 1)));
        assert_eq!(open.handle_timeout(start + secs(40)), Some((ids[3], 3)));
        assert_eq!(open.handle_timeout(start + secs(40)), None);
        assert_eq!((open.poll_timeout(), open.len()), (None, 0));
    }

    #[test]
    fn a_peer_that_never_answers_does_not_make_it_grow() {
        let (start, mut ids, mut open) = (epoch(), TransactionIds::new([1, 1]), Transactions::new(10));
        let ids: Vec<_> = (0..1000).map(|_| ids.next()).collect();
        let given_up = ids.iter().enumerate().filter_map(|(at, id)| open.begin(*id, at, start)).count();
        assert_eq!((given_up, open.len()), (990, 10));
        let rest: Vec<_> = open.drain().map(|(_, at)| at).collect();
        assert_eq!(rest, (990..1000).collect::<Vec<_>>());
        // Nor one that answers all but the first.
        assert!(open.begin(ids[0], 0, start).is_none());
        for (at, id) in ids.iter().enumerate().skip(1) {
            assert!(open.begin(*id, at, start).is_none());
            assert_eq!(open.answered(id.as_str()), Some(at));
        }
        assert!(open.order.len() < 100);
    }
}
