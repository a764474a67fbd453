//! What clients ask for: allocations, more time, permissions, channels (RFC 8656 §7 to §12), by whoever has credentials.

use std::time::{Duration, Instant};

use super::allocation::{Allocation, Unbound};
use super::credentials::Signer;
use super::message::{CHANNELS, Draft, Message, Method};
use super::{Action, Client, Family, Server, Time};

/// How long an allocation lasts that nobody refreshes (§2).
const LIFETIME: u32 = 600;
/// The longest that a client can have without refreshing it (§7.2).
const LONGEST: u32 = 3600;
/// By so many seconds a call may outlast the credentials it began with.
const OVERTIME: u64 = 12 * 3600;
/// The protocol number of UDP.
const UDP: u8 = 17;

impl Server {
    pub(super) fn request(&mut self, client: Client, message: &Message<'_>, time: Time) {
        let (answer, key) = match self.authenticate(client, message, time.wall) {
            Err(challenge) => {
                self.counters.challenged += 1;
                (Some(challenge), None)
            }
            Ok(signer) => {
                let key = signer.key;
                let answer = match message.method {
                    _ if !message.unknown.is_empty() => {
                        Some(message.error(420, "Unknown Attribute").unknown(&message.unknown))
                    }
                    Method::Allocate => self.allocate(client, message, signer, time),
                    _ => Some(self.within(client, message, &signer, time.now)),
                };
                (answer, Some(key))
            }
        };
        if let Some(answer) = answer {
            let bytes = answer.finish(key.as_ref().map(|key| &key[..]));
            self.outbox.push_back(Action::Answer { client, bytes });
        }
    }

    /// Who has signed a request (RFC 8489 §9.2.4).
    fn authenticate(&self, client: Client, message: &Message<'_>, wall: u64) -> Result<Signer, Draft> {
        let challenge = |code, reason| {
            let nonce = self.authority.nonce(client.remote, wall);
            message.error(code, reason).challenge(self.authority.realm(), &nonce)
        };
        if !message.is_signed() {
            return Err(challenge(401, "Unauthenticated"));
        }
        let (Some(username), Some(_), Some(nonce)) = (message.username, message.realm, message.nonce) else {
            return Err(message.error(400, "Bad Request"));
        };
        if !self.authority.takes(nonce, client.remote, wall) {
            return Err(challenge(438, "Stale Nonce"));
        }
        let overtime = if message.method == Method::Allocate { 0 } else { OVERTIME };
        let signer = self.authority.signer(username);
        signer
            .filter(|signer| message.is_signed_with(&signer.key) && signer.expires.saturating_add(overtime) > wall)
            .ok_or_else(|| challenge(401, "Unauthenticated"))
    }

    /// §7.2; no answer while the port is being opened.
    fn allocate(&mut self, client: Client, message: &Message<'_>, signer: Signer, time: Time) -> Option<Draft> {
        if let Some(own) = self.allocations.get(&client) {
            if own.transaction != message.transaction() {
                return Some(message.error(437, "Allocation Mismatch"));
            }
            // The request came twice.
            let relayed = own.relayed?;
            let lifetime = own.seconds_left(time.now);
            return Some(message.success().relayed(relayed).lifetime(lifetime).mapped(client.remote));
        }
        match message.transport {
            None => return Some(message.error(400, "Bad Request")),
            Some(UDP) => {}
            Some(_) => return Some(message.error(442, "Unsupported Transport Protocol")),
        }
        let family = match message.family {
            None | Some(1) => Family::V4,
            Some(2) => Family::V6,
            Some(_) => return Some(message.error(440, "Address Family not Supported")),
        };
        let count = self.users.get(&signer.user).copied().unwrap_or_default();
        if count >= self.limits.per_user {
            self.counters.full += 1;
            return Some(message.error(486, "Allocation Quota Reached"));
        }
        if self.allocations.len() >= self.limits.allocations {
            self.counters.full += 1;
            return Some(message.error(508, "Insufficient Capacity"));
        }
        *self.users.entry(signer.user.clone()).or_default() += 1;
        let expires = time.now + Duration::from_secs(lifetime(message.lifetime).into());
        let own = Allocation::new(signer, message.transaction(), expires, self.limits.rate, time.now);
        self.allocations.insert(client, own);
        self.deadlines.insert((expires, client));
        self.outbox.push_back(Action::Open { client, family });
        None
    }

    /// A request about an allocation.
    fn within(&mut self, client: Client, message: &Message<'_>, signer: &Signer, now: Instant) -> Draft {
        let Some(own) = self.allocations.get(&client).filter(|own| own.relayed.is_some()) else {
            return message.error(437, "Allocation Mismatch");
        };
        if own.user != signer.user {
            return message.error(441, "Wrong Credentials");
        }
        match message.method {
            Method::Refresh => self.refresh(client, message, now),
            Method::CreatePermission => self.permit(client, message, now),
            _ => self.bind(client, message, now),
        }
    }

    /// §8.2.
    fn refresh(&mut self, client: Client, message: &Message<'_>, now: Instant) -> Draft {
        let Some(own) = self.allocations.get_mut(&client) else { return message.error(437, "Allocation Mismatch") };
        let is_v6 = own.relayed.is_some_and(|address| address.is_ipv6());
        if message.family.is_some_and(|family| (family == 2) != is_v6) {
            return message.error(443, "Peer Address Family Mismatch");
        }
        if message.lifetime == Some(0) {
            self.gone(client);
            return message.success().lifetime(0);
        }
        let seconds = lifetime(message.lifetime);
        self.deadlines.remove(&(own.expires, client));
        own.expires = now + Duration::from_secs(seconds.into());
        self.deadlines.insert((own.expires, client));
        message.success().lifetime(seconds)
    }

    /// §10.2.
    fn permit(&mut self, client: Client, message: &Message<'_>, now: Instant) -> Draft {
        let Some(own) = self.allocations.get_mut(&client) else { return message.error(437, "Allocation Mismatch") };
        if message.peers.is_empty() {
            return message.error(400, "Bad Request");
        }
        if message.peers.iter().any(|peer| !own.has_family_of(*peer)) {
            return message.error(443, "Peer Address Family Mismatch");
        }
        if message.peers.iter().any(|peer| !self.peers.admit_some(peer.ip())) {
            self.counters.forbidden += 1;
            return message.error(403, "Forbidden");
        }
        if !own.has_room(&message.peers, now) {
            self.counters.full += 1;
            return message.error(508, "Insufficient Capacity");
        }
        message.peers.iter().for_each(|peer| own.permit(peer.ip(), now));
        message.success()
    }

    /// §12.2.
    fn bind(&mut self, client: Client, message: &Message<'_>, now: Instant) -> Draft {
        let Some(own) = self.allocations.get_mut(&client) else { return message.error(437, "Allocation Mismatch") };
        let (Some(channel), [peer]) = (message.channel, &message.peers[..]) else {
            return message.error(400, "Bad Request");
        };
        if !CHANNELS.contains(&channel) {
            return message.error(400, "Bad Request");
        }
        if !own.has_family_of(*peer) {
            return message.error(443, "Peer Address Family Mismatch");
        }
        if !self.peers.admit(*peer, self.relayed.contains_key(peer)) {
            self.counters.forbidden += 1;
            return message.error(403, "Forbidden");
        }
        match own.bind(channel, *peer, now) {
            Ok(()) => message.success(),
            Err(Unbound::Taken) => message.error(400, "Bad Request"),
            Err(Unbound::Full) => {
                self.counters.full += 1;
                message.error(508, "Insufficient Capacity")
            }
        }
    }
}

/// What a client gets that asks for so many seconds (§7.2).
fn lifetime(asked: Option<u32>) -> u32 {
    asked.unwrap_or_default().clamp(LIFETIME, LONGEST)
}
