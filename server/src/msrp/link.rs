//! Connections to ourselves: a client of the relay that talks to a session of our own. They need no socket. Each session has
//! one of its own, so that a slow end holds up nobody else.
//!
//! What waits on the way out of one side is handed to the parser of the other, by one task for both directions: users are
//! never called from within their own calls. A side that is not read is a full socket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use chappe_msrp::{Output, Uri};

use super::connection::Connection;
use super::pump::After;
use super::relay::Relay;

/// Turns of a task before others have theirs.
const TURNS: u32 = 8;

/// What a side knows of the other.
pub(super) struct Link {
    relay: Weak<Relay>,
    other: Weak<Connection>,
    work: Arc<Work>,
}

/// What both sides share.
#[derive(Default)]
struct Work {
    /// Times that something was to be done since the task began; 0: there is no task.
    wanted: AtomicUsize,
    closing: AtomicBool,
}

impl Link {
    /// Something is to be handed over.
    pub(super) fn wake(&self) {
        if self.work.wanted.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let (Some(relay), Some(other)) = (self.relay.upgrade(), self.other.upgrade()) else { return };
        let runtime = relay.runtime.clone();
        runtime.spawn(async move { relay.carry(other).await });
    }

    /// Ends it after what waits.
    pub(super) fn close(&self) {
        self.work.closing.store(true, Ordering::Release);
        self.wake();
    }
}

impl Relay {
    /// A connection to ourselves, for what goes to `uri`; the far side is known to whoever reads there.
    pub(super) fn link(self: &Arc<Self>, uri: &Uri<'_>) -> Arc<Connection> {
        let local = uri.ip().map(|address| SocketAddr::new(address, uri.port.unwrap_or_default()));
        let near = self.new_connection(None, uri.secure, false, true, local);
        let far = self.new_connection(None, uri.secure, false, false, local);
        let work = Arc::new(Work::default());
        for (one, other) in [(&near, &far), (&far, &near)] {
            one.proven.store(true, Ordering::Relaxed);
            one.open.store(true, Ordering::Relaxed);
            let link = Link { relay: Arc::downgrade(self), other: Arc::downgrade(other), work: Arc::clone(&work) };
            one.set_link(link);
        }
        self.links.lock().extend([Arc::clone(&near), far]);
        self.counters.dialled.one();
        near
    }

    /// Does what is to be done between the two sides of a link.
    async fn carry(self: Arc<Self>, one: Arc<Connection>) {
        let Some(link) = one.link() else { return };
        let Some(two) = link.other.upgrade() else { return };
        let mut output = Output::default();
        loop {
            let seen = link.work.wanted.load(Ordering::Acquire);
            let mut turns = 0;
            while self.hand_over(&one, &two, &mut output) | self.hand_over(&two, &one, &mut output) {
                turns += 1;
                if turns % TURNS == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if link.work.closing.load(Ordering::Acquire) {
                // Nobody may begin again.
                return self.unlink(&one, &two);
            }
            if link.work.wanted.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    /// Gives what waits on the way out of `from` to `to`, a part of it at most; `false` when there is nothing, or `to` is
    /// not to be read now.
    fn hand_over(self: &Arc<Self>, from: &Arc<Connection>, to: &Arc<Connection>, output: &mut Output) -> bool {
        if to.holds.load(Ordering::Acquire) > 0 {
            return false;
        }
        let mut after = After::default();
        let sent = self.collect(&mut from.way_out.lock(), output, &mut after);
        let (mut touched, ending) = {
            let mut inbound = to.inbound.lock();
            for piece in output.pieces.drain(..) {
                self.take(to, &mut inbound, &piece);
            }
            (std::mem::take(&mut inbound.touched), inbound.ending)
        };
        self.follow(after, &mut touched);
        self.flush(&mut touched);
        if ending {
            self.close(to);
        }
        sent > 0 && !ending
    }

    fn unlink(&self, one: &Arc<Connection>, two: &Arc<Connection>) {
        self.links.lock().retain(|other| !Arc::ptr_eq(one, other) && !Arc::ptr_eq(two, other));
        self.lost(one);
        self.lost(two);
    }
}
