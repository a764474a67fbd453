//! What a client has at the relay: an address of its own there, and whom it exchanges data with.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ahash::AHashMap;

use super::credentials::Signer;

/// How long a permission lasts (RFC 8656 §9).
const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel is bound (§12).
const CHANNEL: Duration = Duration::from_secs(600);
/// Permissions, and channels, of one allocation; a call has a handful of candidates.
const PERMISSIONS: usize = 64;

/// Why a channel cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unbound {
    /// The channel or the peer has another partner.
    Taken,
    Full,
}

/// A bucket of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    left: u64,
    filled: Instant,
}

impl Pace {
    fn new(rate: u64, now: Instant) -> Pace {
        Pace { left: rate, filled: now }
    }

    /// Takes so many bytes of what a second gives, if they are there.
    fn take(&mut self, bytes: usize, rate: u64, now: Instant) -> bool {
        let gained = rate.saturating_mul(now.saturating_duration_since(self.filled).as_millis() as u64) / 1000;
        if gained > 0 {
            self.left = (self.left + gained).min(rate);
            self.filled = now;
        }
        let enough = self.left >= bytes as u64;
        self.left -= if enough { bytes as u64 } else { 0 };
        enough
    }
}

/// One direction of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToPeer,
    ToClient,
}

/// The address and partners of a client.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) user: Box<str>,
    /// With which the answer to that request is signed.
    pub(super) key: [u8; 16],
    /// The request that made it.
    pub(super) transaction: [u8; 12],
    /// `None` while its port is being opened.
    pub(super) relayed: Option<SocketAddr>,
    pub(super) expires: Instant,
    permissions: AHashMap<IpAddr, Instant>,
    channels: AHashMap<u16, (SocketAddr, Instant)>,
    by_peer: AHashMap<SocketAddr, u16>,
    paces: [Pace; 2],
}

impl Allocation {
    pub(super) fn new(signer: Signer, transaction: [u8; 12], expires: Instant, rate: u64, now: Instant) -> Allocation {
        Allocation {
            user: signer.user,
            key: signer.key,
            transaction,
            relayed: None,
            expires,
            permissions: AHashMap::new(),
            channels: AHashMap::new(),
            by_peer: AHashMap::new(),
            paces: [Pace::new(rate, now); 2],
        }
    }

    /// Seconds that it lasts if nobody refreshes it.
    pub(super) fn seconds_left(&self, now: Instant) -> u32 {
        u32::try_from(self.expires.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn has_family_of(&self, peer: SocketAddr) -> bool {
        self.relayed.is_some_and(|own| own.is_ipv4() == peer.is_ipv4())
    }

    /// Whether there is room for so many more permissions.
    pub(super) fn has_room(&mut self, peers: &[SocketAddr], now: Instant) -> bool {
        self.permissions.retain(|_, until| *until > now);
        let more = peers.iter().filter(|peer| !self.permissions.contains_key(&peer.ip())).count();
        self.permissions.len() + more <= PERMISSIONS
    }

    /// Lets data of an address through, and to it, for a while.
    pub(super) fn permit(&mut self, peer: IpAddr, now: Instant) {
        self.permissions.insert(peer, now + PERMISSION);
    }

    pub(super) fn is_permitted(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.get(&peer).is_some_and(|until| *until > now)
    }

    /// Binds a channel, or goes on with it.
    pub(super) fn bind(&mut self, channel: u16, peer: SocketAddr, now: Instant) -> Result<(), Unbound> {
        self.channels.retain(|_, (_, until)| *until > now);
        let channels = &self.channels;
        self.by_peer.retain(|_, bound| channels.contains_key(bound));
        let taken = channels.get(&channel).is_some_and(|(bound, _)| *bound != peer);
        if taken || self.by_peer.get(&peer).is_some_and(|bound| *bound != channel) {
            return Err(Unbound::Taken);
        }
        if !channels.contains_key(&channel) && channels.len() >= PERMISSIONS || !self.has_room(&[peer], now) {
            return Err(Unbound::Full);
        }
        self.channels.insert(channel, (peer, now + CHANNEL));
        self.by_peer.insert(peer, channel);
        self.permit(peer.ip(), now);
        Ok(())
    }

    pub(super) fn peer_of(&self, channel: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&channel).filter(|(_, until)| *until > now).map(|(peer, _)| *peer)
    }

    pub(super) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = *self.by_peer.get(&peer)?;
        self.peer_of(channel, now).map(|_| channel)
    }

    /// Whether so many bytes may go that way now; `rate` in bytes a second.
    pub(super) fn may_send(&mut self, way: Way, bytes: usize, rate: u64, now: Instant) -> bool {
        self.paces[usize::from(way == Way::ToClient)].take(bytes, rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::tests::epoch;

    fn signer() -> Signer {
        Signer { user: "u".into(), expires: 0, key: [0; 16] }
    }

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_channel_has_one_peer_and_a_peer_one_channel_until_it_lapses() {
        let start = epoch();
        let mut own = Allocation::new(signer(), [0; 12], start + secs(3600), 1000, start);
        let [one, two] = ["192.0.2.1:1", "192.0.2.1:2"].map(|text| text.parse::<SocketAddr>().unwrap());
        own.bind(0x4000, one, start).unwrap();
        assert_eq!(own.bind(0x4000, two, start), Err(Unbound::Taken));
        assert_eq!(own.bind(0x4001, one, start), Err(Unbound::Taken));
        own.bind(0x4000, one, start + secs(599)).unwrap();
        assert_eq!(own.channel_of(one, start + secs(1198)), Some(0x4000));
        assert_eq!(own.channel_of(one, start + secs(1199)), None);
        own.bind(0x4001, one, start + secs(1199)).unwrap();
        own.bind(0x4000, two, start + secs(1199)).unwrap();
        assert_eq!(own.peer_of(0x4000, start + secs(1200)), Some(two));
    }

    #[test]
    fn a_permission_lasts_five_minutes_and_there_are_so_many() {
        let start = epoch();
        let mut own = Allocation::new(signer(), [0; 12], start + secs(3600), 1000, start);
        for n in 0..PERMISSIONS as u8 {
            own.permit(IpAddr::from([192, 0, 2, n]), start);
        }
        let peer = IpAddr::from([198, 51, 100, 1]);
        assert!(!own.has_room(&[(peer, 1).into()], start + secs(299)));
        assert!(own.is_permitted(IpAddr::from([192, 0, 2, 7]), start + secs(299)));
        assert!(!own.is_permitted(IpAddr::from([192, 0, 2, 7]), start + secs(300)));
        assert!(own.has_room(&[(peer, 1).into()], start + secs(300)));
    }

    #[test]
    fn a_second_gives_so_many_bytes_and_no_more() {
        let start = epoch();
        let mut own = Allocation::new(signer(), [0; 12], start + secs(3600), 1000, start);
        let sent = |own: &mut Allocation, at| (0..20).filter(|_| own.may_send(Way::ToPeer, 100, 1000, at)).count();
        assert_eq!(sent(&mut own, start), 10);
        assert_eq!(sent(&mut own, start + Duration::from_millis(500)), 5);
        assert_eq!(sent(&mut own, start + secs(100)), 10);
        assert!(own.may_send(Way::ToClient, 1000, 1000, start), "the other way has its own");
    }
}
