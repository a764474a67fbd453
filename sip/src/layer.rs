//! The transaction layer: every transaction of one shard (RFC 3261 §17), without I/O.
//!
//! The caller picks the shard (by a hash of the Call-ID), holds its lock, hands messages in and then drains
//! [`Layer::poll_transmit`] and [`Layer::poll_event`]. Transactions are named by keys that are never used again: a key
//! of one that has ended is harmless.

mod flows;
mod matching;
mod slab;
mod wheel;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashTable;

use crate::message::Message;
use crate::name::Method;
use crate::reply::Reply;
use crate::transaction::{
    AckFate, Fired, InviteClient, InviteServer, NonInviteClient, NonInviteServer, RespondError, Timers, Verdict,
    ack_for, cancel_for, reread,
};
use crate::transport::{Flow, Transport};
use flows::Flows;
use matching::{Name, Namer};
use slab::Slab;
use wheel::Wheel;

/// A server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(u64);

/// A client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u64);

/// What a packet belongs to, for [`Layer::transport_failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    Server(ServerKey),
    Client(ClientKey),
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dest {
    /// Down a flow that exists.
    Flow(Flow),
    /// To an address, over a connection that is opened or reused where the transport has them.
    Address { transport: Transport, address: SocketAddr },
}

impl Dest {
    pub fn transport(&self) -> Transport {
        match self {
            Dest::Flow(flow) => flow.transport,
            Dest::Address { transport, .. } => *transport,
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Dest::Flow(flow) => flow.remote,
            Dest::Address { address, .. } => *address,
        }
    }
}

impl From<Flow> for Dest {
    fn from(flow: Flow) -> Dest {
        Dest::Flow(flow)
    }
}

/// A packet for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    pub dest: Dest,
    pub bytes: Bytes,
    pub origin: Origin,
}

/// What a message from the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A new request, not ACK or CANCEL: the transaction user answers with [`Layer::respond`].
    NewRequest(ServerKey),
    /// A new CANCEL with the INVITE it matches, if there is one: answer the CANCEL with 200, or with 481 (a proxy
    /// may forward it instead), and where the INVITE has no final response, cancel it (§9.2, §16.10).
    Cancel { cancel: ServerKey, invite: Option<ServerKey> },
    /// An ACK that belongs to no 300-699: for a dialog, or to be forwarded without state. With the INVITE where the
    /// client gave it the same branch (RFC 2543).
    Ack(Option<ServerKey>),
    /// A response that the transaction user has to see, with the token given to [`Layer::request`].
    Response { client: ClientKey, user: u64 },
    /// Dealt with.
    Absorbed,
    /// A response that matches nothing: to be dropped, never forwarded (RFC 6026 §7.2, RFC 4320 §4.2).
    Stray,
    /// A new request, and the table is full: answer 503 without state.
    Full,
}

/// What happened without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// No final response in time (timers B and F, or 64·T1 after a CANCEL): as if a 408 had come (§8.1.3.1).
    ClientTimeout { client: ClientKey, user: u64 },
    /// The request could not be sent: as if a 503 had come (§8.1.3.1).
    ClientFailed { client: ClientKey, user: u64 },
    /// An INVITE client transaction that had its final response is over: no more 2xx will come.
    ClientEnded { client: ClientKey, user: u64 },
    /// No ACK came (timer H), or we never answered a non-INVITE; the transaction is over.
    ServerTimeout { server: ServerKey, user: u64 },
    /// A response could not be sent; the transaction lives on (RFC 6026 §7.1).
    ServerFailed { server: ServerKey, user: u64 },
    /// An INVITE server transaction is over.
    ServerEnded { server: ServerKey, user: u64 },
}

/// No more transactions fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of transactions is reached")]
pub struct Full;

/// Settings of a [`Layer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub timers: Timers,
    /// Most transactions at a time, in this shard. The memory of one that is finished is about a response and 200 bytes.
    pub limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { timers: Timers::default(), limit: 500_000 }
    }
}

/// Live transactions by kind, and what the layer did, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub invite_servers: usize,
    pub non_invite_servers: usize,
    pub invite_clients: usize,
    pub non_invite_clients: usize,
    /// Since the start: packets sent again by a timer.
    pub retransmissions: u64,
    /// Since the start: copies of requests and responses that went no further.
    pub absorbed: u64,
    /// Since the start: timeouts of client transactions.
    pub client_timeouts: u64,
}

/// The machines of INVITE are larger and there are few of them: in boxes, so that the others don't pay for their size.
#[derive(Debug)]
enum Machine {
    InviteServer(Box<InviteServer>),
    NonInviteServer(NonInviteServer),
    InviteClient(Box<InviteClient>),
    NonInviteClient(NonInviteClient),
}

impl Machine {
    fn is_client(&self) -> bool {
        matches!(self, Machine::InviteClient(_) | Machine::NonInviteClient(_))
    }
}

#[derive(Debug)]
struct Entry {
    machine: Machine,
    name: Name,
    dest: Dest,
    user: u64,
    /// A CANCEL of the layer's own, of which the transaction user hears nothing.
    silent: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Layer {
    config: Config,
    namer: Namer,
    entries: Slab<Entry>,
    /// Slots by name.
    table: HashTable<u32>,
    wheel: Wheel,
    /// Client transactions by connection.
    flows: Flows,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counts: Counts,
    /// Kept for its memory.
    due: Vec<u32>,
}

impl Layer {
    /// `seeds` come from the system's randomness, so that a peer cannot choose colliding branches.
    pub fn new(now: Instant, config: Config, seeds: [u64; 4]) -> Layer {
        Layer {
            config,
            namer: Namer::new(seeds),
            entries: Slab::new(),
            table: HashTable::new(),
            wheel: Wheel::new(now),
            flows: Flows::new(seeds),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
            due: Vec::new(),
        }
    }

    /// Takes a message that passed [`Message::check`] and came on `flow`. That the top Via of a response is ours is
    /// for the caller to see to (§18.1.2); the branch alone decides here.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: &Message) -> Input {
        if !message.is_request() {
            return self.handle_response(now, message);
        }
        let method = message.method();
        if method == Method::Ack {
            return self.handle_ack(now, flow.transport, message);
        }
        let name = self.namer.server(message, None, flow.transport);
        if let Some(slot) = self.find(name) {
            if let Some(entry) = self.entries.get_mut(slot) {
                match &mut entry.machine {
                    Machine::InviteServer(tx) => tx.handle_request(),
                    Machine::NonInviteServer(tx) => tx.handle_request(),
                    Machine::InviteClient(_) | Machine::NonInviteClient(_) => {}
                }
            }
            self.counts.absorbed += 1;
            self.settle(slot);
            return Input::Absorbed;
        }
        let (timers, reliable) = (&self.config.timers, flow.transport.is_reliable());
        let machine = if method == Method::Invite {
            Machine::InviteServer(InviteServer::new(now, timers, message.bytes().clone(), reliable).into())
        } else {
            Machine::NonInviteServer(NonInviteServer::new(now, message.bytes().clone(), reliable))
        };
        let entry = Entry { machine, name, dest: flow.into(), user: 0, silent: false };
        if method == Method::Cancel {
            let invite = self.find(self.namer.server(message, Some(Method::Invite), flow.transport));
            let invite = invite.map(|slot| ServerKey(self.entries.key_of(slot)));
            let cancel = if invite.is_some() { Ok(self.insert_over_limit(entry)) } else { self.insert(entry) };
            return cancel.map_or(Input::Full, |cancel| Input::Cancel { cancel: ServerKey(cancel), invite });
        }
        let Ok(key) = self.insert(entry) else { return Input::Full };
        Input::NewRequest(ServerKey(key))
    }

    fn handle_ack(&mut self, now: Instant, transport: Transport, ack: &Message) -> Input {
        let Some(slot) = self.find(self.namer.server(ack, Some(Method::Invite), transport)) else {
            return Input::Ack(None);
        };
        let key = ServerKey(self.entries.key_of(slot));
        let Some(Entry { machine: Machine::InviteServer(tx), .. }) = self.entries.get_mut(slot) else {
            return Input::Ack(None);
        };
        let fate = tx.handle_ack(now, &self.config.timers);
        self.settle(slot);
        match fate {
            AckFate::Absorbed => Input::Absorbed,
            AckFate::Pass => Input::Ack(Some(key)),
        }
    }

    fn handle_response(&mut self, now: Instant, response: &Message) -> Input {
        let name = self.namer.client(response.branch(), response.cseq_method());
        let Some(slot) = self.find(name) else { return Input::Stray };
        let key = self.entries.key_of(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return Input::Stray };
        let (timers, status) = (&self.config.timers, response.status());
        let verdict = match &mut entry.machine {
            Machine::NonInviteClient(tx) => tx.handle_response(now, timers, status),
            Machine::InviteClient(tx) => tx.handle_response(now, timers, status, |invite| match reread(invite) {
                Some(invite) => ack_for(&invite, response),
                None => Bytes::new(),
            }),
            Machine::InviteServer(_) | Machine::NonInviteServer(_) => return Input::Stray,
        };
        let (user, silent) = (entry.user, entry.silent);
        self.send_cancel(now, slot);
        self.settle(slot);
        if silent || verdict == Verdict::Absorb {
            self.counts.absorbed += 1;
            return Input::Absorbed;
        }
        Input::Response { client: ClientKey(key), user }
    }

    /// Sends a response on behalf of the transaction user. Of a 2xx to an INVITE the copies are the transaction user's
    /// (RFC 6026 §7.1); every other final response is repeated as the machines want it.
    pub fn respond(&mut self, now: Instant, key: ServerKey, status: u16, bytes: Bytes) -> Result<(), RespondError> {
        let slot = self.entries.slot_of(key.0).ok_or(RespondError::Gone)?;
        self.answer(now, slot, status, bytes)?;
        self.settle(slot);
        Ok(())
    }

    fn answer(&mut self, now: Instant, slot: u32, status: u16, bytes: Bytes) -> Result<(), RespondError> {
        let (key, timers) = (self.entries.key_of(slot), &self.config.timers);
        let entry = self.entries.get_mut(slot).ok_or(RespondError::Gone)?;
        let send = match &mut entry.machine {
            Machine::InviteServer(tx) => tx.respond(now, timers, status, &bytes)?,
            Machine::NonInviteServer(tx) => tx.respond(now, timers, status, &bytes).map(|()| true)?,
            Machine::InviteClient(_) | Machine::NonInviteClient(_) => return Err(RespondError::Gone),
        };
        if send {
            self.outbox.push_back(Transmit { dest: entry.dest, bytes, origin: Origin::Server(ServerKey(key)) });
        }
        Ok(())
    }

    /// Sends the 100 for an INVITE now and not only after 200 ms, as a proxy does that knows it will take long; nothing
    /// where something was answered already, or for another method.
    pub fn trying(&mut self, now: Instant, key: ServerKey) {
        let Some(slot) = self.entries.slot_of(key.0) else { return };
        if matches!(self.entries.get(slot), Some(Entry { machine: Machine::InviteServer(_), .. })) {
            self.send_trying(now, slot);
            self.settle(slot);
        }
    }

    /// Sends a request in a client transaction. `branch` is the one in its top Via, not in use by any other; `method`
    /// is not ACK. `user` comes back with each response and event. The INVITE of a proxy has timer C with the caller.
    pub fn request(
        &mut self,
        now: Instant,
        dest: Dest,
        bytes: Bytes,
        branch: &[u8],
        method: &[u8],
        user: u64,
    ) -> Result<ClientKey, Full> {
        let (timers, reliable) = (&self.config.timers, dest.transport().is_reliable());
        let machine = if method == b"INVITE" {
            Machine::InviteClient(InviteClient::new(now, timers, bytes.clone(), reliable).into())
        } else {
            Machine::NonInviteClient(NonInviteClient::new(now, timers, bytes.clone(), reliable))
        };
        let name = self.namer.client(branch, method);
        let key = self.insert(Entry { machine, name, dest, user, silent: false }).map(ClientKey)?;
        self.outbox.push_back(Transmit { dest, bytes, origin: Origin::Client(key) });
        Ok(key)
    }

    /// Cancels an INVITE: the CANCEL goes out at once, or with the first provisional response (§9.1). The final
    /// response of the INVITE comes as ever, and [`Event::ClientTimeout`] if none does within 64·T1. `reason` is a
    /// Reason value (RFC 3326). False where it is too late or not an INVITE.
    pub fn cancel(&mut self, now: Instant, key: ClientKey, reason: Option<&str>) -> bool {
        let Some(slot) = self.entries.slot_of(key.0) else { return false };
        let Some(Entry { machine: Machine::InviteClient(tx), .. }) = self.entries.get_mut(slot) else { return false };
        let taken = tx.cancel(reason);
        self.send_cancel(now, slot);
        self.settle(slot);
        taken
    }

    /// A packet could not be sent, or its connection closed before the answer came.
    pub fn transport_failed(&mut self, origin: Origin) {
        match origin {
            Origin::Server(key) => {
                if let Some(entry) = self.entries.slot_of(key.0).and_then(|slot| self.entries.get(slot)) {
                    self.events.push_back(Event::ServerFailed { server: key, user: entry.user });
                }
            }
            Origin::Client(key) => {
                if let Some(slot) = self.entries.slot_of(key.0) {
                    self.fail_client(slot);
                }
            }
        }
    }

    /// A connection closed: every client transaction that waits for an answer on it has failed.
    pub fn flow_closed(&mut self, flow: &Flow) {
        if flow.is_connection() {
            for slot in self.flows.on(flow) {
                self.fail_client(slot);
            }
        }
    }

    /// Forgets a server transaction that will not be answered; copies of the request are then new requests.
    pub fn terminate_server(&mut self, key: ServerKey) {
        if let Some(slot) = self.entries.slot_of(key.0) {
            self.remove(slot);
        }
    }

    /// Forgets a client transaction, whose responses are then strays.
    pub fn terminate_client(&mut self, key: ClientKey) {
        if let Some(slot) = self.entries.slot_of(key.0) {
            self.remove(slot);
        }
    }

    /// Lets an answered non-INVITE be forgotten after 4·T1 ([`Timers::copies`]) and not 64·T1, where a copy that comes
    /// later does no harm as a new request. Frees memory where many such requests come.
    pub fn shorten(&mut self, now: Instant, key: ServerKey) {
        let Some(slot) = self.entries.slot_of(key.0) else { return };
        let at = now + self.config.timers.copies();
        if let Some(Entry { machine: Machine::NonInviteServer(tx), .. }) = self.entries.get_mut(slot) {
            tx.shorten(at);
            self.settle(slot);
        }
    }

    /// Gives a server transaction a token, which its events carry; 0 before.
    pub fn set_user(&mut self, key: ServerKey, user: u64) {
        if let Some(entry) = self.entries.slot_of(key.0).and_then(|slot| self.entries.get_mut(slot)) {
            entry.user = user;
        }
    }

    /// The token of a server transaction that lives.
    pub fn user(&self, key: ServerKey) -> Option<u64> {
        self.entries.get(self.entries.slot_of(key.0)?).map(|entry| entry.user)
    }

    /// Whether the request still waits for a final response.
    pub fn is_open(&self, key: ServerKey) -> bool {
        match self.entries.slot_of(key.0).and_then(|slot| self.entries.get(slot)).map(|entry| &entry.machine) {
            Some(Machine::InviteServer(tx)) => tx.is_open(),
            Some(Machine::NonInviteServer(tx)) => tx.is_open(),
            _ => false,
        }
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now, &mut due);
        for slot in due.drain(..) {
            self.fire(now, slot);
        }
        self.due = due;
    }

    /// When [`Layer::handle_timeout`] is next wanted; with many transactions, sometimes a little before one is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// The next packet for the wire; call until `None`.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next event; call until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Live transactions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    fn fire(&mut self, now: Instant, slot: u32) {
        let key = self.entries.key_of(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let timers = &self.config.timers;
        let fired = match &mut entry.machine {
            Machine::InviteServer(tx) => tx.handle_timeout(now, timers),
            Machine::NonInviteServer(tx) => tx.handle_timeout(now, timers),
            Machine::InviteClient(tx) => tx.handle_timeout(now),
            Machine::NonInviteClient(tx) => tx.handle_timeout(now, timers),
        };
        let user = entry.user;
        match fired {
            Fired::Nothing => {}
            Fired::TryingDue => self.send_trying(now, slot),
            Fired::TimedOut => {
                match &entry.machine {
                    Machine::InviteServer(_) | Machine::NonInviteServer(_) => {
                        self.events.push_back(Event::ServerTimeout { server: ServerKey(key), user });
                    }
                    _ => {
                        self.counts.client_timeouts += 1;
                        if !entry.silent {
                            self.events.push_back(Event::ClientTimeout { client: ClientKey(key), user });
                        }
                    }
                }
                // The event says that it is over; there is no second one.
                self.remove(slot);
                return;
            }
        }
        if self.settle(slot) && fired == Fired::Nothing {
            self.counts.retransmissions += 1;
        }
    }

    fn fail_client(&mut self, slot: u32) {
        let key = self.entries.key_of(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let (user, silent) = (entry.user, entry.silent);
        let told = match &mut entry.machine {
            Machine::InviteClient(tx) => tx.handle_transport_error(),
            Machine::NonInviteClient(tx) => tx.handle_transport_error(),
            Machine::InviteServer(_) | Machine::NonInviteServer(_) => return,
        };
        if told {
            if !silent {
                self.events.push_back(Event::ClientFailed { client: ClientKey(key), user });
            }
            self.remove(slot);
        }
    }

    fn send_trying(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.entries.get(slot) else { return };
        let request = match &entry.machine {
            Machine::InviteServer(tx) => tx.request(),
            Machine::NonInviteServer(tx) => tx.request(),
            Machine::InviteClient(_) | Machine::NonInviteClient(_) => None,
        };
        let Some(request) = request.and_then(reread) else { return };
        let trying = Reply::new(&request.from_source(entry.dest.address()), 100, "").finish();
        // A refusal is no loss: the transaction user was quicker.
        let _ = self.answer(now, slot, 100, trying);
    }

    /// Starts the CANCEL's own transaction if one has become due; it goes where the INVITE went.
    fn send_cancel(&mut self, now: Instant, slot: u32) {
        let timers = &self.config.timers;
        let Some(Entry { machine: Machine::InviteClient(tx), dest, .. }) = self.entries.get_mut(slot) else { return };
        let dest = *dest;
        let Some((invite, reason)) = tx.poll_cancel(now, timers) else { return };
        let Some(invite) = reread(&invite) else { return };
        let bytes = cancel_for(&invite, reason.as_deref());
        let name = self.namer.client(invite.branch(), b"CANCEL");
        let reliable = dest.transport().is_reliable();
        let machine = Machine::NonInviteClient(NonInviteClient::new(now, timers, bytes.clone(), reliable));
        let key = self.insert_over_limit(Entry { machine, name, dest, user: 0, silent: true });
        self.outbox.push_back(Transmit { dest, bytes, origin: Origin::Client(ClientKey(key)) });
    }

    fn insert(&mut self, entry: Entry) -> Result<u64, Full> {
        if self.entries.len() >= self.config.limit {
            return Err(Full);
        }
        Ok(self.insert_over_limit(entry))
    }

    /// For the CANCEL of an INVITE that is here, of which there is at most one.
    fn insert_over_limit(&mut self, entry: Entry) -> u64 {
        *self.count(&entry.machine) += 1;
        let (name, dest, client) = (entry.name, entry.dest, entry.machine.is_client());
        let (slot, key) = self.entries.insert(entry);
        if client {
            self.flows.add(slot, &dest);
        }
        let entries = &self.entries;
        self.table.insert_unique(name.hash(), slot, |slot| entries.get(*slot).map_or(0, |entry| entry.name.hash()));
        self.settle(slot);
        key
    }

    fn find(&self, name: Name) -> Option<u32> {
        let same = |slot: &u32| self.entries.get(*slot).is_some_and(|entry| entry.name == name);
        self.table.find(name.hash(), same).copied()
    }

    /// After each change of a machine: takes what it sends again, sets its timer, drops it when it has ended. Whether it
    /// sent something.
    fn settle(&mut self, slot: u32) -> bool {
        let key = self.entries.key_of(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        let (bytes, at, ended, origin) = match &mut entry.machine {
            Machine::InviteServer(tx) => {
                (tx.poll_transmit(), tx.poll_timeout(), tx.is_terminated(), Origin::Server(ServerKey(key)))
            }
            Machine::NonInviteServer(tx) => {
                let bytes = tx.poll_transmit();
                (bytes, tx.poll_timeout(&self.config.timers), tx.is_terminated(), Origin::Server(ServerKey(key)))
            }
            Machine::InviteClient(tx) => {
                (tx.poll_transmit(), tx.poll_timeout(), tx.is_terminated(), Origin::Client(ClientKey(key)))
            }
            Machine::NonInviteClient(tx) => {
                (tx.poll_transmit(), tx.poll_timeout(), tx.is_terminated(), Origin::Client(ClientKey(key)))
            }
        };
        let (dest, sent) = (entry.dest, bytes.is_some());
        if let Some(bytes) = bytes {
            self.outbox.push_back(Transmit { dest, bytes, origin });
        }
        if ended {
            match (&entry.machine, entry.user) {
                (Machine::InviteServer(_), user) => {
                    self.events.push_back(Event::ServerEnded { server: ServerKey(key), user });
                }
                (Machine::InviteClient(_), user) => {
                    self.events.push_back(Event::ClientEnded { client: ClientKey(key), user });
                }
                _ => {}
            }
            self.remove(slot);
        } else {
            self.wheel.set(slot, at);
        }
        sent
    }

    fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.remove(slot) else { return };
        self.wheel.set(slot, None);
        if let Ok(found) = self.table.find_entry(entry.name.hash(), |other| *other == slot) {
            found.remove();
        }
        if entry.machine.is_client() {
            self.flows.remove(slot, &entry.dest);
        }
        *self.count(&entry.machine) -= 1;
    }

    fn count(&mut self, machine: &Machine) -> &mut usize {
        match machine {
            Machine::InviteServer(_) => &mut self.counts.invite_servers,
            Machine::NonInviteServer(_) => &mut self.counts.non_invite_servers,
            Machine::InviteClient(_) => &mut self.counts.invite_clients,
            Machine::NonInviteClient(_) => &mut self.counts.non_invite_clients,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
