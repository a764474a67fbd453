//! Which nonce counts have been used (RFC 7616 §3.4, `nc`): the memory that makes a captured request worthless.
//!
//! The memory is bounded. What it forgets it never accepts again: each shard remembers the youngest nonce it dropped,
//! and a nonce it does not know is taken as new only if it is younger than that.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::nonce::NonceId;

/// Counts below the highest that are still told apart, for requests that overtake each other.
const WINDOW: u32 = 64;
const SHARDS: usize = 64;

/// What to make of requests whose count has been seen, or that have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountPolicy {
    pub repeated: Repeated,
    pub uncounted: Uncounted,
}

/// A count that has been used already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeated {
    /// Stale: the client gets a new nonce and tries again by itself.
    #[default]
    Refuse,
    /// Good if its response is that of the highest count so far, so it is the same request once more. Opens a door to
    /// who can read the wire, unless qop is auth-int: the body may be another.
    SameResponse,
    /// Good, for clients that never count. As weak as having no count.
    Accept,
}

/// A response without qop, hence without a count (RFC 2069).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Uncounted {
    /// Never good.
    Refuse,
    /// Good once for each nonce.
    #[default]
    Once,
    /// Good until the nonce expires.
    Accept,
}

/// What the use of a nonce turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// Used before, or too far behind the highest count to know: answer `stale=true`.
    Replayed,
    /// The nonce may have been used before and forgotten: answer `stale=true`.
    Forgotten,
}

/// The counts used with each nonce. Cheap to share: a lock is held for one look-up in one of 64 shards.
pub struct NonceCounts {
    shards: Box<[Mutex<Shard>]>,
    capacity: usize,
}

#[derive(Default)]
struct Shard {
    uses: HashMap<u64, Uses, BuildHasherDefault<SaltHasher>>,
    /// Unknown nonces issued at this second or before are taken for forgotten ones.
    floor: Option<u32>,
}

#[derive(Clone, Copy)]
struct Uses {
    /// Bit n: `highest - n` was used.
    seen: u64,
    issued: u32,
    highest: u32,
    /// The first bytes of the response that came with `highest`.
    response: [u8; 8],
}

impl std::fmt::Debug for NonceCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NonceCounts").field("capacity", &(self.capacity * SHARDS)).finish_non_exhaustive()
    }
}

impl NonceCounts {
    /// For about `capacity` nonces (some 50 bytes each, taken as they come); it should exceed what is used in a few
    /// seconds. `not_before` (seconds since the epoch) is the start of the server, where nonces of an earlier run,
    /// whose counts are lost, have to be refused; 0 takes them.
    pub fn new(capacity: usize, not_before: u64) -> Self {
        let floor = u32::try_from(not_before).unwrap_or(u32::MAX).checked_sub(1);
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard { floor, ..Shard::default() })).collect();
        Self { shards, capacity: capacity.div_ceil(SHARDS).max(4) }
    }

    /// Notes that `count` was used with a nonce whose response has been verified. A count of 0 means that none was
    /// sent. Never call this before the response is known to be right: anyone could use up a client's counts.
    pub fn note(&self, nonce: NonceId, count: u32, response: &[u8], policy: CountPolicy) -> Use {
        let mut shard = self.shard(nonce);
        if let Some(uses) = shard.uses.get_mut(&nonce.salt) {
            return uses.note(count, prefix(response), policy);
        }
        if shard.floor.is_some_and(|floor| nonce.issued <= floor) {
            return Use::Forgotten;
        }
        if count == 0 {
            match policy.uncounted {
                Uncounted::Refuse => return Use::Replayed,
                Uncounted::Accept => return Use::Fresh,
                Uncounted::Once => {}
            }
        }
        if shard.uses.len() >= self.capacity {
            shard.make_room();
        }
        let uses = Uses { seen: 1, issued: nonce.issued, highest: count, response: prefix(response) };
        shard.uses.insert(nonce.salt, uses);
        Use::Fresh
    }

    /// Drops what belongs to nonces issued before `oldest` (seconds since the epoch), which are stale anyway. Call it
    /// now and then; it only gives memory back.
    pub fn expire(&self, oldest: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.uses.retain(|_, uses| u64::from(uses.issued) >= oldest);
            if shard.uses.len() < shard.uses.capacity() / 4 {
                shard.uses.shrink_to_fit();
            }
        }
    }

    /// Nonces remembered at present.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().uses.len()).sum()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, nonce: NonceId) -> parking_lot::MutexGuard<'_, Shard> {
        // The upper half of the product, so that salts from a counter spread as well as random ones.
        let index = (mix(nonce.salt) >> 58) as usize;
        self.shards[index].lock()
    }
}

impl Shard {
    /// Drops the oldest quarter, so that the cost is spread over as many insertions.
    fn make_room(&mut self) {
        let mut issued: Vec<u32> = self.uses.values().map(|uses| uses.issued).collect();
        let quarter = (issued.len() / 4).min(issued.len().saturating_sub(1));
        let (_, newest_dropped, _) = issued.select_nth_unstable(quarter);
        let newest_dropped = *newest_dropped;
        let mut left = quarter + 1;
        self.uses.retain(|_, uses| {
            let drop = uses.issued <= newest_dropped && left > 0;
            left -= usize::from(drop);
            !drop
        });
        self.floor = self.floor.max(Some(newest_dropped));
    }
}

impl Uses {
    fn note(&mut self, count: u32, response: [u8; 8], policy: CountPolicy) -> Use {
        // 0 comes only without qop; the two kinds do not mix on one nonce.
        if count == 0 {
            let good = self.highest == 0 && policy.uncounted == Uncounted::Accept;
            return if good { Use::Fresh } else { Use::Replayed };
        }
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.highest = count;
            self.response = response;
            return Use::Fresh;
        }
        let behind = self.highest - count;
        if behind < WINDOW && self.seen & 1 << behind == 0 {
            self.seen |= 1 << behind;
            return Use::Fresh;
        }
        match policy.repeated {
            Repeated::SameResponse if behind == 0 && self.response == response => Use::Fresh,
            Repeated::Accept if behind < WINDOW => Use::Fresh,
            _ => Use::Replayed,
        }
    }
}

fn prefix(response: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    for (to, from) in out.iter_mut().zip(response) {
        *to = *from;
    }
    out
}

fn mix(salt: u64) -> u64 {
    salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Salts are ours and random, so one multiplication spreads them; a peer cannot choose them.
#[derive(Default)]
struct SaltHasher(u64);

impl Hasher for SaltHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Rotated, since the top six bits are alike within a shard and the table takes its tag from the top.
        self.0 = mix(self.0 ^ value).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn nonce(issued: u32, salt: u64) -> NonceId {
        NonceId { issued, salt }
    }

    fn run(policy: CountPolicy, counts: &[(u32, &str)]) -> Vec<bool> {
        let table = NonceCounts::new(1000, 0);
        let note = |(count, response): &(u32, &str)| table.note(nonce(100, 1), *count, response.as_bytes(), policy);
        counts.iter().map(|one| note(one) == Use::Fresh).collect()
    }

    #[test]
    fn counts_of_one_nonce() {
        let strict = CountPolicy::default();
        let same = CountPolicy { repeated: Repeated::SameResponse, ..strict };
        let lax = CountPolicy { repeated: Repeated::Accept, uncounted: Uncounted::Accept };
        let never = CountPolicy { uncounted: Uncounted::Refuse, ..strict };
        for (name, policy, counts, expected) in [
            ("rising", strict, vec![(1, "a"), (2, "b"), (3, "c")], vec![true, true, true]),
            ("repeated", strict, vec![(1, "a"), (1, "a"), (1, "b")], vec![true, false, false]),
            ("overtaken", strict, vec![(1, "a"), (5, "b"), (3, "c"), (3, "c")], vec![true, true, true, false]),
            (
                "edge of the window",
                strict,
                vec![(64, "a"), (1, "b"), (65, "c"), (1, "d")],
                vec![true, true, true, false],
            ),
            ("behind the window", strict, vec![(65, "a"), (1, "b")], vec![true, false]),
            ("leap", strict, vec![(1, "a"), (0xffff_ffff, "b"), (1, "c")], vec![true, true, false]),
            (
                "same request again",
                same,
                vec![(1, "a"), (1, "a"), (1, "b"), (2, "b"), (1, "a")],
                vec![true, true, false, true, false],
            ),
            ("never counts", lax, vec![(1, "a"), (1, "b"), (0, "c")], vec![true, true, false]),
            ("no count, once", strict, vec![(0, "a"), (0, "b"), (0, "a")], vec![true, false, false]),
            ("no count, always", lax, vec![(0, "a"), (0, "b"), (0, "a")], vec![true, true, true]),
            ("no count, never", never, vec![(0, "a"), (1, "b")], vec![false, true]),
        ] {
            assert_eq!(run(policy, &counts), expected, "{name}");
        }
    }

    #[test]
    fn first_count_with_a_new_nonce_each_time() {
        let table = NonceCounts::new(1000, 0);
        for salt in 0..100 {
            assert_eq!(table.note(nonce(100, salt), 1, b"r", CountPolicy::default()), Use::Fresh);
        }
        assert_eq!(table.len(), 100);
        table.expire(101);
        assert!(table.is_empty());
    }

    #[test]
    fn nonces_of_an_earlier_run() {
        let table = NonceCounts::new(1000, 100);
        assert_eq!(table.note(nonce(99, 1), 1, b"r", CountPolicy::default()), Use::Forgotten);
        assert_eq!(table.note(nonce(100, 2), 1, b"r", CountPolicy::default()), Use::Fresh);
    }

    #[test]
    fn bounded_and_what_is_forgotten_stays_refused() {
        let table = NonceCounts::new(SHARDS * 8, 0);
        let nonces: Vec<_> = (0..20_000).map(|n| nonce(n / 10, u64::from(n))).collect();
        for one in &nonces {
            assert_eq!(table.note(*one, 1, b"r", CountPolicy::default()), Use::Fresh, "{one:?}");
            assert!(table.len() <= SHARDS * 8);
        }
        for one in &nonces {
            assert_ne!(table.note(*one, 1, b"r", CountPolicy::default()), Use::Fresh, "{one:?}");
        }
    }

    proptest! {
        /// Whatever the order and however small the memory: a pair of nonce and count is accepted at most once.
        #[test]
        fn no_pair_twice(uses in proptest::collection::vec((0u32..40, 0u64..40, 1u32..100), 0..600)) {
            let table = NonceCounts::new(1, 0);
            let mut accepted = HashSet::new();
            for (issued, salt, count) in uses {
                // The second is part of what makes a nonce: one salt, one time.
                let id = nonce(issued.max(1), salt << 8 | u64::from(issued));
                if table.note(id, count, b"r", CountPolicy::default()) == Use::Fresh {
                    prop_assert!(accepted.insert((id, count)));
                }
            }
        }
    }
}
