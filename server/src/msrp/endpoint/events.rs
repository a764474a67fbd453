//! Telling users what happened. What comes up while a lock is held, or while a user's own call is under way, waits in the
//! session's queue; one thread at a time hands it over.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use chappe_msrp::endpoint::Sent;

use super::super::connection::{Connection, Touched, touch};
use super::super::relay::Relay;
use super::{End, EndClosed, StreamEnd};

/// What is yet to be told.
#[derive(Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// A thread is handing them over.
    busy: bool,
}

pub(super) enum Event {
    Bound,
    Sent { key: u64, sent: Sent },
    Writable { key: u64 },
    StreamBroken { id: Box<str> },
    Closed(EndClosed),
}

thread_local! {
    /// Connections to be written when the user's method has returned.
    static SOON: RefCell<Option<Touched>> = const { RefCell::new(None) };
}

/// Calls a user; what it gives to connections is written later, with all that is `touched`.
pub(in super::super) fn during<R>(touched: &mut Touched, call: impl FnOnce() -> R) -> R {
    /// Puts back what was there, be it that the user panics.
    struct Restore(Option<Touched>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SOON.replace(self.0.take());
        }
    }
    let restore = Restore(SOON.replace(Some(Touched::new())));
    let result = call();
    let given = SOON.replace(None).unwrap_or_default();
    drop(restore);
    given.iter().for_each(|connection| touch(touched, connection));
    result
}

/// Writes what is due on a connection: now, or when the user that is being called has returned.
pub(in super::super) fn soon(relay: &Relay, connection: &Arc<Connection>) {
    let later = SOON.with_borrow_mut(|soon| match soon {
        Some(touched) => {
            touch(touched, connection);
            true
        }
        None => false,
    });
    if !later {
        relay.flush(&mut Touched::from_iter([Arc::clone(connection)]));
    }
}

impl End {
    pub(super) fn tell(&self, event: Event) {
        self.events.lock().queue.push_back(event);
    }

    /// Hands over what waits, in order, unless another thread is at it. Not to be called where a user may hold a lock of
    /// its own.
    pub(in super::super) fn dispatch(self: &Arc<End>, touched: &mut Touched) {
        {
            let mut events = self.events.lock();
            if events.busy || events.queue.is_empty() {
                return;
            }
            events.busy = true;
        }
        loop {
            let event = {
                let mut events = self.events.lock();
                let Some(event) = events.queue.pop_front() else {
                    events.busy = false;
                    return;
                };
                event
            };
            during(touched, || match event {
                Event::Bound => self.user.bound(self),
                Event::Sent { key, sent } => self.user.sent(self, key, sent),
                Event::Writable { key } => self.user.writable(self, key),
                Event::StreamBroken { id } => self.user.stream_ended(self, &id, StreamEnd::Broken),
                Event::Closed(why) => self.user.closed(self, why),
            });
        }
    }

    /// The same on another thread, for callers that may be the user.
    pub(in super::super) fn dispatch_later(self: &Arc<End>) {
        {
            let events = self.events.lock();
            if events.busy || events.queue.is_empty() {
                return;
            }
        }
        let end = Arc::clone(self);
        self.relay.runtime.spawn(async move {
            let mut touched = Touched::new();
            end.dispatch(&mut touched);
            end.relay.flush(&mut touched);
        });
    }
}
