//! One shard: the transactions whose Call-ID hashes here, the work that uses them, and their timers. Everything about
//! one Call-ID happens under one lock, on whichever thread brought the news.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chappe_net::{Outbox, Target};
use chappe_sip::layer::{Dest, Layer, Origin, ServerKey};
use chappe_sip::{Flow, Message, Method, Reply, Transport};

use crate::core::Core;
use crate::service::agent::Calls;
use crate::service::notify::Subscriptions;
use crate::work::{Token, Work, Works};

/// Packets on connections whose failure can still be told; older ones have long been written.
const REMEMBERED: usize = 512;

pub struct Shard {
    pub layer: Layer,
    pub works: Works,
    pub subscriptions: Subscriptions,
    pub calls: Calls,
    /// When work wants to be looked at again.
    deadlines: BinaryHeap<Reverse<(Instant, Token)>>,
    sent: VecDeque<(u64, Origin)>,
    tags: u64,
    stateless: Vec<(Dest, Bytes)>,
}

impl Shard {
    pub fn new(layer: Layer) -> Shard {
        Shard {
            layer,
            works: Works::default(),
            subscriptions: Subscriptions::default(),
            calls: Calls::default(),
            deadlines: BinaryHeap::new(),
            sent: VecDeque::new(),
            tags: 0,
            stateless: Vec::new(),
        }
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let work = self.deadlines.peek().map(|Reverse((at, _))| *at);
        let calls = self.calls.next_deadline();
        [work, self.layer.poll_timeout(), self.subscriptions.next_deadline(), calls].into_iter().flatten().min()
    }

    /// The packet that `tag` went out with.
    pub fn origin(&self, tag: u64) -> Option<Origin> {
        self.sent.iter().rev().find(|(t, _)| *t == tag).map(|(_, o)| *o)
    }

    /// Sends bytes that no transaction stands behind.
    pub fn send_stateless(&mut self, dest: Dest, bytes: Bytes) {
        self.stateless.push((dest, bytes));
    }

    fn remember(&mut self, cell: usize, origin: Origin) -> u64 {
        self.tags += 1;
        let tag = self.tags << 8 | cell as u64;
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((tag, origin));
        tag
    }
}

/// One visit to a shard, with its lock held.
pub struct Turn<'a> {
    pub core: &'a Arc<Core>,
    pub shard: &'a mut Shard,
    /// Number of the shard.
    pub cell: usize,
    pub now: Instant,
}

impl Turn<'_> {
    /// Sends a response; one that comes too late is dropped, as the transaction has told the peer something else.
    pub fn respond(&mut self, key: ServerKey, status: u16, bytes: Bytes) {
        self.core.counters.response(status);
        let _ = self.shard.layer.respond(self.now, key, status, bytes);
    }

    /// Sends a bare response.
    pub fn answer(&mut self, key: ServerKey, request: &Message, status: u16) {
        let bytes = Reply::new(request, status, &self.core.tag()).finish();
        self.respond(key, status, bytes);
    }

    /// Answers a REGISTER. Its first copies come within 4·T1; later ones, should every 200 get lost, are challenged as a
    /// reuse of their nonce, which makes the client register again; so its transaction need not be held for longer.
    pub fn registered(&mut self, key: ServerKey, bytes: Bytes) {
        self.respond(key, 200, bytes);
        self.shard.layer.shorten(self.now, key);
    }

    /// Asks for credentials and forgets the request: nothing is held for somebody who is not known yet (RFC 3261
    /// §8.2.7). An INVITE keeps its transaction, for the ACK that follows.
    pub fn challenge(&mut self, key: ServerKey, request: &Message, flow: &Flow, status: u16, bytes: Bytes) {
        if request.method() == Method::Invite {
            return self.respond(key, status, bytes);
        }
        self.core.counters.response(status);
        self.shard.layer.terminate_server(key);
        self.shard.send_stateless(answer_flow(request, flow).into(), bytes);
    }

    /// Wakes `token` at `at` through [`Work`]'s deadline handler.
    pub fn wake_at(&mut self, at: Instant, token: Token) {
        self.shard.deadlines.push(Reverse((at, token)));
    }

    /// Fires what is due.
    pub fn fire(&mut self) {
        self.shard.layer.handle_timeout(self.now);
        while let Some(Reverse((at, token))) = self.shard.deadlines.peek().copied() {
            if at > self.now {
                break;
            }
            self.shard.deadlines.pop();
            if let Some(work) = self.shard.works.take(token) {
                match work {
                    Work::Proxied(work) => crate::service::proxy::deadline(self, token, work),
                    Work::Pager(work) => crate::service::pager::deadline(self, token, work),
                    Work::Capability(work) => crate::service::capability::deadline(self, token, *work),
                    work => self.shard.works.put(token, work),
                }
            }
        }
        crate::service::notify::fire(self);
        crate::service::agent::fire(self);
    }

    /// Hands events to their work and what is to be sent to `out`, until both are empty.
    pub fn finish(&mut self, out: &mut Outbox) {
        loop {
            while let Some(transmit) = self.shard.layer.poll_transmit() {
                // A datagram that cannot be sent is a lost datagram: the timers deal with it.
                let tag = match transmit.dest.transport().is_reliable() {
                    true => self.shard.remember(self.cell, transmit.origin),
                    false => Outbox::UNTAGGED,
                };
                self.put(out, transmit.dest, transmit.bytes, tag);
            }
            for (dest, bytes) in std::mem::take(&mut self.shard.stateless) {
                self.put(out, dest, bytes, Outbox::UNTAGGED);
            }
            match self.shard.layer.poll_event() {
                Some(event) => crate::service::event(self, event),
                None => return,
            }
        }
    }

    fn put(&self, out: &mut Outbox, dest: Dest, bytes: Bytes, tag: u64) {
        self.core.trace.sent(&dest, &bytes);
        match dest {
            Dest::Flow(flow) => out.send(flow, bytes, tag),
            Dest::Address { transport, address } => {
                let server_name = match transport {
                    Transport::Tls => self.core.hops.server_name(address),
                    _ => None,
                };
                out.to(Target { server_name, ..Target::new(transport, address) }, bytes, tag);
            }
        }
    }
}

/// Where an answer without a transaction goes: over UDP to the port of the top Via, unless the client asked for the
/// one it sends from (RFC 3261 §18.2.2, RFC 3581 §4).
pub fn answer_flow(request: &Message, flow: &Flow) -> Flow {
    match request.via() {
        Some(via) if !flow.is_connection() && via.param("rport").is_none() => {
            let mut remote = flow.remote;
            remote.set_port(via.port.unwrap_or(flow.transport.default_port()));
            Flow { remote, ..*flow }
        }
        _ => *flow,
    }
}
