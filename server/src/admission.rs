//! Who gets through the door: rates by peer and by user, and the ban list for scanners.
//!
//! Time is given as milliseconds since the start of the process. Peers in the trust domain and on loopback have no
//! rate and are never banned.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ahash::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Rates as a virtual schedule (GCRA, ITU-T I.371): the time at which the next arrival would be on schedule.
pub struct Rates<K> {
    /// Milliseconds between arrivals; 0: no limit.
    interval: f64,
    /// How far ahead of the schedule arrivals may be, in milliseconds.
    tolerance: f64,
    shards: Box<[Mutex<HashMap<K, f64, RandomState>>]>,
    hasher: RandomState,
    capacity: usize,
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// `rate` arrivals a second (0: any number), `burst` more at once, for at most `capacity` keys; the idle ones go
    /// first.
    pub fn new(rate: u32, burst: u32, capacity: usize) -> Rates<K> {
        let interval = if rate == 0 { 0.0 } else { 1000.0 / f64::from(rate) };
        let hasher = RandomState::new();
        Rates {
            interval,
            tolerance: interval * f64::from(burst),
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            hasher,
            capacity: capacity / SHARDS,
        }
    }

    /// Counts an arrival at `now`; false where it is over the rate, and then it is not counted.
    pub fn admit<Q: Hash + Eq + ToOwned<Owned = K> + ?Sized>(&self, key: &Q, now: u64) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        if self.interval == 0.0 {
            return true;
        }
        let now = now as f64;
        let mut shard = self.shards[self.hasher.hash_one(key) as usize % SHARDS].lock();
        if let Some(due) = shard.get_mut(key) {
            if *due > now + self.tolerance {
                return false;
            }
            *due = due.max(now) + self.interval;
            return true;
        }
        if shard.len() >= self.capacity {
            shard.retain(|_, due| *due > now);
            // All of them busy: forgetting is safer than refusing everybody.
            if shard.len() >= self.capacity {
                shard.clear();
            }
        }
        shard.insert(key.to_owned(), now + self.interval);
        true
    }
}

/// Points that a peer collects by behaving like a scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    Junk,
    WrongPassword,
    UnknownUser,
    ScannerName,
}

impl Offence {
    fn points(self) -> f64 {
        match self {
            Offence::Junk => 1.0,
            Offence::WrongPassword | Offence::UnknownUser => 5.0,
            Offence::ScannerName => 50.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Record {
    points: f64,
    /// When `points` was right; they fade over the window.
    at: u64,
    banned_until: u64,
}

/// Peers that are not answered for a while.
pub struct Bans {
    threshold: f64,
    window: f64,
    time: u64,
    capacity: usize,
    peers: Mutex<HashMap<IpAddr, Record, RandomState>>,
    /// Number of bans in force or lapsed but not cleared, so that the common case takes no lock.
    some: std::sync::atomic::AtomicUsize,
}

impl Bans {
    /// `threshold` points within `window` milliseconds ban for `time` milliseconds; threshold 0 never does.
    pub fn new(threshold: u32, window: u64, time: u64, capacity: usize) -> Bans {
        Bans {
            threshold: f64::from(threshold),
            window: window as f64,
            time,
            capacity,
            peers: Mutex::default(),
            some: Default::default(),
        }
    }

    pub fn is_banned(&self, peer: IpAddr, now: u64) -> bool {
        if self.some.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            return false;
        }
        self.peers.lock().get(&network(peer)).is_some_and(|r| r.banned_until > now)
    }

    /// Notes an offence; true where it brings a new ban.
    pub fn note(&self, peer: IpAddr, offence: Offence, now: u64) -> bool {
        if self.threshold == 0.0 {
            return false;
        }
        let mut peers = self.peers.lock();
        if peers.len() >= self.capacity {
            let oldest = peers.iter().min_by_key(|(_, r)| r.banned_until.max(r.at)).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                peers.remove(&oldest);
            }
        }
        let record = peers.entry(network(peer)).or_insert(Record { points: 0.0, at: now, banned_until: 0 });
        let faded = (now - record.at.min(now)) as f64 / self.window;
        record.points = (record.points * (1.0 - faded)).max(0.0) + offence.points();
        record.at = now;
        if record.points < self.threshold || record.banned_until > now {
            return false;
        }
        record.points = 0.0;
        record.banned_until = now + self.time;
        self.some.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        true
    }

    /// Peers banned at `now`.
    pub fn count(&self, now: u64) -> usize {
        self.peers.lock().values().filter(|r| r.banned_until > now).count()
    }
}

/// The network that one subscriber has: an IPv4 address, or an IPv6 /64.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

/// Names that scanning tools give themselves in User-Agent, in lower case.
const SCANNERS: [&str; 8] =
    ["friendly-scanner", "sipvicious", "sipcli", "sip-scan", "sundayddr", "vaxsipuseragent", "iwar", "sipsak-scan"];

/// Whether a User-Agent is that of a known scanner.
pub fn is_scanner(user_agent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&user_agent[..user_agent.len().min(80)]).to_ascii_lowercase();
    SCANNERS.iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_allows_its_burst_and_then_the_rate() {
        let rates: Rates<IpAddr> = Rates::new(10, 5, 1000);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let admitted = (0..20).filter(|_| rates.admit(&peer, 1000)).count();
        assert_eq!(admitted, 6);
        assert!(!rates.admit(&peer, 1050));
        assert!(rates.admit(&peer, 1100));
        assert!(rates.admit(&"192.0.2.2".parse().unwrap(), 1000));
        let free: Rates<String> = Rates::new(0, 0, 10);
        assert!((0..1000).all(|_| free.admit("x", 0)));
    }

    #[test]
    fn keys_are_bounded() {
        let rates: Rates<u32> = Rates::new(1, 1, 160);
        for key in 0..10_000u32 {
            rates.admit(&key, 5);
        }
        assert!(rates.shards.iter().all(|s| s.lock().len() <= 10));
    }

    #[test]
    fn offences_add_up_and_fade() {
        let bans = Bans::new(20, 1000, 5000, 2);
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(!bans.note(peer, Offence::WrongPassword, 0));
        assert!(!bans.note(peer, Offence::WrongPassword, 2000), "the first has faded");
        assert!(!bans.note(peer, Offence::WrongPassword, 2000));
        assert!(!bans.note(peer, Offence::WrongPassword, 2000));
        assert!(bans.note(peer, Offence::WrongPassword, 2000));
        assert!(bans.is_banned("2001:db8::77".parse().unwrap(), 6999), "the /64 is one peer");
        assert!(!bans.is_banned(peer, 7000));
        assert!(bans.note("192.0.2.1".parse().unwrap(), Offence::ScannerName, 8000));
        assert!(bans.note("192.0.2.2".parse().unwrap(), Offence::ScannerName, 8000));
        assert_eq!(bans.count(8001), 2);
    }

    #[test]
    fn scanners_name_themselves() {
        assert!(is_scanner(b"Friendly-Scanner 1.0"));
        assert!(!is_scanner(b"baresip v1.0"));
    }
}
